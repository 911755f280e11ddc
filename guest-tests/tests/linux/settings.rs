//! What `ethtool` sets and shows: moderation, pause, rings, channels, offloads, registers, EEPROM.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_tests::{
    World,
    cable::Cable,
    frames::{BROADCAST, FCS, numbered, same, tagged},
    linux_world::INTERFACE,
    world::{Counter, Setup},
};

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![
    interrupts_come_no_more_often_than_asked_for,
    pause_is_set_and_shown,
    rings_of_every_size_carry_frames,
    channels_have_an_interrupt_each,
    vlan_tags_pass_with_and_without_offload,
    the_driver_offers_ipsec,
    the_eeprom_is_read_and_its_checksum_holds,
    counters_add_up_with_what_the_cable_carried,
];

/// A register of `ethtool -d`, by its name.
fn register(machine: &mut Machine, name: &str) -> Result<u32> {
    let dump = machine.sh(&format!("ethtool -d {INTERFACE}"))?;
    let line = dump
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some(name));
    let value = line.and_then(|line| line.rsplit("0x").next());
    let value = value.with_context(|| format!("no {name} in\n{dump}"))?;
    Ok(u32::from_str_radix(value.trim(), 16)?)
}

fn set_up(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())
}

/// Lets some frames arrive and leave, and holds each against what it was.
fn traffic(machine: &mut Machine, count: usize) -> Result<()> {
    let world = machine.world()?;
    let frames: Vec<_> = (0..count)
        .map(|number| numbered(BROADCAST, number, 60 + number))
        .collect();
    same(&world.arrive(&frames)?, &frames)?;
    same(&world.send(&frames)?, &frames)
}

fn interrupts_come_no_more_often_than_asked_for(machine: &mut Machine) -> Result<()> {
    set_up(machine)?;
    machine.sh(&format!(
        "ip address add 10.0.2.15/24 dev {INTERFACE}; ethtool -C {INTERFACE} rx-usecs 1000"
    ))?;
    let shown = machine.sh(&format!("ethtool -c {INTERFACE}"))?;
    let set = shown.lines().find(|line| line.starts_with("rx-usecs:"));
    let set = set.and_then(|line| line.split_whitespace().nth(1));
    ensure!(set == Some("1000"), "{shown}");
    // EITR.ITR_INTERVAL is in bits 11:3, in units of 2 us (8.2.3.5.12).
    let interval = (register(machine, "EITR0")? >> 3 & 0x1FF) * 2;
    ensure!(interval == 1000, "EITR says {interval} us");
    let count = "grep TxRx-0 /proc/interrupts | awk '{ print $2 + $3 }'";
    let text = machine.sh(&format!(
        "ping -c 1 10.0.2.2 >/dev/null; {count}; cut -d' ' -f1 /proc/uptime
         ping -A -c 300 10.0.2.2 | grep received; {count}; cut -d' ' -f1 /proc/uptime"
    ))?;
    let lines: Vec<&str> = text.lines().collect();
    let [first, begin, pings, last, end] = lines[..] else {
        anyhow::bail!("{text}");
    };
    ensure!(pings.contains("300 packets received"), "{pings}");
    let interrupts = last.parse::<u32>()? - first.parse::<u32>()?;
    let seconds = end.parse::<f64>()? - begin.parse::<f64>()?;
    // Uptime comes in hundredths of a second.
    let most = (seconds + 0.02) * 1000.0;
    ensure!(
        interrupts >= 10 && f64::from(interrupts) <= most,
        "{interrupts} interrupts in {seconds} s"
    );
    machine.sh(&format!(
        "ethtool -C {INTERFACE} rx-usecs 1; ip address flush dev {INTERFACE}"
    ))?;
    // The pings that are still on their way to whoever watches the cable.
    let cable = machine.world()?.cable();
    while !cable.take(Duration::from_secs(1))?.is_empty() {}
    Ok(())
}

fn pause_is_set_and_shown(machine: &mut Machine) -> Result<()> {
    set_up(machine)?;
    let decoded = |state| match state {
        "on" => "enabled",
        _ => "disabled",
    };
    for (rx, tx) in [("off", "off"), ("on", "off"), ("off", "on"), ("on", "on")] {
        machine.sh(&format!("ethtool -A {INTERFACE} rx {rx} tx {tx}"))?;
        machine.wait_for_link()?;
        let shown = machine.sh(&format!("ethtool -a {INTERFACE}"))?;
        let states: Vec<&str> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("RX:").or(line.strip_prefix("TX:")))
            .map(str::trim)
            .collect();
        ensure!(states == [rx, tx], "{shown}");
        let dump = machine.sh(&format!("ethtool -d {INTERFACE}"))?;
        for (name, state) in [
            ("Receive Flow Control Packets:", rx),
            ("Transmit Flow Control:", tx),
        ] {
            let line = dump.lines().find(|line| line.trim().starts_with(name));
            ensure!(
                line.is_some_and(|line| line.ends_with(decoded(state))),
                "rx {rx} tx {tx}: {line:?}"
            );
        }
    }
    traffic(machine, 4)
}

fn rings_of_every_size_carry_frames(machine: &mut Machine) -> Result<()> {
    set_up(machine)?;
    for size in [64, 4096, 512] {
        machine.sh(&format!("ethtool -G {INTERFACE} rx {size} tx {size}"))?;
        machine.wait_for_link()?;
        // Descriptors have 16 bytes.
        let sizes = [
            register(machine, "RDLEN00")? / 16,
            register(machine, "TDLEN00")? / 16,
        ];
        ensure!(sizes == [size, size], "{sizes:?} descriptors");
        // More than the smallest ring has.
        traffic(machine, 200)?;
    }
    Ok(())
}

