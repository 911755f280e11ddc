//! Faults of cable and card under Linux's driver: what it notices, and how it recovers. docs/faults.md is the table of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use control::{ActiveFault, Fault, FaultKind, Target, Trigger};
use guest_tests::{
    cable::Cable,
    frames::{BROADCAST, numbered},
    linux_world::INTERFACE,
};
use nic_model::observe::Direction;

use super::{
    life::HOST,
    machine::{self, Machine, Test},
    module::wait_for_carrier,
};

/// The tests.
pub const TESTS: &[Test] = tests![
    a_stuck_transmit_queue_is_detected_as_a_hang_and_reset,
    a_refused_fetch_of_transmit_descriptors_ends_as_a_hang,
    a_poisoned_answer_to_a_fetch_of_transmit_descriptors_ends_as_a_hang,
    a_page_of_the_transmit_ring_that_is_unmapped_ends_as_a_hang,
    a_page_that_is_exchanged_under_receive_loses_frames_until_the_link_is_set_up_again,
    a_receive_ring_that_is_refused_stays_dead_until_the_link_is_set_up_again,
    a_lost_interrupt_loses_no_packet,
    late_and_spurious_interrupts_do_no_harm,
    a_late_write_back_is_found_by_the_service_task,
    a_cable_that_delays_makes_pings_longer,
    a_link_that_flaps_and_a_module_that_is_pulled_come_back,
    bad_frames_are_counted_as_what_they_are,
    a_tcp_stream_survives_a_bad_cable,
    a_slow_reset_is_survived,
    a_corrupt_nvm_keeps_the_driver_from_loading,
];

const SETTLED: Duration = Duration::from_secs(60);

fn fault(kind: FaultKind) -> Fault {
    Fault {
        kind,
        target: Target::default(),
        trigger: Trigger::always(1),
        delay: None,
        every: None,
    }
}

fn times(kind: FaultKind, count: u64) -> Fault {
    let mut fault = fault(kind);
    fault.trigger.count = Some(count);
    fault
}

fn aimed(kind: FaultKind, count: u64, direction: Direction) -> Fault {
    let mut fault = times(kind, count);
    fault.target.direction = Some(direction);
    fault
}

fn add(machine: &mut Machine, fault: &Fault) -> Result<()> {
    machine.world()?.cable().control().add_fault(fault)?;
    Ok(())
}

/// Ends all faults, and tells how they were.
fn clear(machine: &mut Machine) -> Result<Vec<ActiveFault>> {
    let control = machine.world()?.cable().control();
    let faults = control.faults()?;
    control.clear_faults(None)?;
    Ok(faults)
}

/// An address, and a host that answers.
fn begin(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "ip address replace 10.0.2.15/24 dev {INTERFACE}; ethtool -K {INTERFACE} gro on"
    ))?;
    machine.wait_for_link()?;
    ensure!(answers(machine)?, "no answer before there is a fault");
    Ok(())
}

fn end(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!("ip address flush dev {INTERFACE}"))?;
    // What cable and card count differs by what faults have made.
    machine.world()?.begin_tally()
}

/// Waits until the one fault there is has hit as often as this.
fn wait_until_fired(machine: &mut Machine, count: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let faults = machine.world()?.cable().control().faults()?;
        if faults.iter().any(|fault| fault.fired >= count) {
            return Ok(());
        }
        ensure!(begun.elapsed() < SETTLED, "{faults:?}");
        machine.sh("usleep 10000")?;
    }
}

/// Whether the host answers, within two seconds.
fn answers(machine: &mut Machine) -> Result<bool> {
    let command = format!("ping -c 1 -W 2 {HOST} >/dev/null");
    let guest = machine.world()?.guest();
    Ok(guest.run(&command, SETTLED)?.status == 0)
}

/// Waits until it does.
fn wait_until_answers(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "until ping -c 1 -W 1 {HOST} >/dev/null; do :; done"
    ))?;
    Ok(())
}

