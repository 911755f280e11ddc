//! A Linux tap device.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use guest_memory::tap::{self, TapError, VNET_HEADER_LEN};
use nic_model::{
    Time, Wire,
    wire::{Capabilities, Fcs, Flow, L4Checksum, RxFrame, TxFrame, WireBusy},
};
use nix::{errno::Errno, ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned, byteorder::LE};

use crate::{
    Backend, Counters,
    host::MIN_FRAME,
    segment::LargeFrame,
    vnet::{self, Arrival, VnetHeader},
};

/// Room for the largest packet that a kernel hands over: 64 KiB of IP behind Ethernet and VLAN headers. A byte more
/// tells one that was cut short.
const BUFFER: usize = VNET_HEADER_LEN + 65_536 + 32;
/// How often the state of the interface is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// When a frame that the kernel had no room for is offered again.
const RETRY: Duration = Duration::from_micros(100);
/// What stands before each packet on a tap: the header of virtio 1, which has one field more.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TapHeader {
    vnet: VnetHeader,
    num_buffers: U16<LE>,
}

const _: () = assert!(size_of::<TapHeader>() == VNET_HEADER_LEN);

/// Joins a tap device; the kernel's network stack is on the other end.
///
/// It takes checksums and TCP segmentation off the port, and hands the kernel's own large frames to the port as the
/// segments that they would be on a cable. The carrier follows the administrative state of the interface (`ip link
/// set NAME up`), which is looked at once a second; that of the interface follows the port's transmitter. When the
/// device is deleted, the carrier goes and nothing more passes; the descriptor is closed.
#[derive(Debug)]
pub struct Tap {
    name: String,
    /// `None` once the device is gone.
    fd: Option<OwnedFd>,
    buffer: Box<[u8]>,
    /// The frame in `buffer` that the port has not yet taken all segments of.
    large: Option<LargeInBuffer>,
    header: Vec<u8>,
    scratch: Vec<u8>,
    up: bool,
    next_look: Time,
    now: Time,
    /// When another turn is worth it: a refused frame to be tried again, or a lost carrier to be noticed.
    again: Option<Time>,
    counters: Counters,
}

#[derive(Debug)]
struct LargeInBuffer {
    frame: LargeFrame,
    end: usize,
}

impl Tap {
    /// Joins the existing tap device `name`.
    ///
    /// # Errors
    /// [`TapError`], which names the cause and the next step.
    pub fn open(name: &str) -> Result<Self, TapError> {
        let fd = tap::open(name, tap::Offload::Segmentation)?;
        let mut tap = Self {
            name: name.to_owned(),
            fd: Some(fd),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            large: None,
            header: Vec::new(),
            scratch: Vec::new(),
            up: false,
            next_look: Time::ZERO,
            now: Time::ZERO,
            again: None,
            counters: Counters::default(),
        };
        tap.look();
        if !tap.up {
            tracing::warn!("{name} is down, so the NIC has no link; ip link set {name} up");
        }
        Ok(tap)
    }

    /// Looks whether the interface is up.
    fn look(&mut self) {
        self.up = self.fd.is_some() && is_up(&self.name);
    }

    /// Reads packets until one gives a frame: then that is in the buffer, its end returned. `None` when there is
    /// none.
    fn read(&mut self) -> Option<Frame> {
        loop {
            let fd = self.fd.as_ref()?;
            match nix::unistd::read(fd, &mut self.buffer) {
                Ok(len) => match self.parse(len) {
                    Some(frame) => return Some(frame),
                    None => self.counters.rx_dropped = self.counters.rx_dropped.wrapping_add(1),
                },
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return None,
                Err(errno) => {
                    self.gone(errno);
                    return None;
                }
            }
        }
    }

    /// The device was deleted, or does not work any more.
    fn gone(&mut self, errno: Errno) {
        tracing::warn!(tap = self.name, %errno, "the tap device is gone; the link goes down");
        self.fd = None;
        self.up = false;
        self.again = Some(Time::ZERO);
    }

