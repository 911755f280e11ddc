//! Which metric a counter is: its family, its labels, and what it says.

use std::borrow::Cow;

use control::{Counter, Group};

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They only grow.
    Counter,
    /// They come and go.
    Gauge,
}

/// What they are counted in, if the name says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things that the name tells.
    None,
    /// Bytes.
    Bytes,
}

/// A family of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// Its name, without the prefix `ixgbe_`, its unit and `_total`.
    pub name: &'static str,
    pub unit: Unit,
    pub kind: Kind,
    pub help: &'static str,
    /// Label of the number that a counter has in brackets.
    index: &'static str,
}

const fn counter(name: &'static str, index: &'static str, help: &'static str) -> Family {
    Family {
        name,
        unit: Unit::None,
        kind: Kind::Counter,
        help,
        index,
    }
}

const fn bytes(name: &'static str, index: &'static str, help: &'static str) -> Family {
    Family {
        unit: Unit::Bytes,
        ..counter(name, index, help)
    }
}

/// All families of counters, in the order in which they are written.
pub(super) const FAMILIES: [Family; 37] = [
    RX_PACKETS,
    RX_BYTES,
    TX_PACKETS,
    TX_BYTES,
    MAC_RX_PACKETS,
    MAC_RX_BYTES,
    MAC_TX_PACKETS,
    MAC_TX_BYTES,
    MAC_RX_CAST,
    MAC_TX_CAST,
    MAC_RX_SIZE,
    MAC_TX_SIZE,
    RX_MISSED,
    RX_RING_DROPPED,
    RX_ERRORS,
    RX_JABBERS,
    RX_CHECKSUM_ERRORS,
    RX_PAUSE,
    TX_PAUSE,
    REGISTER,
    INTERRUPTS,
    INTERRUPTS_HELD,
    INTERRUPTS_FAILED,
    DMA_REFUSED,
    DMA_PENDING,
    DMA_MAPS,
    DMA_UNMAPS,
    DMA_RANGES,
    GUEST_FAULTS,
    CLIENTS,
    CLIENT_MESSAGES,
    WORKER_TURNS,
    WORKER_SLEEPS,
    WIRE_FRAMES,
    WIRE_BYTES,
    WIRE_DROPPED,
    OTHER,
];