/// One ping; how long its answer took, in milliseconds.
fn round_trip(machine: &mut Machine) -> Result<f64> {
    let text = machine.sh(&format!("ping -c 1 -W 20 {HOST}"))?;
    let time = text
        .split_once("time=")
        .and_then(|(_, rest)| rest.split_whitespace().next());
    let time = time.with_context(|| format!("no time in {text}"))?;
    Ok(time.parse()?)
}

/// An answer comes so many milliseconds later by this fault, which is cleared then. The driver's service task looks at the
/// queues every two seconds, and may find a packet before: then another is tried.
fn delays_an_answer(machine: &mut Machine, fault: &Fault, least: f64) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..5 {
        add(machine, fault)?;
        let time = round_trip(machine)?;
        let faults = clear(machine)?;
        ensure!(faults[0].fired == 1, "{faults:?}");
        if time >= least {
            return Ok(());
        }
        times.push(time);
    }
    bail!("answers came after {times:?} ms")
}

/// The kernel has warned of these things, and of nothing else.
fn warned_only_of(machine: &mut Machine, expected: &[&str]) -> Result<()> {
    let warnings = machine.warnings()?;
    let others: Vec<_> = warnings
        .iter()
        .filter(|line| !expected.iter().any(|text| line.contains(text)))
        .collect();
    ensure!(others.is_empty(), "the kernel warned of {others:#?}");
    machine.mark("what was expected")
}

/// What is said of a hang, line by line. Whether the driver notices it first or the kernel's own watchdog, after five seconds,
/// depends on when the driver looked last; either resets the card.
pub const HANG: [&str; 12] = [
    "NETDEV WATCHDOG",
    "Detected Tx Unit Hang",
    "Tx Queue",
    "TDH, TDT",
    "next_to_use",
    "next_to_clean",
    "tx_buffer_info[next_to_clean]",
    "time_stamp",
    "jiffies",
    "tx hang",
    "initiating reset due to tx timeout",
    "Reset adapter",
];

fn hang_and_recovery(machine: &mut Machine, fault: &Fault) -> Result<()> {
    begin(machine)?;
    let place = machine.place()?;
    add(machine, fault)?;
    ensure!(!answers(machine)?, "nothing was stuck");
    machine.wait_until_said(&place, "initiating reset due to tx timeout")?;
    machine.wait_until_said(&place, "Reset adapter")?;
    machine.wait_until_said(&place, "NIC Link is Up")?;
    wait_until_answers(machine)?;
    let faults = clear(machine)?;
    ensure!(faults.len() == 1 && faults[0].fired == 1, "{faults:?}");
    let warnings = machine.warnings()?;
    let noticed = ["Detected Tx Unit Hang", "NETDEV WATCHDOG"];
    let notices = |line: &String| noticed.iter().any(|text| line.contains(text));
    ensure!(warnings.iter().any(notices), "{warnings:?}");
    warned_only_of(machine, &HANG)?;
    machine.forgive()?;
    end(machine)
}

fn a_stuck_transmit_queue_is_detected_as_a_hang_and_reset(machine: &mut Machine) -> Result<()> {
    hang_and_recovery(machine, &fault(FaultKind::TransmitStuck))
}

fn a_refused_fetch_of_transmit_descriptors_ends_as_a_hang(machine: &mut Machine) -> Result<()> {
    // What is read first of a packet is its descriptor.
    let fault = aimed(FaultKind::DmaError, 1, Direction::Transmit);
    hang_and_recovery(machine, &fault)
}

fn a_poisoned_answer_to_a_fetch_of_transmit_descriptors_ends_as_a_hang(
    machine: &mut Machine,
) -> Result<()> {
    // A read of a packet to send would do as well: what comes first is its descriptor.
    let fault = aimed(FaultKind::DmaPoisoned, 1, Direction::Transmit);
    hang_and_recovery(machine, &fault)
}

