//! What the driver does again and again, with traffic meanwhile.

use std::{sync::mpsc, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use guest_tests::{
    World,
    cable::Cable,
    frames::{BROADCAST, numbered, same},
    linux_world::INTERFACE,
    world::Setup,
};

use super::machine::{self, Machine, Test};

pub const TESTS: &[Test] = tests![
    the_interface_goes_down_and_up_while_frames_come_and_go,
    without_msi_the_card_interrupts_by_its_pin,
    the_self_test_passes_twenty_times_in_a_row,
];

/// Lets some frames arrive and leave, and holds each against what it was.
pub fn traffic(machine: &mut Machine) -> Result<()> {
    let world = machine.world()?;
    let frames: Vec<_> = (0..20)
        .map(|number| numbered(BROADCAST, number, 60 + 70 * number))
        .collect();
    same(&world.arrive(&frames)?, &frames)?;
    same(&world.send(&frames)?, &frames)
}

fn the_interface_goes_down_and_up_while_frames_come_and_go(machine: &mut Machine) -> Result<()> {
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    let (guest, cable) = world.guest_and_cable();
    let frames: Vec<_> = (0..10)
        .map(|number| numbered(BROADCAST, number, 600))
        .collect();
    let (stop, stopped) = mpsc::channel::<()>();
    let (cycles, rounds) = thread::scope(|scope| {
        let flood = scope.spawn(move || -> Result<usize> {
            let mut rounds = 0;
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                cable.put(&frames)?;
                // Who watches the cable must not lag behind: this waits until nothing more comes.
                cable.take(Duration::from_millis(2))?;
                rounds += 1;
            }
            Ok(rounds)
        });
        let cycles = guest.run(
            &format!(
                "ip address add 10.0.2.15/24 dev {INTERFACE}
                 (while [ ! -e /tmp/enough ]; do ping -A -c 20 -W 1 10.0.2.2; done) >/dev/null 2>&1 &
                 for i in $(seq 8); do
                    ip link set {INTERFACE} down || exit 1
                    ip link set {INTERFACE} up || exit 2
                    until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 5000; done
                    usleep 50000
                    echo cycle
                 done
                 touch /tmp/enough; wait; rm /tmp/enough"
            ),
            machine::LIMIT,
        );
        drop(stop);
        (cycles, flood.join())
    });
    let Ok(rounds) = rounds else {
        bail!("the sender of the flood panicked");
    };
    ensure!(rounds? > 8, "hardly a frame arrived");
    let cycles = cycles?.stdout.lines().count();
    ensure!(cycles == 8, "{cycles} times down and up");
    // Its pings that are still on their way to whoever watches the cable.
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    while !world.cable().take(Duration::from_secs(1))?.is_empty() {}
    traffic(machine)
}

fn without_msi_the_card_interrupts_by_its_pin(machine: &mut Machine) -> Result<()> {
    const MSI_ALLOWED: &str = "/sys/bus/pci/devices/0000:01:00.0/msi_bus";
    machine.sh(&format!("rmmod ixgbe; echo 0 >{MSI_ALLOWED}"))?;
    // The driver warns of each kind of interrupt that it does not get.
    let loaded = machine::load(machine.world()?);
    machine.mark("the driver is loaded")?;
    loaded?;
    let before = pin_interrupts(machine)?;
    machine.world()?.set_up(&Setup::default())?;
    traffic(machine)?;
    let after = pin_interrupts(machine)?;
    ensure!(
        after > before + 2,
        "{before} interrupts before, {after} after"
    );
    // With the pin, it includes a test of every cause of an interrupt.
    self_tests(machine, 1)?;
    traffic(machine)?;
    machine.sh(&format!("rmmod ixgbe; echo 1 >{MSI_ALLOWED}"))?;
    machine::load(machine.world()?)
}

fn pin_interrupts(machine: &mut Machine) -> Result<u64> {
    let text = machine.sh(&format!("grep {INTERFACE} /proc/interrupts"))?;
    ensure!(
        text.lines().count() == 1 && text.contains("IO-APIC"),
        "{text}"
    );
    let counts = text.split_whitespace().skip(1).take(2);
    let counts: Result<Vec<u64>, _> = counts.map(str::parse).collect();
    Ok(counts.context("no count")?.iter().sum())
}

fn the_self_test_passes_twenty_times_in_a_row(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    traffic(machine)?;
    self_tests(machine, 20)?;
    traffic(machine)
}

/// Runs the offline test this often in a row. After each the driver would sleep for 4 s, which any signal ends; the
/// link is what it would have waited for.
fn self_tests(machine: &mut Machine, times: usize) -> Result<()> {
    let text = machine.sh_within(
        &format!(
            "for i in $(seq {times}); do
                rm -f /tmp/tested
                {{ ethtool -t {INTERFACE} offline; echo $? >/tmp/tested; }} &
                until [ -s /tmp/tested ]; do
                    usleep 50000
                    killall -q -STOP ethtool; killall -q -CONT ethtool
                done
                wait; [ $(cat /tmp/tested) = 0 ] || exit 1
                until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 20000; done
             done"
        ),
        Duration::from_secs(900),
    )?;
    let results: Vec<_> = text.lines().filter(|line| line.contains("line)")).collect();
    let failed: Vec<_> = results
        .iter()
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    ensure!(
        text.matches("PASS").count() == times && results.len() == 5 * times && failed.is_empty(),
        "{} results, {failed:?}",
        results.len()
    );
    machine.forgive()?;
    machine.wait_for_link()
}
