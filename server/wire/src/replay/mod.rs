//! A wire that replays a capture file.

mod feed;
mod options;
#[cfg(test)]
mod tests;

use std::{fs::File, io, num::NonZeroU64, os::fd::BorrowedFd, path::PathBuf};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use feed::{Feed, Piece, Stamp};
pub use options::{ReplayOptions, Rounds, Speed};

use crate::{
    Backend, Counters,
    batch::Batch,
    file::{FileError, RecordError, Recorder},
    line::{self, Pacer},
    passing::Sight,
};

/// At a rate, who was served late makes up for so many nanoseconds.
const CATCH_UP: u64 = 1_000_000;

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It cannot be opened.
    #[error("cannot read {}, which is to be replayed; check the path behind pcap:", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has no frame that can be read.
    #[error("cannot replay {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FileError,
    },
    /// What the port sends cannot be captured.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The port does not listen yet.
    Waiting,
    /// It has begun at this time.
    Running(Time),
    /// All frames have come.
    Ended,
}

/// A far end that sends the frames of a pcap or pcapng file, and throws away what comes or writes it to another.
///
/// The replay begins when the port has a link and its driver enables the receiver (RXCTRL.RXEN) for the first time, so
/// that no frame is lost to a driver that is still to come. From then on it runs by itself: what comes while the driver
/// resets the port is lost, as on any cable. Only while the port's module is dark or the cable is pulled it stands
/// still, as the far end sees that. Its end is told in the log.
///
/// Recorded speed, and multiples of it, keep the times between frames; a time that lies before that of the frame before
/// counts as the same. Frames a second and a line's speed are exact; who is late makes up for a millisecond at most. A
/// line's speed counts preamble, FCS and gap. Another round begins at once after the last frame.
///
/// A thread, which starts with the wire's first turn, reads the file, however long it is, up to 4 MiB ahead of the port; it may be a pipe. A frame of less than 60
/// bytes is padded, one that the capturing tool cut comes as long as it is in the file. One of less than 14 or more than
/// 16383 bytes is left out and counted. Where the file is broken the replay ends.
#[derive(Debug)]
pub struct Replay {
    options: ReplayOptions,
    feed: Feed,
    batch: Batch<Stamp>,
    /// What came before the replay began, and its end.
    end: Option<Result<(), FileError>>,
    state: State,
    pacer: Option<Pacer>,
    /// Time of the last frame in the file; `None` before the first.
    last: Option<u64>,
    /// The next frame has its place in time.
    placed: bool,
    /// The file was not read fast enough.
    starves: bool,
    cut_short: u64,
    lit: bool,
    listening: bool,
    now: Time,
    recorder: Option<Recorder>,
    sight: Sight,
    counters: Counters,
}

impl Replay {
    /// Opens the files. A file on a disk must be readable to its first frame.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn open(options: &ReplayOptions) -> Result<Self, ReplayError> {
        let path = &options.input;
        let failed = |source| ReplayError::Open {
            path: path.clone(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let input = file.try_clone().map_err(failed)?;
        if metadata.is_file() {
            // Of a file that is broken at once nothing could be replayed.
            feed::check(&file, path).map_err(|source| ReplayError::File {
                path: path.clone(),
                source,
            })?;
        }
        let feed = Feed::new(file, path, options.rounds).map_err(failed)?;
        let mut replay = Self {
            options: options.clone(),
            feed,
            batch: Batch::default(),
            end: None,
            state: State::Waiting,
            pacer: units_per_second(options.speed).map(Pacer::new),
            last: None,
            placed: false,
            starves: false,
            cut_short: 0,
            lit: true,
            listening: false,
            now: Time::ZERO,
            recorder: None,
            sight: Sight::default(),
            counters: Counters::default(),
        };
        if let Some(output) = &options.output {
            replay.recorder = Some(Recorder::create(output, Some(&input))?);
        }
        Ok(replay)
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Frames(batch) => {
                let empty = std::mem::replace(&mut self.batch, batch);
                self.feed.give_back(empty);
            }
            Piece::Unfit(count) => {
                self.counters.rx_dropped = self.counters.rx_dropped.wrapping_add(count);
            }
            Piece::End(result) => self.end = Some(result),
        }
    }

    /// Looks for the next frame, and gives it its place in time.
    fn look(&mut self) {
        if self.state == State::Ended {
            return;
        }
        while self.batch.is_empty() && self.end.is_none() {
            let Some(piece) = self.feed.next() else {
                self.starves = true;
                return;
            };
            self.take(piece);
        }
        if let State::Running(_) = self.state {
            self.place();
            self.tell_end();
        }
    }

    /// Gives the next frame its place in time, if it has none.
    fn place(&mut self) {
        let (Some((stamp, _)), false) = (self.batch.front(), self.placed) else {
            return;
        };
        self.placed = true;
        let starved = std::mem::take(&mut self.starves);
        let Some(pacer) = &mut self.pacer else {
            return;
        };
        if is_recorded(self.options.speed) {
            let time = stamp.time.or(self.last).unwrap_or(0);
            pacer.spend(time.saturating_sub(self.last.unwrap_or(time)));
            self.last = Some(time);
        } else {
            let late = if starved { 0 } else { CATCH_UP };
            let earliest = self.now.as_nanos().saturating_sub(late);
            pacer.not_before(Time::from_nanos(earliest));
        }
    }

