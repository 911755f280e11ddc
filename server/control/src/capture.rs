//! The bounded queue between the data path and a client that captures.
//!
//! The worker never waits here: what finds no room is counted as lost.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::eventfd::{EfdFlags, EventFd};
use wire::{Capture, CaptureSink, Passing};

use crate::protocol::{Captured, CapturedFrame};

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
    let recorder = Recorder {
        snap_length: snap_length.min(MAX_SNAP),
        frames: to,
        shared: Arc::clone(&shared),
    };
    let recorded = Recorded {
        frames: from,
        shared,
    };
    Ok((recorder, recorded))
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Recorder {
    snap_length: usize,
    frames: SyncSender<CapturedFrame>,
    shared: Arc<Shared>,
}

impl CaptureSink for Recorder {
    fn frame(&mut self, frame: &Passing<'_>) -> Capture {
        let length = frame.head.len() + frame.body.len();
        let kept = length.min(self.snap_length);
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
        let head = &frame.head[..frame.head.len().min(kept)];
        let body = &frame.body[..kept - head.len()];
        let captured = CapturedFrame {
            direction: frame.direction.into(),
            time: now(),
            length: u32::try_from(length).unwrap_or(u32::MAX),
            data: [head, body].concat(),
        };
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
            Err(TrySendError::Disconnected(_)) => Capture::Ended,
        }
    }
}

impl Drop for Recorder {
    /// The client's thread shall see that nothing more comes.
    fn drop(&mut self) {
        let _ = self.shared.event.write(1);
    }
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
    use wire::Direction;

    use super::*;

    fn record(recorder: &mut Recorder, bytes: &[u8]) -> Capture {
        let (head, body) = bytes.split_at(bytes.len() / 2);
        recorder.frame(&Passing {
            direction: Direction::Receive,
            head,
            body,
        })
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
