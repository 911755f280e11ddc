//! Reading a file beside the data path.

use std::{
    fs::File,
    io::{self, Seek},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::options::Rounds;
use crate::{
    batch::Batch,
    file::{FileError, Reader, TimedFrame},
    host::MIN_FRAME,
    tapped::INJECTED_LEN,
};

/// How long the first piece of a file on a disk may take, while the port waits for it.
const FIRST: Duration = Duration::from_millis(100);
/// Batches that are read ahead: 4 MiB, and what single long frames have above that.
const BATCHES: usize = 64;

/// What is known of a frame besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Nanoseconds since 1970.
    pub(super) time: Option<u64>,
    /// Whether the capturing tool left bytes of it out.
    pub(super) cut_short: bool,
}

/// What comes from the file.
#[derive(Debug)]
pub(super) enum Piece {
    Frames(Batch<Stamp>),
    /// So many frames before this fit no cable.
    Unfit(u64),
    /// There is no more.
    End(Result<(), FileError>),
}

/// What wakes the port's thread, which is rung for only when that has found nothing.
///
/// `hungry` is swapped with `SeqCst` after the queue was found empty, and it is swapped after something was put in the
/// queue: either the one finds the piece when it looks once more, or the other finds it hungry and rings.
#[derive(Debug)]
struct Bell {
    hungry: AtomicBool,
    event: EventFd,
}

/// The port's end.
#[derive(Debug)]
pub(super) struct Feed {
    /// What the thread will do, while it has not been started.
    unread: Option<Unread>,
    pieces: Receiver<Piece>,
    empty: Sender<Batch<Stamp>>,
    bell: Arc<Bell>,
    /// The bell may have rung since it was last silenced.
    may_ring: bool,
}

impl Feed {
    /// A thread reads `file` from the first [`Feed::next`] on, with no more rights than whoever calls that.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(super) fn new(file: File, path: &Path, rounds: Rounds) -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let bell = Arc::new(Bell {
            hungry: AtomicBool::new(true),
            event: EventFd::from_value_and_flags(0, flags)?,
        });
        let (sender, pieces) = sync_channel(BATCHES + 2);
        let (empty, returned) = channel();
        let steady = file.metadata()?.is_file();
        let reading = Reading {
            batch: Batch::default(),
            batches: 1,
            unfit: 0,
            pieces: sender,
            returned,
            bell: Arc::clone(&bell),
            steady,
        };
        Ok(Self {
            unread: Some(Unread {
                reading,
                file,
                path: path.to_owned(),
                rounds,
            }),
            pieces,
            empty,
            bell,
            may_ring: true,
        })
    }

    /// What comes next, if it is there. Of a file on a disk the first piece is waited for, once and not for long: a file
    /// may have much in it before its first frame.
    pub(super) fn next(&mut self) -> Option<Piece> {
        if let Some(unread) = self.unread.take() {
            let (steady, path) = (unread.reading.steady, unread.path.clone());
            let thread = thread::Builder::new().name("replay".to_owned());
            if let Err(source) = thread.spawn(move || unread.read()) {
                return Some(Piece::End(Err(FileError::Read { path, source })));
            }
            if steady && let Ok(piece) = self.pieces.recv_timeout(FIRST) {
                return Some(piece);
            }
        }
        if let Ok(piece) = self.pieces.try_recv() {
            return Some(piece);
        }
        self.may_ring = true;
        self.bell.hungry.swap(true, Ordering::SeqCst);
        self.pieces.try_recv().ok()
    }

    /// Gives a batch back whose frames are gone.
    pub(super) fn give_back(&self, mut batch: Batch<Stamp>) {
        batch.clear();
        // At the end of the file nobody needs it.
        let _ = self.empty.send(batch);
    }

    /// Readable when [`Feed::next`] has found nothing and there is something now.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }

    /// Takes note of the bell, before [`Feed::next`] is called.
    pub(super) fn silence(&mut self) {
        if self.may_ring && self.bell.event.read().is_ok() {
            self.may_ring = false;
        }
    }
}

/// A file that nobody reads yet.
#[derive(Debug)]
struct Unread {
    reading: Reading,
    file: File,
    path: PathBuf,
    rounds: Rounds,
}

