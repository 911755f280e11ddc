//! Packet sockets (`AF_PACKET`): the set-up that only `setsockopt` can do, and the ring that is shared with the kernel.
//!
//! Each frame, received or sent, carries a virtio-net header of [`VNET_HEADER_LEN`] bytes in front, in the byte order of
//! the machine, which says what checksum and segmentation work is still to do.
//!
//! # Why this ring
//!
//! Of the kernel's three rings this is `TPACKET_V2`: a slot is handed over with its frame. `TPACKET_V3` packs frames
//! into blocks, and hands a block over when it is full or when a timer ends whose shortest time is a millisecond, which
//! is a long time on a cable. A slot is as long as a frame of the interface's MTU. The kernel's large TCP frames, and
//! those of an MTU that was raised later, do not fit; the kernel puts those whole into the socket's own queue
//! (`PACKET_COPY_THRESH`) and leaves a slot that says so: one read fetches them, in their turn.
//!
//! Frames are sent with a plain write, straight out of client pages: through a ring they would be copied once more.
#![expect(
    unsafe_code,
    reason = "sockets of this family are set up by system calls that no safe crate has"
)]

mod ring;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{
    self, AF_PACKET, ARPHRD_ETHER, ETH_P_ALL, PACKET_ADD_MEMBERSHIP, PACKET_COPY_THRESH,
    PACKET_IGNORE_OUTGOING, PACKET_MR_PROMISC, PACKET_STATISTICS, PACKET_VERSION, PACKET_VNET_HDR,
    SO_ERROR, SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF, SO_SNDBUFFORCE, SOCK_CLOEXEC, SOCK_NONBLOCK,
    SOCK_RAW, SOL_PACKET, SOL_SOCKET, c_int, c_ushort, packet_mreq, sockaddr_ll, socklen_t,
    tpacket_stats, tpacket_versions,
};
use thiserror::Error;

pub use crate::interface::InterfaceState;
use crate::interface::{self, RawName};
use ring::Ring;
pub use ring::{Arrival, RingFrame, VlanTag};

/// Length of the header in front of each frame: that of virtio before version 1.
pub const VNET_HEADER_LEN: usize = 10;

/// Room for frames that the ring's slots are too short for, and for frames that wait to be sent. Kernels count their
/// own overhead, too.
const QUEUE_BYTES: c_int = 16 << 20;

/// Why an interface could not be joined.
#[derive(Debug, Error)]
pub enum PacketError {
    /// The name is empty, longer than 15 bytes, or holds a byte that no interface name has.
    #[error("{name:?} is not the name of a network interface (1 to 15 bytes)")]
    BadName {
        /// The name that was given.
        name: String,
    },
    /// There is no such interface.
    #[error("there is no network interface {name}; `ip link` shows those that there are")]
    Missing {
        /// The interface.
        name: String,
    },
    /// The process lacks a capability.
    #[error(
        "may not open a packet socket for {name}: that takes CAP_NET_RAW; run the server as root, or give it the \
         capability: setcap cap_net_raw+ep PATH-OF-THE-SERVER"
    )]
    NotAllowed {
        /// The interface.
        name: String,
    },
    /// Its frames are not Ethernet's.
    #[error(
        "{name} carries no Ethernet frames (its hardware type is {hardware}); take an Ethernet or veth interface"
    )]
    NotEthernet {
        /// The interface.
        name: String,
        /// `ARPHRD_…`
        hardware: u16,
    },
    /// The kernel is too old or was built without it.
    #[error("this kernel has no packet sockets that leave out what they sent; Linux 4.20 has them")]
    OldKernel,
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

/// A packet socket on one interface with its ring: it receives every frame that comes in there, whatever its address,
/// and none that goes out.
///
/// Frames are received by [`PacketSocket::arrival`] and sent by [`write_vectored`](crate::write_vectored) on the socket,
/// with their header in front. It belongs to one thread at a time. Neither blocks.
#[derive(Debug)]
pub struct PacketSocket {
    // Before the descriptor, so that it is unmapped first.
    ring: Ring,
    fd: OwnedFd,
    index: c_int,
}

impl PacketSocket {
    /// Joins the interface `name` in this thread's network namespace. It may be down.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn open(name: &str) -> Result<Self, PacketError> {
        let owned = || name.to_owned();
        let setup = |request| {
            move |source| PacketError::Setup {
                name: name.to_owned(),
                request,
                source,
            }
        };
        let raw_name =
            interface::raw_name(name).ok_or_else(|| PacketError::BadName { name: owned() })?;
        let fd = socket().map_err(|errno| match errno {
            Errno::EPERM | Errno::EACCES => PacketError::NotAllowed { name: owned() },
            Errno::EAFNOSUPPORT => PacketError::OldKernel,
            source => setup("socket")(source),
        })?;
        let index = interface::index(&fd, raw_name).map_err(|errno| match errno {
            Errno::ENODEV => PacketError::Missing { name: owned() },
            source => setup("SIOCGIFINDEX")(source),
        })?;
        let hardware = interface::hardware(&fd, raw_name).map_err(setup("SIOCGIFHWADDR"))?;
        if hardware != ARPHRD_ETHER {
            return Err(PacketError::NotEthernet {
                name: owned(),
                hardware,
            });
        }
        let slot = slot_size(&fd, raw_name).map_err(setup("SIOCGIFMTU"))?;

