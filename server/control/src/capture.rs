//! Frames as they pass: `Capture`.
//!
//! A frame passes at the cable, and the port says what it has to do with it right after: a [`Recorder`] looks at the
//! cable, its [`Notes`] at the port. So a frame is held back until the port has spoken or the next one comes, at the
//! longest until the worker's next turn.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{SystemTime, UNIX_EPOCH},
};

use ixgbe_spec::descriptor::rx::RssType;
use nic_model::{
    Time,
    observe::{Event, Observer},
    rx::{DropReason, Verdict},
};
use wire::{Capture, CaptureSink, Passing};

use crate::{
    protocol::{Captured, CapturedFrame, Direction},
    queue::{self, Item, Limits, Receiver, Sender},
};

/// Most bytes of a frame that are captured: more than any frame has, and with a message's bytes before it less than a message.
pub(crate) const MAX_SNAP: usize = 256 << 10;

impl Item for CapturedFrame {
    const LIMITS: Limits = Limits {
        items: 8192,
        bytes: 16 << 20,
        reply_items: 1000,
        reply_bytes: 256 << 10,
    };
    type Reply = Captured;

    fn size(&self) -> usize {
        self.data.len()
    }

    fn reply(frames: Vec<Self>, lost: u64) -> Captured {
        Captured { frames, lost }
    }
}

/// A capture's two ends.
///
/// # Errors
/// The system has no descriptor left.
pub(crate) fn record(snap_length: usize) -> io::Result<(Recorder, Receiver<CapturedFrame>)> {
    let (frames, recorded) = queue::queue()?;
    let recorder = Recorder(Arc::new(Mutex::new(Record {
        snap_length: snap_length.min(MAX_SNAP),
        frames,
        hold: Hold::No,
        held: Vec::new(),
    })));
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
    frames: Sender<CapturedFrame>,
    hold: Hold,
    /// Frames of which the port has not spoken yet.
    held: Vec<CapturedFrame>,
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

    fn has_ended(&self) -> bool {
        lock(&self.0).frames.is_closed()
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
        !record.frames.is_closed()
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
        if self.frames.is_closed() {
            return Capture::Ended;
        }
        if !self.has_room(kept) {
            self.frames.lose();
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
            self.frames.push(captured);
        } else {
            self.held.push(captured);
        }
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

    /// Whether a frame of so many bytes finds room beside those that are held back.
    fn has_room(&self, kept: usize) -> bool {
        let held: usize = self.held.iter().map(Item::size).sum();
        self.frames.has_room(held.saturating_add(kept))
    }

    fn release(&mut self) {
        for captured in self.held.drain(..) {
            self.frames.push(captured);
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

#[cfg(test)]
mod tests {
    use nic_model::wire::RxFrame;

    use super::*;

    fn queue(snap_length: usize) -> (Recorder, Receiver<CapturedFrame>) {
        super::record(snap_length).unwrap()
    }

    fn take(recorded: &Receiver<CapturedFrame>) -> Vec<CapturedFrame> {
        recorded.take().0
    }

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
        let (mut recorder, recorded) = queue(100);
        let mut notes = recorder.notes();
        notes.begin();
        let frame = RxFrame::new(&[1; 60]);

        pass(&mut recorder, wire::Direction::Receive, &[1; 60]);
        let before = take(&recorded);
        let verdict = Verdict::Dropped(DropReason::Vlan);
        notes.see(
            Time::ZERO,
            &Event::Received {
                frame: &frame,
                verdict,
            },
        );
        let after = take(&recorded);

        assert_eq!(before, []);
        assert_eq!(
            after[0].note.as_deref(),
            Some("dropped: the VLAN filter does not accept the tag")
        );
    }

    #[test]
    fn all_segments_of_what_a_queue_sends_are_its() {
        let (mut recorder, recorded) = queue(100);
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

        let captured = take(&recorded);
        let queues: Vec<_> = captured.iter().map(|frame| frame.queue).collect();
        assert_eq!(queues, [Some(7), Some(7), None]);
    }

    #[test]
    fn notes_do_not_keep_a_capture_that_the_cable_has_ended() {
        let (recorder, _recorded) = queue(100);
        let notes = recorder.notes();

        let before = notes.turn();
        drop(recorder);

        assert_eq!((before, notes.turn()), (true, false));
    }

    #[test]
    fn a_frame_longer_than_the_snap_length_is_cut_and_keeps_its_length() {
        let (mut recorder, recorded) = queue(7);

        record(&mut recorder, b"0123456789");

        let captured = take(&recorded);
        assert_eq!(captured[0].data, b"0123456");
        assert_eq!(captured[0].length, 10);
    }

    #[test]
    fn frames_beyond_the_queue_are_lost_and_the_worker_goes_on() {
        let (mut recorder, recorded) = queue(usize::MAX);

        for _ in 0..CapturedFrame::LIMITS.items + 3 {
            assert_eq!(record(&mut recorder, b"frame"), Capture::Continue);
        }

        assert_eq!(recorded.lost(), 3);
    }

    #[test]
    fn frames_that_are_held_back_take_room() {
        let (mut recorder, recorded) = queue(usize::MAX);
        recorder.notes().begin();
        let large = vec![0; MAX_SNAP];

        for _ in 0..=CapturedFrame::LIMITS.bytes / MAX_SNAP {
            pass(&mut recorder, wire::Direction::Transmit, &large);
        }

        assert_eq!(recorded.lost(), 1);
    }

    #[test]
    fn a_reply_fits_a_message() {
        let (mut recorder, recorded) = queue(usize::MAX);
        record(
            &mut recorder,
            &vec![0; CapturedFrame::LIMITS.reply_bytes - 1],
        );
        record(&mut recorder, &vec![0; MAX_SNAP + 10]);

        let captured = take(&recorded);

        assert_eq!(captured.len(), 2);
        let message = serde_json::to_vec(&CapturedFrame::reply(captured, u64::MAX)).unwrap();
        assert!(message.len() < crate::MAX_MESSAGE - 100);
    }

    #[test]
    fn a_recorder_whose_client_is_gone_has_ended() {
        let (mut recorder, recorded) = queue(100);
        drop(recorded);
        assert_eq!(record(&mut recorder, b"frame"), Capture::Ended);
    }
}
