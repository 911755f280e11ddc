//! A network interface of this machine, by a packet socket.

use std::{
    cell::Cell,
    io::{self, ErrorKind},
    ops::Range,
    os::fd::BorrowedFd,
    time::Duration,
};

use guest_memory::packet::{
    self, Arrival as Arrived, InterfaceState, PacketSocket, VNET_HEADER_LEN, VlanTag,
};
use nic_model::{
    Time, Wire,
    wire::{Capabilities, Fcs, Flow, RxFrame, TxFrame, WireBusy},
};
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    Backend, Counters, OpenError,
    host::MIN_FRAME,
    interface::InterfaceWatch,
    segment::LargeFrame,
    vnet::{self, Arrival, VnetHeader},
};

/// Bytes of a VLAN tag.
const TAG: usize = 4;
/// Destination and source address.
const ADDRESSES: usize = 12;
/// Room for the largest packet that a kernel hands over: 64 KiB of IP behind Ethernet and VLAN headers.
const MAX_FRAME: usize = 65_536 + 32;
/// How often the state of the interface is looked at besides: the kernel tells of changes, but not to a port that is
/// too full to listen.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// When a frame that the kernel had no room for is offered again.
const RETRY: Duration = Duration::from_micros(100);
// The kernel writes the header in the order of the machine.
const _: () = assert!(cfg!(target_endian = "little"));
const _: () = assert!(size_of::<VnetHeader>() == VNET_HEADER_LEN);

/// Joins a network interface: what comes in there is received, whatever its address, and what the port sends goes out
/// there.
///
/// The interface does checksums and TCP segmentation, its driver or the kernel; large frames that a kernel on the same
/// machine sends over a veth pair come whole, and reach the port as the segments that they would be on a cable. VLAN
/// tags are in the frames, where a network card took them out as well.
///
/// The carrier follows the interface: it is there while that is up and has one of its own. An interface that was deleted
/// is joined again when there is one of its name. The port's own light does not reach the other side: nothing but the
/// interface's own driver can take its carrier.
#[derive(Debug)]
pub struct AfPacket {
    name: String,
    /// `None` while there is no such interface.
    socket: Option<PacketSocket>,
    watch: InterfaceWatch,
    /// Large frames, with room for a tag and their header in front.
    buffer: Box<[u8]>,
    /// The frame in `buffer` that the port has not yet taken all segments of.
    large: Option<LargeInBuffer>,
    header: Vec<u8>,
    scratch: Vec<u8>,
    up: bool,
    next_look: Time,
    now: Time,
    /// When a refused frame can be tried again.
    again: Option<Time>,
    counters: Counters,
    /// What the kernel lost, as far as it was asked.
    lost: Cell<u64>,
}

#[derive(Debug)]
struct LargeInBuffer {
    frame: LargeFrame,
    bytes: Range<usize>,
}

