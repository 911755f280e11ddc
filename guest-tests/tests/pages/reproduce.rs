//! docs/reproduce.md.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use guest_tests::page::Page;
use wire::file;

use super::{desk::Desk, guest::Guest};

pub const PAGE: Page = Page::new(
    "docs/reproduce.md",
    include_str!("../../../docs/reproduce.md"),
);
/// How long the frames of a capture may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ends when the guest has answered some pings: more packets have passed then than the page stops at.
const TRAFFIC: &str = "ixgbectl expect icmp --icmp echo-reply --count 20 --timeout 60";

pub fn a_recording_is_the_same_elsewhere(desk: &mut Desk) -> Result<()> {
    desk.follow(PAGE.below("All that was done to it: a recording")?)?;
    let guest = Guest::boot(&desk.socket(), &desk.control(), true)?;
    desk.done(TRAFFIC)?;
    guest.shut_down()?;
    desk.stop_server()?;
    desk.follow(PAGE.below("Do it again")?)?;

    desk.follow(PAGE.below("Stop there and look")?)?;
    desk.wait_for_socket(&desk.path("stop.control"))?;
    desk.follow(PAGE.below("The commands that look")?)?;
    desk.stop_behind()?;

    desk.follow(PAGE.below("Of a NIC that runs")?)?;
    let guest = Guest::boot(&desk.socket(), &desk.control(), true)?;
    desk.follow(PAGE.below("While it runs")?)?;
    guest.shut_down()?;
    desk.stop_server()
}

pub fn a_capture_is_the_same_to_another_guest(desk: &mut Desk) -> Result<()> {
    desk.follow(PAGE.below("The frames alone: a capture")?)?;
    let guest = Guest::boot(&desk.socket(), &desk.control(), true)?;
    desk.follow(PAGE.below("What comes in")?)?;
    guest.shut_down()?;
    desk.stop_server()?;

    desk.follow(PAGE.below("The same frames at the same times")?)?;
    let guest = Guest::boot(&desk.socket(), &desk.control(), false)?;
    let answers = desk.path("answers.pcapng");
    let begun = Instant::now();
    // It may end within a frame as long as the server writes.
    while file::read(&answers).map_or(0, |read| read.frames.len()) < 20 {
        ensure!(begun.elapsed() < PATIENCE, "not all is answered");
    }
    guest.shut_down()?;
    desk.stop_server()?;

    desk.follow(PAGE.below("Some of them by hand, and as a test")?)?;
    let guest = Guest::boot(&desk.socket(), &desk.control(), false)?;
    desk.follow(PAGE.below("With a guest that has the bug, or not any more")?)?;
    guest.shut_down()?;
    desk.stop_server()
}