    /// What the first `len` bytes of the buffer are; `None` for nothing that the port could receive.
    fn parse(&mut self, len: usize) -> Option<Frame> {
        let (header, _) = TapHeader::read_from_prefix(self.buffer.get(..len)?).ok()?;
        if len == self.buffer.len() {
            return None;
        }
        match header
            .vnet
            .arrival(&mut self.buffer[VNET_HEADER_LEN..len], 0)?
        {
            Arrival::Whole(l4_checksum) => {
                let padded = len.max(VNET_HEADER_LEN + MIN_FRAME);
                self.buffer[len..padded].fill(0);
                Some(Frame::Whole {
                    end: padded,
                    l4_checksum,
                })
            }
            Arrival::Large(frame) => {
                self.large = Some(LargeInBuffer { frame, end: len });
                Some(Frame::Large)
            }
        }
    }

    /// Writes one packet.
    fn write(&mut self, frame: &TxFrame<'_>) -> io::Result<()> {
        let Some(fd) = &self.fd else {
            return Err(ErrorKind::NotConnected.into());
        };
        let header = TapHeader {
            vnet: VnetHeader::of(frame),
            ..TapHeader::default()
        };
        vnet::write(fd, header.as_bytes(), frame, &mut self.scratch)
    }
}

/// What was read.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// A frame in one piece that ends here in the buffer.
    Whole { end: usize, l4_checksum: L4Checksum },
    /// A large one, now in [`Tap::large`].
    Large,
}

fn is_up(name: &str) -> bool {
    getifaddrs().is_ok_and(|mut interfaces| {
        interfaces.any(|interface| {
            interface.interface_name == name && interface.flags.contains(InterfaceFlags::IFF_UP)
        })
    })
}

impl Wire for Tap {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            checksum: true,
            tso4: true,
            tso6: true,
        }
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        match self.write(frame) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.again = Some(self.now + RETRY);
                return Err(WireBusy);
            }
            // The interface is down or gone, or the kernel refuses the frame.
            Err(_) => self.counters.count_tx_dropped(),
            Ok(()) => {}
        }
        self.counters.count_tx(frame.len());
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let mut received = 0;
        while received < budget {
            let flow = if let Some(large) = &mut self.large {
                let bytes = &self.buffer[VNET_HEADER_LEN..large.end];
                let Some(segment) = large.frame.next_frame(bytes, &mut self.header) else {
                    self.large = None;
                    continue;
                };
                self.counters.count_rx(segment.len());
                let flow = sink(&segment);
                let done = large.frame.is_done();
                if done {
                    self.large = None;
                }
                flow
            } else {
                match self.read() {
                    None => break,
                    Some(Frame::Large) => continue,
                    Some(Frame::Whole { end, l4_checksum }) => {
                        let head = &self.buffer[VNET_HEADER_LEN..end];
                        self.counters.count_rx(head.len());
                        sink(&RxFrame {
                            head,
                            body: &[],
                            fcs: Fcs::Good,
                            l4_checksum,
                        })
                    }
                }
            };
            received += 1;
            if flow == Flow::Stop {
                break;
            }
        }
        received
    }

    fn carrier(&self) -> bool {
        self.up
    }
}

impl Backend for Tap {
    fn describe(&self) -> String {
        format!("tap {}", self.name)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    fn has_frames(&self) -> bool {
        self.large.is_some()
    }

    fn deadline(&self) -> Option<Time> {
        let look = self.fd.is_some().then_some(self.next_look);
        look.into_iter().chain(self.again).min()
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
        }
        if self.next_look <= now {
            self.next_look = now + LOOK_INTERVAL;
            self.look();
        }
    }

    /// The interface has a carrier as long as the port can be heard.
    fn set_far_link(&mut self, up: bool) {
        if let Some(fd) = &self.fd
            && let Err(errno) = tap::set_carrier(fd, up)
        {
            tracing::debug!(tap = self.name, %errno, "cannot set the carrier of the interface");
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