fn a_page_of_the_transmit_ring_that_is_unmapped_ends_as_a_hang(
    machine: &mut Machine,
) -> Result<()> {
    begin(machine)?;
    let place = machine.place()?;
    let fault = aimed(FaultKind::UnmappedPage, 1, Direction::Transmit);
    add(machine, &fault)?;
    ensure!(!answers(machine)?, "nothing was unmapped");
    machine.wait_until_said(&place, "initiating reset due to tx timeout")?;
    machine.wait_until_said(&place, "NIC Link is Up")?;
    // The ring lies where it lay: only now the queue works again.
    clear(machine)?;
    wait_until_answers(machine)?;
    warned_only_of(machine, &HANG)?;
    machine.forgive()?;
    end(machine)
}

fn a_page_that_is_exchanged_under_receive_loses_frames_until_the_link_is_set_up_again(
    machine: &mut Machine,
) -> Result<()> {
    begin(machine)?;
    let mut fault = fault(FaultKind::MemorySwitch);
    fault.target.direction = Some(Direction::Receive);
    fault.trigger.count = Some(1);
    add(machine, &fault)?;
    // What the card writes for it does not get to the driver, or is not where the driver has meant it to be.
    ensure!(!answers(machine)?, "nothing was exchanged");
    let faults = clear(machine)?;
    ensure!(faults[0].fired == 1, "{faults:?}");
    machine.sh(&format!("ip link set {INTERFACE} down"))?;
    machine::load(machine.world()?)?;
    wait_until_answers(machine)?;
    machine.forgive()?;
    end(machine)
}

fn a_receive_ring_that_is_refused_stays_dead_until_the_link_is_set_up_again(
    machine: &mut Machine,
) -> Result<()> {
    let queues = machine.sh(&format!(
        "n=$(ethtool -l {INTERFACE} | awk '/^Combined/ {{ n = $2 }} END {{ print n }}')
         [ $n = 1 ] || ethtool -L {INTERFACE} combined 1; echo $n"
    ))?;
    let outcome = a_refused_receive_ring(machine);
    machine.sh(&format!(
        "[ {n} = 1 ] || ethtool -L {INTERFACE} combined {n}",
        n = queues.trim()
    ))?;
    machine.wait_for_link()?;
    outcome?;
    end(machine)
}

fn a_refused_receive_ring(machine: &mut Machine) -> Result<()> {
    begin(machine)?;
    let mut fault = aimed(FaultKind::DmaError, 1, Direction::Receive);
    fault.target.queue = Some(0);
    add(machine, &fault)?;
    // Descriptors that the card has fetched before are used first.
    machine.sh(&format!(
        "n=0; while ping -c 1 -W 2 {HOST} >/dev/null; do n=$((n + 1)); [ $n -lt 1000 ] || exit 1; done"
    ))?;
    let faults = clear(machine)?;
    ensure!(faults[0].fired == 1, "{faults:?}");
    // Longer than the driver takes to notice a transmit queue that stands still.
    for _ in 0..3 {
        ensure!(!answers(machine)?, "the driver has done something about it");
    }
    machine.sh(&format!("ip link set {INTERFACE} down"))?;
    machine::load(machine.world()?)?;
    ensure!(
        answers(machine)?,
        "the ring is dead after it was set up anew"
    );
    machine.forgive()
}

fn a_lost_interrupt_loses_no_packet(machine: &mut Machine) -> Result<()> {
    begin(machine)?;
    add(
        machine,
        &aimed(FaultKind::InterruptLost, 1, Direction::Receive),
    )?;
    round_trip(machine)?;
    let faults = clear(machine)?;
    ensure!(faults[0].fired == 1, "{faults:?}");
    end(machine)
}

/// Interrupts of the first queues' vector so far.
const INTERRUPTS: &str = "awk '/TxRx-0/ { print $2 + $3 }' /proc/interrupts";

