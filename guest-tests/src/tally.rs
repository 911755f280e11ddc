//! What passed a NIC, as each who counted it says: its driver, the card, the cable.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use control::{Group, Stats};

/// Frames and bytes that passed, by who counted them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// `ethtool -S`, which sums up what the driver has read from the card's registers.
    driver: Passed,
    /// The card's registers for good frames.
    card: Passed,
    crossing: Crossing,
}

/// All frames that passed between a card and its cable, as the two counted them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The card's registers for all frames: sent and received.
    card: [u64; 2],
    /// The cable: frames that came from the card and that went to it.
    cable: [u64; 2],
    /// Frames that were lost because the cable was pulled: of those only some reach the card.
    unplugged: u64,
}

/// What the cable sees of the frames that the card counts as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sent {
    /// Each of them.
    #[default]
    OneByOne,
    /// The card loops some back: it has received them as well, and the cable has seen none of them.
    LoopedBack,
    /// Large frames, which the cable cuts itself and counts once.
    CutByTheCable,
}

/// Frames and bytes sent, frames and bytes received.
type Passed = [u64; 4];

/// What is compared, in the order of [`Passed`].
const NAMES: [&str; 4] = [
    "frames sent",
    "bytes sent",
    "frames received",
    "bytes received",
];

impl Tally {
    /// The tally of what `ethtool -S` and the server say.
    ///
    /// # Errors
    /// A counter is missing.
    pub fn new(driver: &BTreeMap<String, u64>, server: &Stats) -> Result<Self> {
        let driver = |name: &str| {
            let value = driver.get(name).copied();
            value.with_context(|| format!("the driver has no {name}"))
        };
        let card = |name: &str| counted(server, Group::Hardware, name);
        // The driver takes the pause frames that the card has sent out of its counters of good frames.
        let pauses = card("LXONTXC")? + card("LXOFFTXC")?;
        Ok(Self {
            driver: [
                driver("tx_pkts_nic")?,
                driver("tx_bytes_nic")?,
                driver("rx_pkts_nic")?,
                driver("rx_bytes_nic")?,
            ],
            card: [
                card("GPTC")? - pauses,
                card("GOTC")? - 64 * pauses,
                card("GPRC")?,
                card("GORC")?,
            ],
            crossing: Crossing::new(server)?,
        })
    }

    /// Where those who counted disagree on what has passed since `before`: nothing if all is well.
    #[must_use]
    pub fn disagreements(&self, before: &Self) -> Vec<String> {
        let of_driver = NAMES.iter().enumerate().filter_map(|(at, name)| {
            let driver = grown(self.driver[at], before.driver[at]);
            let card = grown(self.card[at], before.card[at]);
            (driver != card).then(|| format!("{name}: the driver says {driver}, the card {card}"))
        });
        let of_cable = self
            .crossing
            .disagreements(&before.crossing, Sent::OneByOne);
        of_driver.chain(of_cable).collect()
    }
}

impl Crossing {
    /// The crossings that the server tells of.
    ///
    /// # Errors
    /// A counter is missing.
    pub fn new(server: &Stats) -> Result<Self> {
        let card = |name: &str| counted(server, Group::Hardware, name);
        let cable = |name: &str| counted(server, Group::Wire, name);
        Ok(Self {
            card: [card("TPT")?, card("TPR")?],
            cable: [
                cable("tx_frames")?,
                cable("rx_frames")? + cable("injected")?,
            ],
            unplugged: cable("unplugged_dropped")?,
        })
    }

