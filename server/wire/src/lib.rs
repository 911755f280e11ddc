//! What is on the other end of the 82599's cable.
//!
//! A [`Backend`] is a [`nic_model::Wire`] that the server's loop can wait for. There are
//!
//! - [`Host`]: a small host with DHCP, ping, echo, discard and chargen, inside this process;
//! - [`Tap`]: a Linux tap device;
//! - [`StreamSocket`] and [`DatagramSocket`]: another process, by QEMU's framing;
//! - [`AfPacket`]: a network interface of this machine, by a packet socket;
//! - `AfXdp`: one queue of such an interface, past the kernel's network stack (feature `af-xdp`);
//! - [`Pair`]: a cable to another port of this process;
//! - [`Loopback`]: what is sent comes back;
//! - [`Null`]: what is sent is gone;
//! - [`Replay`]: the frames of a capture file;
//! - [`Generate`]: frames at a rate.
//!
//! [`Kind`] is the name under which a person asks for one. [`Tapped`] wraps any of them for capture, injection and
//! link changes; [`file`](mod@file) reads and writes captures.
//!
//! A [`Decoration`] is put on the cable of any of them: a line of a given speed, a latency, a capture. A wire without one has
//! nothing in its way. Faults are put on a [`Tapped`] one while it runs.
//!
//! Every wire hands out frames of at least 60 bytes, as a cable does; a frame that its origin left shorter is padded
//! with zeros.
//!
//! Not there yet: a cable between ports of two processes.
#![forbid(unsafe_code)]

mod af_packet;
#[cfg(feature = "af-xdp")]
mod af_xdp;
mod backend;
mod batch;
mod decoration;
mod fault;
pub mod file;
mod generate;
mod host;
mod interface;
mod kind;
mod line;
mod loopback;
mod need;
mod null;
mod pair;
mod passing;
mod queue;
mod replay;
mod segment;
mod socket;
mod tap;
mod tapped;
mod vnet;
mod xdp_queue;

pub use af_packet::AfPacket;
#[cfg(feature = "af-xdp")]
pub use af_xdp::AfXdp;
pub use backend::{Backend, Counters};
pub use decoration::{Decoration, Latency};
pub use generate::{GENERATED_LEN, Generate, Rate, SEQUENCE, Stream};
pub use host::{Host, HostConfig};
pub use kind::{Kind, OpenError, ParseError};
pub use line::LineRate;
pub use loopback::Loopback;
pub use need::Need;
pub use nic_model::wire::Fcs;
pub use null::Null;
pub use pair::{Cables, Pair};
pub use passing::{Direction, Passing};
pub use replay::{Replay, ReplayError, ReplayOptions, Rounds, Speed};
pub use socket::{
    DatagramAddress, DatagramSocket, InetAddress, Place, Role, SocketError, StreamAddress,
    StreamSocket,
};
pub use tap::Tap;
pub use tapped::{
    Capture, CaptureSink, Damage, INJECTED_LEN, InjectError, Plug, Short, Tapped, TappedCounters,
};
pub use xdp_queue::XdpQueue;