fn channels_have_an_interrupt_each(machine: &mut Machine) -> Result<()> {
    set_up(machine)?;
    for channels in [2, 1, 2] {
        machine.sh(&format!("ethtool -L {INTERFACE} combined {channels}"))?;
        machine.wait_for_link()?;
        let shown = machine.sh(&format!(
            "ethtool -l {INTERFACE} | awk '/^Combined/ {{ print $2 }}'; grep -c {INTERFACE}-TxRx /proc/interrupts"
        ))?;
        let wanted = format!("2 {channels} {channels}");
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(shown == wanted, "{shown} instead of {wanted}");
        traffic(machine, 4)?;
    }
    Ok(())
}

fn vlan_tags_pass_with_and_without_offload(machine: &mut Machine) -> Result<()> {
    set_up(machine)?;
    for state in ["off", "on"] {
        for feature in ["rxvlan", "txvlan"] {
            machine.sh(&format!("ethtool -K {INTERFACE} {feature} {state}"))?;
        }
        machine.wait_for_link()?;
        // RXDCTL.VME: the card takes tags out (8.2.3.8.7).
        let strips = register(machine, "RXDCTL00")? >> 30 & 1 == 1;
        ensure!(strips == (state == "on"), "rxvlan {state}: {strips}");
        let world = machine.world()?;
        let mac = world.mac()?;
        let frames: Vec<_> = (0..8)
            .map(|number| tagged(&numbered(mac, number, 100), 0x2000))
            .collect();
        same(&world.arrive(&frames)?, &frames).with_context(|| format!("rxvlan {state}"))?;
        same(&world.send(&frames)?, &frames).with_context(|| format!("txvlan {state}"))?;
    }
    Ok(())
}

/// The driver offers what the card is not fused off for, once it has cleared all tables (7.12).
fn the_driver_offers_ipsec(machine: &mut Machine) -> Result<()> {
    set_up(machine)?;
    let features = machine.sh(&format!("ethtool -k {INTERFACE}"))?;
    for feature in [
        "esp-hw-offload",
        "esp-tx-csum-hw-offload",
        "tx-esp-segmentation",
    ] {
        let line = features.lines().find(|line| line.contains(feature));
        ensure!(
            line.is_some_and(|line| line.ends_with(": on")),
            "{feature}: {line:?}"
        );
    }
    traffic(machine, 4)
}

/// As the driver computes it: words 0 to 3Fh and the areas that words 3 to Eh point to make BABAh (6.2).
fn the_eeprom_is_read_and_its_checksum_holds(machine: &mut Machine) -> Result<()> {
    let text = machine.sh(&format!(
        "ethtool -e {INTERFACE} raw on | od -v -An -tx2 -w2"
    ))?;
    let words: Result<Vec<u16>, _> = text
        .split_whitespace()
        .map(|word| u16::from_str_radix(word, 16))
        .collect();
    let words = words?;
    ensure!(words.len() == 8192, "{} words", words.len());
    let mut sum = words[..0x40].iter().copied().fold(0, u16::wrapping_add);
    for pointer in &words[3..0xF] {
        let start = usize::from(*pointer);
        if start == 0 || start == 0xFFFF || words[start] == 0xFFFF {
            continue;
        }
        let area = &words[start + 1..=start + usize::from(words[start])];
        sum = area.iter().copied().fold(sum, u16::wrapping_add);
    }
    ensure!(sum == 0xBABA, "the words make {sum:#06x}");
    Ok(())
}

fn counters_add_up_with_what_the_cable_carried(machine: &mut Machine) -> Result<()> {
    set_up(machine)?;
    let world = machine.world()?;
    let mac = world.mac()?;
    let arriving: Vec<_> = (0..300)
        .map(|number| numbered(mac, number, 60 + 4 * number))
        .collect();
    let leaving: Vec<_> = (0..200)
        .map(|number| numbered(BROADCAST, number, 60 + 7 * number))
        .collect();
    world.arrive(&arriving)?;
    world.send(&leaving)?;
    let bytes = |frames: &[Vec<u8>]| {
        let sizes = frames.iter().map(|frame| frame.len() + FCS);
        sizes.sum::<usize>() as u64
    };
    for (counter, expected) in [
        (Counter::ReceivedFrames, 300),
        (Counter::ReceivedBytes, bytes(&arriving)),
        (Counter::SentFrames, 200),
        (Counter::SentBytes, bytes(&leaving)),
    ] {
        let is = world.counter(counter)?;
        ensure!(is == expected, "{counter:?}: {is} instead of {expected}");
    }
    for (name, expected) in [
        ("rx_packets", 300),
        ("rx_queue_0_packets", 300),
        ("rx_bytes", bytes(&arriving) - 4 * 300),
        ("tx_packets", 200),
        ("tx_queue_0_packets", 200),
        ("tx_bytes", bytes(&leaving) - 4 * 200),
        ("rx_missed_errors", 0),
        ("rx_no_dma_resources", 0),
        ("rx_errors", 0),
        ("tx_restart_queue", 0),
        ("tx_timeout_count", 0),
    ] {
        let is = world.grown(name)?;
        ensure!(is == expected, "{name}: {is} instead of {expected}");
    }
    Ok(())
}