impl AfPacket {
    /// Joins the interface `name`, which may be down.
    ///
    /// # Errors
    /// [`OpenError`], which names the cause and the next step.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let socket = PacketSocket::open(name)?;
        let watch = InterfaceWatch::new()?;
        watch
            .add(&socket)
            .map_err(|errno| OpenError::Watch(errno.into()))?;
        let mut wire = Self {
            name: name.to_owned(),
            socket: Some(socket),
            watch,
            buffer: vec![0; TAG + VNET_HEADER_LEN + MAX_FRAME].into_boxed_slice(),
            large: None,
            header: Vec::new(),
            scratch: Vec::new(),
            up: false,
            next_look: Time::ZERO,
            now: Time::ZERO,
            again: None,
            counters: Counters::default(),
            lost: Cell::new(0),
        };
        wire.look();
        if !wire.up {
            tracing::warn!(
                "{name} is down or has no carrier, so the NIC has no link; ip link set {name} up"
            );
        }
        Ok(wire)
    }

    /// Looks what the interface is doing, whether it is gone, and whether it is back.
    fn look(&mut self) {
        let state = self.socket.as_ref().map(|socket| {
            // The error of an interface that went down would be told for ever.
            let _ = socket.take_error();
            socket.state()
        });
        if state == Some(InterfaceState::Gone) {
            tracing::warn!(interface = self.name, "the interface is gone");
            self.note_lost();
            self.socket = None;
        }
        self.up = match state {
            Some(InterfaceState::Running) => true,
            Some(InterfaceState::Down) => false,
            Some(InterfaceState::Gone) | None => self.join_again(),
        };
    }

    /// Joins an interface of the same name, if there is one; whether it has a carrier.
    fn join_again(&mut self) -> bool {
        let Ok(socket) = PacketSocket::open(&self.name) else {
            return false;
        };
        if let Err(errno) = self.watch.add(&socket) {
            tracing::warn!(interface = self.name, %errno, "cannot wait for frames of the interface");
            return false;
        }
        tracing::info!(interface = self.name, "the interface is back");
        let state = socket.state();
        self.socket = Some(socket);
        state == InterfaceState::Running
    }

    fn note_lost(&self) {
        if let Some(socket) = &self.socket {
            self.lost
                .set(self.lost.get().wrapping_add(socket.take_drops()));
        }
    }

    fn count_rx_dropped(&mut self) {
        self.counters.rx_dropped = self.counters.rx_dropped.wrapping_add(1);
    }

    /// Hands the frame that arrived next to `sink`, or puts it into the buffer if it is a large one.
    fn take(&mut self, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> Option<Taken> {
        let Self {
            socket,
            buffer,
            large,
            counters,
            ..
        } = self;
        let socket = socket.as_mut()?;
        let taken = match socket.arrival()? {
            Arrived::Whole(frame) => {
                let end = VNET_HEADER_LEN + frame.len;
                match parse(frame.bytes, VNET_HEADER_LEN..end, frame.tag) {
                    Some((mut bytes, Arrival::Whole(l4_checksum))) => {
                        let padded = bytes.end.max(bytes.start + MIN_FRAME);
                        frame.bytes[bytes.end..padded].fill(0);
                        bytes.end = padded;
                        let head = &frame.bytes[bytes];
                        counters.count_rx(head.len());
                        Taken::Handed(sink(&RxFrame {
                            head,
                            body: &[],
                            fcs: Fcs::Good,
                            l4_checksum,
                        }))
                    }
                    Some((bytes, Arrival::Large(frame_to_cut))) => {
                        let bytes = &frame.bytes[bytes];
                        buffer[..bytes.len()].copy_from_slice(bytes);
                        *large = Some(LargeInBuffer {
                            frame: frame_to_cut,
                            bytes: 0..bytes.len(),
                        });
                        Taken::Large
                    }
                    None => Taken::Lost,
                }
            }
            Arrived::Queued { len, tag } => {
                let read = read_queued(socket, &mut buffer[TAG..]);
                let whole = len <= MAX_FRAME && read == Some(VNET_HEADER_LEN + len);
                let start = TAG + VNET_HEADER_LEN;
                match whole
                    .then(|| parse(buffer, start..start + len, tag))
                    .flatten()
                {
                    Some((bytes, Arrival::Whole(l4_checksum))) => {
                        let head = &buffer[bytes];
                        counters.count_rx(head.len());
                        Taken::Handed(sink(&RxFrame {
                            head,
                            body: &[],
                            fcs: Fcs::Good,
                            l4_checksum,
                        }))
                    }
                    Some((bytes, Arrival::Large(frame))) => {
                        *large = Some(LargeInBuffer { frame, bytes });
                        Taken::Large
                    }
                    None => Taken::Lost,
                }
            }
            Arrived::Cut => Taken::Lost,
        };
        socket.release();
        Some(taken)
    }

    /// Writes one frame.
    fn write(&mut self, frame: &TxFrame<'_>) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Err(ErrorKind::NotConnected.into());
        };
        let header = VnetHeader::of(frame);
        vnet::write(socket, header.as_bytes(), frame, &mut self.scratch)
    }
}

