//! A capture file that is written beside the data path.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufWriter},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nic_model::Time;

use super::PcapNg;
use crate::{Counters, Direction, Passing, batch::Batch};

/// Batches of frames that wait to be written: 16 MiB, and what single long frames have above that.
const BATCHES: usize = 256;
/// Frames are in the file at the latest after this time.
const FLUSH: Duration = Duration::from_millis(20);
/// How long the end of the server waits for the file to be complete.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be made or written.
    #[error("cannot write the capture {}; name a file in a folder that exists and is writable", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another capture goes to the same file.
    #[error("the capture {} is being written already; give each port and server a file of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is the file that is replayed.
    #[error("{} is what is to be replayed; capture to another file", path.display())]
    IsReplayed {
        /// The file.
        path: PathBuf,
    },
}

/// What is known of a frame besides its bytes.
#[derive(Clone, Copy, Debug)]
struct Mark {
    direction: Direction,
    /// Since 1970.
    time: Duration,
}

/// What the writer is told.
#[derive(Debug)]
enum Order {
    Write(Batch<Mark>),
    /// So many frames are missing; it is the end.
    Finish(u64, Duration),
}

/// A pcapng file to which frames are added while they pass. A thread of its own writes them, so that a slow disk never
/// holds the data path up: frames that find no room (16 MiB wait at most) or cannot be written are lost and counted, in
/// the file, too, when it ends.
///
/// The thread starts when there is something to write, so it has no more rights than whoever drives the wire.
///
/// Frames have the time of the loop's turn in which they pass: the clock of the computer when the capture began, and
/// from then on that of the model.
#[derive(Debug)]
pub(crate) struct Recorder {
    path: PathBuf,
    /// Writes the file, and has not begun to.
    scribe: Option<Scribe>,
    orders: SyncSender<Order>,
    /// Batches to be used again, and how many of their frames could not be written.
    written: Receiver<(Batch<Mark>, u64)>,
    batch: Option<Batch<Mark>>,
    /// How many batches there are.
    batches: usize,
    now: Time,
    /// What the time zero of the model is since 1970.
    epoch: Option<Duration>,
    /// When what is in the batch is written at the latest.
    flush: Option<Time>,
    lost: u64,
    /// Disconnected when the thread has ended.
    end: Receiver<()>,
}

