//! `nic-bench`: the client process of `cargo xtask bench wire` and `cargo xtask bench zero-copy`.
//!
//! It drives an 82599 over its vfio-user socket with the user-mode driver, or a host stack over its vhost-user socket in
//! the place of a guest, and measures one figure, or one of the things that figures are compared with. What it measured is one line of JSON: value and unit.
#![forbid(unsafe_code)]

mod card;
mod echo;
mod host_stack;
mod latency;
mod memory;
mod traffic;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use serde::Serialize;

/// Measures one figure of an 82599 that is served over vfio-user.
#[derive(Debug, Parser)]
#[command(name = "nic-bench")]
struct Arguments {
    /// How long to measure, in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    milliseconds: u64,

    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Frames that arrive, of a server with `--wire generate:max,LEN`; the first 100,000 are checked byte for byte
    Receive(Traffic),
    /// Frames that leave
    Transmit(Traffic),
    /// Both at once
    Duplex(Traffic),
    /// Payload of 64 KB segments that leave whole
    Tso(Traffic),
    /// Sends 100,000 frames to a server with `--wire loopback` and checks each that comes back byte for byte
    Check(Traffic),
    /// Frames from one port to another of the same server, with `--wire pair:NAME` at both; the first 100,000 are
    /// checked byte for byte
    Pair {
        #[command(flatten)]
        traffic: Traffic,
        /// The vfio-user socket of the port that receives
        to: PathBuf,
    },
    /// Frames that leave several ports, each with a thread that drives it
    Ports {
        /// Their vfio-user sockets
        #[arg(required = true)]
        sockets: Vec<PathBuf>,
    },
    /// From the doorbell of a transmit queue to the frame and the interrupt of the receive queue, of a server with
    /// `--wire loopback`: the median
    Latency {
        /// The server's vfio-user socket
        socket: PathBuf,
    },
    /// From the doorbell of a transmit queue to the written-back descriptor of the receive queue, of a server with
    /// `--wire loopback --doorbells mapped`: the median
    LatencyMapped {
        /// The server's vfio-user socket
        socket: PathBuf,
    },
    /// Brings the card up and does nothing more, until it is killed
    Hold {
        /// The server's vfio-user socket
        socket: PathBuf,
    },
    /// One register read after the other: the median
    RegisterRead {
        /// The server's vfio-user socket
        socket: PathBuf,
    },
    /// The same exchange with `echo-server`: the median
    Echo {
        /// Its socket
        socket: PathBuf,
    },
    /// Answers what a register read asks, and does nothing else
    EchoServer {
        /// Where to listen
        socket: PathBuf,
    },
    /// Frames that arrive through a host stack, of a server with `--wire generate:max,LEN`; the first 100,000 are checked
    /// byte for byte
    StackReceive(host_stack::Options),
    /// Frames that arrive through a host stack and leave through it, likewise
    StackForward(host_stack::Options),
    /// Copies of blocks into a ring of buffers
    Memcpy {
        /// Bytes of a block
        len: usize,
        /// Buffers of the ring
        #[arg(long, default_value_t = 1024)]
        ring: usize,
    },
}

/// Who is driven, and with what.
#[derive(Clone, Debug, clap::Args)]
struct Traffic {
    /// The server's vfio-user socket
    socket: PathBuf,

    /// Bytes of a frame without FCS
    #[arg(long, default_value_t = 60)]
    len: u16,

    /// Descriptors of a ring
    #[arg(long, default_value_t = 1024)]
    ring: usize,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
struct Measured {
    value: f64,
    unit: &'static str,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nic-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let time = Duration::from_millis(arguments.milliseconds);
    let measured = match &arguments.what {
        What::Receive(traffic) => traffic::receive(traffic, time)?,
        What::Transmit(traffic) => traffic::transmit(traffic, time)?,
        What::Duplex(traffic) => traffic::duplex(traffic, time)?,
        What::Tso(traffic) => traffic::tso(traffic, time)?,
        What::Check(traffic) => return traffic::check(traffic),
        What::Pair { to, traffic } => traffic::pair(traffic, to, time)?,
        What::Ports { sockets } => traffic::ports(sockets, time)?,
        What::Latency { socket } => latency::doorbell_to_interrupt(socket, time)?,
        What::LatencyMapped { socket } => latency::doorbell_to_descriptor(socket, time)?,
        What::Hold { socket } => return card::hold(socket),
        What::RegisterRead { socket } => latency::register_read(socket, time)?,
        What::Echo { socket } => echo::client(socket, time)?,
        What::EchoServer { socket } => return echo::serve(socket),
        What::StackReceive(options) => return tell(&host_stack::receive(options, time)?),
        What::StackForward(options) => return tell(&host_stack::forward(options, time)?),
        What::Memcpy { len, ring } => memory::copies(*len, *ring, time),
    };
    tell(&measured)
}

fn tell(measured: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(measured)?);
    Ok(())
}

/// A count as a number to calculate with; exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of seconds of traffic are far below 2^53"
)]
fn to_f64(count: u64) -> f64 {
    count as f64
}
