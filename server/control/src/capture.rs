//! The bounded queue between the data path and a client that captures.
//!
//! The worker never waits here: what finds no room is counted as lost.
//!
//! A frame passes at the cable, and the port says what it has to do with it right after: a [`Recorder`] looks at the
//! cable, its [`Notes`] at the port. So a frame is held back until the port has spoken or the next one comes, at the
//! longest until the worker's next turn.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ixgbe_spec::descriptor::rx::RssType;
use nic_model::{
    Time,
    observe::{Event, Observer},
    rx::{DropReason, Verdict},
};
use nix::sys::eventfd::{EfdFlags, EventFd};
use wire::{Capture, CaptureSink, Passing};

use crate::protocol::{Captured, CapturedFrame, Direction};

/// Frames that wait for a client.
const MAX_FRAMES: usize = 8192;
/// Their bytes.
const MAX_BYTES: usize = 16 << 20;
/// Frames and bytes after which a reply is sent.
const REPLY_FRAMES: usize = 1000;
const REPLY_BYTES: usize = 256 << 10;
/// Most bytes of a frame that are captured: more than any frame has, and with [`REPLY_BYTES`] less than a message.
pub(crate) const MAX_SNAP: usize = 256 << 10;

/// Shared by the two ends.
///
/// `bytes`, `lost` and `closed` are each right by themselves, no other memory depends on them, so `Relaxed` is enough. `awake` spares a system call per frame: the recorder writes the event only when it turns `awake` on, and
/// the client turns it off before it empties the queue. Its swaps are `SeqCst` against the queue's own operations, so
/// either the client finds the frame or the recorder finds `awake` off and writes the event.
#[derive(Debug)]
struct Shared {
    bytes: AtomicUsize,
    lost: AtomicU64,
    closed: AtomicBool,
    awake: AtomicBool,
    event: EventFd,
}

/// A capture's two ends.
///
/// # Errors
/// The system has no descriptor left.
pub(crate) fn queue(snap_length: usize) -> io::Result<(Recorder, Recorded)> {
    let (to, from) = mpsc::sync_channel(MAX_FRAMES);
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let shared = Arc::new(Shared {
        bytes: AtomicUsize::new(0),
        lost: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        awake: AtomicBool::new(false),
        event: EventFd::from_value_and_flags(0, flags)?,
    });
    let recorder = Recorder(Arc::new(Mutex::new(Record {
        snap_length: snap_length.min(MAX_SNAP),
        frames: to,
        shared: Arc::clone(&shared),
        hold: Hold::No,
        held: Vec::new(),
        _end: End(Arc::clone(&shared)),
    })));
    let recorded = Recorded {
        frames: from,
        shared,
    };
    Ok((recorder, recorded))
}

/// The worker's end, at the cable. It ends the capture when it is dropped.
#[derive(Debug)]
pub(crate) struct Recorder(Arc<Mutex<Record>>);

/// The worker's end, at the port. It does not keep the capture going.
#[derive(Clone, Debug)]
pub(crate) struct Notes(Weak<Mutex<Record>>);

/// What both of them share; both are in the worker's thread.
#[derive(Debug)]
struct Record {
    snap_length: usize,
    frames: SyncSender<CapturedFrame>,
    shared: Arc<Shared>,
    hold: Hold,
    /// Frames of which the port has not spoken yet.
    held: Vec<CapturedFrame>,
    /// After `frames`: whoever is woken by it finds that nothing more comes.
    _end: End,
}

/// Wakes the client's thread when the port's end has gone.
#[derive(Debug)]
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.0.event.write(1);
    }
}

/// Whether frames wait for what the port says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// There is no port, or nobody looks at it.
    No,
    /// They do.
    Yes,
}

/// More segments of a large frame than this are not held back.
const MAX_HELD: usize = 64;
/// Ethertype of MAC control frames, which the MAC sends by itself: no queue has to do with them.
const MAC_CONTROL: [u8; 2] = [0x88, 0x08];

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// What is to look at the port.
    pub(crate) fn notes(&self) -> Notes {
        Notes(Arc::downgrade(&self.0))
    }
}

