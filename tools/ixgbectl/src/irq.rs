//! `ixgbectl irq`: from causes to vectors to moderation (7.3).

use std::fmt::Write;

use control::Client;
use ixgbe_spec::register::{
    Reg,
    bits::{eicr, eitr, gpie, ivar},
};
use serde::Serialize;

use crate::{output::Output, values::Values};

/// The registers of interrupts.
const REGISTERS: [Reg; 11] = [
    Reg::EICR,
    Reg::EICS_EX,
    Reg::EIMS,
    Reg::EIMS_EX,
    Reg::EIAC,
    Reg::EIAM,
    Reg::EIAM_EX,
    Reg::EITR,
    Reg::GPIE,
    Reg::IVAR,
    Reg::IVAR_MISC,
];

/// A cause that has a vector, or one of EICR's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cause {
    cause: String,
    vector: u32,
    pending: bool,
    enabled: bool,
    /// The mask is cleared by the message or by the clearing of the cause.
    auto_mask: bool,
    /// The cause is cleared by the message.
    auto_clear: bool,
    /// Least time between two messages.
    interval_microseconds: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Interrupts {
    mode: &'static str,
    eicr: u32,
    eims: u32,
    causes: Vec<Cause>,
}

pub(crate) fn run(client: &mut Client, output: &mut Output) -> anyhow::Result<()> {
    let values = Values::ask(client, &REGISTERS)?;
    let interrupts = interrupts(&values);
    output.print(&interrupts, || table(&interrupts))
}

fn interrupts(values: &Values) -> Interrupts {
    let several = values.get(Reg::GPIE, 0) & gpie::MULTIPLE_MSIX != 0;
    let mut causes = Vec::new();
    for queue in 0..128_usize {
        for (direction, shift) in [("rx", 0), ("tx", 8)] {
            let entry = values.get(Reg::IVAR, queue / 2) >> (16 * (queue % 2) + shift);
            causes.extend(cause(
                format!("{direction} queue {queue}"),
                entry,
                several,
                values,
            ));
        }
    }
    let misc = values.get(Reg::IVAR_MISC, 0);
    causes.extend(other("tcp timer", misc, eicr::TCP_TIMER, several, values));
    causes.extend(other(
        "other",
        misc >> 8,
        eicr::OTHER_CAUSES,
        several,
        values,
    ));
    Interrupts {
        mode: if several {
            "one MSI-X vector for each cause"
        } else {
            "one signal for all causes"
        },
        eicr: values.get(Reg::EICR, 0),
        eims: values.get(Reg::EIMS, 0),
        causes,
    }
}

/// A queue's cause by its entry of IVAR; `None` if that is not valid.
fn cause(name: String, entry: u32, several: bool, values: &Values) -> Option<Cause> {
    if entry & ivar::VALID == 0 {
        return None;
    }
    let vector = entry & if several { ivar::VECTOR } else { 0xF };
    let bit = |reg: Reg| {
        let element = usize::try_from(vector / 32).unwrap_or(0);
        values.get(reg, element) >> (vector % 32) & 1 == 1
    };
    let low = vector < 16;
    Some(Cause {
        cause: name,
        vector,
        pending: bit(Reg::EICS_EX),
        enabled: bit(Reg::EIMS_EX),
        auto_mask: bit(Reg::EIAM_EX),
        auto_clear: several && (!low || values.get(Reg::EIAC, 0) >> vector & 1 == 1),
        interval_microseconds: interval(if several { vector } else { 0 }, values),
    })
}

/// A cause of EICR's upper half, by its entry of `IVAR_MISC`. Without MSI-X vectors it needs none.
fn other(name: &str, entry: u32, causes: u32, several: bool, values: &Values) -> Option<Cause> {
    if several && entry & ivar::VALID == 0 {
        return None;
    }
    let vector = if several { entry & ivar::VECTOR } else { 0 };
    Some(Cause {
        cause: name.to_owned(),
        vector,
        pending: values.get(Reg::EICR, 0) & causes != 0,
        enabled: values.get(Reg::EIMS, 0) & causes != 0,
        auto_mask: values.get(Reg::EIAM, 0) & causes != 0,
        auto_clear: values.get(Reg::EIAC, 0) & causes != 0,
        interval_microseconds: interval(vector, values),
    })
}

/// The interval of an EITR register in microseconds: it counts in 2048 ns (8.2.3.5.12).
fn interval(vector: u32, values: &Values) -> u32 {
    let register = values.get(Reg::EITR, usize::try_from(vector).unwrap_or(0));
    (register >> eitr::INTERVAL_SHIFT & eitr::INTERVAL_MASK) * 2
}

fn table(interrupts: &Interrupts) -> String {
    let mut text = format!(
        "{}\nEICR {:#010x}  EIMS {:#010x}\n",
        interrupts.mode, interrupts.eicr, interrupts.eims
    );
    if interrupts.causes.is_empty() {
        text.push_str("no cause has a vector\n");
        return text;
    }
    text.push_str("cause         vector  pending  enabled  auto-mask  auto-clear  interval\n");
    for cause in &interrupts.causes {
        let yes = |set: bool| if set { "yes" } else { "-" };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<13} {:>6}  {:<7}  {:<7}  {:<9}  {:<10}  {} us",
            cause.cause,
            cause.vector,
            yes(cause.pending),
            yes(cause.enabled),
            yes(cause.auto_mask),
            yes(cause.auto_clear),
            cause.interval_microseconds,
        );
    }
    text
}
