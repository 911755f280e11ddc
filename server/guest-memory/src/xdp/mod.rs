//! AF_XDP sockets: one queue of a network interface, its frames in memory that is shared with the kernel.
//!
//! The memory and its four rings are those of the `xdp` crate, which is plain Rust; what it calls `unsafe` is that frames
//! must not outlive the memory, and no frame leaves this module. The program that fills the socket is in `program.rs`.
//!
//! Where the interface's driver can, it reads and writes that memory itself (zero-copy); otherwise the kernel copies.
#![expect(
    unsafe_code,
    reason = "memory that is shared with the kernel is outside what the compiler can check"
)]

mod program;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::ARPHRD_ETHER;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socket};
use thiserror::Error;
use xdp::nic::NicIndex;
use xdp::slab::{HeapSlab, Slab};
use xdp::socket::{SocketError, XdpSocketBuilder};
use xdp::umem::{FrameSize, UmemCfgBuilder};
use xdp::{CompletionRing, FillRing, RingConfigBuilder, RxRing, TxRing, Umem};

use crate::interface;
pub use crate::interface::InterfaceState;
pub use program::{Program, RunBy};

/// Frames in each direction: the rings' length, and a half of the memory each.
const FRAMES: u32 = 2048;
/// Frames that are taken out of the ring at a time.
const BATCH: usize = 64;

/// Longest frame: a page less what the kernel keeps in front of it.
pub const MAX_FRAME: usize = 4096 - 256;

/// Why a queue of an interface could not be joined.
#[derive(Debug, Error)]
pub enum XdpError {
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
    /// Its frames are not Ethernet's.
    #[error("{name} carries no Ethernet frames; take an Ethernet or veth interface")]
    NotEthernet {
        /// The interface.
        name: String,
    },
    /// The process lacks a capability.
    #[error(
        "may not join {name} by AF_XDP: that takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF; run the server as root, or \
         give it the capabilities: setcap cap_net_raw,cap_net_admin,cap_bpf+ep PATH-OF-THE-SERVER; or use af_packet:{name}"
    )]
    NotAllowed {
        /// The interface.
        name: String,
    },
    /// There is no such queue.
    #[error("{name} has no queue {queue}; `ethtool -l {name}` shows how many there are")]
    NoQueue {
        /// The interface.
        name: String,
        /// The queue.
        queue: u32,
    },
    /// Another program has it.
    #[error(
        "queue {queue} of {name}, or its XDP program, is in use by another program; stop that (`ip link show {name}` \
         tells of the program), or take another interface"
    )]
    Busy {
        /// The interface.
        name: String,
        /// The queue.
        queue: u32,
    },
    /// The kernel was built without it.
    #[error("this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS); use af_packet:{name}")]
    NoKernel {
        /// The interface.
        name: String,
    },
    /// A step of the set-up failed.
    #[error("{request} for queue {queue} of {name} failed")]
    Setup {
        /// The interface.
        name: String,
        /// The queue.
        queue: u32,
        /// The request.
        request: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// All of the memory is on its way; later there is room.
    #[error("no room for another frame now")]
    Busy,
    /// No frame of this length fits.
    #[error("the frame is longer than {MAX_FRAME} bytes")]
    TooLong,
}

/// Whether the kernel has taken the frames that wait to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// It has, or the interface is down and will not.
    Done,
    /// It took some; it wants to be told again.
    More,
    /// It has no room now.
    Busy,
}

/// An AF_XDP socket on one queue of an interface: it receives what comes in there, instead of the kernel, and sends.
/// It belongs to one thread at a time. Nothing blocks.
pub struct XdpSocket {
    // In this order they are dropped: whoever uses the memory goes before it.
    _program: Program,
    socket: xdp::socket::XdpSocket,
    fill: FillRing,
    rx: RxRing,
    completion: CompletionRing,
    tx: TxRing,
    /// Received frames that nobody has taken yet.
    arrived: HeapSlab,
    /// A frame on its way into `tx`.
    leaving: HeapSlab,
    umem: Umem,
    /// Frames of the receiving half that `fill` had no place for.
    owed: usize,
    /// Frames of the sending half that the kernel has.
    in_flight: usize,
    /// For questions about the interface, which this family does not answer.
    query: OwnedFd,
    index: u32,
}