impl CaptureSink for Recorder {
    fn frame(&mut self, frame: &Passing<'_>) -> Capture {
        lock(&self.0).frame(frame)
    }
}

impl Notes {
    /// From now on the port is looked at, and frames wait for it.
    pub(crate) fn begin(&self) {
        if let Some(record) = self.0.upgrade() {
            lock(&record).hold = Hold::Yes;
        }
    }

    /// Lets go what is held back. Returns whether the capture goes on.
    pub(crate) fn turn(&self) -> bool {
        let Some(record) = self.0.upgrade() else {
            return false;
        };
        let mut record = lock(&record);
        record.release();
        !record.shared.closed.load(Ordering::Relaxed)
    }
}

impl Observer for Notes {
    fn see(&mut self, _now: Time, event: &Event<'_>) {
        if let Some(record) = self.0.upgrade() {
            lock(&record).see(event);
        }
    }
}

impl Record {
    fn frame(&mut self, frame: &Passing<'_>) -> Capture {
        let length = frame.head.len() + frame.body.len();
        let kept = length.min(self.snap_length);
        let direction = Direction::from(frame.direction);
        // Segments of a large frame have one sender.
        if self.held.len() >= MAX_HELD
            || self
                .held
                .iter()
                .any(|held| held.direction != direction || direction == Direction::Receive)
        {
            self.release();
        }
        let shared = &self.shared;
        if shared.closed.load(Ordering::Relaxed) {
            return Capture::Ended;
        }
        let before = shared.bytes.fetch_add(kept, Ordering::Relaxed);
        if before + kept > MAX_BYTES {
            shared.bytes.fetch_sub(kept, Ordering::Relaxed);
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return Capture::Continue;
        }
        let head = frame.head.get(..kept).unwrap_or(frame.head);
        let body = frame.body.get(..kept - head.len()).unwrap_or(frame.body);
        let captured = CapturedFrame {
            direction,
            time: now(),
            length: u32::try_from(length).unwrap_or(u32::MAX),
            data: [head, body].concat(),
            queue: None,
            hash: None,
            note: None,
        };
        let by_mac =
            direction == Direction::Transmit && captured.data.get(12..14) == Some(&MAC_CONTROL);
        if by_mac || self.hold == Hold::No {
            self.release();
            return self.send(captured);
        }
        self.held.push(captured);
        Capture::Continue
    }

    /// What the port says of the frames that are held back.
    fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Steered(steering) => {
                for held in self.received() {
                    // With VM pools several get it; the first is told.
                    if held.queue.is_none() {
                        held.queue = Some(steering.queue.into());
                        held.hash = (steering.rss_type != RssType::None).then_some(steering.hash);
                    }
                }
            }
            Event::Received { verdict, .. } => {
                for held in self.received() {
                    held.note = note(*verdict).map(str::to_owned);
                    if let Verdict::Dropped(_) = verdict {
                        held.queue = None;
                    }
                }
                self.release();
            }
            Event::Sent { queue, .. } => {
                let sent = self
                    .held
                    .iter_mut()
                    .filter(|held| held.direction == Direction::Transmit);
                sent.for_each(|held| held.queue = Some((*queue).into()));
                self.release();
            }
            _ => {}
        }
    }

    fn received(&mut self) -> impl Iterator<Item = &mut CapturedFrame> {
        self.held
            .iter_mut()
            .filter(|held| held.direction == Direction::Receive)
    }

    fn release(&mut self) {
        for captured in std::mem::take(&mut self.held) {
            // Whether the client is gone is seen at the next frame.
            let _ = self.send(captured);
        }
    }

    fn send(&mut self, captured: CapturedFrame) -> Capture {
        let kept = captured.data.len();
        let shared = &self.shared;
        match self.frames.try_send(captured) {
            Ok(()) => {
                if !shared.awake.swap(true, Ordering::SeqCst) {
                    // A full counter means that the client has been woken already.
                    let _ = shared.event.write(1);
                }
                Capture::Continue
            }
            Err(TrySendError::Full(_)) => {
                shared.bytes.fetch_sub(kept, Ordering::Relaxed);
                shared.lost.fetch_add(1, Ordering::Relaxed);
                Capture::Continue
            }
            Err(TrySendError::Disconnected(_)) => {
                shared.closed.store(true, Ordering::Relaxed);
                Capture::Ended
            }
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.release();
    }
}

