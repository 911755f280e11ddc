//! The scenarios, by what they are about.

mod checksums;
mod dcb;
mod fcoe;
mod filters;
mod hostile;
mod interrupts;
mod ipsec;
mod jumbo;
mod large_receive;
mod link;
mod pools;
mod resets;
mod rings;
mod rss;
mod segmentation;
mod statistics;
mod time;
mod vlan;

use crate::scenario::Scenario;

/// All scenarios.
#[must_use]
pub fn all() -> Vec<Scenario> {
    [
        link::SCENARIOS,
        filters::SCENARIOS,
        vlan::SCENARIOS,
        rss::SCENARIOS,
        pools::SCENARIOS,
        dcb::SCENARIOS,
        checksums::SCENARIOS,
        segmentation::SCENARIOS,
        jumbo::SCENARIOS,
        large_receive::SCENARIOS,
        rings::SCENARIOS,
        interrupts::SCENARIOS,
        fcoe::SCENARIOS,
        statistics::SCENARIOS,
        time::SCENARIOS,
        ipsec::SCENARIOS,
        resets::SCENARIOS,
        hostile::SCENARIOS,
    ]
    .concat()
}