const RX_PACKETS: Family = counter(
    "rx_packets",
    "queue",
    "Packets written to the ring of a receive queue",
);
const RX_BYTES: Family = bytes("rx", "queue", "Bytes of these packets, as QBRC counts them");
const TX_PACKETS: Family = counter("tx_packets", "queue", "Packets sent from a transmit queue");
const TX_BYTES: Family = bytes("tx", "queue", "Bytes of these packets, as QBTC counts them");
const MAC_RX_PACKETS: Family = counter(
    "mac_rx_packets",
    "",
    "Good packets that passed the filters (GPRC)",
);
const MAC_RX_BYTES: Family = bytes("mac_rx", "", "Their bytes, with FCS (GORC)");
const MAC_TX_PACKETS: Family = counter("mac_tx_packets", "", "Good packets sent (GPTC)");
const MAC_TX_BYTES: Family = bytes("mac_tx", "", "Their bytes, with FCS (GOTC)");
const MAC_RX_CAST: Family = counter(
    "mac_rx_group_packets",
    "",
    "Of the packets received, those to a group of stations (MPRC, BPRC)",
);
const MAC_TX_CAST: Family = counter(
    "mac_tx_group_packets",
    "",
    "Of the packets sent, those to a group of stations (MPTC, BPTC)",
);
const MAC_RX_SIZE: Family = counter(
    "mac_rx_size_packets",
    "",
    "Good packets received, by their bytes with FCS (PRC64 to PRC1522)",
);
const MAC_TX_SIZE: Family = counter(
    "mac_tx_size_packets",
    "",
    "Packets sent, by their bytes with FCS (PTC64 to PTC1522)",
);
const RX_MISSED: Family = counter(
    "rx_missed_packets",
    "buffer",
    "Packets dropped because a receive packet buffer was full (MPC)",
);
const RX_RING_DROPPED: Family = counter(
    "rx_ring_dropped_packets",
    "counter",
    "Packets dropped at receive queues, by the statistics register that RQSMR gives these (QPRDC)",
);
const RX_ERRORS: Family = counter(
    "rx_errors",
    "",
    "Packets received with an error, by what the MAC found; each is in one of these",
);
const RX_JABBERS: Family = counter(
    "rx_jabber_packets",
    "",
    "Of the packets received with a wrong FCS, those that were too long as well (RJC)",
);
const RX_CHECKSUM_ERRORS: Family = counter(
    "rx_checksum_errors",
    "",
    "Good packets whose IPv4, TCP, UDP or SCTP checksum is wrong (XEC)",
);
const RX_PAUSE: Family = counter(
    "rx_pause_frames",
    "priority",
    "Flow control frames received (LXONRXCNT, LXOFFRXCNT; with priority PXONRXCNT, PXOFFRXCNT)",
);
const TX_PAUSE: Family = counter(
    "tx_pause_frames",
    "priority",
    "Flow control frames sent (LXONTXC, LXOFFTXC; with priority PXONTXC, PXOFFTXC)",
);
const REGISTER: Family = counter(
    "statistics_register",
    "index",
    "Any other statistics register, by the datasheet's name",
);
const INTERRUPTS: Family = counter("interrupts", "", "Interrupts given to the client");
const INTERRUPTS_HELD: Family = counter(
    "interrupts_held",
    "",
    "Interrupts kept because the vector is masked or has no eventfd yet",
);
const INTERRUPTS_FAILED: Family = counter(
    "interrupts_failed",
    "",
    "Interrupts whose eventfd could not be written",
);
const DMA_REFUSED: Family = counter(
    "dma_refused_accesses",
    "",
    "Accesses to client memory that is not mapped for them",
);
const DMA_PENDING: Family = counter(
    "dma_pending_accesses",
    "",
    "Accesses to client memory that had to ask the client",
);
const DMA_MAPS: Family = counter("dma_maps", "", "Ranges of memory the client has mapped");
const DMA_UNMAPS: Family = counter(
    "dma_unmaps",
    "",
    "Ranges of memory the client has taken back",
);
const DMA_RANGES: Family = Family {
    kind: Kind::Gauge,
    ..counter("dma_ranges", "", "Ranges of client memory mapped now")
};
const GUEST_FAULTS: Family = counter("guest_faults", "", "What the guest's driver did wrong");
const CLIENTS: Family = counter("clients", "", "Clients that have connected");
const CLIENT_MESSAGES: Family = counter("client_messages", "", "Messages of the clients");
const WORKER_TURNS: Family = counter("worker_turns", "", "Turns of the port's thread");
const WORKER_SLEEPS: Family = counter("worker_sleeps", "", "Times the port's thread slept");
const WIRE_FRAMES: Family = counter("wire_frames", "", "Frames that passed the cable");
const WIRE_BYTES: Family = bytes("wire", "", "Their bytes, without FCS");
const WIRE_DROPPED: Family = counter("wire_dropped_frames", "", "Frames the wire has dropped");
const OTHER: Family = counter(
    "events",
    "index",
    "Any other counter of the model or the cable",
);

