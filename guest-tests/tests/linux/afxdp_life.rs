//! AF_XDP sockets that come, go and are refused, while frames pass.

use anyhow::{Context, Result, ensure};
use guest_probe::{Act, Job, Xdp};
use guest_tests::{
    World,
    cable::Cable,
    frames::{BROADCAST, label, label_of, numbered, same},
    linux_world::INTERFACE,
    probe::Probe,
    world::Setup,
};

use super::{
    afxdp::{forward, frames, kernel_traffic, one, sent, swapped, with_sockets},
    machine::{Machine, Test},
};

pub const TESTS: &[Test] = tests![
    what_cannot_be_without_a_copy_is_refused,
    frames_longer_than_a_buffer_are_dropped_and_others_follow,
    sockets_outlive_a_ring_and_an_interface_that_are_taken_down_under_traffic,
    a_program_that_is_killed_under_traffic_leaves_nothing_behind,
];

/// Frames that are under way when something happens.
const UNDER_WAY: usize = 2000;

fn what_cannot_be_without_a_copy_is_refused(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    for (job, reason) in [
        // Without a copy the loopback interface has nothing.
        (
            Xdp {
                interface: "lo".to_owned(),
                ..one(Act::Keep)
            },
            "not supported",
        ),
        (
            Xdp {
                queues: vec![1],
                ..one(Act::Keep)
            },
            "Invalid argument",
        ),
        (
            Xdp {
                queues: vec![0, 0],
                ..one(Act::Keep)
            },
            "busy",
        ),
    ] {
        let started = Probe::start(machine.world()?.guest(), &Job::Xdp(job.clone()));
        let refused = started
            .err()
            .with_context(|| format!("{job:?} is not refused"))?;
        let refused = format!("{refused:#}");
        ensure!(
            refused.contains("bind to queue") && refused.contains(reason),
            "{job:?}: {refused}"
        );
    }
    kernel_traffic(machine)
}

fn frames_longer_than_a_buffer_are_dropped_and_others_follow(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    // Of a chunk of 2048 bytes the kernel keeps 256, and SRRCTL knows no buffers between 1024 and 2048.
    let job = Xdp {
        chunk: 2048,
        ..one(Act::Forward)
    };
    let lengths = [60, 1024, 1025, 1514, 600, 1100, 61].into_iter();
    let frames: Vec<_> = lengths
        .zip(1..)
        .map(|(len, number)| numbered(BROADCAST, number, len))
        .collect();
    let fit: Vec<_> = frames
        .iter()
        .filter(|frame| frame.len() <= 1024)
        .cloned()
        .collect();
    with_sockets(machine, &job, |machine, _| {
        for _ in 0..100 {
            machine.world()?.cable().put(&frames)?;
            same(&sent(machine, fit.len())?, &swapped(&fit))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Frames with numbers from 10000 on, so many that they are under way for a while.
fn traffic() -> Vec<Vec<u8>> {
    let numbers = 10_000..10_000 + UNDER_WAY;
    numbers
        .map(|number| numbered(BROADCAST, number, 60 + number % 1000))
        .collect()
}

/// Lets frames pass, and takes back what has come of those that were under way before.
fn forward_after(machine: &mut Machine) -> Result<()> {
    let mark = numbered(BROADCAST, 9_999, 60);
    machine.world()?.cable().put(std::slice::from_ref(&mark))?;
    while !sent(machine, 1)?
        .iter()
        .any(|frame| label_of(frame) == Some(label(9_999)))
    {}
    forward(machine, 8, &frames(240))
}

fn sockets_outlive_a_ring_and_an_interface_that_are_taken_down_under_traffic(
    machine: &mut Machine,
) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    with_sockets(machine, &one(Act::Forward), |machine, _| {
        for happens in [
            format!("ip link set {INTERFACE} down; ip link set {INTERFACE} up"),
            format!("ethtool -G {INTERFACE} rx 256 tx 256"),
            format!("ethtool -G {INTERFACE} rx 512 tx 512"),
        ] {
            machine.world()?.cable().put(&traffic())?;
            machine.sh(&happens)?;
            machine.wait_for_link()?;
            forward_after(machine).with_context(|| format!("after `{happens}`"))?;
        }
        Ok(())
    })?;
    Ok(())
}

fn a_program_that_is_killed_under_traffic_leaves_nothing_behind(
    machine: &mut Machine,
) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    let job = Job::Xdp(one(Act::Forward));
    for _ in 0..2 {
        let probe = Probe::start(machine.world()?.guest(), &job)?;
        machine.wait_for_link()?;
        forward(machine, 1, &frames(240))?;
        machine.world()?.cable().put(&traffic())?;
        probe.kill(machine.world()?.guest())?;
        // The pages that the program had are others' now, and nobody but them writes there.
        machine.sh("dd if=/dev/zero of=/tmp/zeros bs=1M count=150 2>/dev/null")?;
        machine.wait_for_link()?;
        machine.world()?.cable().put(&traffic())?;
        kernel_traffic_after(machine)?;
        let changed = machine.sh("tr -d '\\0' </tmp/zeros | wc -c; rm /tmp/zeros")?;
        ensure!(
            changed.trim() == "0",
            "{} bytes have changed",
            changed.trim()
        );
    }
    Ok(())
}

/// The kernel has the frames again, once those are gone that were under way before.
fn kernel_traffic_after(machine: &mut Machine) -> Result<()> {
    let shown = machine.sh(&format!("ip -d link show dev {INTERFACE}"))?;
    ensure!(!shown.contains("xdp"), "{shown}");
    let world = machine.world()?;
    let mark = numbered(BROADCAST, 9_999, 60);
    world.arrive(std::slice::from_ref(&mark))?;
    world.send(std::slice::from_ref(&mark))?;
    kernel_traffic(machine)
}