impl Recorder {
    /// Starts a capture. A file that is there is replaced, unless it is `input`.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(crate) fn create(path: &Path, input: Option<&File>) -> Result<Self, RecordError> {
        let failed = |source| RecordError::Create {
            path: path.to_owned(),
            source,
        };
        let file = open(path, input)?;
        let mut writer = PcapNg::new(BufWriter::new(file), "cable").map_err(failed)?;
        writer.flush().map_err(failed)?;
        let (orders, received) = sync_channel(BATCHES + 1);
        let (sender, written) = channel();
        let (alive, end) = channel();
        let scribe = Scribe {
            writer,
            path: path.to_owned(),
            orders: received,
            written: sender,
            _alive: alive,
        };
        Ok(Self {
            path: path.to_owned(),
            scribe: Some(scribe),
            orders,
            written,
            batch: None,
            batches: 0,
            now: Time::ZERO,
            epoch: None,
            flush: None,
            lost: 0,
            end,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a frame that passes now.
    pub(crate) fn frame(&mut self, frame: &Passing<'_>) {
        let len = frame.head.len() + frame.body.len();
        if self
            .batch
            .as_ref()
            .is_some_and(|batch| !batch.has_room(len))
        {
            self.send();
        }
        let mark = Mark {
            direction: frame.direction,
            time: self.time(),
        };
        let Some(batch) = self.batch() else {
            self.lost = self.lost.wrapping_add(1);
            return;
        };
        batch.push_with(mark, len, |to| {
            let (head, body) = to.split_at_mut(frame.head.len());
            head.copy_from_slice(frame.head);
            body.copy_from_slice(frame.body);
        });
        self.flush.get_or_insert(self.now + FLUSH);
    }

    /// The batch to which frames are added, if there is one.
    fn batch(&mut self) -> Option<&mut Batch<Mark>> {
        if self.batch.is_none() {
            self.take_back();
            if self.batch.is_none() && self.batches < BATCHES {
                self.batches += 1;
                self.batch = Some(Batch::default());
            }
        }
        self.batch.as_mut()
    }

    /// Takes a batch that has been written.
    fn take_back(&mut self) {
        if let Ok((batch, lost)) = self.written.try_recv() {
            self.lost = self.lost.wrapping_add(lost);
            self.batch = Some(batch);
        }
    }

    fn send(&mut self) {
        self.flush = None;
        self.start();
        if let Some(batch) = self.batch.take() {
            let frames = batch.len() as u64;
            // There is room for all batches, and the thread ends after this; there is none if it could not be started.
            if self.orders.try_send(Order::Write(batch)).is_err() {
                self.lost = self.lost.wrapping_add(frames);
            }
        }
    }

    /// Starts the thread, if it is not there.
    fn start(&mut self) {
        if let Some(scribe) = self.scribe.take() {
            let thread = thread::Builder::new().name("capture".to_owned());
            if let Err(error) = thread.spawn(move || scribe.run()) {
                let path = self.path.display();
                tracing::warn!(%error, "cannot start the thread that writes the capture {path}; it stays empty");
            }
        }
    }

    /// Since 1970.
    fn time(&self) -> Duration {
        let model = Duration::from_nanos(self.now.as_nanos());
        self.epoch.unwrap_or_default().saturating_add(model)
    }

    pub(crate) fn advance(&mut self, now: Time) {
        self.now = now;
        if self.epoch.is_none() {
            let clock = SystemTime::now().duration_since(UNIX_EPOCH);
            let model = Duration::from_nanos(now.as_nanos());
            self.epoch = Some(clock.unwrap_or_default().saturating_sub(model));
        }
        if self.flush.is_some_and(|flush| flush <= now) {
            self.send();
        }
    }

    pub(crate) const fn deadline(&self) -> Option<Time> {
        self.flush
    }

    /// Counters with the frames that are missing in the file.
    pub(crate) const fn add_to(&self, counters: Counters) -> Counters {
        Counters {
            capture_lost: counters.capture_lost.wrapping_add(self.lost),
            ..counters
        }
    }
}

impl Drop for Recorder {
    /// Waits until the file is complete, or for some seconds if its disk is stuck.
    fn drop(&mut self) {
        self.send();
        while let Ok((_, lost)) = self.written.try_recv() {
            self.lost = self.lost.wrapping_add(lost);
        }
        let finish = Order::Finish(self.lost, self.time());
        if self.orders.try_send(finish).is_ok() {
            let _ = self.end.recv_timeout(PATIENCE);
        }
    }
}

fn open(path: &Path, input: Option<&File>) -> Result<File, RecordError> {
    let failed = |source| RecordError::Create {
        path: path.to_owned(),
        source,
    };
    // What is there goes only when it is known to be nobody's.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if let Some(input) = input {
        let input = input.metadata().map_err(failed)?;
        if (input.dev(), input.ino()) == (metadata.dev(), metadata.ino()) {
            return Err(RecordError::IsReplayed {
                path: path.to_owned(),
            });
        }
    }
    if metadata.is_file() {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(RecordError::InUse {
                    path: path.to_owned(),
                });
            }
            // A file system without locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        file.set_len(0).map_err(failed)?;
    }
    Ok(file)
}

/// What the thread works with.
#[derive(Debug)]
struct Scribe {
    writer: PcapNg<BufWriter<File>>,
    path: PathBuf,
    orders: Receiver<Order>,
    written: Sender<(Batch<Mark>, u64)>,
    /// Goes when the thread ends.
    _alive: Sender<()>,
}

impl Scribe {
    /// Writes what comes, until it is told to finish.
    fn run(self) {
        let Self {
            writer,
            path,
            orders,
            written,
            _alive,
        } = self;
        let mut writer = Some(writer);
        let tell = |error: &io::Error| {
            let path = path.display();
            tracing::warn!(%error, "cannot write the capture {path}; it ends here, and further frames count as lost");
        };
        while let Ok(order) = orders.recv() {
            match order {
                Order::Write(mut batch) => {
                    let mut lost = 0_u64;
                    while let Some((mark, bytes)) = batch.front() {
                        let result = writer
                            .as_mut()
                            .map(|file| file.frame(mark.direction, mark.time, bytes, bytes.len()));
                        if let Some(Err(error)) = &result {
                            tell(error);
                            writer = None;
                        }
                        if !matches!(result, Some(Ok(()))) {
                            lost += 1;
                        }
                        batch.pop();
                    }
                    if let Some(Err(error)) = writer.as_mut().map(PcapNg::flush) {
                        tell(&error);
                        writer = None;
                    }
                    batch.clear();
                    // Nobody needs it any more if the capture has ended.
                    let _ = written.send((batch, lost));
                }
                Order::Finish(lost, time) => {
                    if let Some(Err(error)) = writer.take().map(|file| file.finish(time, lost)) {
                        tell(&error);
                    }
                    return;
                }
            }
        }
    }
}