/// Labels of a sample, but for its port.
pub(super) type Labels = Vec<(&'static str, String)>;

/// The family of a counter, and its labels there. Each counter has a place, and no two of them the same.
pub(super) fn place(counter: &Counter) -> (Family, Labels) {
    let (name, index) = split(&counter.name);
    let (family, label) = match counter.group {
        Group::Hardware => hardware(name),
        Group::Model => model(name.strip_prefix("model.").unwrap_or(name)),
        Group::Wire => wire(name),
    };
    let mut labels = Labels::new();
    if family.name == OTHER.name {
        labels.push(("group", counter.group.name().to_owned()));
    }
    labels.extend(label.map(|(key, value)| (key, value.into_owned())));
    if let Some(index) = index {
        labels.push((family.index, index.to_owned()));
    }
    (family, labels)
}

/// A name and the number in brackets behind it.
fn split(name: &str) -> (&str, Option<&str>) {
    let split = name
        .strip_suffix(']')
        .and_then(|rest| rest.rsplit_once('['));
    split.map_or((name, None), |(name, index)| (name, Some(index)))
}

type Label<'a> = Option<(&'static str, Cow<'a, str>)>;

fn hardware(name: &str) -> (Family, Label<'_>) {
    let labelled = |family, key, value: &'static str| (family, Some((key, value.into())));
    match name {
        "GPRC" => (MAC_RX_PACKETS, None),
        "GORC" => (MAC_RX_BYTES, None),
        "GPTC" => (MAC_TX_PACKETS, None),
        "GOTC" => (MAC_TX_BYTES, None),
        "MPRC" => labelled(MAC_RX_CAST, "cast", "multicast"),
        "BPRC" => labelled(MAC_RX_CAST, "cast", "broadcast"),
        "MPTC" => labelled(MAC_TX_CAST, "cast", "multicast"),
        "BPTC" => labelled(MAC_TX_CAST, "cast", "broadcast"),
        "PRC64" => labelled(MAC_RX_SIZE, "size", "64"),
        "PRC127" => labelled(MAC_RX_SIZE, "size", "65-127"),
        "PRC255" => labelled(MAC_RX_SIZE, "size", "128-255"),
        "PRC511" => labelled(MAC_RX_SIZE, "size", "256-511"),
        "PRC1023" => labelled(MAC_RX_SIZE, "size", "512-1023"),
        "PRC1522" => labelled(MAC_RX_SIZE, "size", "1024-max"),
        "PTC64" => labelled(MAC_TX_SIZE, "size", "64"),
        "PTC127" => labelled(MAC_TX_SIZE, "size", "65-127"),
        "PTC255" => labelled(MAC_TX_SIZE, "size", "128-255"),
        "PTC511" => labelled(MAC_TX_SIZE, "size", "256-511"),
        "PTC1023" => labelled(MAC_TX_SIZE, "size", "512-1023"),
        "PTC1522" => labelled(MAC_TX_SIZE, "size", "1024-max"),
        "MPC" => (RX_MISSED, None),
        "QPRDC" => (RX_RING_DROPPED, None),
        "CRCERRS" => labelled(RX_ERRORS, "error", "crc"),
        "ILLERRC" => labelled(RX_ERRORS, "error", "illegal_byte"),
        "ERRBC" => labelled(RX_ERRORS, "error", "error_byte"),
        "MSPDC" => labelled(RX_ERRORS, "error", "short"),
        "RLEC" => labelled(RX_ERRORS, "error", "length"),
        "RUC" => labelled(RX_ERRORS, "error", "undersize"),
        "RFC" => labelled(RX_ERRORS, "error", "fragment"),
        "ROC" => labelled(RX_ERRORS, "error", "oversize"),
        "RJC" => (RX_JABBERS, None),
        "XEC" => (RX_CHECKSUM_ERRORS, None),
        "LXONRXCNT" | "PXONRXCNT" => labelled(RX_PAUSE, "kind", "xon"),
        "LXOFFRXCNT" | "PXOFFRXCNT" => labelled(RX_PAUSE, "kind", "xoff"),
        "LXONTXC" | "PXONTXC" => labelled(TX_PAUSE, "kind", "xon"),
        "LXOFFTXC" | "PXOFFTXC" => labelled(TX_PAUSE, "kind", "xoff"),
        other => (REGISTER, Some(("register", other.into()))),
    }
}

fn model(name: &str) -> (Family, Label<'_>) {
    match name {
        "rx_packets" => (RX_PACKETS, None),
        "rx_bytes" => (RX_BYTES, None),
        "tx_packets" => (TX_PACKETS, None),
        "tx_bytes" => (TX_BYTES, None),
        "interrupts" => (INTERRUPTS, None),
        "interrupts_held" => (INTERRUPTS_HELD, None),
        "interrupts_failed" => (INTERRUPTS_FAILED, None),
        "dma_refused" => (DMA_REFUSED, None),
        "dma_pending" => (DMA_PENDING, None),
        "dma_maps" => (DMA_MAPS, None),
        "dma_unmaps" => (DMA_UNMAPS, None),
        "dma_ranges" => (DMA_RANGES, None),
        "clients" => (CLIENTS, None),
        "messages" => (CLIENT_MESSAGES, None),
        "turns" => (WORKER_TURNS, None),
        "sleeps" => (WORKER_SLEEPS, None),
        "ring_dma" | "buffer_dma" | "tail_past_end" | "ring_length" | "descriptor" | "offload"
        | "pool" | "register_access" => (GUEST_FAULTS, Some(("fault", name.into()))),
        other => (OTHER, Some(("counter", other.into()))),
    }
}

fn wire(name: &str) -> (Family, Label<'_>) {
    let directed =
        |family, direction: &'static str| (family, Some(("direction", direction.into())));
    match name {
        "tx_frames" => directed(WIRE_FRAMES, "tx"),
        "rx_frames" => directed(WIRE_FRAMES, "rx"),
        "tx_bytes" => directed(WIRE_BYTES, "tx"),
        "rx_bytes" => directed(WIRE_BYTES, "rx"),
        "tx_dropped" => directed(WIRE_DROPPED, "tx"),
        "rx_dropped" => directed(WIRE_DROPPED, "rx"),
        other => (OTHER, Some(("counter", other.into()))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nic_model::{Port, PortConfig};

    use super::*;

    #[test]
    fn a_queues_counter_has_its_number_as_a_label() {
        let (family, labels) = place(&Counter::new(Group::Model, "model.rx_packets[3]", 7));

        assert_eq!(family.name, "rx_packets");
        assert_eq!(labels, [("queue", "3".to_owned())]);
    }

    #[test]
    fn a_counter_that_is_not_known_here_is_there_all_the_same() {
        let places = [
            Counter::new(Group::Hardware, "NEWC[2]", 1),
            Counter::new(Group::Model, "model.new", 1),
            Counter::new(Group::Wire, "new", 1),
        ]
        .map(|counter| place(&counter))
        .map(|(family, labels)| (family.name, labels.len()));

        assert_eq!(
            places,
            [("statistics_register", 2), ("events", 2), ("events", 2)]
        );
    }

    #[test]
    fn no_two_counters_of_a_port_have_the_same_place() {
        let port = Port::new(PortConfig::new([2, 0, 0, 0, 0, 1]));
        let places: Vec<_> = Counter::of_port(&port)
            .map(|counter| place(&counter))
            .map(|(family, labels)| (family.name, family.unit == Unit::Bytes, labels))
            .collect();

        let unique: BTreeSet<_> = places.iter().collect();

        assert!(places.len() > 100);
        assert_eq!(unique.len(), places.len());
    }

    #[test]
    fn the_page_names_each_family() {
        let page = include_str!("../../../docs/watching.md");

        let missing = FAMILIES.iter().find(|family| {
            let unit = match family.unit {
                Unit::None => "",
                Unit::Bytes => "_bytes",
            };
            !page.contains(&format!("`ixgbe_{}{unit}`", family.name))
        });

        assert_eq!(missing, None);
    }

    #[test]
    fn each_family_has_a_name_of_its_own() {
        let names: BTreeSet<_> = FAMILIES
            .iter()
            .map(|family| (family.name, family.unit == Unit::Bytes))
            .collect();

        assert_eq!(names.len(), FAMILIES.len());
    }
}
