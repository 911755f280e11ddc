//! The PTP clock under Linux: linuxptp's tools on the clock, and ptp4l on the cable.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use control::Module;
use guest_tests::{
    cable::Cable,
    evidence,
    frames::{Flow, Mac, PEER},
    kernel_log,
    linux_world::INTERFACE,
    runner::CannotRun,
    server::{Far, Server},
    tally::{Crossing, Sent},
};
use guest_vm::{Guest, Kernel, Lab, Namespace, Userland};

use super::{
    machine::{BOOT_LIMIT, LIMIT, Machine, Test},
    module, tap,
};

/// Tests on a machine whose driver is loaded.
pub const TESTS: &[Test] = tests![
    the_clock_is_set_stepped_and_steered,
    at_1_gigabit_the_clock_keeps_its_pace,
    every_time_stamp_that_the_driver_offers_can_be_chosen,
    ptp4l_tells_when_messages_left_and_came,
];

/// Tests with a guest of their own.
pub const WITH_TWO_NICS: &[tap::Test] = &[(
    "ptp4l_brings_the_clock_of_one_nic_to_that_of_another",
    ptp4l_brings_the_clock_of_one_nic_to_that_of_another,
)];

const SECOND: i128 = 1_000_000_000;

/// What a line of `phc_ctl` says: `phc_ctl[MONOTONIC]: clock time is TIME or DATE`, in nanoseconds.
struct Reading {
    monotonic: i128,
    clock: i128,
}

fn readings(text: &str) -> Result<Vec<Reading>> {
    let lines = text.lines().filter_map(|line| {
        let (before, after) = line.split_once("]: clock time is ")?;
        let monotonic = nanos(before.split_once('[')?.1)?;
        let clock = nanos(after.split_whitespace().next()?)?;
        Some(Reading { monotonic, clock })
    });
    let readings: Vec<_> = lines.collect();
    ensure!(!readings.is_empty(), "phc_ctl says {text}");
    Ok(readings)
}

/// Nanoseconds of a time in seconds with decimals.
fn nanos(seconds: &str) -> Option<i128> {
    let (whole, part) = seconds.trim().split_once('.')?;
    let part: String = part.chars().chain("000000000".chars()).take(9).collect();
    Some(whole.parse::<i128>().ok()? * SECOND + part.parse::<i128>().ok()?)
}

fn phc_ctl(machine: &mut Machine, commands: &str) -> Result<Vec<Reading>> {
    let text = machine.sh(&format!("phc_ctl {INTERFACE} -- {commands}"))?;
    readings(&text)
}

fn the_clock_is_set_stepped_and_steered(machine: &mut Machine) -> Result<()> {
    let set = phc_ctl(machine, "set 1000000000 get")?;
    let after = set[0].clock - 1_000_000_000 * SECOND;
    ensure!(
        (0..60 * SECOND).contains(&after),
        "{after} ns after the set"
    );
    for step in [1000, -1500] {
        let seen = phc_ctl(machine, &format!("get adj {step}.25 get"))?;
        ensure!(seen.len() == 2, "{} readings", seen.len());
        let quarter = if step < 0 { -SECOND / 4 } else { SECOND / 4 };
        let moved = seen[1].clock - seen[0].clock - (step * SECOND + quarter);
        ensure!((0..60 * SECOND).contains(&moved), "{moved} ns too much");
    }
    keeps_pace(machine, 0)?;
    keeps_pace(machine, 20)?;
    keeps_pace(machine, -20)
}

/// Whether the clock, steered to be that much too fast, is that much faster than the guest's own.
fn keeps_pace(machine: &mut Machine, percent: i128) -> Result<()> {
    const TRIES: usize = 5;
    let parts_per_billion = percent * 10_000_000;
    let mut measured = Vec::new();
    for _ in 0..TRIES {
        let seen = phc_ctl(
            machine,
            &format!("freq {parts_per_billion} get wait 2 get freq 0"),
        )?;
        ensure!(seen.len() == 2, "{} readings", seen.len());
        let clock = seen[1].clock - seen[0].clock;
        let monotonic = seen[1].monotonic - seen[0].monotonic;
        let faster = 100 * (clock - monotonic) / monotonic;
        if (percent - 5..=percent + 5).contains(&faster) {
            return Ok(());
        }
        // The tool takes the two times one after the other, and may have to wait between them. That is not so each time.
        measured.push(faster);
    }
    bail!("at {parts_per_billion} ppb it is {measured:?} percent faster")
}