fn interrupts(machine: &mut Machine) -> Result<u64> {
    Ok(machine.sh(INTERRUPTS)?.trim().parse()?)
}

fn late_and_spurious_interrupts_do_no_harm(machine: &mut Machine) -> Result<()> {
    begin(machine)?;
    let late = Fault {
        delay: Some(Duration::from_millis(80)),
        ..aimed(FaultKind::InterruptLate, 1, Direction::Receive)
    };
    delays_an_answer(machine, &late, 75.0)?;
    let spurious = Fault {
        // Far enough apart that a driver on a busy host sees each of most.
        every: Some(Duration::from_millis(20)),
        ..times(FaultKind::InterruptSpurious, 100)
    };
    let before = interrupts(machine)?;
    add(machine, &spurious)?;
    // Each of them is one interrupt for the driver, unless two come before it has seen the first.
    machine.sh(&format!(
        "until [ $({INTERRUPTS}) -ge {} ]; do usleep 20000; done",
        before + 50
    ))?;
    wait_until_answers(machine)?;
    let faults = clear(machine)?;
    ensure!(faults[0].fired >= 50, "{faults:?}");
    end(machine)
}

fn a_late_write_back_is_found_by_the_service_task(machine: &mut Machine) -> Result<()> {
    begin(machine)?;
    let late = Fault {
        delay: Some(Duration::from_millis(30)),
        ..aimed(FaultKind::WriteBackLate, 1, Direction::Receive)
    };
    delays_an_answer(machine, &late, 25.0)?;
    add(
        machine,
        &aimed(FaultKind::WriteBackReorder, 1, Direction::Receive),
    )?;
    round_trip(machine)?;
    let faults = clear(machine)?;
    ensure!(faults[0].fired == 1, "{faults:?}");
    end(machine)
}

fn a_cable_that_delays_makes_pings_longer(machine: &mut Machine) -> Result<()> {
    begin(machine)?;
    let late = Fault {
        delay: Some(Duration::from_millis(60)),
        ..fault(FaultKind::Delay)
    };
    add(machine, &late)?;
    for _ in 0..3 {
        let time = round_trip(machine)?;
        // There and back.
        ensure!(time >= 120.0, "the answer came after {time} ms");
    }
    let faults = clear(machine)?;
    ensure!(faults[0].fired >= 6, "{faults:?}");
    end(machine)
}

fn a_link_that_flaps_and_a_module_that_is_pulled_come_back(machine: &mut Machine) -> Result<()> {
    begin(machine)?;
    let place = machine.place()?;
    // A driver that gets no processor meanwhile finds the link as it was.
    let flap = Fault {
        delay: Some(Duration::from_secs(3)),
        ..fault(FaultKind::LinkFlap)
    };
    add(machine, &flap)?;
    machine.wait_until_said(&place, "NIC Link is Down")?;
    machine.wait_until_said(&place, "NIC Link is Up")?;
    wait_until_answers(machine)?;

    let place = machine.place()?;
    let mut pulled = fault(FaultKind::ModulePulled);
    pulled.trigger.duration = Some(Duration::from_secs(3));
    add(machine, &pulled)?;
    machine.wait_until_said(&place, "NIC Link is Down")?;
    machine.wait_until_said(&place, "detected SFP+")?;
    wait_for_carrier(machine, 1)?;
    wait_until_answers(machine)?;
    clear(machine)?;
    end(machine)
}