/// What is to be said of a frame that arrived, if it was not simply delivered.
const fn note(verdict: Verdict) -> Option<&'static str> {
    Some(match verdict {
        Verdict::Delivered { .. } => return None,
        Verdict::Buffered => "waits in the packet buffer for descriptors",
        Verdict::Dropped(reason) => match reason {
            DropReason::Disabled => "dropped: receive is disabled, or there is no link",
            DropReason::Mac => "dropped by the MAC: bad FCS, too short or too long",
            DropReason::Address => "dropped: no filter accepts the address",
            DropReason::Vlan => "dropped: the VLAN filter does not accept the tag",
            DropReason::Pool => "dropped: it belongs to no VM pool",
            DropReason::Queue => {
                "dropped: the queue is disabled, without descriptors, or the frame is longer than it takes"
            }
            DropReason::FlowDirector => "dropped by a Flow Director filter",
            DropReason::PacketBuffer => "dropped: the packet buffer is full",
            DropReason::Dma => "dropped: the client's memory refused the write",
        },
    })
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|time| i64::try_from(time.as_nanos()).ok())
        .unwrap_or(0)
}

/// The client thread's end.
#[derive(Debug)]
pub(crate) struct Recorded {
    frames: Receiver<CapturedFrame>,
    shared: Arc<Shared>,
}

/// Whether frames can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// They can.
    Open,
    /// The worker has let go.
    Gone,
}

impl Recorded {
    /// Readable when there are frames.
    pub(crate) fn event_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }

    /// Takes note of the event. To be called before the queue is emptied with [`Recorded::take`].
    pub(crate) fn clear_event(&self) {
        // Nothing to clear is as good.
        let _ = self.shared.event.read();
        self.shared.awake.swap(false, Ordering::SeqCst);
    }

    /// Lets no further frame in; what is there can still be taken.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }

    /// The frames of one reply: what is there, up to a size. An empty one means that there are no more now.
    pub(crate) fn take(&self) -> (Captured, Source) {
        let mut frames = Vec::new();
        let (mut bytes, mut source) = (0, Source::Open);
        while frames.len() < REPLY_FRAMES && bytes < REPLY_BYTES {
            match self.frames.try_recv() {
                Ok(frame) => {
                    bytes += frame.data.len();
                    frames.push(frame);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    source = Source::Gone;
                    break;
                }
            }
        }
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let lost = self.shared.lost.load(Ordering::Relaxed);
        (Captured { frames, lost }, source)
    }
}

#[cfg(test)]
mod tests {
    use nic_model::wire::RxFrame;

    use super::*;

    fn record(recorder: &mut Recorder, bytes: &[u8]) -> Capture {
        let (head, body) = bytes.split_at(bytes.len() / 2);
        recorder.frame(&Passing {
            direction: wire::Direction::Receive,
            head,
            body,
        })
    }

    fn pass(recorder: &mut Recorder, direction: wire::Direction, bytes: &[u8]) {
        recorder.frame(&Passing {
            direction,
            head: bytes,
            body: &[],
        });
    }

    #[test]
    fn a_frame_is_held_until_the_port_has_said_what_became_of_it() {
        let (mut recorder, recorded) = queue(100).unwrap();
        let mut notes = recorder.notes();
        notes.begin();
        let frame = RxFrame::new(&[1; 60]);

        pass(&mut recorder, wire::Direction::Receive, &[1; 60]);
        let (before, _) = recorded.take();
        let verdict = Verdict::Dropped(DropReason::Vlan);
        notes.see(
            Time::ZERO,
            &Event::Received {
                frame: &frame,
                verdict,
            },
        );
        let (after, _) = recorded.take();

        assert_eq!(before.frames, []);
        assert_eq!(
            after.frames[0].note.as_deref(),
            Some("dropped: the VLAN filter does not accept the tag")
        );
    }

