//! All trials, by what they are about.

mod broken;
mod bulk;
mod contract;
mod faults;
mod filters;
mod flood;
mod fragments;
mod life;
mod reach;
mod sizes;

use crate::suite::Trial;

/// All trials, in the order in which they are run: those that say most come first, and what may leave a weak driver in
/// ruins comes last.
pub const TRIALS: &[Trial] = &[
    trial(
        "reach",
        "the driver receives and the link is up",
        reach::link,
    ),
    trial("reach", "ARP is answered", reach::arp),
    trial(
        "reach",
        "ARP for another address is not",
        reach::arp_for_another,
    ),
    trial("sizes", "echo of every size up to the MTU", sizes::every),
    trial(
        "sizes",
        "a frame beyond the MTU does no harm",
        sizes::beyond,
    ),
    trial(
        "filters",
        "another station's frames are not answered",
        filters::unicast,
    ),
    trial(
        "filters",
        "a tag of a foreign VLAN is not answered",
        filters::foreign_vlan,
    ),
    trial(
        "filters",
        "the guest's VLAN is answered with its tag",
        filters::own_vlan,
    ),
    trial(
        "filters",
        "broadcasts and foreign groups do no harm",
        filters::groups,
    ),
    trial(
        "broken",
        "a bad IP checksum is not answered",
        broken::ip_checksum,
    ),
    trial(
        "broken",
        "a bad ICMP checksum is not answered",
        broken::icmp_checksum,
    ),
    trial("broken", "a bad FCS is not answered", broken::fcs),
    trial("broken", "wrong lengths do no harm", broken::lengths),
    trial(
        "broken",
        "runts and truncated headers do no harm",
        broken::runts,
    ),
    trial(
        "fragments",
        "fragments in any order are put together",
        fragments::whole,
    ),
    trial(
        "fragments",
        "an incomplete packet is not answered",
        fragments::incomplete,
    ),
    trial(
        "fragments",
        "overlapping fragments do no harm",
        fragments::overlapping,
    ),
    trial("bulk", "TCP both ways, byte for byte", bulk::echo),
    trial("flood", "a flood of small frames and its end", flood::small),
    trial("flood", "a burst of large frames and its end", flood::large),
    trial("life", "link flaps", life::flaps),
    trial("life", "ECC errors", life::ecc),
    // Before faults of the NIC, which the checker may take for the driver's.
    trial(
        "contract",
        "the driver keeps the datasheet's rules",
        contract::findings,
    ),
    trial(
        "faults",
        "lost interrupts are made up for",
        faults::lost_interrupts,
    ),
    trial(
        "faults",
        "interrupts without a cause do no harm",
        faults::spurious_interrupts,
    ),
    trial(
        "faults",
        "late write-backs lose nothing",
        faults::late_write_backs,
    ),
    trial(
        "faults",
        "a transmit hang is noticed and ended",
        faults::transmit_hang,
    ),
    trial(
        "faults",
        "a refused DMA read is got over",
        faults::dma_error,
    ),
];

const fn trial(
    chapter: &'static str,
    name: &'static str,
    run: fn(&mut crate::Station<'_>, &crate::Wish) -> anyhow::Result<crate::Outcome>,
) -> Trial {
    Trial { name, chapter, run }
}
