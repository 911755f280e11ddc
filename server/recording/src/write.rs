//! Making a recording.
//!
//! Each port has a [`PortRecorder`], which puts a call together and hands it over when it is over. A thread writes the file, so
//! that a port waits for a slow disk only when more than [`WAITING`] bytes are on their way; after [`PATIENCE`] it goes on and
//! the recording ends there, with a word that says so. A call is in the file as a whole or not at all.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nic_model::{
    Time,
    record::{Act, Answer, Call, Recorder},
};

use crate::{
    block::{Blocks, Ending, MAX_BLOCK, Tag},
    call::{self, Returned},
    code::{put, put_size},
    deed::Deed,
    header::Header,
};

/// Bytes that may be on their way into the file.
const WAITING: usize = 32 << 20;
/// How long a port waits for the file before the recording ends.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes from which on a block is closed.
const BLOCK: usize = 256 << 10;
/// Bytes of the word that says whose calls follow, at most.
const PORT: usize = 16;
/// How long bytes wait for more before they are written.
const REST: Duration = Duration::from_millis(200);
/// Memory that a recorder keeps from one call to the next.
const KEPT: usize = 1 << 20;

/// Makes the file of a recording, or empties it. One that is new can be read by its owner alone, since there is memory of the
/// guest in it; one that is there keeps its mode.
///
/// # Errors
/// What the system says.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// A recording that is being made.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    /// There is something for the thread.
    work: Condvar,
    /// There is room again.
    room: Condvar,
}

#[derive(Debug)]
struct State {
    /// The file, until the thread has it.
    file: Option<Blocks<File>>,
    thread: Option<JoinHandle<()>>,
    /// Whole calls each; the last one is open.
    blocks: VecDeque<Vec<u8>>,
    waiting: usize,
    /// Whose calls the open block holds at its end.
    port: Option<usize>,
    /// Nothing more gets in.
    end: Option<Ending>,
}

