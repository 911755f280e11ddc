//! Traffic classes without pools, priority flow control and rate limits, as the PMD sets them up.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{
    cable::Cable,
    card_world::MAC,
    frames::{FCS, numbered, tagged},
};

use super::{
    Test,
    machine::{KernelDriver, Machine},
    pools::{ALL_QUEUES, FIVE_CORES},
    testpmd::PATIENCE,
};

pub const TESTS: &[Test] = tests![
    a_frame_goes_to_the_first_queue_of_its_class,
    a_limited_queue_sends_no_faster_than_its_rate,
];

/// Priority flow control: silence for priority 3, no more of it for priority 6.
fn pfc() -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[0x01, 0x80, 0xC2, 0, 0, 1]);
    frame[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, 1]);
    frame[12..18].copy_from_slice(&[0x88, 0x08, 1, 1, 0, 0b0100_1000]);
    frame[24..26].copy_from_slice(&[0, 100]);
    frame
}

fn a_frame_goes_to_the_first_queue_of_its_class(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) =
        machine.testpmd(KernelDriver::UioPciGeneric, FIVE_CORES, ALL_QUEUES)?;
    testpmd.commands([
        "port stop 0",
        // testpmd gives priority n to class n modulo 4.
        "port config 0 dcb vt off 4 pfc on",
        "port start 0",
        "set fwd rxonly",
        "set verbose 1",
        "start",
    ])?;
    let frames: Vec<_> = (0_u16..8)
        .map(|priority| {
            let len = 100 + usize::from(priority);
            tagged(&numbered(MAC, len, len - 4), priority << 13 | 1)
        })
        .collect();
    cable.put(&frames)?;
    // The card has them before the threads, which share a processor, have come past all queues.
    let begun = Instant::now();
    while testpmd.packets()?.len() < frames.len() && begun.elapsed() < PATIENCE {}
    // A start of the port puts the flow control of the whole link in its place.
    testpmd.command("set pfc_ctrl rx on tx on 60 40 1000 3 0")?;
    cable.put(&[pfc(), pfc()])?;
    testpmd.wait_for_xstat("rx_priority3_xoff_packets", |count| count == 2)?;
    testpmd.wait_for_xstat("rx_priority6_xon_packets", |count| count == 2)?;
    testpmd.command("stop")?;
    let packets = testpmd.packets()?;
    let queue = |len: usize| {
        let packet = packets.get(&len);
        let packet = packet.with_context(|| format!("no packet of {len} bytes in {packets:?}"));
        packet.map(|packet| packet.queue)
    };
    let queues: Vec<usize> = (100..108).map(queue).collect::<Result<_>>()?;
    let expected = [0, 32, 64, 96, 0, 32, 64, 96];
    ensure!(queues == expected, "{queues:?} instead of {expected:?}");
    Ok(())
}

fn a_limited_queue_sends_no_faster_than_its_rate(machine: &mut Machine) -> Result<()> {
    /// Mbit/s.
    const RATE: u32 = 20;
    const LEN: u32 = 1000;
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    testpmd.wait_until_said("show port info 0", "Link status: up")?;
    testpmd.commands([
        &format!("set port 0 queue 0 rate {RATE}"),
        "set fwd txonly",
        &format!("set txpkts {LEN}"),
    ])?;
    cable.take(Duration::ZERO)?;
    let begun = Instant::now();
    testpmd.command("start")?;
    let mut sent = 0;
    while sent < 200 && begun.elapsed() < PATIENCE {
        sent += cable.take(Duration::from_millis(100))?.len();
    }
    let took = begun.elapsed();
    testpmd.command("stop")?;
    ensure!(sent >= 200, "{sent} frames in {took:?}");
    // The first leaves at once.
    let bits = 8 * (u64::try_from(sent)? - 1) * u64::from(LEN + u32::try_from(FCS)?);
    let least = Duration::from_micros(bits / u64::from(RATE));
    ensure!(
        took >= least,
        "{sent} frames in {took:?} instead of {least:?} or more"
    );
    Ok(())
}