    #[test]
    fn all_segments_of_what_a_queue_sends_are_its() {
        let (mut recorder, recorded) = queue(100).unwrap();
        let mut notes = recorder.notes();
        notes.begin();
        let frame = nic_model::wire::TxFrame {
            head: &[2; 60],
            payload: &[],
            offload: nic_model::wire::Offload::None,
        };

        pass(&mut recorder, wire::Direction::Transmit, &[1; 60]);
        pass(&mut recorder, wire::Direction::Transmit, &[2; 60]);
        notes.see(
            Time::ZERO,
            &Event::Sent {
                queue: 7,
                frame: &frame,
            },
        );
        pass(
            &mut recorder,
            wire::Direction::Transmit,
            &[[0; 12].as_slice(), &MAC_CONTROL].concat(),
        );

        let (captured, _) = recorded.take();
        let queues: Vec<_> = captured.frames.iter().map(|frame| frame.queue).collect();
        assert_eq!(queues, [Some(7), Some(7), None]);
    }

    #[test]
    fn notes_do_not_keep_a_capture_that_the_cable_has_ended() {
        let (recorder, _recorded) = queue(100).unwrap();
        let notes = recorder.notes();

        let before = notes.turn();
        drop(recorder);

        assert_eq!((before, notes.turn()), (true, false));
    }

    #[test]
    fn a_frame_longer_than_the_snap_length_is_cut_and_keeps_its_length() {
        let (mut recorder, recorded) = queue(7).unwrap();

        record(&mut recorder, b"0123456789");

        let (captured, _) = recorded.take();
        assert_eq!(captured.frames[0].data, b"0123456");
        assert_eq!(captured.frames[0].length, 10);
    }

    #[test]
    fn frames_beyond_the_queue_are_lost_and_counted_and_the_worker_goes_on() {
        let (mut recorder, recorded) = queue(usize::MAX).unwrap();

        for _ in 0..MAX_FRAMES + 3 {
            assert_eq!(record(&mut recorder, b"frame"), Capture::Continue);
        }

        let (captured, _) = recorded.take();
        assert_eq!(captured.lost, 3);
        assert_eq!(captured.frames.len(), REPLY_FRAMES);
    }

    #[test]
    fn bytes_beyond_the_queue_are_lost_until_the_client_has_taken_some() {
        let (mut recorder, recorded) = queue(usize::MAX).unwrap();
        let large = vec![0; MAX_SNAP];

        for _ in 0..=MAX_BYTES / MAX_SNAP {
            record(&mut recorder, &large);
        }
        let (first, _) = recorded.take();
        record(&mut recorder, &large);
        let (second, _) = recorded.take();

        assert_eq!(first.lost, 1);
        assert_eq!(second.lost, 1);
    }

    #[test]
    fn a_reply_fits_a_message() {
        let (mut recorder, recorded) = queue(usize::MAX).unwrap();
        record(&mut recorder, &vec![0; REPLY_BYTES - 1]);
        record(&mut recorder, &vec![0; MAX_SNAP + 10]);

        let (captured, _) = recorded.take();

        assert_eq!(captured.frames.len(), 2);
        let message = serde_json::to_vec(&captured).unwrap();
        assert!(message.len() < crate::MAX_MESSAGE - 100);
    }

    #[test]
    fn a_recorder_whose_client_is_gone_has_ended() {
        let (mut recorder, recorded) = queue(100).unwrap();
        drop(recorded);
        assert_eq!(record(&mut recorder, b"frame"), Capture::Ended);
    }

    #[test]
    fn a_client_whose_worker_is_gone_gets_the_rest_and_then_the_end() {
        let (mut recorder, recorded) = queue(100).unwrap();
        record(&mut recorder, b"last");
        drop(recorder);

        let (captured, source) = recorded.take();

        assert_eq!(captured.frames.len(), 1);
        assert_eq!(source, Source::Gone);
    }
}
