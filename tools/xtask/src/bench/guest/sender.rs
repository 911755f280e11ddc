//! Sends small frames into a tap at a chosen rate, from within its network namespace.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrLike, bind,
    sendmmsg, socket,
};

/// Frames in one system call.
const BATCH: usize = 32;
/// A frame without its checksum: 64 bytes on a cable.
const LENGTH: usize = 60;
/// Local experimental Ethertype (IEEE 802): no protocol of the guest takes it.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Frames that the device's queue took.
    pub frames: u64,
    /// How long it took.
    pub took: Duration,
}

/// Sends frames to `destination` out of the interface `name` at `rate` frames per second for `time`. To be called in the
/// interface's namespace; needs the right to open packet sockets there.
pub fn send(name: &str, destination: [u8; 6], rate: u32, time: Duration) -> Result<Sent> {
    let socket = open(name)?;
    let frame = frame(destination);
    let slices: Vec<[IoSlice<'_>; 1]> = (0..BATCH).map(|_| [IoSlice::new(&frame)]).collect();
    let mut headers: MultiHeaders<LinkAddr> = MultiHeaders::preallocate(BATCH, None);
    let begun = Instant::now();
    let mut sent: u64 = 0;
    while begun.elapsed() < time {
        let due = begun.elapsed().as_secs_f64() * f64::from(rate);
        if due < to_f64(sent) {
            // Shorter than the machine sleeps: the other side may run meanwhile.
            thread::yield_now();
            continue;
        }
        let result = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices,
            [None; BATCH],
            [],
            MsgFlags::MSG_DONTWAIT,
        );
        match result {
            Ok(results) => sent += u64::try_from(results.count()).context("a count of messages")?,
            // The queue is full: what does not fit is not sent.
            Err(Errno::ENOBUFS | Errno::EAGAIN) => thread::yield_now(),
            Err(error) => return Err(error).context("cannot send frames"),
        }
    }
    Ok(Sent {
        frames: sent,
        took: begun.elapsed(),
    })
}

fn open(name: &str) -> Result<OwnedFd> {
    let address = getifaddrs()
        .context("cannot list interfaces")?
        .filter(|interface| interface.interface_name == name)
        .find_map(|interface| {
            interface
                .address
                .and_then(|address| address.as_link_addr().copied())
        })
        .with_context(|| format!("there is no interface {name}"))?;
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .context("cannot open a packet socket")?;
    bind(socket.as_raw_fd(), &address)
        .with_context(|| format!("cannot use {name}, length {}", address.len()))?;
    Ok(socket)
}

fn frame(destination: [u8; 6]) -> [u8; LENGTH] {
    let source = [0x02, 0, 0, 0, 0, 0x99];
    let mut frame = [0; LENGTH];
    let header = destination.into_iter().chain(source).chain(ETHERTYPE);
    for (byte, value) in frame.iter_mut().zip(header) {
        *byte = value;
    }
    frame
}

/// A count as a number to calculate with; exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of seconds of traffic are far below 2^53"
)]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}
