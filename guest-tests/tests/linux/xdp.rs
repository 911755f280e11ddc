//! XDP in the driver: a program sees each frame before the kernel makes a packet of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{
    World,
    cable::Cable,
    frames::{BROADCAST, Mac, PEER, numbered, same},
    linux_world::INTERFACE,
    world::{Counter, Setup},
};

use super::{
    machine::{LIMIT, Machine, Test},
    xdp_program::{self, Verdict},
};

pub const TESTS: &[Test] = tests![
    frames_that_a_program_drops_never_reach_the_kernel,
    frames_that_a_program_sends_back_are_on_the_cable,
    frames_that_a_program_redirects_are_sent_as_they_came,
    a_program_and_frames_of_several_buffers_exclude_each_other,
];

/// Frames that arrive at once: what the program sends of them fits into a ring of 512 descriptors, and the driver drops
/// what does not.
const PORTION: usize = 240;
/// All frames; more than a ring's descriptors.
const FRAMES: usize = 3 * PORTION;

/// How many frames each verdict gets in [`mixed`], of which every fourth one passes.
const fn chosen(frames: usize) -> usize {
    frames - frames / 4
}

/// Frames with this verdict, and between them frames that pass, one of which is the last.
fn mixed(verdict: Verdict) -> Vec<Vec<u8>> {
    let frames = (1..=FRAMES).map(|count| {
        let verdict = if count % 4 == 0 {
            Verdict::Pass
        } else {
            verdict
        };
        numbered(BROADCAST, verdict.number(count), 60 + count)
    });
    frames.collect()
}

/// Those frames that get the verdict, and the others.
fn parted(frames: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let numbers = (1..).zip(frames.iter().cloned());
    let (passed, others): (Vec<_>, Vec<_>) = numbers.partition(|(count, _)| count % 4 == 0);
    let frames = |list: Vec<(usize, Vec<u8>)>| list.into_iter().map(|(_, frame)| frame).collect();
    (frames(others), frames(passed))
}

/// The same frame with another receiver and sender.
fn readdressed(frame: &[u8], to: Mac, from: Mac) -> Vec<u8> {
    [&to[..], &from, &frame[12..]].concat()
}

/// Runs a test with the program in the driver, and without it before and after.
fn with_program(machine: &mut Machine, test: fn(&mut Machine) -> Result<()>) -> Result<()> {
    let result = set_up(machine).and_then(|()| test(machine));
    let taken = take_away(machine);
    result?;
    taken
}

/// Sets the NIC up and gives it the program, in the driver and nowhere else.
fn set_up(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    traffic(machine)?;
    let index = machine.sh(&format!("cat /sys/class/net/{INTERFACE}/ifindex"))?;
    let object = xdp_program::object_file(index.trim().parse()?)?;
    let guest = machine.world()?.guest();
    guest.write_file("/tmp/xdp.o", &object)?;
    attach(machine)?;
    machine.wait_for_link()?;
    let shown = machine.sh(&format!("ip -d link show dev {INTERFACE}"))?;
    ensure!(
        shown.contains(" xdp ") && shown.contains("prog/xdp") && !shown.contains("xdpgeneric"),
        "{shown}"
    );
    Ok(())
}

fn attach(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "ip link set dev {INTERFACE} xdpdrv obj /tmp/xdp.o sec {}",
        xdp_program::SECTION
    ))?;
    Ok(())
}

/// Takes the program away; then all frames pass.
fn take_away(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!("ip link set dev {INTERFACE} xdpdrv off"))?;
    machine.wait_for_link()?;
    let shown = machine.sh(&format!("ip -d link show dev {INTERFACE}"))?;
    ensure!(!shown.contains("xdp"), "{shown}");
    traffic(machine)
}

/// Frames of every verdict, none of which there is without a program.
fn traffic(machine: &mut Machine) -> Result<()> {
    let world = machine.world()?;
    let frames: Vec<_> = (0..40)
        .map(|number| numbered(BROADCAST, number, 60 + 30 * number))
        .collect();
    same(&world.arrive(&frames)?, &frames)?;
    same(&world.send(&frames)?, &frames)
}