/// What became of a frame that arrived.
#[derive(Clone, Copy, Debug)]
enum Taken {
    Handed(Flow),
    /// It is now in [`AfPacket::large`].
    Large,
    /// Nothing that the port could receive.
    Lost,
}

/// Reads a frame from the queue. The kernel tells of an interface that went down before that.
fn read_queued(socket: &PacketSocket, buffer: &mut [u8]) -> Option<usize> {
    let mut read = || socket.read_queued(buffer);
    read().or_else(|_| read()).ok()
}

/// What the frame in this part of `bytes` is, whose header stands before it. The tag is put in, by moving the addresses
/// onto the header; where the frame then lies comes back.
fn parse(
    bytes: &mut [u8],
    frame: Range<usize>,
    tag: Option<VlanTag>,
) -> Option<(Range<usize>, Arrival)> {
    let at = frame.start.checked_sub(VNET_HEADER_LEN)?;
    let (header, _) = VnetHeader::read_from_prefix(bytes.get(at..frame.start)?).ok()?;
    let (frame, tag_len) = match tag {
        Some(tag) if frame.len() >= ADDRESSES => {
            let start = frame.start.checked_sub(TAG)?;
            let addresses_end = frame.start + ADDRESSES;
            bytes.copy_within(frame.start..addresses_end, start);
            let [a, b] = tag.tpid.to_be_bytes();
            let [c, d] = tag.tci.to_be_bytes();
            bytes[addresses_end - TAG..addresses_end].copy_from_slice(&[a, b, c, d]);
            (start..frame.end, TAG)
        }
        _ => (frame, 0),
    };
    let arrival = header.arrival(bytes.get_mut(frame.clone())?, tag_len)?;
    Some((frame, arrival))
}

impl Wire for AfPacket {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            checksum: true,
            tso4: true,
            tso6: true,
        }
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        match self.write(frame) {
            Err(error) if packet::is_busy(&error) => {
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
        let (mut received, mut lost) = (0, 0);
        while received + lost < budget {
            let flow = if let Some(large) = &mut self.large {
                let bytes = &self.buffer[large.bytes.clone()];
                let Some(segment) = large.frame.next_frame(bytes, &mut self.header) else {
                    self.large = None;
                    continue;
                };
                self.counters.count_rx(segment.len());
                let flow = sink(&segment);
                if large.frame.is_done() {
                    self.large = None;
                }
                flow
            } else {
                match self.take(sink) {
                    Some(Taken::Handed(flow)) => flow,
                    Some(Taken::Large) => continue,
                    Some(Taken::Lost) => {
                        self.count_rx_dropped();
                        lost += 1;
                        continue;
                    }
                    None => break,
                }
            };
            received += 1;
            if flow == Flow::Stop {
                break;
            }
        }
        // Whoever calls was woken by something, and if not by a frame, then by a change of the interface.
        if received + lost == 0 && budget > 0 {
            self.watch.take_notices();
            self.look();
        }
        received
    }

    fn carrier(&self) -> bool {
        self.up
    }
}

impl Backend for AfPacket {
    fn describe(&self) -> String {
        format!("af_packet {}", self.name)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.fd())
    }

    fn has_frames(&self) -> bool {
        self.large.is_some()
    }

    fn deadline(&self) -> Option<Time> {
        Some(
            self.again
                .map_or(self.next_look, |at| at.min(self.next_look)),
        )
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

    /// Nothing: the carrier of the interface is its driver's.
    fn set_far_link(&mut self, _: bool) {}

    fn counters(&self) -> Counters {
        self.note_lost();
        let mut counters = self.counters;
        counters.rx_dropped = counters.rx_dropped.wrapping_add(self.lost.get());
        counters
    }
}