    /// Where card and cable disagree on what has passed since `before`: nothing if all is well, or if the cable was pulled
    /// meanwhile.
    #[must_use]
    pub fn disagreements(&self, before: &Self, sent: Sent) -> Vec<String> {
        if self.unplugged != before.unplugged {
            return Vec::new();
        }
        let [card_sent, card_received] = [0, 1].map(|at| grown(self.card[at], before.card[at]));
        let [cable_sent, cable_received] = [0, 1].map(|at| grown(self.cable[at], before.cable[at]));
        let looped = match sent {
            Sent::OneByOne | Sent::CutByTheCable => 0,
            Sent::LoopedBack => card_sent - cable_sent,
        };
        let sides = [
            ("sent", card_sent, cable_sent + looped),
            ("received", card_received, cable_received + looped),
        ];
        let compared = match sent {
            Sent::OneByOne | Sent::LoopedBack => &sides[..],
            Sent::CutByTheCable => &sides[1..],
        };
        let differ = compared.iter().filter(|(_, card, cable)| card != cable);
        differ
            .map(|(name, card, cable)| {
                format!("all {name}: the card says {card}, the cable {cable}")
            })
            .collect()
    }
}

/// By how much a counter has grown.
fn grown(now: u64, then: u64) -> i128 {
    i128::from(now) - i128::from(then)
}

/// The value of a counter of the server.
fn counted(server: &Stats, group: Group, name: &str) -> Result<u64> {
    let mut counters = server.counters.iter();
    let counter = counters.find(|counter| counter.group == group && counter.name == name);
    let value = counter.map(|counter| counter.value);
    value.with_context(|| format!("the server has no {name}"))
}

#[cfg(test)]
mod tests {
    use control::Counter;

    use super::*;

    /// A driver and a server which have seen `sent` frames of 64 bytes; `cable` is what the cable has seen.
    fn tally(sent: u64, cable: u64, pauses: u64) -> Tally {
        let driver = [
            ("tx_pkts_nic", sent),
            ("tx_bytes_nic", 64 * sent),
            ("rx_pkts_nic", 0),
            ("rx_bytes_nic", 0),
        ];
        let driver = driver.map(|(name, value)| (name.to_owned(), value)).into();
        let hardware = [
            ("GPTC", sent + pauses),
            ("GOTC", 64 * (sent + pauses)),
            ("GPRC", 0),
            ("GORC", 0),
            ("TPT", sent + pauses),
            ("TPR", 0),
            ("LXONTXC", pauses),
            ("LXOFFTXC", 0),
        ];
        let wire = [
            ("tx_frames", cable),
            ("rx_frames", 0),
            ("injected", 0),
            ("unplugged_dropped", 0),
        ];
        let of = |group| move |(name, value)| Counter::new(group, name, value);
        let counters = hardware.into_iter().map(of(Group::Hardware));
        let counters = counters.chain(wire.into_iter().map(of(Group::Wire)));
        let server = Stats {
            counters: counters.collect(),
        };
        Tally::new(&driver, &server).unwrap()
    }

    #[test]
    fn who_counts_the_same_agrees() {
        let disagreements = tally(7, 10, 3).disagreements(&tally(2, 2, 0));

        assert_eq!(disagreements, [""; 0]);
    }

    #[test]
    fn a_frame_that_is_missing_on_the_cable_is_a_disagreement() {
        let disagreements = tally(7, 6, 0).disagreements(&tally(0, 0, 0));

        assert_eq!(disagreements, ["all sent: the card says 7, the cable 6"]);
    }

    #[test]
    fn frames_that_a_card_loops_back_are_sent_and_received_and_on_no_cable() {
        let before = tally(0, 0, 0).crossing;
        let looped = Crossing {
            card: [5, 5],
            ..before.clone()
        };
        let lost = Crossing {
            card: [5, 4],
            ..before.clone()
        };

        assert_eq!(looped.disagreements(&before, Sent::LoopedBack), [""; 0]);
        assert_eq!(
            lost.disagreements(&before, Sent::LoopedBack),
            ["all received: the card says 4, the cable 5"]
        );
    }

    #[test]
    fn segments_that_a_cable_cuts_are_not_compared_and_frames_received_are() {
        let before = tally(0, 0, 0).crossing;
        let cut = Crossing {
            card: [5, 3],
            cable: [1, 2],
            ..before.clone()
        };

        assert_eq!(
            cut.disagreements(&before, Sent::CutByTheCable),
            ["all received: the card says 3, the cable 2"]
        );
    }
}
