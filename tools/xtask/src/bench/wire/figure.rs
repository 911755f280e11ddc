//! The figures of the NIC alone, and what they are to reach.

use crate::bench::report::{Goal, cores};

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Frames of 60 bytes that arrive.
    Receive60,
    /// Frames of 60 bytes that leave.
    Transmit60,
    /// Both at once, added.
    Duplex60,
    /// Frames of 1514 bytes that arrive.
    Receive1514,
    /// Payload of large TCP segments that the wire takes whole.
    Tso64k,
    /// Frames of 1514 bytes from one port of a server to another.
    Pair1514,
    /// From the doorbell to the frame and its interrupt.
    LatencyPosted,
    /// From the doorbell, a store, to the written-back descriptor.
    LatencyMapped,
    /// A register read and its reply.
    RegisterRead,
    /// Processor time of a server whose client does nothing.
    IdleCpu,
    /// Memory of the server that is not its client's.
    PortMemory,
    /// What 16 ports of one server send, in times of what one sends.
    Ports16,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Receive60,
        Self::Transmit60,
        Self::Duplex60,
        Self::Receive1514,
        Self::Tso64k,
        Self::Pair1514,
        Self::LatencyPosted,
        Self::LatencyMapped,
        Self::RegisterRead,
        Self::IdleCpu,
        Self::PortMemory,
        Self::Ports16,
    ];

    /// Name in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive60 => "rx_60",
            Self::Transmit60 => "tx_60",
            Self::Duplex60 => "duplex_60",
            Self::Receive1514 => "rx_1514",
            Self::Tso64k => "tso_64k",
            Self::Pair1514 => "pair_1514",
            Self::LatencyPosted => "latency_posted",
            Self::LatencyMapped => "latency_mapped",
            Self::RegisterRead => "register_read",
            Self::IdleCpu => "idle_cpu",
            Self::PortMemory => "port_memory",
            Self::Ports16 => "ports_16",
        }
    }

    /// What is at the other end of the server's cable.
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Receive60 | Self::Duplex60 => "generate:max,60",
            Self::Receive1514 => "generate:max,1514",
            Self::Transmit60
            | Self::RegisterRead
            | Self::IdleCpu
            | Self::PortMemory
            | Self::Ports16 => "null",
            // It copies each segment and has next to nothing to say.
            Self::Tso64k => "generate:1pps,60",
            Self::Pair1514 => "pair:bench",
            Self::LatencyPosted | Self::LatencyMapped => "loopback",
        }
    }

    /// How the server is told of doorbells.
    pub const fn doorbells(self) -> &'static str {
        match self {
            Self::LatencyMapped => "mapped",
            _ => "posted",
        }
    }

    /// How many ports the server has.
    pub const fn ports(self) -> usize {
        match self {
            Self::Pair1514 => 2,
            Self::Ports16 => 16,
            _ => 1,
        }
    }
}

/// What a figure is to reach.
pub fn goals(figure: &str) -> Vec<Goal> {
    match figure {
        // Twice the line rate of the card.
        "rx_60" | "tx_60" => vec![Goal::at_least(30.0)],
        // Line rate both ways, as one core with a good driver has of a real card.
        "duplex_60" => vec![Goal::at_least(29.76)],
        "rx_1514" => vec![Goal::at_least(100.0), Goal::ahead(0.6, &["memcpy"])],
        "tso_64k" => vec![Goal::at_least(200.0)],
        "pair_1514" => vec![Goal::at_least(50.0)],
        "latency_posted" => vec![Goal::at_most(15.0)],
        "latency_mapped" => vec![Goal::at_most(1.0)],
        "register_read" => vec![Goal::below(1.3, &["echo"])],
        "idle_cpu" => vec![Goal::at_most(0.0)],
        "port_memory" => vec![Goal::at_most(30.0)],
        // A port and its driver keep two cores busy.
        "ports_16" => {
            let pairs = u32::try_from(cores() / 2).unwrap_or(1).clamp(1, 16);
            vec![Goal::at_least(pairs.into())]
        }
        _ => Vec::new(),
    }
}
