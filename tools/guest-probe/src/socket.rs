//! An AF_XDP socket in zero-copy mode, with its four rings.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use guest_probe::{Wait, Wakeup};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::SetUsize;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING,
    XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags,
    XdpStatistics, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::pages::Pages;
use crate::ring::{Descriptor, Ring};

// Options that nix does not have.
/// SO_PREFER_BUSY_POLL.
#[derive(Clone, Copy, Debug)]
struct PreferBusyPoll;
nix::setsockopt_impl!(
    PreferBusyPoll,
    libc::SOL_SOCKET,
    libc::SO_PREFER_BUSY_POLL,
    usize,
    SetUsize
);

/// SO_BUSY_POLL.
#[derive(Clone, Copy, Debug)]
struct BusyPoll;
nix::setsockopt_impl!(
    BusyPoll,
    libc::SOL_SOCKET,
    libc::SO_BUSY_POLL,
    usize,
    SetUsize
);

/// SO_BUSY_POLL_BUDGET.
#[derive(Clone, Copy, Debug)]
struct BusyPollBudget;
nix::setsockopt_impl!(
    BusyPollBudget,
    libc::SOL_SOCKET,
    libc::SO_BUSY_POLL_BUDGET,
    usize,
    SetUsize
);

/// Microseconds for which one call polls the NIC, and frames that it takes at most.
const BUSY_POLL: (usize, usize) = (20, 64);

/// Where a socket belongs.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// Number of the interface.
    pub interface: u32,
    /// The queue.
    pub queue: u32,
    /// Who looks for what is in the rings.
    pub wakeup: Wakeup,
}

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// Chunks for frames that are to come.
    pub fill: Ring,
    /// Frames that have come.
    pub received: Ring,
    /// Frames that are to be sent.
    pub send: Ring,
    /// Chunks that were sent.
    pub completed: Ring,
}

impl Socket {
    /// Binds a socket with a UMEM of its own.
    pub fn bind(address: Address, umem: &Pages, chunk: u32, ring: u32, wait: Wait) -> Result<Self> {
        let fd = open(wait)?;
        let memory = XdpUmemReg {
            addr: umem.address(),
            len: umem.len() as u64,
            chunk_size: chunk,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        sockopt::set_xdp_umem_reg(&fd, memory).context("XDP_UMEM_REG")?;
        let socket = Self::with_rings(fd, ring)?;
        let mut flags = SocketAddrXdpFlags::XDP_ZEROCOPY;
        if address.wakeup == Wakeup::WhenAsked {
            flags |= SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
        }
        let to = SocketAddrXdp::new(flags, address.interface, address.queue);
        rustix::net::bind(&socket.fd, &to)
            .with_context(|| format!("bind to queue {} with XDP_ZEROCOPY", address.queue))?;
        Ok(socket)
    }

    /// Binds a socket that shares the UMEM of another, and the way of waking.
    pub fn bind_shared(address: Address, of: &Self, ring: u32, wait: Wait) -> Result<Self> {
        let socket = Self::with_rings(open(wait)?, ring)?;
        let flags = SocketAddrXdpFlags::XDP_SHARED_UMEM;
        let to = SocketAddrXdpWithSharedUmem {
            addr: SocketAddrXdp::new(flags, address.interface, address.queue),
            shared_umem_fd: of.fd.as_fd(),
        };
        rustix::net::bind(&socket.fd, &to)
            .with_context(|| format!("bind to queue {} with XDP_SHARED_UMEM", address.queue))?;
        Ok(socket)
    }

    fn with_rings(fd: OwnedFd, size: u32) -> Result<Self> {
        sockopt::set_xdp_umem_fill_ring_size(&fd, size).context("XDP_UMEM_FILL_RING")?;
        sockopt::set_xdp_umem_completion_ring_size(&fd, size)
            .context("XDP_UMEM_COMPLETION_RING")?;
        sockopt::set_xdp_rx_ring_size(&fd, size).context("XDP_RX_RING")?;
        sockopt::set_xdp_tx_ring_size(&fd, size).context("XDP_TX_RING")?;
        let at = sockopt::xdp_mmap_offsets(&fd).context("XDP_MMAP_OFFSETS")?;
        let of = fd.as_fd();
        Ok(Self {
            fill: Ring::map::<u64>(of, XDP_UMEM_PGOFF_FILL_RING, &at.fr, size)?,
            received: Ring::map::<Descriptor>(of, XDP_PGOFF_RX_RING, &at.rx, size)?,
            send: Ring::map::<Descriptor>(of, XDP_PGOFF_TX_RING, &at.tx, size)?,
            completed: Ring::map::<u64>(of, XDP_UMEM_PGOFF_COMPLETION_RING, &at.cr, size)?,
            fd,
        })
    }

    /// Whether the kernel says that nothing is copied.
    pub fn is_zero_copy(&self) -> Result<bool> {
        let options = sockopt::xdp_options(&self.fd).context("XDP_OPTIONS")?;
        Ok(options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY))
    }

    /// What was lost.
    pub fn statistics(&self) -> Result<XdpStatistics> {
        sockopt::xdp_statistics(&self.fd).context("XDP_STATISTICS")
    }

    /// Tells the kernel that there are frames to send. That an interface is down is no error.
    pub fn wake_for_sending(&self) -> Result<()> {
        outcome(send(self.fd.as_raw_fd(), &[], MsgFlags::MSG_DONTWAIT))
    }

    /// Tells it that there are chunks to fill, or polls the NIC.
    pub fn wake_for_filling(&self) -> Result<()> {
        outcome(recv(self.fd.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open(wait: Wait) -> Result<OwnedFd> {
    let fd = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None);
    let fd = fd.context("cannot open an AF_XDP socket")?;
    if wait == Wait::BusyPoll {
        let (time, budget) = BUSY_POLL;
        setsockopt(&fd, PreferBusyPoll, &1).context("SO_PREFER_BUSY_POLL")?;
        setsockopt(&fd, BusyPoll, &time).context("SO_BUSY_POLL")?;
        setsockopt(&fd, BusyPollBudget, &budget).context("SO_BUSY_POLL_BUDGET")?;
    }
    Ok(fd)
}

/// What the kernel cannot do now it can do later.
fn outcome(result: nix::Result<usize>) -> Result<()> {
    match result {
        Ok(_)
        | Err(
            Errno::EAGAIN
            | Errno::EBUSY
            | Errno::ENOBUFS
            | Errno::ENETDOWN
            | Errno::EINTR
            | Errno::ENXIO,
        ) => Ok(()),
        Err(errno) => Err(errno).context("cannot wake the kernel"),
    }
}
