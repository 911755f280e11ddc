//! Linux tap devices: the set-up that only `ioctl` can do.
//!
//! Each packet read or written carries a virtio-net header of [`VNET_HEADER_LEN`] bytes in front, little-endian as in
//! virtio 1, which says what checksum and segmentation work is still to do.
#![expect(unsafe_code, reason = "ioctl is outside what the compiler can check")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc::{
    self, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6,
    TUNSETCARRIER, TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETVNETLE, c_int, c_short,
    c_ulong,
};
use nix::net::if_::if_nametoindex;
use thiserror::Error;

use crate::interface::{self, RawName};

/// Length of the header in front of each packet: that of virtio 1, with `num_buffers`.
pub const VNET_HEADER_LEN: usize = 12;

/// What the kernel may leave undone in the packets that it hands to the reader of a tap.
///
/// Towards the kernel all of it may be left undone at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Nothing: each packet is complete and fits the device's MTU.
    None,
    /// The TCP or UDP checksum.
    Checksum,
    /// Checksums and the segmentation of TCP over IPv4 and IPv6, with or without ECN: packets of up to 64 KiB.
    Segmentation,
}

impl Offload {
    fn flags(self) -> c_ulong {
        let flags = match self {
            Self::None => 0,
            Self::Checksum => TUN_F_CSUM,
            Self::Segmentation => TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
        };
        flags.into()
    }
}

/// Why a tap device could not be opened.
#[derive(Debug, Error)]
pub enum TapError {
    /// The name is empty, longer than 15 bytes, or holds a byte that no interface name has.
    #[error("{name:?} is not the name of a network interface (1 to 15 bytes)")]
    BadName {
        /// The name that was given.
        name: String,
    },
    /// There is no such interface.
    #[error(
        "there is no network interface {name}; make it with: ip tuntap add dev {name} mode tap user $USER"
    )]
    Missing {
        /// The interface.
        name: String,
    },
    /// The machine has no tap devices, or this user may not open them.
    #[error("cannot open /dev/net/tun; load the module `tun`, or let this user open the device")]
    Device(#[source] io::Error),
    /// The tap belongs to somebody else.
    #[error("may not attach to {name}; make it with: ip tuntap add dev {name} mode tap user $USER")]
    NotAllowed {
        /// The interface.
        name: String,
    },
    /// Another program has it open.
    #[error("{name} is in use by another program; stop that, or take another tap")]
    Busy {
        /// The interface.
        name: String,
    },
    /// It is an interface of another kind.
    #[error(
        "{name} is not a tap device with one queue; make one with: ip tuntap add dev NAME mode tap"
    )]
    NotATap {
        /// The interface.
        name: String,
    },
    /// A step of the set-up failed.
    #[error("{request} on {name} failed")]
    Setup {
        /// The interface.
        name: String,
        /// The request.
        request: &'static str,
        /// Why.
        #[source]
        source: Errno,
    },
}

/// Attaches to the existing tap device `name`, in this thread's network namespace. The descriptor does not block.
///
/// # Errors
/// [`TapError`].
pub fn open(name: &str, offload: Offload) -> Result<OwnedFd, TapError> {
    let owned = || name.to_owned();
    let setup = |request| {
        move |source| TapError::Setup {
            name: name.to_owned(),
            request,
            source,
        }
    };
    let ifr_name = interface::raw_name(name).ok_or_else(|| TapError::BadName { name: owned() })?;
    // Attaching to a name that does not exist makes a device, if privilege allows.
    if_nametoindex(name).map_err(|_| TapError::Missing { name: owned() })?;
    let fd = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(TapError::Device)?
        .into();

    attach(&fd, ifr_name).map_err(|errno| match errno {
        Errno::EPERM => TapError::NotAllowed { name: owned() },
        Errno::EBUSY => TapError::Busy { name: owned() },
        Errno::EINVAL => TapError::NotATap { name: owned() },
        source => setup("TUNSETIFF")(source),
    })?;
    let header_len = c_int::try_from(VNET_HEADER_LEN).unwrap_or(c_int::MAX);
    set_int(&fd, TUNSETVNETHDRSZ, header_len).map_err(setup("TUNSETVNETHDRSZ"))?;
    set_int(&fd, TUNSETVNETLE, 1).map_err(setup("TUNSETVNETLE"))?;
    set_offload(&fd, offload).map_err(setup("TUNSETOFFLOAD"))?;
    Ok(fd)
}

/// Gives the interface behind a tap its carrier, or takes it away: what `ip link` shows as `LOWER_UP`.
///
/// # Errors
/// The descriptor is no tap any more, or the kernel is older than 5.0.
pub fn set_carrier(tap: &OwnedFd, carrier: bool) -> Result<(), Errno> {
    set_int(tap, TUNSETCARRIER, c_int::from(carrier))
}

fn attach(fd: &OwnedFd, ifr_name: RawName) -> Result<(), Errno> {
    let flags = c_short::try_from(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR).map_err(|_| Errno::EINVAL)?;
    let mut request = interface::empty_request();
    request.ifr_name = ifr_name;
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY:
    // 1. TUNSETIFF reads and writes one `ifreq`, which is borrowed for the call.
    // 2. The name in it ends with a zero: at most IFNAMSIZ - 1 bytes of it are set.
    // Test: `a_tap_carries_a_frame_with_its_header_both_ways`.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &raw mut request) }).map(drop)
}

fn set_int(fd: &OwnedFd, request: libc::Ioctl, value: c_int) -> Result<(), Errno> {
    // SAFETY: the requests that come here (TUNSETVNETHDRSZ, TUNSETVNETLE, TUNSETCARRIER) read one `int`, borrowed for
    // the call.
    // Tests: `a_tap_carries_a_frame_with_its_header_both_ways`, `the_carrier_of_the_interface_is_what_it_is_set_to`.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw const value) }).map(drop)
}

fn set_offload(fd: &OwnedFd, offload: Offload) -> Result<(), Errno> {
    // SAFETY: TUNSETOFFLOAD takes an integer and no pointer.
    // Test: `a_tap_carries_a_frame_with_its_header_both_ways`.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETOFFLOAD, offload.flags()) }).map(drop)
}