        let version = tpacket_versions::TPACKET_V2 as u32;
        set(&fd, SOL_PACKET, PACKET_VERSION, &version).map_err(setup("PACKET_VERSION"))?;
        set(&fd, SOL_PACKET, PACKET_VNET_HDR, &1).map_err(setup("PACKET_VNET_HDR"))?;
        set(&fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &1).map_err(|errno| match errno {
            Errno::ENOPROTOOPT => PacketError::OldKernel,
            source => setup("PACKET_IGNORE_OUTGOING")(source),
        })?;
        set(&fd, SOL_PACKET, PACKET_COPY_THRESH, &1).map_err(setup("PACKET_COPY_THRESH"))?;
        // Beyond the system's limit where that is allowed (CAP_NET_ADMIN), up to it otherwise.
        set(&fd, SOL_SOCKET, SO_RCVBUFFORCE, &QUEUE_BYTES)
            .or_else(|_| set(&fd, SOL_SOCKET, SO_RCVBUF, &QUEUE_BYTES))
            .map_err(setup("SO_RCVBUF"))?;
        set(&fd, SOL_SOCKET, SO_SNDBUFFORCE, &QUEUE_BYTES)
            .or_else(|_| set(&fd, SOL_SOCKET, SO_SNDBUF, &QUEUE_BYTES))
            .map_err(setup("SO_SNDBUF"))?;
        let ring = Ring::new(&fd, slot).map_err(setup("PACKET_RX_RING"))?;
        let promiscuous = packet_mreq {
            mr_ifindex: index,
            mr_type: c_ushort::try_from(PACKET_MR_PROMISC).unwrap_or_default(),
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(&fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous)
            .map_err(setup("PACKET_MR_PROMISC"))?;
        // Not before all is set, so that the first frame is like the others, and from this interface.
        bind(&fd, index).map_err(setup("bind"))?;
        Ok(Self { ring, fd, index })
    }

    /// The frame that is next, or nothing if none has arrived. It stays the next until [`PacketSocket::release`].
    pub fn arrival(&mut self) -> Option<Arrival<'_>> {
        self.ring.arrival()
    }

    /// Whether [`PacketSocket::arrival`] has a frame.
    #[must_use]
    pub fn has_arrival(&self) -> bool {
        self.ring.has_arrival()
    }

    /// Gives the slot of the frame that was next back to the kernel. Nothing happens if no frame has arrived.
    pub fn release(&mut self) {
        self.ring.release();
    }

    /// Reads the frame of an [`Arrival::Queued`], its header in front, and returns their length.
    ///
    /// # Errors
    /// As `read`. `ENETDOWN` is told once when the interface goes down.
    pub fn read_queued(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        nix::unistd::read(&self.fd, buffer)
    }

    /// What the interface is doing.
    #[must_use]
    pub fn state(&self) -> InterfaceState {
        interface::state(&self.fd, self.index)
    }

    /// Takes note of an error that the kernel reported for the socket. Until then a wait for frames ends at once.
    pub fn take_error(&self) -> Option<Errno> {
        let mut error: c_int = 0;
        get(&self.fd, SOL_SOCKET, SO_ERROR, &mut error).ok()?;
        (error != 0).then(|| Errno::from_raw(error))
    }

    /// How many frames were lost since this was asked last, because the ring was full or could not express them.
    #[must_use]
    pub fn take_drops(&self) -> u64 {
        let mut stats = tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        match get(&self.fd, SOL_PACKET, PACKET_STATISTICS, &mut stats) {
            Ok(()) => stats.tp_drops.into(),
            Err(_) => 0,
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether `error` of a write says that there is no room now, and that nothing was sent.
#[must_use]
pub fn is_busy(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAGAIN | Errno::ENOBUFS)
    )
}

fn slot_size(fd: &OwnedFd, name: RawName) -> Result<u32, Errno> {
    let mtu = interface::mtu(fd, name)?;
    Ok(ring::slot_size(u32::try_from(mtu).unwrap_or_default()))
}

/// A packet socket that receives nothing before it is bound.
fn socket() -> Result<OwnedFd, Errno> {
    // SAFETY: `socket` takes integers. The descriptor that it returns is new, and nobody else's.
    // Test: `a_packet_socket_carries_a_frame_with_its_header_both_ways`.
    unsafe {
        let fd = libc::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        Errno::result(fd).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

fn bind(fd: &OwnedFd, index: c_int) -> Result<(), Errno> {
    let all = u16::try_from(ETH_P_ALL).unwrap_or_default();
    let address = sockaddr_ll {
        sll_family: c_ushort::try_from(AF_PACKET).unwrap_or_default(),
        sll_protocol: all.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a whole `sockaddr_ll` of that length, borrowed for the call.
    // Test: `a_packet_socket_carries_a_frame_with_its_header_both_ways`.
    Errno::result(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            length_of(&address),
        )
    })
    .map(drop)
}

/// Sets an option; `T` is what the kernel reads for it: an `int`, or the structure that it is called by.
fn set<T: Copy>(fd: &OwnedFd, level: c_int, option: c_int, value: &T) -> Result<(), Errno> {
    // SAFETY: the kernel reads at most the given length of the value, which is borrowed for the call. It is made of
    // integers without gaps.
    // Test: `a_packet_socket_carries_a_frame_with_its_header_both_ways`.
    Errno::result(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            length_of(value),
        )
    })
    .map(drop)
}

/// Asks for an option; `T` is what the kernel writes for it: an `int`, or a structure of integers.
fn get<T: Copy>(fd: &OwnedFd, level: c_int, option: c_int, value: &mut T) -> Result<(), Errno> {
    let mut len = length_of(value);
    // SAFETY: the kernel writes at most the given length of the value, which is borrowed mutably for the call, and any
    // bytes are a value of integers.
    // Test: `frames_that_find_no_slot_are_counted`.
    Errno::result(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_mut(value).cast(),
            &raw mut len,
        )
    })
    .map(drop)
}

fn length_of<T>(_: &T) -> socklen_t {
    // No option is longer than a page.
    socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}
