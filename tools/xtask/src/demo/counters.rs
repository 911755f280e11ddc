//! The NIC's own counters beside those of the guest's driver.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use guest_vm::{Guest, Spawner};
use serde_json::{Value, json};

use super::report::Seen;
use crate::rig::INTERFACE;

/// What is compared: what it is, its name in the NIC, its name in `ethtool -S`, and how much of it a flow control frame
/// that the NIC sends is. The card counts those, and the driver subtracts them (`ixgbe_update_stats`).
const COUNTERS: [(&str, &str, &str, u64); 4] = [
    ("packets sent", "gptc", "tx_pkts_nic", 1),
    ("packets received", "gprc", "rx_pkts_nic", 0),
    ("bytes sent", "gotc", "tx_bytes_nic", 64),
    ("bytes received", "gorc", "rx_bytes_nic", 0),
];
/// The NIC's counters of the flow control frames that it has sent.
const PAUSES: [&str; 2] = ["lxontxc", "lxofftxc"];
/// Frames may pass between the two readings: each pair is read again this often until they agree.
const TRIES: u32 = 10;

/// Reads both and fails if they do not agree.
pub fn compare(guest: &mut Guest, ixgbectl: &Path, control: &Path) -> Result<((), Seen)> {
    let mut pairs = Vec::new();
    for _ in 0..TRIES {
        let statistics = guest.sh(&format!("ethtool -S {INTERFACE}"))?;
        let nic = nic_counters(ixgbectl, control)?;
        pairs = COUNTERS
            .iter()
            .map(|&(what, ours, theirs, of_pause)| {
                Ok((
                    what,
                    without_pauses(&nic, ours, of_pause)?,
                    guest_counter(&statistics, theirs)?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        if pairs.iter().all(|(_, nic, guest)| nic == guest) {
            break;
        }
    }
    let mut text = format!("{:<18} {:>14} {:>14}", "equal", "NIC", "ethtool -S");
    for (what, nic, guest) in &pairs {
        text.push_str(&format!("\n{what:<18} {nic:>14} {guest:>14}"));
        ensure!(
            nic == guest,
            "{what}: the NIC counts {nic}, the guest's driver {guest}"
        );
    }
    let data = pairs
        .iter()
        .map(|(what, nic, guest)| json!({ "counter": what, "nic": nic, "guest": guest }))
        .collect();
    Ok(((), Seen::new(text, Value::Array(data))))
}

/// What `ixgbectl stats --json` says.
pub fn nic_counters(ixgbectl: &Path, control: &Path) -> Result<Value> {
    let mut command = Command::new(ixgbectl);
    command
        .arg("--control")
        .arg(control)
        .args(["stats", "--json"]);
    let output = Spawner::own().output(&command)?;
    serde_json::from_str(&output).with_context(|| format!("ixgbectl said {output:?}"))
}

/// Finds a counter of the card in what `ixgbectl stats --json` says: `{"counters": [{group, name, value}]}`.
pub fn nic_counter(stats: &Value, name: &str) -> Result<u64> {
    let counters = stats
        .get("counters")
        .and_then(Value::as_array)
        .context("ixgbectl names no counters")?;
    counters
        .iter()
        .filter(|counter| counter.get("group").and_then(Value::as_str) == Some("hardware"))
        .find(|counter| {
            counter
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(|found| found.eq_ignore_ascii_case(name))
        })
        .and_then(|counter| counter.get("value").and_then(Value::as_u64))
        .with_context(|| format!("the NIC has no counter {name}"))
}

/// A counter of the card without what flow control frames add to it.
pub fn without_pauses(stats: &Value, name: &str, of_pause: u64) -> Result<u64> {
    let value = nic_counter(stats, name)?;
    let pauses = PAUSES
        .iter()
        .map(|name| nic_counter(stats, name))
        .sum::<Result<u64>>()?;
    value
        .checked_sub(pauses * of_pause)
        .with_context(|| format!("{name} counts less than the flow control frames"))
}

/// Finds a counter in what `ethtool -S` says.
pub fn guest_counter(statistics: &str, name: &str) -> Result<u64> {
    let pairs = statistics
        .lines()
        .filter_map(|line| line.trim().split_once(": "));
    let value = pairs
        .into_iter()
        .find(|(found, _)| *found == name)
        .and_then(|(_, value)| value.trim().parse().ok());
    value.with_context(|| format!("the guest's driver has no counter {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_of_the_guest_is_found_by_its_whole_name() {
        let statistics = "NIC statistics:\n     rx_pkts_nic_x: 1\n     rx_pkts_nic: 42\n";

        assert_eq!(guest_counter(statistics, "rx_pkts_nic").unwrap(), 42);
        assert!(guest_counter(statistics, "rx_pkts").is_err());
    }

    #[test]
    fn flow_control_frames_do_not_count() {
        let counter = |name, value| json!({"group": "hardware", "name": name, "value": value});
        let stats = json!({"counters": [
            counter("gotc", 1000),
            counter("lxontxc", 1),
            counter("lxofftxc", 2),
        ]});

        assert_eq!(without_pauses(&stats, "gotc", 64).unwrap(), 1000 - 3 * 64);
        assert_eq!(without_pauses(&stats, "gotc", 0).unwrap(), 1000);
        assert!(without_pauses(&stats, "gotc", 500).is_err());
    }

    #[test]
    fn a_counter_of_the_nic_is_one_of_the_hardware() {
        let stats = json!({"counters": [
            {"group": "wire", "name": "gptc", "value": 1},
            {"group": "hardware", "name": "gptc", "value": 2},
        ]});

        assert_eq!(nic_counter(&stats, "gptc").unwrap(), 2);
        assert!(nic_counter(&stats, "gprc").is_err());
    }
}
