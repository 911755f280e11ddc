//! Bytes that a connection sends out of the pages that they lie in.

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use guest_probe::{Report, SendFile, SendZeroCopy, Transport, pattern};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::sockopt::{Ipv4RecvErr, SetUsize};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, send, setsockopt};

use crate::pages::{PAGE, Pages, place};
use crate::say;

/// SO_ZEROCOPY, which nix does not have.
#[derive(Clone, Copy, Debug)]
struct ZeroCopy;
nix::setsockopt_impl!(
    ZeroCopy,
    libc::SOL_SOCKET,
    libc::SO_ZEROCOPY,
    usize,
    SetUsize
);

/// MSG_ZEROCOPY (linux/socket.h), which nix does not have.
const MSG_ZEROCOPY: MsgFlags = MsgFlags::from_bits_retain(0x0400_0000);
/// SO_EE_ORIGIN_ZEROCOPY and SO_EE_CODE_ZEROCOPY_COPIED (linux/errqueue.h).
const ORIGIN_ZEROCOPY: u8 = 5;
const COPIED: u8 = 1;
/// Longest payload of a datagram in one frame.
const DATAGRAM: usize = 1472;
/// Milliseconds after which a completion is missing.
const PATIENCE: u16 = 60_000;

/// Memory that begins with a page.
#[derive(Clone)]
#[repr(align(4096))]
struct Page([u8; PAGE]);

impl Page {
    fn new(number: usize) -> Self {
        let mut page = Self([0; PAGE]);
        page.0.copy_from_slice(&pattern(number));
        page
    }
}

/// Sends pages without a copy, and waits until the kernel has let go of them.
pub fn send_zero_copy(job: &SendZeroCopy) -> Result<()> {
    let pages: Vec<Page> = (0..job.pages).map(Page::new).collect();
    let (socket, len): (OwnedFd, usize) = match job.transport {
        Transport::Udp => {
            let socket = UdpSocket::bind("0.0.0.0:0").context("cannot open a socket")?;
            socket.connect(job.to).context("cannot connect")?;
            (socket.into(), DATAGRAM)
        }
        Transport::Tcp => {
            let socket = TcpStream::connect(job.to).context("cannot connect")?;
            (socket.into(), PAGE)
        }
    };
    setsockopt(&socket, ZeroCopy, &1).context("SO_ZEROCOPY")?;
    setsockopt(&socket, Ipv4RecvErr, &true).context("IP_RECVERR")?;
    for page in &pages {
        let address = page.0.as_ptr().addr() as u64;
        say(&Report::Page(place(address, len)?))?;
    }
    let (mut calls, mut done) = (0, Completions::default());
    for page in &pages {
        let mut bytes = page.0.get(..len).context("longer than a page")?;
        while !bytes.is_empty() {
            match send(socket.as_raw_fd(), bytes, MSG_ZEROCOPY) {
                Ok(sent) => {
                    calls += 1;
                    bytes = bytes.get(sent..).context("more sent than there was")?;
                }
                // Too many are under way.
                Err(Errno::ENOBUFS) => done.wait(socket.as_fd())?,
                Err(errno) => return Err(errno).context("send with MSG_ZEROCOPY"),
            }
        }
    }
    while done.all() < calls {
        done.wait(socket.as_fd())?;
    }
    say(&Report::Sent {
        without_copy: done.without_copy,
        copied: done.copied,
    })
}

/// Calls that the kernel has reported as completed.
#[derive(Default)]
struct Completions {
    without_copy: u64,
    copied: u64,
}

impl Completions {
    fn all(&self) -> u64 {
        self.without_copy + self.copied
    }

    /// Waits for the next report, which may be of several calls.
    fn wait(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let mut fd = [PollFd::new(socket, PollFlags::empty())];
        let ready = poll(&mut fd, PollTimeout::from(PATIENCE)).context("poll")?;
        ensure!(ready > 0, "the kernel does not let go of the pages");
        let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in);
        let mut nothing: [IoSliceMut<'_>; 0] = [];
        let message = recvmsg::<SockaddrIn>(
            socket.as_raw_fd(),
            &mut nothing,
            Some(&mut space),
            MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
        );
        let message = message.context("recvmsg with MSG_ERRQUEUE")?;
        for control in message.cmsgs()? {
            let ControlMessageOwned::Ipv4RecvErr(report, _) = control else {
                continue;
            };
            if report.ee_origin != ORIGIN_ZEROCOPY {
                bail!(
                    "the connection failed: {}",
                    Errno::from_raw(report.ee_errno.cast_signed())
                );
            }
            let calls = u64::from(report.ee_data.wrapping_sub(report.ee_info)) + 1;
            match report.ee_code {
                COPIED => self.copied += calls,
                _ => self.without_copy += calls,
            }
        }
        Ok(())
    }
}

/// Sends a file, and waits until the other end has closed the connection.
pub fn send_file(job: &SendFile) -> Result<()> {
    let open = || File::open(&job.file).with_context(|| format!("no {}", job.file.display()));
    let pages = Pages::of_file(open()?)?;
    for offset in (0..pages.len()).step_by(PAGE) {
        let len = PAGE.min(pages.len() - offset);
        say(&Report::Page(pages.place(offset, len)?))?;
    }
    let file = open()?;
    let mut connection = TcpStream::connect(job.to).context("cannot connect")?;
    let mut sent = 0;
    let mut calls = 0;
    while sent < pages.len() {
        let mut offset = i64::try_from(sent)?;
        let count = pages.len() - sent;
        sent += sendfile64(&connection, &file, Some(&mut offset), count).context("sendfile")?;
        calls += 1;
    }
    connection.shutdown(Shutdown::Write)?;
    connection.read_to_end(&mut Vec::new())?;
    say(&Report::Sent {
        without_copy: calls,
        copied: 0,
    })
}
