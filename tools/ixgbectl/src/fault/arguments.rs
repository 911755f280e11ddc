//! The words of `ixgbectl fault`.

use std::time::Duration;

use clap::{Args, Subcommand};
use control::{Fault, FaultKind, HardwareError, Target, Trigger};

use crate::cli::{Way, count};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct FaultArguments {
    #[command(subcommand)]
    pub(crate) action: Option<FaultAction>,

    /// On the cable: drop, duplicate, reorder, delay, corrupt; for frames that come also crc, length, runt, giant;
    /// link-flap. In the card: module-pulled; interrupt-lost, interrupt-late, interrupt-spurious; write-back-late,
    /// write-back-reorder; tx-stuck; dma-error, dma-poisoned, unmapped-page, memory-switch; nvm-corrupt; reset-slow. Errors
    /// of its memories: ecc-rx, ecc-tx. Correctable errors of the bus: receiver-error, bad-tlp, bad-dllp, replay-rollover,
    /// replay-timeout. Uncorrectable ones: data-link-protocol, poisoned-tlp, flow-control-protocol, completion-timeout,
    /// completer-abort, unexpected-completion, receiver-overflow, malformed-tlp, ecrc, unsupported-request.
    #[arg(value_name = "KIND", required = true)]
    pub(crate) kind: Option<FaultKind>,

    /// Only frames, rings and interrupts of this direction.
    #[arg(short, long, value_name = "rx|tx")]
    direction: Option<Way>,

    /// Only packets, interrupts, and descriptors of this queue, 0 to 127.
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(..128))]
    queue: Option<u8>,

    /// Only interrupts of this MSI-X vector, 0 to 63.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(..64))]
    vector: Option<u8>,

    /// How likely each occasion is taken, 0 to 1.
    #[arg(short, long, value_name = "CHANCE", value_parser = chance)]
    probability: Option<f64>,

    /// The first occasion (frame, packet, interrupt, access) that is taken, counted from 1; it is the only one unless --count
    /// says more.
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    nth: Option<u64>,

    /// Take so many occasions (1000, 20k). Without it: one of a kind that stops a queue, concerns memory or the whole card,
    /// any number of the others.
    #[arg(short, long, value_name = "COUNT", value_parser = count)]
    count: Option<u64>,

    /// The fault ends after this time, and what it did with it: 500ms, 2s, 1min.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,

    /// How late what is late comes (10ms if it is not said), how long the carrier is away (500ms) or a reset takes (20ms).
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    delay: Option<Duration>,

    /// Time between two of a kind that makes its own occasions: link-flap, interrupt-spurious, errors of the hardware (1s).
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    every: Option<Duration>,

    /// Where the chances begin. Without it a number is taken by chance, and printed.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..=i64::MAX.cast_unsigned()))]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum FaultAction {
    /// Show the faults that were asked for, and how often each has happened.
    List,
    /// End a fault, or all of them.
    Clear {
        /// Its number, as list shows it; without it all are meant.
        #[arg(value_name = "NUMBER")]
        id: Option<u64>,
    },
}

impl FaultArguments {
    /// The error that is to be had once, now.
    pub(super) fn plain_error(&self) -> Option<HardwareError> {
        let Self {
            action: _,
            kind: Some(FaultKind::Hardware(error)),
            direction: None,
            queue: None,
            vector: None,
            probability: None,
            nth: None,
            count: None,
            duration: None,
            delay: None,
            every: None,
            seed: None,
        } = self
        else {
            return None;
        };
        Some(*error)
    }

    /// The fault that is asked for; `chance` is the seed if none is said.
    pub(super) fn fault(&self, kind: FaultKind, chance: u64) -> Fault {
        Fault {
            kind,
            target: Target {
                direction: self
                    .direction
                    .map(|way| control::Direction::from(way).into()),
                queue: self.queue,
                vector: self.vector,
            },
            trigger: Trigger {
                seed: self.seed.unwrap_or(chance),
                probability: self.probability.unwrap_or(1.0),
                nth: self.nth,
                count: self.count,
                duration: self.duration,
            },
            delay: self.delay,
            every: self.every,
        }
    }
}

/// A probability, as a number or in per cent.
fn chance(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let chance = number.parse::<f64>().ok().map(|number| number / scale);
    chance
        .filter(|chance| (0.0..=1.0).contains(chance))
        .ok_or_else(|| "a number from 0 to 1 is wanted, as in 0.01 or 1%".to_owned())
}

/// A length of time: a number, which may have decimals, and its unit; seconds without one.
fn duration(text: &str) -> Result<Duration, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit {
        "ns" => Some(1e-9),
        "us" | "µs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" | "" => Some(1.0),
        "min" => Some(60.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(scale);
    seconds
        .and_then(|(number, scale)| Duration::try_from_secs_f64(number * scale).ok())
        // What 63 bits of nanoseconds hold.
        .filter(|duration| i64::try_from(duration.as_nanos()).is_ok())
        .ok_or_else(|| "a time is wanted, as in 500ms, 2s or 1min".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_chances_may_be_in_per_cent() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2min"), Ok(Duration::from_secs(120)));
        assert!(duration("5 parsecs").is_err() && duration("-1s").is_err());
        assert_eq!(chance("25%"), Ok(0.25));
        assert!(chance("1.1").is_err() && chance("nan").is_err());
    }
}
