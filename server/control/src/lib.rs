//! The control protocol: what a person does to a running vfio-user-ixgbe.
//!
//! It is [varlink](https://varlink.org) over a UNIX socket: JSON messages that end with a zero byte, an interface
//! described in a language of its own ([`DESCRIPTION`]), and `varlinkctl` as a second client beside `ixgbectl`.
//!
//! - [`Server`] owns the socket, with a thread for each client.
//! - [`channel`] leads from these threads to the worker that owns the port: the server takes the [`Handle`], the worker
//!   the [`Inbox`].
//! - [`Client`] asks.
//!
//! The data path never waits for a client: requests are served once a turn, and frames that a capture's client is too
//! slow for are counted as lost.
//!
//! The wire format is our own code, since it is small and has to bound what a client can make the server allocate: a
//! message has at most [`MAX_MESSAGE`] bytes, and at most 32 clients are served at a time. Not implemented of varlink:
//! `upgrade`, passing of descriptors.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]

mod base64;
mod capture;
mod client;
mod fault;
mod frame;
mod look;
mod protocol;
mod queue;
mod server;
mod session;
mod worker;

pub use client::{Capturing, Client, ClientError, Recording, Stream, Tracing};
pub use fault::{ActiveFault, ActiveState, FaultAdded, Faults, FaultsCleared};
pub use frame::{FrameError, MAX_MESSAGE};
pub use look::{
    View,
    activity::{Activity, DmaActivity, DropActivity, QueueActivity, VectorActivity},
    copies::{AccountAction, Copies, QueueCopies},
    event::{EventKind, TraceEvent},
    judge::{Fate, Fates, MAX_JUDGED, Outcome},
    latency::{LATENCY_BOUNDS, LatencyBucket},
    memory::{MAX_READ, Mapping, Mappings, MemoryAccess, MemoryBacking, MemoryRead, NvmContents},
    record::RecordedCalls,
    registers::{RegisterValue, Registers},
    trace::{TraceFilter, Traced},
};
pub use nic_model::{
    ErrorMessage, HardwareError, Module,
    fault::{Fault, FaultKind, Target, Trigger},
};
pub use protocol::{
    Captured, CapturedFrame, Checked, ControlError, Counter, DESCRIPTION, Direction, Finding,
    Group, INTERFACE, Info, Injected, Led, Leds, Light, Link, Severity, Stats,
};
pub use server::{BindError, Bound, Server, default_path};
pub use worker::{Card, Handle, Inbox, Overview, channel};

/// Bytes of frames that surely fit one call of [`Client::inject`], if each frame is counted with 8 bytes more.
pub const MAX_INJECT_BYTES: usize = 512 << 10;