/// This many frames from the cable.
fn sent(machine: &mut Machine, count: usize) -> Result<Vec<Vec<u8>>> {
    let cable = machine.world()?.cable();
    let begun = Instant::now();
    let mut frames = Vec::new();
    while frames.len() < count && begun.elapsed() < LIMIT {
        frames.extend(cable.take(Duration::from_millis(200))?);
    }
    Ok(frames)
}

/// Frames that the card has counted, and that the driver has taken from its ring.
fn counted(machine: &mut Machine) -> Result<[u64; 2]> {
    let statistics = machine.world()?.statistics()?;
    let value = |name| statistics.get(name).copied().context("no such counter");
    Ok([value("rx_pkts_nic")?, value("rx_queue_0_packets")?])
}

/// Lets frames arrive in portions; those without the verdict, and no others, reach the kernel. `then` is given those with
/// it after each portion.
fn arrive(
    machine: &mut Machine,
    verdict: Verdict,
    mut then: impl FnMut(&mut Machine, &[Vec<u8>]) -> Result<()>,
) -> Result<()> {
    let before = counted(machine)?;
    for frames in mixed(verdict).chunks(PORTION) {
        let (chosen, passed) = parted(frames);
        same(&machine.world()?.arrive(frames)?, &passed).context("in the kernel")?;
        then(machine, &chosen).context("with the program's verdict")?;
    }
    let begun = Instant::now();
    loop {
        let after = counted(machine)?;
        let grown = [0, 1].map(|at| after[at] - before[at]);
        if grown == [FRAMES as u64; 2] {
            return Ok(());
        }
        // The driver counts a packet when it has handed over some more.
        ensure!(
            begun.elapsed() < LIMIT,
            "card and driver count {grown:?} frames"
        );
    }
}

fn frames_that_a_program_drops_never_reach_the_kernel(machine: &mut Machine) -> Result<()> {
    with_program(machine, |machine| {
        arrive(machine, Verdict::Drop, |_, _| Ok(()))?;
        let sent = machine.world()?.cable().take(Duration::ZERO)?;
        ensure!(sent.is_empty(), "{} frames on the cable", sent.len());
        Ok(())
    })
}

fn frames_that_a_program_sends_back_are_on_the_cable(machine: &mut Machine) -> Result<()> {
    with_program(machine, |machine| {
        let before = machine.world()?.counter(Counter::SentFrames)?;
        arrive(machine, Verdict::SendBack, |machine, chosen| {
            let swapped = chosen
                .iter()
                .map(|frame| readdressed(frame, PEER, BROADCAST));
            let swapped: Vec<_> = swapped.collect();
            same(&sent(machine, swapped.len())?, &swapped)
        })?;
        let counted = machine.world()?.counter(Counter::SentFrames)? - before;
        ensure!(
            counted == chosen(FRAMES) as u64,
            "{counted} frames are counted"
        );
        Ok(())
    })
}

/// Where they are redirected to is the same interface, by the way that leads to any other.
fn frames_that_a_program_redirects_are_sent_as_they_came(machine: &mut Machine) -> Result<()> {
    with_program(machine, |machine| {
        arrive(machine, Verdict::Redirect, |machine, chosen| {
            same(&sent(machine, chosen.len())?, chosen)
        })
    })
}

fn a_program_and_frames_of_several_buffers_exclude_each_other(machine: &mut Machine) -> Result<()> {
    with_program(machine, |machine| {
        let refused = machine.sh(&format!("! ip link set {INTERFACE} mtu 9000 2>&1"))?;
        // The driver warns of that.
        machine.mark("the MTU was refused")?;
        ensure!(refused.contains("Invalid argument"), "{refused}");
        Ok(())
    })?;
    for (does, undoes) in [
        ("ip link set eth0 mtu 9000", "ip link set eth0 mtu 1500"),
        ("ethtool -K eth0 lro on", "ethtool -K eth0 lro off"),
    ] {
        machine.sh(does)?;
        let attached = attach(machine);
        machine.sh(undoes)?;
        machine.wait_for_link()?;
        let refused = attached.err().with_context(|| format!("after `{does}`"))?;
        ensure!(
            format!("{refused:#}").contains("Invalid argument"),
            "{refused:#}"
        );
    }
    Ok(())
}
