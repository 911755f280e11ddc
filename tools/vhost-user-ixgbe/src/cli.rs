//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::{
    negotiated::{Offer, Switch},
    polling::Polling,
    receive::Mode,
    stack::{MAX_PAIRS, Settings},
};

/// A zero-copy host stack: a virtio-net guest's buffers on the rings of an 82599
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    /// Socket that QEMU connects to (-netdev vhost-user)
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Socket of the server of the card (vfio-user)
    #[arg(long, value_name = "PATH")]
    pub nic: PathBuf,
    /// How received frames come into the guest's pages: written by the card, or copied
    #[arg(long, value_enum, default_value = "zero-copy")]
    pub rx: Rx,
    /// Split headers off received packets: the card writes the payload to the guest's pages, and the headers to a small
    /// buffer of this process, which copies them in front
    #[arg(long, value_enum, default_value = "off")]
    pub packet_split: OnOff,
    /// Offer mergeable receive buffers
    #[arg(long, value_enum, default_value = "on")]
    pub mergeable: OnOff,
    /// Offer checksums and segmentation of TCP and UDP by the card
    #[arg(long, value_enum, default_value = "on")]
    pub offloads: OnOff,
    /// Offer large receives: the card coalesces the segments of TCP connections (RSC). Needs offloads, and mergeable
    /// buffers where the card writes to the guest's pages
    #[arg(long, value_enum, default_value = "off")]
    pub rsc: OnOff,
    /// Queue pairs
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=MAX_PAIRS as i64))]
    pub queues: u8,
    /// Longest IP packet
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1500..=9700))]
    pub mtu: u16,
    /// Longest pause between packets, in microseconds, to be polled through while such pauses are usual; interrupts are
    /// asked for in longer ones. 0 for interrupts only; always for no interrupts
    #[arg(long, value_name = "MICROSECONDS|always", default_value = "50")]
    pub poll_us: Polling,
    /// What is logged, as tracing has it
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// How received frames come into the guest's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rx {
    /// The card writes them there
    ZeroCopy,
    /// The card writes them into buffers of this process, which copies them
    Copy,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// It is
    On,
    /// It is not
    Off,
}

impl From<OnOff> for Switch {
    fn from(value: OnOff) -> Self {
        match value {
            OnOff::On => Self::On,
            OnOff::Off => Self::Off,
        }
    }
}

impl Arguments {
    /// What the stack is made of.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            rx: match self.rx {
                Rx::ZeroCopy => Mode::ZeroCopy,
                Rx::Copy => Mode::Copy,
            },
            packet_split: self.packet_split.into(),
            offer: Offer {
                mergeable: self.mergeable.into(),
                offloads: self.offloads.into(),
                large_receive: self.rsc.into(),
            },
            pairs: self.queues.into(),
            mtu: self.mtu,
        }
    }
}
