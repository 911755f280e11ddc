//! What was copied: the NIC's account, and the stack's last word.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use guest_vm::{NicServer, Spawner};
use serde::Deserialize;

/// What `ixgbectl --json stats --copies` says of a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    frames: f64,
    frame_bytes: f64,
    moved: f64,
    copied: f64,
    doorbells: f64,
}

/// What it says of all of them.
#[derive(Debug, Deserialize)]
pub struct Copies {
    queues: Vec<Queue>,
    interrupts: f64,
}

impl Copies {
    /// Copies of a frame's byte in the NIC.
    pub fn copies_per_byte(&self) -> f64 {
        self.sum(|queue| queue.moved + queue.copied) / self.sum(|queue| queue.frame_bytes)
    }

    /// Interrupts for a frame.
    pub fn interrupts_per_frame(&self) -> f64 {
        self.interrupts / self.sum(|queue| queue.frames)
    }

    /// Writes to tails for a frame.
    pub fn doorbells_per_frame(&self) -> f64 {
        self.sum(|queue| queue.doorbells) / self.sum(|queue| queue.frames)
    }

    fn sum(&self, of: impl Fn(&Queue) -> f64) -> f64 {
        self.queues.iter().map(of).sum()
    }
}

/// An account that a server keeps.
#[derive(Debug)]
pub struct Account {
    ixgbectl: PathBuf,
    control: PathBuf,
}

impl Account {
    /// Begins one.
    pub fn begin(ixgbectl: &Path, server: &NicServer) -> Result<Self> {
        let account = Self {
            ixgbectl: ixgbectl.to_owned(),
            control: server.control(),
        };
        account.ask("restart")?;
        Ok(account)
    }

    /// Ends it, and returns what it came to.
    pub fn end(self) -> Result<Copies> {
        self.ask("stop")
    }

    fn ask(&self, action: &str) -> Result<Copies> {
        let mut command = Command::new(&self.ixgbectl);
        command.arg("--control").arg(&self.control).args([
            "--json",
            "stats",
            &format!("--copies={action}"),
        ]);
        let said = Spawner::own().output(&command)?;
        serde_json::from_str(&said).with_context(|| format!("ixgbectl said {said:?}"))
    }
}

/// A counter of the stack's last line, which has them as `NAME=COUNT`.
pub fn counter(line: &str, name: &str) -> Result<f64> {
    let words = line.split_whitespace();
    let value = words
        .filter_map(|word| word.split_once('='))
        .find_map(|(word, value)| (word == name).then_some(value));
    let value = value.with_context(|| format!("the stack tells no {name}: {line:?}"))?;
    value
        .parse()
        .with_context(|| format!("the stack's {name} is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_comes_to_copies_interrupts_and_doorbells() {
        let said = r#"{"running":false,"nanoseconds":1,"interrupts":2,"placed":0,"queues":[
            {"direction":"receive","queue":0,"frames":3,"frameBytes":3000,"moved":3000,"copied":1000,"ring":1,
             "fetched":3,"doorbells":1,"refused":0},
            {"direction":"transmit","queue":0,"frames":1,"frameBytes":1000,"moved":1000,"copied":0,"ring":1,
             "fetched":1,"doorbells":1,"refused":0}]}"#;

        let copies: Copies = serde_json::from_str(said).unwrap();

        assert_eq!(copies.copies_per_byte(), 1.25);
        assert_eq!(copies.interrupts_per_frame(), 0.5);
        assert_eq!(copies.doorbells_per_frame(), 0.5);
    }

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let line = "INFO what was done rx_zero_copy=12 rx_copied=3 rx_bytes_copied=40";

        assert_eq!(counter(line, "rx_copied").unwrap(), 3.0);
        assert!(counter(line, "copied").is_err());
    }
}
