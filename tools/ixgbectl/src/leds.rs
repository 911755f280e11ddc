//! `ixgbectl leds`.

use std::fmt::Write;

use control::{Client, Led};
use serde::Serialize;

use crate::output::Output;

#[derive(Serialize)]
struct State {
    leds: Vec<Led>,
}

/// Shows what the LEDs show.
pub(crate) fn run(client: &mut Client, output: &mut Output) -> anyhow::Result<()> {
    let leds = client.leds()?;
    let text = table(&leds);
    output.print(&State { leds }, || text)
}

fn table(leds: &[Led]) -> String {
    let mut text = String::new();
    for (index, led) in leds.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "led{index}  {:8}  {:15}  turned on {} times",
            led.light.name(),
            led.mode,
            led.turned_on,
        );
    }
    text
}
