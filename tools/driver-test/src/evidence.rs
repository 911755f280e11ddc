//! What a trial leaves behind when it fails: the frames that passed, and the events of the NIC.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::BorrowedFd,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use control::{Captured, CapturedFrame, Client, ClientError, TraceEvent, TraceFilter};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wire::file::PcapNg;

/// Frames that are kept of a trial: the last ones.
const FRAMES: usize = 10_000;
/// Events that are kept of a trial: the last ones.
const EVENTS: usize = 50_000;

/// The last frames of a trial. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Frames(Arc<Mutex<Passed>>);

#[derive(Debug, Default)]
struct Passed {
    frames: VecDeque<CapturedFrame>,
    /// Frames that the capture missed, since it began and when the trial began.
    lost: u64,
    lost_before: u64,
}

impl Frames {
    /// A trial begins: what was before is of no interest.
    pub fn begin(&self) {
        let mut passed = lock(&self.0);
        passed.frames.clear();
        passed.lost_before = passed.lost;
    }

    /// Takes in what a capture tells.
    pub(crate) fn extend(&self, captured: Captured) {
        let mut passed = lock(&self.0);
        passed.frames.extend(captured.frames);
        let surplus = passed.frames.len().saturating_sub(FRAMES);
        passed.frames.drain(..surplus);
        passed.lost = captured.lost;
    }

    /// Writes them as pcapng.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let passed = lock(&self.0);
        let mut file = PcapNg::with_interfaces(BufWriter::new(File::create(path)?), &["port"])?;
        for frame in &passed.frames {
            file.packet(&frame.packet(0), &frame.data)?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let lost = passed.lost.saturating_sub(passed.lost_before);
        file.finish_all(now.unwrap_or_default(), &[lost])
            .map(|_| ())
    }
}

/// Whoever died with it has left it whole.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last events of the NIC, which a thread takes in.
#[derive(Debug)]
pub struct Events {
    kept: Arc<Mutex<Kept>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<TraceEvent>,
    /// Events that the server could not keep for us, since the trace began and when the trial began.
    lost: u64,
    lost_before: u64,
    /// Nothing is under way.
    idle: bool,
}

impl Events {
    /// Begins to look on.
    ///
    /// # Errors
    /// The server refuses.
    pub fn of(client: Client) -> Result<Self, ClientError> {
        let mut tracing = client.trace(&TraceFilter::default())?;
        let kept = Arc::new(Mutex::new(Kept::default()));
        let ending = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (kept, ending) = (Arc::clone(&kept), Arc::clone(&ending));
            move || {
                while !ending.load(Ordering::Relaxed) {
                    if !tracing.has_buffered() && !is_readable(tracing.poll_fd()) {
                        lock(&kept).idle = true;
                        continue;
                    }
                    let Ok(Some(traced)) = tracing.next_reply() else {
                        break;
                    };
                    let mut kept = lock(&kept);
                    kept.idle = false;
                    kept.lost = traced.lost;
                    kept.events.extend(traced.events);
                    let surplus = kept.events.len().saturating_sub(EVENTS);
                    kept.events.drain(..surplus);
                }
            }
        });
        Ok(Self {
            kept,
            ending,
            thread: Some(thread),
        })
    }

    /// A trial begins.
    pub fn begin(&self) {
        let mut kept = lock(&self.kept);
        kept.events.clear();
        kept.lost_before = kept.lost;
    }

    /// Writes the events as lines of JSON, and in a last one how many were lost, if any were. What is under way is waited
    /// for, for a moment.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        lock(&self.kept).idle = false;
        for _ in 0..20 {
            if lock(&self.kept).idle {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let kept = lock(&self.kept);
        let mut file = BufWriter::new(File::create(path)?);
        for event in &kept.events {
            serde_json::to_writer(&mut file, event)?;
            file.write_all(b"\n")?;
        }
        let lost = kept.lost.saturating_sub(kept.lost_before);
        if lost > 0 {
            writeln!(file, "{{\"lost\":{lost}}}")?;
        }
        file.flush()
    }
}

/// Waits for a moment until something comes.
fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let moment = PollTimeout::from(100_u8);
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], moment).is_ok_and(|ready| ready > 0)
}

impl Drop for Events {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that died has nothing to say.
            let _ = thread.join();
        }
    }
}