impl Writer {
    /// Makes the file as [`create`] does, with its header. The thread that writes the rest begins with the first call.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let file = Blocks::new(create(path)?, header)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                state: Mutex::new(State {
                    file: Some(file),
                    thread: None,
                    blocks: VecDeque::new(),
                    waiting: 0,
                    port: None,
                    end: None,
                }),
                work: Condvar::new(),
                room: Condvar::new(),
            }),
        })
    }

    /// The recorder of the port that stands at this place in the header. Ports of one card have the same `turn`.
    #[must_use]
    pub fn recorder(&self, port: usize, turn: Option<Arc<Mutex<()>>>) -> Box<dyn Recorder> {
        let shared = Arc::clone(&self.shared);
        recorder(turn, move |call| shared.append(port, call))
    }

    /// Ends the recording, and waits until it is in the file. What recorders tell after this is not in it.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let thread = {
            let mut state = self.shared.lock();
            state.end.get_or_insert(Ending::Closed);
            // A recording without a call has an end, too.
            self.shared.start(&mut state);
            state.thread.take()
        };
        self.shared.work.notify_all();
        if let Some(thread) = thread {
            // What it had to say it has said.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread, if it does not run.
    fn start(self: &Arc<Self>, state: &mut State) {
        let Some(file) = state.file.take() else {
            return;
        };
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name("recording".to_owned());
        match thread.spawn(move || shared.write(file)) {
            Ok(thread) => state.thread = Some(thread),
            Err(error) => {
                tracing::error!(%error, "cannot start a thread: nothing is recorded");
                state.end = Some(Ending::Overrun);
            }
        }
    }

    /// Takes over a call of a port.
    fn append(self: &Arc<Self>, port: usize, call: &[u8]) {
        let mut state = self.lock();
        self.start(&mut state);
        let since = Instant::now();
        while state.end.is_none() && state.waiting > WAITING {
            let left = PATIENCE.saturating_sub(since.elapsed());
            if left.is_zero() {
                self.overrun(&mut state, "the file cannot be written fast enough");
            } else {
                let waited = self.room.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        // An open block has room for it.
        if call.len() > MAX_BLOCK - BLOCK - PORT {
            self.overrun(&mut state, "a call is longer than a recording can hold");
        }
        if state.end.is_some() {
            return;
        }
        let fits = |block: &Vec<u8>| block.len() < BLOCK;
        if !state.blocks.back().is_some_and(fits) {
            state.blocks.push_back(Vec::new());
            state.port = None;
        }
        let named = state.port.replace(port) == Some(port);
        let before = state.waiting;
        if let Some(block) = state.blocks.back_mut() {
            if !named {
                block.push(Tag::Port.byte());
                put_size(block, port);
            }
            block.extend_from_slice(call);
        }
        state.waiting = before.saturating_add(call.len());
        drop(state);
        if before == 0 || before / BLOCK != before.saturating_add(call.len()) / BLOCK {
            self.work.notify_all();
        }
    }

    fn overrun(&self, state: &mut State, why: &str) {
        if state.end.is_none() {
            state.end = Some(Ending::Overrun);
            tracing::error!(file = %self.path.display(), "the recording ends here: {why}");
        }
    }

    /// What the thread does.
    fn write(&self, mut file: Blocks<File>) {
        loop {
            let (blocks, end) = self.wait();
            let written = blocks.iter().try_for_each(|block| file.calls(block));
            let ended = match (written, end) {
                (Ok(()), Some(end)) => file.end(end),
                (Ok(()), None) => continue,
                (error, _) => error,
            };
            if let Err(error) = ended {
                tracing::error!(
                    file = %self.path.display(), %error,
                    "the recording ends here: the file cannot be written"
                );
                let mut state = self.lock();
                state.end.get_or_insert(Ending::Overrun);
                state.blocks.clear();
                drop(state);
                self.room.notify_all();
            }
            return;
        }
    }

    /// What there is to write, and whether that is all.
    fn wait(&self) -> (VecDeque<Vec<u8>>, Option<Ending>) {
        let mut state = self.lock();
        while state.blocks.is_empty() && state.end.is_none() {
            let waited = self.work.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if state.end.is_none() && state.waiting < BLOCK {
            let waited = self.work.wait_timeout(state, REST);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting = 0;
        state.port = None;
        let blocks = std::mem::take(&mut state.blocks);
        let end = state.end;
        drop(state);
        self.room.notify_all();
        (blocks, end)
    }
}

/// A recorder of a port that hands each call, when it is over, to `to`: whole, for [`Blocks::calls`]. Ports of one card have
/// the same `turn`.
#[must_use]
pub fn recorder(
    turn: Option<Arc<Mutex<()>>>,
    to: impl FnMut(&[u8]) + Send + 'static,
) -> Box<dyn Recorder> {
    Box::new(PortRecorder {
        to,
        turn,
        bytes: Vec::new(),
        open: false,
        last: Time::ZERO,
    })
}

/// Records one port.
struct PortRecorder<F: FnMut(&[u8])> {
    to: F,
    turn: Option<Arc<Mutex<()>>>,
    /// The call that runs.
    bytes: Vec<u8>,
    open: bool,
    /// Time of the last call that was told one.
    last: Time,
}

impl<F: FnMut(&[u8]) + Send> Recorder for PortRecorder<F> {
    fn turn(&self) -> Option<Arc<Mutex<()>>> {
        self.turn.clone()
    }

    fn call(&mut self, now: Option<Time>, call: &Call<'_>) {
        self.open = true;
        match now {
            Some(now) => {
                self.bytes.push(Tag::Call.byte());
                // Time does not go back, but a number that wraps would be right, too.
                let passed = now.as_nanos().wrapping_sub(self.last.as_nanos());
                put(&mut self.bytes, passed);
                self.last = now;
            }
            None => self.bytes.push(Tag::CallWithoutTime.byte()),
        }
        call::encode(&mut self.bytes, call);
    }

    fn act(&mut self, act: &Act<'_>) {
        Deed::of(act).encode(&mut self.bytes);
    }

    fn done(&mut self, answer: &Answer<'_>) {
        self.bytes.push(Tag::Done.byte());
        Returned::of(answer).encode(&mut self.bytes);
        self.hand_over();
    }
}

impl<F: FnMut(&[u8])> PortRecorder<F> {
    fn hand_over(&mut self) {
        self.open = false;
        (self.to)(&self.bytes);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
    }
}

impl<F: FnMut(&[u8])> Drop for PortRecorder<F> {
    /// A port that panics is worth its recording: the call in which it did has no end.
    fn drop(&mut self) {
        if self.open {
            self.hand_over();
        }
    }
}