// SAFETY: the pointers in the memory's frames and rings lead to mappings that belong to this value alone and are not
// bound to a thread.
// Test: `the_kernel_answers_a_ping` (wire), which moves it to another.
unsafe impl Send for XdpSocket {}

impl XdpSocket {
    /// Joins the queue `queue` of the interface `name` in this thread's network namespace. The interface may be down.
    ///
    /// # Errors
    /// [`XdpError`].
    pub fn open(name: &str, queue: u32) -> Result<Self, XdpError> {
        let owned = || name.to_owned();
        let setup = |request| {
            move |source: io::Error| match source.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EPERM | Errno::EACCES) => XdpError::NotAllowed { name: owned() },
                Some(Errno::EBUSY | Errno::EEXIST) => XdpError::Busy {
                    name: owned(),
                    queue,
                },
                Some(Errno::EAFNOSUPPORT) => XdpError::NoKernel { name: owned() },
                _ => XdpError::Setup {
                    name: owned(),
                    queue,
                    request,
                    source,
                },
            }
        };
        let raw_name =
            interface::raw_name(name).ok_or_else(|| XdpError::BadName { name: owned() })?;
        let query = socket(
            AddressFamily::Unix,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(|errno| setup("socket")(errno.into()))?;
        let index = interface::index(&query, raw_name)
            .ok()
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| XdpError::Missing { name: owned() })?;
        if interface::hardware(&query, raw_name) != Ok(ARPHRD_ETHER) {
            return Err(XdpError::NotEthernet { name: owned() });
        }

        let memory = UmemCfgBuilder {
            frame_size: FrameSize::FourK,
            frame_count: 2 * FRAMES,
            ..UmemCfgBuilder::default()
        };
        let memory = memory
            .build()
            .map_err(|error| setup("XDP_UMEM_REG")(io::Error::other(error)))?;
        let mut umem = Umem::map(memory).map_err(setup("mmap"))?;
        let mut builder =
            XdpSocketBuilder::new().map_err(|error| setup("socket")(system_error(error)))?;
        let rings = RingConfigBuilder {
            rx_count: FRAMES,
            tx_count: FRAMES,
            fill_count: FRAMES,
            completion_count: FRAMES,
        };
        let rings = rings
            .build()
            .map_err(|error| setup("XDP_RX_RING")(io::Error::other(error)))?;
        let (rings, flags) = builder
            .build_rings(&umem, rings)
            .map_err(|error| setup("XDP_UMEM_REG")(system_error(error)))?;
        let (Some(rx), Some(tx)) = (rings.rx_ring, rings.tx_ring) else {
            return Err(setup("XDP_RX_RING")(Errno::EINVAL.into()));
        };
        let mut fill = rings.fill_ring;
        // SAFETY: the memory outlives the socket: it is dropped after it, here and in `Self`.
        // Test: `frames_cross_both_ways` (wire).
        unsafe { fill.enqueue(&mut umem, FRAMES as usize) };
        let socket = builder
            .bind(NicIndex::new(index), queue, flags)
            .map_err(|error| match system_error(error) {
                error if error.raw_os_error() == Some(Errno::EINVAL as i32) => XdpError::NoQueue {
                    name: owned(),
                    queue,
                },
                error => setup("bind")(error),
            })?;
        let program = Program::attach(index, &[(queue, borrow(&socket))], RunBy::Anyone)
            .map_err(|(request, errno)| setup(request)(errno.into()))?;
        Ok(Self {
            _program: program,
            socket,
            fill,
            rx,
            completion: rings.completion_ring,
            tx,
            arrived: HeapSlab::with_capacity(BATCH),
            leaving: HeapSlab::with_capacity(1),
            umem,
            owed: 0,
            in_flight: 0,
            query,
            index,
        })
    }

    /// Hands the next frame to `act`; `None` if none has arrived.
    pub fn receive<T>(&mut self, act: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if self.arrived.is_empty() {
            // SAFETY: these frames stay in `self.arrived` until they are given back below, and that is dropped before
            // the memory; dropping one does not touch it.
            // Test: `frames_cross_both_ways` (wire).
            unsafe { self.rx.recv(&self.umem, &mut self.arrived) };
        }
        let frame = self.arrived.pop_back()?;
        let result = act(&frame);
        self.umem.free_packet(frame);
        self.owed += 1;
        if self.arrived.is_empty() {
            self.refill();
        }
        Some(result)
    }

    /// Whether frames were taken out of the ring that [`XdpSocket::receive`] has not handed out.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Gives the kernel as many frames to fill as were received.
    fn refill(&mut self) {
        // SAFETY: the memory outlives the socket.
        // Test: `more_frames_than_the_rings_hold_arrive_in_order` (wire).
        self.owed -= unsafe { self.fill.enqueue(&mut self.umem, self.owed) };
    }

    /// Makes a frame of `len` bytes by `write`, which has to write them all, and puts it into the ring.
    /// [`XdpSocket::kick`] has to follow.
    ///
    /// # Errors
    /// [`SendError`]; `write` was not called.
    pub fn send(&mut self, len: usize, write: impl FnOnce(&mut [u8])) -> Result<(), SendError> {
        if len > MAX_FRAME {
            return Err(SendError::TooLong);
        }
        let half = FRAMES as usize;
        if self.in_flight == half {
            self.in_flight -= self.completion.dequeue(&mut self.umem, half);
        }
        if self.in_flight == half {
            return Err(SendError::Busy);
        }
        // SAFETY: the frame goes into the ring or is given back below; it does not outlive the memory.
        // Test: `frames_cross_both_ways` (wire).
        let mut frame = unsafe { self.umem.alloc() }.ok_or(SendError::Busy)?;
        let grown = i32::try_from(len).is_ok_and(|len| frame.adjust_tail(len).is_ok());
        if !grown {
            self.umem.free_packet(frame);
            return Err(SendError::TooLong);
        }
        write(&mut frame);
        self.leaving.push_front(frame);
        // SAFETY: the memory outlives the socket.
        // Test: `frames_cross_both_ways` (wire).
        if unsafe { self.tx.send(&mut self.leaving) } == 0 {
            if let Some(frame) = self.leaving.pop_back() {
                self.umem.free_packet(frame);
            }
            return Err(SendError::Busy);
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Tells the kernel that there are frames to send.
    pub fn kick(&mut self) -> Kick {
        let kicked = send(self.socket.raw_fd(), &[], MsgFlags::MSG_DONTWAIT);
        self.in_flight -= self.completion.dequeue(&mut self.umem, FRAMES as usize);
        match kicked {
            Err(Errno::EAGAIN | Errno::EINTR) => Kick::More,
            Err(Errno::EBUSY | Errno::ENOBUFS) => Kick::Busy,
            // Nothing that another try would change.
            Ok(_) | Err(_) => Kick::Done,
        }
    }

    /// What the interface is doing.
    #[must_use]
    pub fn state(&self) -> InterfaceState {
        i32::try_from(self.index).map_or(InterfaceState::Gone, |index| {
            interface::state(&self.query, index)
        })
    }

    /// How many frames for this socket were lost: its rings were full, or nothing was there to put them in.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.socket.statistics().map_or(0, |statistics| {
            statistics.rx_dropped.wrapping_add(statistics.rx_ring_full)
        })
    }
}

impl AsFd for XdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(&self.socket)
    }
}

impl fmt::Debug for XdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpSocket")
            .field("index", &self.index)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

fn borrow(socket: &xdp::socket::XdpSocket) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is the socket's, which is borrowed for as long.
    // Test: `frames_cross_both_ways` (wire).
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// What the system said.
fn system_error(error: SocketError) -> io::Error {
    match error {
        SocketError::SocketCreation(inner)
        | SocketError::SetSockOpt { inner, .. }
        | SocketError::GetSockOpt { inner, .. }
        | SocketError::RingMap { inner, .. }
        | SocketError::Bind(inner) => inner,
    }
}