fn at_1_gigabit_the_clock_keeps_its_pace(machine: &mut Machine) -> Result<()> {
    exchange_module(machine, Module::Sx)?;
    let at_one = keeps_pace(machine, 0);
    exchange_module(machine, Module::Sr)?;
    at_one?;
    keeps_pace(machine, 0)
}

/// The driver adapts the clock when a link comes up that was down.
fn exchange_module(machine: &mut Machine, module: Module) -> Result<()> {
    module::draw(machine)?;
    module::wait_for_carrier(machine, 0)?;
    module::plug(machine, module)?;
    module::wait_for_carrier(machine, 1)
}

fn every_time_stamp_that_the_driver_offers_can_be_chosen(machine: &mut Machine) -> Result<()> {
    let offered = machine.sh(&format!("ethtool -T {INTERFACE}"))?;
    for capability in [
        "hardware-transmit",
        "hardware-receive",
        "hardware-raw-clock",
    ] {
        ensure!(offered.contains(capability), "{offered}");
    }
    // Off, version 1 Sync and Delay_Req, all events of version 2 (linux/net_tstamp.h).
    for filter in [4, 5, 12, 0] {
        let transmit = u8::from(filter != 0);
        let text = machine.sh(&format!(
            "hwstamp_ctl -i {INTERFACE} -t {transmit} -r {filter}"
        ))?;
        let (_, new) = text
            .split_once("new settings:")
            .context("no new settings")?;
        let expected = [format!("tx_type {transmit}"), format!("rx_filter {filter}")];
        ensure!(expected.iter().all(|line| new.contains(line)), "{text}");
    }
    Ok(())
}

const PTP_ETHERTYPE: [u8; 2] = [0x88, 0xF7];
const ETHERNET_MULTICAST: Mac = [0x01, 0x1B, 0x19, 0, 0, 0];
const UDP_MULTICAST: Mac = [0x01, 0, 0x5E, 0, 1, 0x81];
const EVENT_PORT: u16 = 319;
const GENERAL_PORT: u16 = 320;
/// Identity of the port that asks for the delay.
const ASKING: [u8; 10] = [2, 0x82, 0x59, 0xFF, 0xFE, 1, 2, 3, 0, 1];

const DELAY_REQ: u8 = 1;
const FOLLOW_UP: u8 = 8;
const DELAY_RESP: u8 = 9;

/// How messages are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Ethernet,
    Udp,
}

/// A message of PTP version 2 that carries a time (IEEE 1588, clause 13).
#[derive(Clone, Copy, Debug)]
struct Message {
    kind: u8,
    sequence: u16,
    /// Nanoseconds.
    time: i128,
}

impl Message {
    fn of(frame: &[u8], transport: Transport) -> Option<Self> {
        let bytes = match transport {
            Transport::Ethernet if frame.get(12..14)? == PTP_ETHERTYPE => frame.get(14..)?,
            Transport::Udp if frame.get(36..38)? == GENERAL_PORT.to_be_bytes() => {
                frame.get(42..)?
            }
            _ => return None,
        };
        let number = |at: usize, len: usize| {
            let digits = bytes.get(at..at + len)?.iter();
            Some(digits.fold(0, |sum, byte| sum << 8 | i128::from(*byte)))
        };
        Some(Self {
            kind: bytes.first()? & 0xF,
            sequence: u16::try_from(number(30, 2)?).ok()?,
            time: number(34, 6)? * SECOND + number(40, 4)?,
        })
    }
}

fn delay_request(transport: Transport, sequence: u16) -> Result<Vec<u8>> {
    let mut message = vec![0; 44];
    message[0] = DELAY_REQ;
    message[1] = 2;
    message[3] = 44;
    message[20..30].copy_from_slice(&ASKING);
    message[30..32].copy_from_slice(&sequence.to_be_bytes());
    message[32] = 1;
    message[33] = 0x7F;
    match transport {
        Transport::Ethernet => {
            Ok([&ETHERNET_MULTICAST[..], &PEER, &PTP_ETHERTYPE, &message].concat())
        }
        Transport::Udp => Flow {
            source: (IpAddr::from([10, 0, 2, 99]), EVENT_PORT),
            destination: (IpAddr::from([224, 0, 1, 129]), EVENT_PORT),
        }
        .udp(PEER, UDP_MULTICAST, &message),
    }
}

