//! What the driver checker has to find in a scenario: nothing, but for those that break rules on purpose.

use anyhow::{Result, ensure};
use nic_model::check::Finding;

/// Scenarios that break rules, and which.
const ON_PURPOSE: &[(&str, &[&str])] = &[
    (
        "a_receive_ring_outside_memory_stops_only_its_queue",
        &["ring-changed-while-enabled", "ring-unmapped"],
    ),
    (
        "a_transmit_ring_outside_memory_stops_only_its_queue",
        &["ring-changed-while-enabled", "ring-unmapped"],
    ),
    (
        "a_tail_past_the_end_of_the_ring_stops_only_its_queue",
        &["ring-changed-while-enabled", "tail-past-ring"],
    ),
    (
        "rings_of_no_length_do_nothing",
        &["ring-changed-while-enabled", "ring-length-illegal"],
    ),
    (
        "descriptors_that_point_nowhere_stop_only_their_queue",
        &[
            "buffer-posted-twice",
            "buffer-unmapped",
            "descriptor-changed-while-owned",
        ],
    ),
    (
        "segmentation_with_nonsense_in_its_context_harms_nobody",
        &["checksum-contradicts-frame", "tso-contradicts-frame"],
    ),
    // They reset the card in the midst of traffic.
    (
        "a_reset_under_traffic_leaves_a_card_that_works",
        &["reset-not-waited-for", "reset-with-dma-running"],
    ),
    (
        "after_a_reset_nothing_is_written_to_the_old_rings",
        &["reset-with-dma-running"],
    ),
];

/// Scenarios that do whatever comes up, and so break whatever rules there are.
const AT_RANDOM: &[&str] = &[
    "descriptors_of_random_bytes_harm_nobody",
    "registers_of_random_values_harm_nobody",
];

/// Compares what was found with what is in the table, name by name.
pub fn compare(scenario: &str, findings: &[Finding]) -> Result<()> {
    if AT_RANDOM.contains(&scenario) {
        ensure!(!findings.is_empty(), "the driver checker has found nothing");
        return Ok(());
    }
    let mut found: Vec<&str> = findings.iter().map(|finding| finding.rule.name()).collect();
    found.sort_unstable();
    found.dedup();
    let expected = ON_PURPOSE
        .iter()
        .find(|(name, _)| *name == scenario)
        .map_or(&[] as &[&str], |(_, rules)| rules);
    let told: Vec<String> = findings.iter().map(Finding::to_string).collect();
    ensure!(
        found == expected,
        "the driver checker has found {found:?} instead of {expected:?}:\n{}",
        told.join("\n")
    );
    Ok(())
}