    fn tell_end(&mut self) {
        let State::Running(start) = self.state else {
            return;
        };
        if !self.batch.is_empty() {
            return;
        }
        let Some(end) = self.end.take() else {
            return;
        };
        self.state = State::Ended;
        let Counters {
            rx_frames: frames,
            rx_bytes: bytes,
            rx_dropped: left_out,
            ..
        } = self.counters;
        let file = self.options.input.display();
        let (seconds, cut_short) = (self.now.since(start).as_secs_f64(), self.cut_short);
        match end {
            Ok(()) => {
                tracing::info!(
                    frames,
                    bytes,
                    left_out,
                    cut_short,
                    seconds,
                    "the replay of {file} has ended"
                );
            }
            Err(error) => {
                tracing::warn!(frames, bytes, left_out, cut_short, seconds, %error, "the replay of {file} ends early");
            }
        }
    }

    /// When the next frame comes, if the replay runs and one is there.
    fn due(&self) -> Option<Time> {
        let runs = matches!(self.state, State::Running(_)) && self.lit && self.placed;
        let due = self.pacer.as_ref().map_or(Time::ZERO, Pacer::due);
        (runs && !self.batch.is_empty()).then_some(due)
    }
}

/// Whether the file says when frames come.
const fn is_recorded(speed: Speed) -> bool {
    matches!(speed, Speed::Recorded | Speed::Times(_))
}

/// Units of time, frames or bits a second; `None` for no limit.
fn units_per_second(speed: Speed) -> Option<NonZeroU64> {
    match speed {
        Speed::Max => None,
        Speed::Recorded => NonZeroU64::new(1_000_000_000),
        Speed::Times(thousandths) => {
            NonZeroU64::from(thousandths).checked_mul(NonZeroU64::new(1_000_000)?)
        }
        Speed::FramesPerSecond(rate) => Some(rate.into()),
        Speed::Line(rate) => Some(rate.bits_per_second()),
    }
}

impl Wire for Replay {
    /// What is thrown away needs no checksum; what is captured is as the card makes it.
    fn capabilities(&self) -> Capabilities {
        let all = self.recorder.is_none();
        Capabilities {
            checksum: all,
            tso4: all,
            tso6: all,
        }
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.counters.count_tx(frame.len());
        if let Some(recorder) = &mut self.recorder {
            self.sight.sent(frame, &mut |frame| recorder.frame(frame));
        }
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let mut count = 0;
        while count < budget && self.due().is_some_and(|due| due <= self.now) {
            let Some((stamp, bytes)) = self.batch.front() else {
                break;
            };
            self.cut_short += u64::from(stamp.cut_short);
            self.counters.count_rx(bytes.len());
            let flow = sink(&RxFrame::new(bytes));
            match (self.options.speed, &mut self.pacer) {
                (Speed::Line(_), Some(pacer)) => pacer.spend(line::bits(bytes.len())),
                (Speed::FramesPerSecond(_), Some(pacer)) => pacer.spend(1),
                _ => {}
            }
            self.batch.pop();
            self.placed = false;
            count += 1;
            self.look();
            if flow == Flow::Stop {
                break;
            }
        }
        count
    }

    fn carrier(&self) -> bool {
        true
    }
}

impl Backend for Replay {
    fn describe(&self) -> String {
        format!("pcap {}", self.options)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        (self.state != State::Ended).then(|| self.feed.bell())
    }

    fn has_frames(&self) -> bool {
        self.due().is_some_and(|due| due <= self.now)
    }

    fn deadline(&self) -> Option<Time> {
        let begins = self.state == State::Waiting && self.listening && self.lit;
        let next = if begins {
            Some(Time::ZERO)
        } else {
            self.due().filter(|due| *due > self.now)
        };
        let recorder = self.recorder.as_ref().and_then(Recorder::deadline);
        next.into_iter().chain(recorder).min()
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        if let Some(recorder) = &mut self.recorder {
            recorder.advance(now);
        }
        if self.state == State::Waiting && self.listening && self.lit {
            self.state = State::Running(now);
            if let Some(pacer) = &mut self.pacer {
                pacer.not_before(now);
            }
        }
        if self.state != State::Ended {
            self.feed.silence();
        }
        if self.batch.is_empty() || !self.placed {
            self.look();
        }
    }

    fn set_far_link(&mut self, up: bool) {
        if up
            && !self.lit
            && let Some(pacer) = &mut self.pacer
        {
            pacer.not_before(self.now);
        }
        self.lit = up;
    }

    fn set_listening(&mut self, on: bool) {
        self.listening = on;
    }

    fn counters(&self) -> Counters {
        match &self.recorder {
            Some(recorder) => recorder.add_to(self.counters),
            None => self.counters,
        }
    }
}