/// The next message of a kind on the cable.
fn next(
    cable: &mut dyn Cable,
    transport: Transport,
    wanted: impl Fn(&Message) -> bool,
) -> Result<Message> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let begun = Instant::now();
    loop {
        let frames = cable.take(Duration::from_millis(200))?;
        let mut messages = frames
            .iter()
            .filter_map(|frame| Message::of(frame, transport));
        if let Some(message) = messages.rfind(&wanted) {
            return Ok(message);
        }
        ensure!(begun.elapsed() < PATIENCE, "the message does not come");
    }
}

fn ptp4l_tells_when_messages_left_and_came(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!("ip address add 10.0.2.98/24 dev {INTERFACE}"))?;
    for (transport, option) in [(Transport::Ethernet, "-2"), (Transport::Udp, "-4")] {
        machine.sh(&format!(
            "ptp4l -i {INTERFACE} {option} -m --serverOnly 1 --logAnnounceInterval -2 --logSyncInterval -2 \
             --tx_timestamp_timeout 5000 --uds_address /run/ptp4l --uds_ro_address /run/ptp4lro \
             >/tmp/ptp4l.log 2>&1 & echo $! >/tmp/ptp4l.pid"
        ))?;
        let result = messages_in_order(machine, transport);
        let log = machine.sh("kill $(cat /tmp/ptp4l.pid)
             while [ -e /proc/$(cat /tmp/ptp4l.pid) ]; do usleep 5000; done
             cat /tmp/ptp4l.log")?;
        result.with_context(|| format!("{transport:?}; ptp4l said\n{log}"))?;
        ensure!(!log.contains("timed out"), "{log}");
    }
    machine.sh(&format!(
        "ip address flush dev {INTERFACE}; hwstamp_ctl -i {INTERFACE} -t 0 -r 0"
    ))?;
    let statistics = machine.world()?.statistics()?;
    for name in [
        "tx_hwtstamp_timeouts",
        "tx_hwtstamp_skipped",
        "rx_hwtstamp_cleared",
    ] {
        ensure!(statistics.get(name) == Some(&0), "{name}: {statistics:?}");
    }
    Ok(())
}

/// A Follow_Up tells when its Sync left, a Delay_Resp when its Delay_Req came: all by the card's stamps.
fn messages_in_order(machine: &mut Machine, transport: Transport) -> Result<()> {
    let mut cable = machine.world()?.server().cable()?;
    let follow_up = |message: &Message| message.kind == FOLLOW_UP;
    let mut before = next(&mut cable, transport, follow_up)?;
    for sequence in 100..105 {
        cable.put(&[delay_request(transport, sequence)?])?;
        let answer = next(&mut cable, transport, |message| {
            message.kind == DELAY_RESP && message.sequence == sequence
        })?;
        let after = next(&mut cable, transport, |message| {
            message.kind == FOLLOW_UP && message.time > answer.time
        })?;
        ensure!(
            before.time < answer.time && answer.time < after.time,
            "{before:?}, {answer:?}, {after:?}"
        );
        ensure!(after.sequence != before.sequence, "{before:?}, {after:?}");
        ensure!(
            after.time - before.time < 200 * SECOND,
            "{before:?}, {after:?}"
        );
        before = after;
    }
    Ok(())
}

const TAPS: [&str; 2] = ["cable0", "cable1"];
const MACS: [Mac; 2] = [[2, 0x82, 0x59, 0, 0, 0x80], [2, 0x82, 0x59, 0, 0, 0x81]];

fn ptp4l_brings_the_clock_of_one_nic_to_that_of_another(kernel: Kernel) -> Result<()> {
    let lab = Lab::open(kernel)?;
    let userland = Userland::prepare(&lab.cache)?;
    // No namespace, tap or bridge for us here: not the NIC's fault.
    let namespace = bridged_taps(&userland).map_err(|error| CannotRun(error.to_string()))?;
    let start = |nic: usize| Server::start_as(MACS[nic], Far::TapIn(&namespace, TAPS[nic]));
    let mut servers = [start(0)?, start(1)?];
    let config = lab
        .guest(&format!("test-ptp-{}", kernel.name()))?
        .with_boot_limit(BOOT_LIMIT)
        .with_vfio_user(0, &servers[0].socket())
        .with_vfio_user(1, &servers[1].socket());
    let mut guest = lab.boot(&config)?;
    kernel_log::begin(&mut guest, "loading the driver")?;
    let outcome = one_follows_the_other(&mut guest, &servers);
    let [first, second] = &mut servers;
    let outcome = outcome.and_then(|()| {
        first.nic().check()?;
        second.nic().check()?;
        kernel_log::no_warnings(&mut guest)
    });
    evidence::with(outcome, &mut guest, second.nic().log())
}