fn bad_frames_are_counted_as_what_they_are(machine: &mut Machine) -> Result<()> {
    const COUNTERS: [&str; 4] = [
        "rx_crc_errors",
        "rx_length_errors",
        "rx_short_length_errors",
        "rx_long_length_errors",
    ];
    let read = |machine: &mut Machine| -> Result<Vec<u64>> {
        let statistics = machine.world()?.statistics()?;
        let of = |name: &&str| statistics.get(*name).copied().unwrap_or(0);
        Ok(COUNTERS.iter().map(of).collect())
    };
    let before = read(machine)?;
    for (kind, count) in [
        (FaultKind::Crc, 3),
        (FaultKind::Length, 4),
        (FaultKind::Runt, 5),
        (FaultKind::Giant, 6),
    ] {
        add(machine, &aimed(kind, count as u64, Direction::Receive))?;
        let frames: Vec<_> = (0..)
            .take(count)
            .map(|number| numbered(BROADCAST, number, 100))
            .collect();
        machine.world()?.cable().put(&frames)?;
        wait_until_fired(machine, count as u64)?;
        clear(machine)?;
    }
    // The driver reads the card's counters at every other second.
    let begun = Instant::now();
    loop {
        let after = read(machine)?;
        let grown: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        if grown == [3, 4, 5, 6] {
            break;
        }
        ensure!(begun.elapsed() < SETTLED, "{COUNTERS:?} grew by {grown:?}");
        machine.sh("usleep 200000")?;
    }
    end(machine)
}

fn a_tcp_stream_survives_a_bad_cable(machine: &mut Machine) -> Result<()> {
    begin(machine)?;
    for (seed, kind) in [
        (1, FaultKind::Drop),
        (2, FaultKind::Duplicate),
        (3, FaultKind::Reorder),
        (4, FaultKind::Corrupt),
        (5, FaultKind::Crc),
    ] {
        let mut fault = fault(kind);
        fault.trigger.seed = seed;
        fault.trigger.probability = 0.01;
        add(machine, &fault)?;
    }
    machine.sh(&format!(
        "dd if=/dev/urandom of=/tmp/there bs=64k count=8 2>/dev/null
         nc {HOST} 7 </tmp/there >/tmp/back; cmp /tmp/there /tmp/back"
    ))?;
    let faults = clear(machine)?;
    ensure!(faults.iter().all(|fault| fault.fired > 0), "{faults:?}");
    end(machine)
}

fn a_slow_reset_is_survived(machine: &mut Machine) -> Result<()> {
    begin(machine)?;
    // The driver polls for some microseconds after a millisecond of waiting, and then waits for 50 ms.
    let slow = Fault {
        delay: Some(Duration::from_millis(45)),
        ..times(FaultKind::ResetSlow, 1)
    };
    add(machine, &slow)?;
    machine.sh(&format!("ip link set {INTERFACE} down"))?;
    machine::load(machine.world()?)?;
    let faults = clear(machine)?;
    ensure!(faults[0].fired == 1, "{faults:?}");
    // A driver that gets no processor meanwhile finds the card ready, and says nothing.
    warned_only_of(machine, &["Hardware Error: -5"])?;
    begin(machine)?;
    // The driver has not waited for the card. It reads CTRL here, and is told of no further write then.
    machine.sh(&format!("ethtool -d {INTERFACE} >/dev/null"))?;
    machine.forgive()?;
    end(machine)
}

fn a_corrupt_nvm_keeps_the_driver_from_loading(machine: &mut Machine) -> Result<()> {
    machine.sh("rmmod ixgbe")?;
    let outcome = a_corrupt_nvm(machine);
    machine.sh("rmmod ixgbe 2>/dev/null; true")?;
    clear(machine)?;
    machine::load(machine.world()?)?;
    outcome?;
    end(machine)
}

fn a_corrupt_nvm(machine: &mut Machine) -> Result<()> {
    let place = machine.place()?;
    add(machine, &fault(FaultKind::NvmCorrupt))?;
    machine.sh("modprobe ixgbe")?;
    machine.wait_until_said(&place, "The EEPROM Checksum Is Not Valid")?;
    machine.sh(&format!("[ ! -e /sys/class/net/{INTERFACE} ]"))?;
    warned_only_of(
        machine,
        &[
            "The EEPROM Checksum Is Not Valid",
            "probe with driver ixgbe failed with error -5",
            "probe of 0000:01:00.0 failed with error -5",
        ],
    )
}
