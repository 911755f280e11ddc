//! One queue of a network interface of this machine, by an AF_XDP socket.

use std::{os::fd::BorrowedFd, time::Duration};

use guest_memory::xdp::{InterfaceState, Kick, SendError, XdpSocket};
use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use crate::{Backend, Counters, OpenError, XdpQueue, host::MIN_FRAME, interface::InterfaceWatch};

/// How often the state of the interface is looked at besides: the kernel tells of changes, but not to a port that is
/// too full to listen.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// When a frame that there was no room for is offered again.
const RETRY: Duration = Duration::from_micros(100);
/// Frames after which the kernel is told of them at once; it takes as many in one call.
const KICK_AFTER: usize = 32;
/// Calls in one turn of which each leaves some frames for the next.
const MAX_KICKS: usize = 64;

/// Joins a queue of a network interface: what comes in there reaches the port instead of the kernel, past its network
/// stack.
///
/// Frames are complete in both directions: the port segments and sums itself, and none is longer than
/// [`MAX_FRAME`](guest_memory::xdp::MAX_FRAME). What the interface leaves undone for the kernel to see is not seen here:
/// a veth peer whose kernel sends has to complete checksums (`ethtool -K PEER tx off`), and a card has to leave VLAN tags
/// in the frames (`ethtool -K IFACE rxvlan off`). Of an interface with several queues only the frames of this one come.
///
/// The carrier follows the interface, and an interface that was deleted is joined again when there is one of its name,
/// as with [`AfPacket`](crate::AfPacket).
#[derive(Debug)]
pub struct AfXdp {
    queue: XdpQueue,
    /// `None` while there is no such interface.
    socket: Option<XdpSocket>,
    watch: InterfaceWatch,
    up: bool,
    next_look: Time,
    now: Time,
    /// When a refused frame can be tried again.
    again: Option<Time>,
    /// Frames of which the kernel has not been told.
    waiting: usize,
    counters: Counters,
}

impl AfXdp {
    /// Joins `queue`. Its interface may be down.
    ///
    /// # Errors
    /// [`OpenError`], which names the cause and the next step.
    pub fn open(queue: &XdpQueue) -> Result<Self, OpenError> {
        let socket = XdpSocket::open(&queue.interface, queue.queue)?;
        let watch = InterfaceWatch::new()?;
        watch
            .add(&socket)
            .map_err(|errno| OpenError::Watch(errno.into()))?;
        let mut wire = Self {
            queue: queue.clone(),
            socket: Some(socket),
            watch,
            up: false,
            next_look: Time::ZERO,
            now: Time::ZERO,
            again: None,
            waiting: 0,
            counters: Counters::default(),
        };
        wire.look();
        if !wire.up {
            tracing::warn!(
                "{name} is down or has no carrier, so the NIC has no link; ip link set {name} up",
                name = queue.interface
            );
        }
        Ok(wire)
    }

    /// Looks what the interface is doing, whether it is gone, and whether it is back.
    fn look(&mut self) {
        let state = self.socket.as_ref().map(XdpSocket::state);
        if state == Some(InterfaceState::Gone) {
            tracing::warn!(interface = self.queue.interface, "the interface is gone");
            self.counters = self.counters();
            self.socket = None;
            self.waiting = 0;
        }
        self.up = match state {
            Some(InterfaceState::Running) => true,
            Some(InterfaceState::Down) => false,
            Some(InterfaceState::Gone) | None => self.join_again(),
        };
    }

    /// Joins an interface of the same name, if there is one; whether it has a carrier.
    fn join_again(&mut self) -> bool {
        let Ok(socket) = XdpSocket::open(&self.queue.interface, self.queue.queue) else {
            return false;
        };
        if let Err(errno) = self.watch.add(&socket) {
            tracing::warn!(queue = %self.queue, %errno, "cannot wait for frames of the interface");
            return false;
        }
        tracing::info!(interface = self.queue.interface, "the interface is back");
        let state = socket.state();
        self.socket = Some(socket);
        state == InterfaceState::Running
    }

    /// Tells the kernel of the frames that wait.
    fn kick(&mut self) {
        let Some(socket) = &mut self.socket else {
            self.waiting = 0;
            return;
        };
        for _ in 0..MAX_KICKS {
            match socket.kick() {
                Kick::Done => {
                    self.waiting = 0;
                    return;
                }
                Kick::More => {}
                Kick::Busy => break,
            }
        }
        self.again = Some(self.now + RETRY);
    }
}

impl Wire for AfXdp {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        let len = frame.len();
        let write = |to: &mut [u8]| {
            let (head, mut rest) = to.split_at_mut(frame.head.len());
            head.copy_from_slice(frame.head);
            for span in frame.payload {
                let (piece, behind) = rest.split_at_mut(span.len());
                span.copy_to(0, piece);
                rest = behind;
            }
        };
        let sent = match &mut self.socket {
            // The kernel keeps what a socket of an interface that is down sends, for a later time.
            Some(socket) if self.up => socket.send(len, write),
            _ => Err(SendError::TooLong),
        };
        match sent {
            Ok(()) => {
                self.waiting += 1;
                if self.waiting >= KICK_AFTER {
                    self.kick();
                }
            }
            Err(SendError::Busy) => {
                self.kick();
                self.again = Some(self.now + RETRY);
                return Err(WireBusy);
            }
            Err(SendError::TooLong) => self.counters.count_tx_dropped(),
        }
        self.counters.count_tx(len);
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let Self {
            socket, counters, ..
        } = self;
        let mut received = 0;
        while received < budget {
            let flow = socket.as_mut().and_then(|socket| {
                socket.receive(|bytes| {
                    let mut padded = [0; MIN_FRAME];
                    let bytes = match padded.get_mut(..bytes.len()) {
                        Some(start) => {
                            start.copy_from_slice(bytes);
                            &padded
                        }
                        None => bytes,
                    };
                    counters.count_rx(bytes.len());
                    sink(&RxFrame::new(bytes))
                })
            });
            match flow {
                None => break,
                Some(flow) => {
                    received += 1;
                    if flow == Flow::Stop {
                        break;
                    }
                }
            }
        }
        // Whoever calls was woken by something, and if not by a frame, then by a change of the interface.
        if received == 0 && budget > 0 {
            self.watch.take_notices();
            self.look();
        }
        received
    }

    fn carrier(&self) -> bool {
        self.up
    }
}

impl Backend for AfXdp {
    fn describe(&self) -> String {
        let XdpQueue { interface, queue } = &self.queue;
        format!("af_xdp {interface}, queue {queue}")
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watch.fd())
    }

    fn has_frames(&self) -> bool {
        self.socket.as_ref().is_some_and(XdpSocket::has_arrived)
    }

    fn deadline(&self) -> Option<Time> {
        let kick = (self.waiting > 0).then_some(Time::ZERO);
        let soon = self.again.or(kick);
        Some(soon.map_or(self.next_look, |at| at.min(self.next_look)))
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        let due = self.again.is_none_or(|at| at <= now);
        if due {
            self.again = None;
            if self.waiting > 0 {
                self.kick();
            }
        }
        if self.next_look <= now {
            self.next_look = now + LOOK_INTERVAL;
            self.look();
        }
    }

    /// Nothing: the carrier of the interface is its driver's.
    fn set_far_link(&mut self, _: bool) {}

    fn counters(&self) -> Counters {
        let lost = self.socket.as_ref().map_or(0, XdpSocket::drops);
        let mut counters = self.counters;
        counters.rx_dropped = counters.rx_dropped.wrapping_add(lost);
        counters
    }
}
