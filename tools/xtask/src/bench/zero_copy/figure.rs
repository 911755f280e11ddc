//! What is measured of the host stack, and what it is to reach.

use crate::bench::report::Goal;

/// Who writes received bytes into the guest's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The NIC.
    ZeroCopy,
    /// The host stack, out of buffers of its own.
    Copy,
}

impl Subject {
    /// Both, the one that has something to reach first.
    pub const ALL: [Self; 2] = [Self::ZeroCopy, Self::Copy];

    /// Name in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero_copy",
            Self::Copy => "copy",
        }
    }

    /// The host stack's word for it.
    pub const fn mode(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
        }
    }
}

/// What is measured without a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Frames of 1514 bytes that arrive.
    Receive1514,
    /// Frames of 60 bytes that arrive and leave again.
    Forward60,
}

impl Figure {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Receive1514, Self::Forward60];

    /// Name in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive1514 => "stack_rx_1514",
            Self::Forward60 => "stack_forward_60",
        }
    }

    /// Bytes of a frame without FCS.
    pub const fn len(self) -> &'static str {
        match self {
            Self::Receive1514 => "1514",
            Self::Forward60 => "60",
        }
    }

    /// What the client process is to do.
    pub const fn client(self) -> &'static str {
        match self {
            Self::Receive1514 => "stack-receive",
            Self::Forward60 => "stack-forward",
        }
    }
}

/// What a figure is to reach.
pub fn goals(figure: &str) -> Vec<Goal> {
    match figure {
        // 1.7 Gbit/s in the place of 1.1.
        "stack_rx_1514" => vec![Goal::ahead(1.55, &["copy"])],
        "stack_forward_60" => vec![Goal::at_least(5.0)],
        // Where the guest bounds the throughput: 35 % less of a core for the stack.
        _ if figure.starts_with("us_stack_") => vec![Goal::below(0.65, &["copy"])],
        _ if figure.starts_with("tcp_") || figure.starts_with("udp_") => {
            vec![Goal::ahead(1.0, &["copy"])]
        }
        // Packets on one core.
        "ns_stack_forward_60" => vec![Goal::at_most(200.0)],
        // A wire's byte is written to the guest's page once; what waits for a descriptor was copied before.
        "copies_rx_1514" => vec![Goal::at_most(1.01)],
        _ => Vec::new(),
    }
}
