//! What the server's loop needs of a wire besides the frames.

use std::{fmt, os::fd::BorrowedFd};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

/// A wire as the server runs it: frames as in [`Wire`], and what to wait for. It is opened in one thread and runs in
/// another.
///
/// The loop calls, once per turn and in any order, [`Backend::advance`], [`Wire::transmit`] and [`Wire::receive`].
/// It may sleep when [`Backend::has_frames`] is false, until [`Backend::poll_fd`] is readable or
/// [`Backend::deadline`] has come.
pub trait Backend: Wire + Send {
    /// What this is and how it is reached, for a person: `host 10.0.2.2`, `tap tap0`.
    fn describe(&self) -> String;

    /// A descriptor that becomes readable when frames arrive from outside the process, or `None` for a wire that
    /// lives in this process alone. It turns `None` when what is behind it is gone; whoever waits for it has to stop
    /// then, since a dead descriptor is always ready.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether [`Wire::receive`] would hand out a frame that no event on [`Backend::poll_fd`] announces (again).
    fn has_frames(&self) -> bool;

    /// The latest time at which [`Backend::advance`] wants to be called; [`Time::ZERO`] means as soon as possible,
    /// `None` means that nothing is due by itself.
    fn deadline(&self) -> Option<Time>;

    /// Does the work that is due at `now`: bounded, never blocks. Frames given to [`Wire::transmit`] before are
    /// answered here by a wire that answers them itself.
    fn advance(&mut self, now: Time);

    /// The far end has a link: the port's module sends, and the cable is in. So it is when a wire is opened.
    fn set_far_link(&mut self, up: bool);

    /// The port's driver has enabled the receiver while there is a link, or it no longer is so. It begins off.
    ///
    /// Only a wire that begins something then needs to know.
    fn set_listening(&mut self, _on: bool) {}

    /// What went over this wire since it was opened.
    fn counters(&self) -> Counters;
}

/// Frames and bytes (without FCS) over a wire, seen from the port: `tx` left it, `rx` came to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames taken from the port. A large TCP segment that the wire cuts itself counts once.
    pub tx_frames: u64,
    /// Bytes of those frames.
    pub tx_bytes: u64,
    /// Frames taken from the port and lost: nobody there, no room, or an offload that this wire does not have.
    pub tx_dropped: u64,
    /// Frames handed to the port.
    pub rx_frames: u64,
    /// Bytes of those frames.
    pub rx_bytes: u64,
    /// Frames for the port that were lost before it saw them: no room, or not well formed.
    pub rx_dropped: u64,
    /// Peers that have connected, one after the other, on a wire that has such.
    pub connections: u64,
    /// Peers that were left because what they sent was no frame, or ended within one.
    pub framing_errors: u64,
    /// Frames that are missing in a capture on the cable, since its file was not written fast enough or not at all.
    pub capture_lost: u64,
}

impl Counters {
    /// Name and value of each counter, in a fixed order.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 9] {
        let Self {
            tx_frames,
            tx_bytes,
            tx_dropped,
            rx_frames,
            rx_bytes,
            rx_dropped,
            connections,
            framing_errors,
            capture_lost,
        } = *self;
        [
            ("tx_frames", tx_frames),
            ("tx_bytes", tx_bytes),
            ("tx_dropped", tx_dropped),
            ("rx_frames", rx_frames),
            ("rx_bytes", rx_bytes),
            ("rx_dropped", rx_dropped),
            ("connections", connections),
            ("framing_errors", framing_errors),
            ("capture_lost", capture_lost),
        ]
    }

    pub(crate) fn count_tx(&mut self, len: usize) {
        self.tx_frames = self.tx_frames.wrapping_add(1);
        self.tx_bytes = self.tx_bytes.wrapping_add(len as u64);
    }

    pub(crate) fn count_tx_dropped(&mut self) {
        self.tx_dropped = self.tx_dropped.wrapping_add(1);
    }

    pub(crate) fn count_rx(&mut self, len: usize) {
        self.rx_frames = self.rx_frames.wrapping_add(1);
        self.rx_bytes = self.rx_bytes.wrapping_add(len as u64);
    }

    pub(crate) fn count_rx_dropped(&mut self) {
        self.rx_dropped = self.rx_dropped.wrapping_add(1);
    }

    pub(crate) fn count_connection(&mut self) {
        self.connections = self.connections.wrapping_add(1);
    }

    pub(crate) fn count_framing_error(&mut self) {
        self.framing_errors = self.framing_errors.wrapping_add(1);
    }
}

impl fmt::Debug for dyn Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backend").field(&self.describe()).finish()
    }
}

impl Wire for Box<dyn Backend> {
    fn capabilities(&self) -> Capabilities {
        self.as_ref().capabilities()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.as_mut().transmit(frame)
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        self.as_mut().receive(budget, sink)
    }

    fn carrier(&self) -> bool {
        self.as_ref().carrier()
    }
}

impl Backend for Box<dyn Backend> {
    fn describe(&self) -> String {
        self.as_ref().describe()
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.as_ref().poll_fd()
    }

    fn has_frames(&self) -> bool {
        self.as_ref().has_frames()
    }

    fn deadline(&self) -> Option<Time> {
        self.as_ref().deadline()
    }

    fn advance(&mut self, now: Time) {
        self.as_mut().advance(now);
    }

    fn set_far_link(&mut self, up: bool) {
        self.as_mut().set_far_link(up);
    }

    fn set_listening(&mut self, on: bool) {
        self.as_mut().set_listening(on);
    }

    fn counters(&self) -> Counters {
        self.as_ref().counters()
    }
}