fn one_follows_the_other(guest: &mut Guest, servers: &[Server; 2]) -> Result<()> {
    guest.sh("modprobe ixgbe
         for nic in eth0 eth1; do
             ip link set $nic up
             until [ \"$(cat /sys/class/net/$nic/carrier)\" = 1 ]; do usleep 20000; done
         done")?;
    let crossing = |server: &Server| Crossing::new(&server.cable()?.control().stats()?);
    let before = [crossing(&servers[0])?, crossing(&servers[1])?];
    guest.sh("phc_ctl eth0 -- set 1000000000; phc_ctl eth1 -- set 2000000000
         run() {
             ptp4l -i $1 -2 -m --$2 1 --logAnnounceInterval -2 --logSyncInterval -3 --logMinDelayReqInterval -3 \
                 --summary_interval -3 --tx_timestamp_timeout 5000 \
                 --uds_address /run/$1 --uds_ro_address /run/$1.ro >/tmp/$1.log 2>&1 &
         }
         run eth0 serverOnly; run eth1 clientOnly")?;
    // Until the second NIC's clock has followed the first one's for some seconds.
    let wait = "for i in $(seq 2400); do [ $(grep -c ' s2 ' /tmp/eth1.log) -lt 60 ] || break; usleep 50000; done
         cat /tmp/eth1.log";
    let log = guest.run(wait, 2 * LIMIT)?.stdout;
    let mut offsets = offsets(&log);
    offsets.sort_by_key(|offset| offset.abs());
    let median = offsets.get(offsets.len() / 2);
    // That far the busy processes on the way of a frame can move it.
    ensure!(
        offsets.len() >= 60 && median.is_some_and(|offset| offset.abs() < SECOND / 20),
        "the offset in nanoseconds is {median:?}; ptp4l said\n{log}"
    );
    let clocks = guest.sh("phc_ctl eth0 -- get; phc_ctl eth1 -- get")?;
    let [first, second] = &readings(&clocks)?[..] else {
        bail!("{clocks}");
    };
    let apart = second.clock - first.clock;
    ensure!((0..60 * SECOND).contains(&apart), "{apart} ns apart");
    let counters = "for nic in eth0 eth1; do ethtool -S $nic; done | grep hwtstamp";
    let counters = guest.sh(counters)?;
    let counted = |line: &str| !line.ends_with(" 0");
    ensure!(!counters.lines().any(counted), "{counters}");
    for (server, before) in servers.iter().zip(&before) {
        let disagreements = crossing(server)?.disagreements(before, Sent::OneByOne);
        ensure!(disagreements.is_empty(), "{disagreements:?}");
    }
    Ok(())
}

/// The offsets that a client's log tells since its clock has been steered, in nanoseconds.
fn offsets(log: &str) -> Vec<i128> {
    let lines = log.lines().filter(|line| line.contains(" s2 "));
    lines
        .filter_map(|line| {
            let (_, after) = line.split_once("offset")?;
            after.split_whitespace().next()?.parse().ok()
        })
        .collect()
}

/// A namespace in which a bridge joins two taps.
fn bridged_taps(userland: &Userland) -> guest_vm::Result<Namespace> {
    let namespace = Namespace::new(userland)?;
    namespace.ip(&[
        "link",
        "add",
        "bridge",
        "type",
        "bridge",
        "mcast_snooping",
        "0",
    ])?;
    for (tap, address) in TAPS.iter().zip(["10.82.98.1/24", "10.82.98.2/24"]) {
        namespace.add_tap(tap, address, 1500)?;
        namespace.ip(&["link", "set", tap, "master", "bridge"])?;
    }
    namespace.ip(&["link", "set", "bridge", "up"])?;
    Ok(namespace)
}