impl Unread {
    fn read(self) {
        self.reading.run(self.file, &self.path, self.rounds);
    }
}

/// Reads a file on a disk to its first frame that fits a cable, and goes back to its start.
pub(super) fn check(mut file: &File, path: &Path) -> Result<(), FileError> {
    let mut reader = Reader::new(file, path);
    loop {
        while let Some(frame) = reader.next_frame()? {
            if INJECTED_LEN.contains(&frame.bytes.len()) {
                return rewind(&mut file, path);
            }
        }
        if !reader.fill()? {
            return rewind(&mut file, path);
        }
    }
}

fn rewind(mut file: impl Seek, path: &Path) -> Result<(), FileError> {
    file.rewind().map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The thread's end.
#[derive(Debug)]
struct Reading {
    batch: Batch<Stamp>,
    /// How many there are.
    batches: usize,
    unfit: u64,
    pieces: SyncSender<Piece>,
    returned: Receiver<Batch<Stamp>>,
    bell: Arc<Bell>,
    /// The file is one on a disk, not a pipe into which somebody writes.
    steady: bool,
}

/// Nobody wants to know any more.
struct Gone;

impl Reading {
    fn run(mut self, mut file: File, path: &Path, rounds: Rounds) {
        let mut round = 0;
        loop {
            let result = match self.round(&file, path) {
                Ok(result) => result,
                Err(Gone) => return,
            };
            round += 1;
            let again = match rounds {
                Rounds::Endless => true,
                Rounds::Times(times) => round < times.get(),
            };
            let result = match result {
                // A file without a frame would be read for ever.
                Ok(frames) if again && frames > 0 => match rewind(&mut file, path) {
                    Ok(()) => continue,
                    error => error,
                },
                result => result.map(drop),
            };
            if self.send_batch().is_ok() {
                let _ = self.send(Piece::End(result));
            }
            return;
        }
    }

    /// Reads the file once; how many frames it has that fit a cable.
    fn round(&mut self, file: &File, path: &Path) -> Result<Result<u64, FileError>, Gone> {
        let mut reader = Reader::new(file, path);
        let mut frames = 0_u64;
        loop {
            loop {
                match reader.next_frame() {
                    Ok(Some(frame)) => frames += u64::from(self.add(&frame)?),
                    Ok(None) => break,
                    Err(error) => return Ok(Err(error)),
                }
            }
            if !self.steady {
                // The next bytes may be long in coming.
                self.send_batch()?;
            }
            match reader.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(frames)),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Adds a frame to the batch; false if it fits no cable.
    fn add(&mut self, frame: &TimedFrame<'_>) -> Result<bool, Gone> {
        if !INJECTED_LEN.contains(&frame.bytes.len()) {
            self.unfit += 1;
            return Ok(false);
        }
        let len = frame.bytes.len().max(MIN_FRAME);
        if !self.batch.has_room(len) {
            self.send_batch()?;
        }
        let stamp = Stamp {
            time: frame.time,
            cut_short: frame.cut_short,
        };
        self.batch.push_with(stamp, len, |to| {
            to[..frame.bytes.len()].copy_from_slice(frame.bytes);
        });
        Ok(true)
    }

    /// Sends what has been read, and waits until there is room for more.
    fn send_batch(&mut self) -> Result<(), Gone> {
        if self.unfit > 0 {
            let unfit = std::mem::take(&mut self.unfit);
            self.send(Piece::Unfit(unfit))?;
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut empty = self.returned.try_recv().ok();
        if empty.is_none() && self.batches < BATCHES {
            self.batches += 1;
            empty = Some(Batch::default());
        }
        let full = std::mem::take(&mut self.batch);
        self.send(Piece::Frames(full))?;
        self.batch = match empty {
            Some(empty) => empty,
            None => self.returned.recv().map_err(|_| Gone)?,
        };
        Ok(())
    }

    fn send(&self, piece: Piece) -> Result<(), Gone> {
        self.pieces.send(piece).map_err(|_| Gone)?;
        if self.bell.hungry.swap(false, Ordering::SeqCst) {
            // A full counter means that it has rung already.
            let _ = self.bell.event.write(1);
        }
        Ok(())
    }
}
