//! Frames by AF_XDP.

use std::collections::VecDeque;
use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_memory::xdp::{Program, RunBy};
use guest_probe::{Act, QueueEnd, Report, UmemUse, Wait, Wakeup, Xdp};
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use vm_memory::Bytes;

use crate::pages::{PAGE, Pages};
use crate::ring::Descriptor;
use crate::say;
use crate::socket::{Address, Socket};

/// Milliseconds after which the rings are looked at in any case.
const LOOK: u16 = 50;
/// How long the last frames may take to be sent; those of an interface that is down never are.
const PATIENCE: Duration = Duration::from_secs(2);
/// Frames of a queue between two looks at the others.
const BATCH: usize = 64;

/// Memory of one or more sockets.
struct Umem {
    pages: Pages,
    /// Chunks that nobody has.
    free: Vec<u64>,
}

impl Umem {
    fn new(job: &Xdp) -> Result<Self> {
        let len = usize::try_from(job.chunk)? * usize::try_from(job.chunks)?;
        let chunks = 0..u64::from(job.chunks);
        Ok(Self {
            pages: Pages::anonymous(len.next_multiple_of(PAGE))?,
            // Taken from the end.
            free: chunks.rev().map(|at| at * u64::from(job.chunk)).collect(),
        })
    }
}

/// A socket and what passed it.
struct Queue {
    socket: Socket,
    /// Index of its memory.
    umem: usize,
    end: QueueEnd,
    /// Frames that wait for room in the ring.
    waiting: VecDeque<Descriptor>,
}

/// Opens sockets and lets frames pass until SIGTERM.
pub fn run(job: &Xdp) -> Result<()> {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTERM);
    stop.thread_block().context("cannot block SIGTERM")?;
    let stop = SignalFd::with_flags(&stop, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut traffic = Traffic::open(job)?;
    let sockets = traffic.queues.iter();
    let sockets: Vec<_> = sockets
        .map(|queue| (queue.end.queue, queue.socket.as_fd()))
        .collect();
    let _program = Program::attach(traffic.interface, &sockets, RunBy::Driver)
        .map_err(|(step, errno)| anyhow::anyhow!("{step}: {errno}"))?;
    traffic.fill()?;
    if let Act::Send(file) = &job.act {
        let frames = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        traffic.put(&frames)?;
    }
    say(&Report::Ready)?;
    while stop.read_signal()?.is_none() {
        if !traffic.turn()? {
            traffic.wait(&stop)?;
        }
    }
    // The card tells of the last frames that it has sent some time after they are on the cable.
    let end = Instant::now() + PATIENCE;
    while !traffic.is_complete() && Instant::now() < end {
        if !traffic.turn()? {
            traffic.wait(&stop)?;
        }
    }
    say(&Report::End(traffic.ends()?))
}

struct Traffic<'a> {
    job: &'a Xdp,
    interface: u32,
    // The sockets go before their memory.
    queues: Vec<Queue>,
    umems: Vec<Umem>,
}

impl<'a> Traffic<'a> {
    fn open(job: &'a Xdp) -> Result<Self> {
        let interface = if_nametoindex(job.interface.as_str()).context("no such interface")?;
        let mut traffic = Self {
            job,
            interface,
            umems: Vec::new(),
            queues: Vec::new(),
        };
        for &queue in &job.queues {
            traffic.open_queue(queue)?;
        }
        Ok(traffic)
    }

    fn open_queue(&mut self, queue: u32) -> Result<()> {
        let job = self.job;
        let address = Address {
            interface: self.interface,
            queue,
            wakeup: job.wakeup,
        };
        let socket = match (job.umem, self.queues.first()) {
            (UmemUse::Shared, Some(first)) => {
                Socket::bind_shared(address, &first.socket, job.chunks, job.wait)?
            }
            _ => {
                let umem = Umem::new(job)?;
                let bound = Socket::bind(address, &umem.pages, job.chunk, job.chunks, job.wait);
                self.umems.push(umem);
                bound?
            }
        };
        let umem = self.umems.len() - 1;
        let pages = &self.umems[umem].pages;
        say(&Report::Bound {
            queue,
            zero_copy: socket.is_zero_copy()?,
            pages: pages.physical_addresses()?,
        })?;
        let end = QueueEnd {
            queue,
            ..QueueEnd::default()
        };
        self.queues.push(Queue {
            socket,
            umem,
            end,
            waiting: VecDeque::new(),
        });
        Ok(())
    }

    /// Gives each queue its share of the chunks to fill; half of them if others are for sending.
    fn fill(&mut self) -> Result<()> {
        let sharing = match self.job.umem {
            UmemUse::Each => 1,
            UmemUse::Shared => self.queues.len(),
        };
        let all = usize::try_from(self.job.chunks)? / sharing;
        let share = match self.job.act {
            Act::Send(_) => all / 2,
            Act::Keep | Act::Forget | Act::Forward => all,
        };
        for queue in &mut self.queues {
            let free = &mut self.umems[queue.umem].free;
            let chunks = free.split_off(free.len() - share);
            for chunk in chunks {
                ensure!(queue.socket.fill.push(&chunk)?, "no room for a chunk");
            }
            queue.wake_for_filling(self.job)?;
        }
        Ok(())
    }

    /// Queues the frames of a file.
    fn put(&mut self, mut frames: &[u8]) -> Result<()> {
        let mut turn = 0;
        while let Some((len, rest)) = frames.split_first_chunk() {
            let len = usize::from(u16::from_le_bytes(*len));
            let (frame, rest) = rest.split_at_checked(len).context("half a frame")?;
            frames = rest;
            let queue = &mut self.queues[turn];
            turn = (turn + 1) % self.job.queues.len();
            let umem = &mut self.umems[queue.umem];
            let address = umem.free.pop().context("more frames than chunks")?;
            let offset = usize::try_from(address)?;
            umem.pages.slice(offset, len)?.write_slice(frame, 0)?;
            let descriptor = Descriptor {
                address,
                len: u32::try_from(len)?,
            };
            tell(
                self.job,
                &queue.end,
                &umem.pages,
                descriptor,
                queue.waiting.len() as u64,
            )?;
            queue.waiting.push_back(descriptor);
        }
        Ok(())
    }

    /// One look at each ring; whether there was something.
    fn turn(&mut self) -> Result<bool> {
        let mut busy = false;
        for at in 0..self.queues.len() {
            busy |= self.completed(at)?;
            busy |= self.received(at)?;
            self.send(at)?;
        }
        Ok(busy)
    }

    /// What was sent is forgotten and can be filled again, except what is to be kept.
    fn completed(&mut self, at: usize) -> Result<bool> {
        let queue = &mut self.queues[at];
        let mut any = false;
        while let Some(address) = queue.socket.completed.pop::<u64>()? {
            any = true;
            queue.end.completed += 1;
            if self.job.act == Act::Forward {
                // It goes back where it was received; with a memory for all, where it was sent does as well.
                let chunk = address - address % u64::from(self.job.chunk);
                ensure!(queue.socket.fill.push(&chunk)?, "no room for a chunk");
            }
        }
        if any {
            queue.wake_for_filling(self.job)?;
        }
        Ok(any)
    }

    fn received(&mut self, at: usize) -> Result<bool> {
        let sender = match self.job.umem {
            UmemUse::Each => at,
            UmemUse::Shared => (at + 1) % self.queues.len(),
        };
        let mut count = 0;
        while count < BATCH {
            let queue = &mut self.queues[at];
            let Some(frame) = queue.socket.received.pop::<Descriptor>()? else {
                break;
            };
            count += 1;
            let pages = &self.umems[queue.umem].pages;
            tell(self.job, &queue.end, pages, frame, queue.end.received)?;
            queue.end.received += 1;
            match self.job.act {
                Act::Keep => {}
                Act::Forget | Act::Send(_) => {
                    let chunk = frame.address - frame.address % u64::from(self.job.chunk);
                    ensure!(queue.socket.fill.push(&chunk)?, "no room for a chunk");
                }
                Act::Forward => {
                    let begin = usize::try_from(frame.address)?;
                    let addresses = pages.slice(begin, 12)?;
                    let [a, b]: [[u8; 6]; 2] = [addresses.read_obj(0)?, addresses.read_obj(6)?];
                    addresses.write_obj(b, 0)?;
                    addresses.write_obj(a, 6)?;
                    self.queues[sender].waiting.push_back(frame);
                }
            }
        }
        if count > 0 {
            self.queues[at].wake_for_filling(self.job)?;
        }
        Ok(count > 0)
    }

    fn send(&mut self, at: usize) -> Result<()> {
        let job = self.job;
        let queue = &mut self.queues[at];
        while let Some(frame) = queue.waiting.front() {
            if !queue.socket.send.push(frame)? {
                break;
            }
            queue.waiting.pop_front();
            queue.end.sent += 1;
        }
        if queue.end.sent == queue.end.completed {
            return Ok(());
        }
        match job.wakeup {
            Wakeup::Always => queue.socket.wake_for_sending(),
            Wakeup::WhenAsked if queue.socket.send.needs_wakeup()? => {
                queue.end.send_wakeups += 1;
                queue.socket.wake_for_sending()
            }
            Wakeup::WhenAsked => Ok(()),
        }
    }

    /// Whether the kernel has given back all that was to be sent.
    fn is_complete(&self) -> bool {
        let mut queues = self.queues.iter();
        queues.all(|queue| queue.waiting.is_empty() && queue.end.sent == queue.end.completed)
    }

    /// Waits for something to happen.
    fn wait(&self, stop: &SignalFd) -> Result<()> {
        if self.job.wait == Wait::BusyPoll {
            for queue in &self.queues {
                queue.socket.wake_for_filling()?;
            }
            return Ok(());
        }
        let sockets = self.queues.iter().map(|queue| queue.socket.as_fd());
        let fds = sockets.chain([stop.as_fd()]);
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::from(LOOK)).context("poll")?;
        Ok(())
    }

    fn ends(&self) -> Result<Vec<QueueEnd>> {
        let end = |queue: &Queue| {
            let statistics = queue.socket.statistics()?;
            Ok(QueueEnd {
                dropped: statistics.rx_dropped + statistics.rx_ring_full.unwrap_or(0),
                invalid: statistics.rx_invalid_descs + statistics.tx_invalid_descs,
                ..queue.end
            })
        };
        self.queues.iter().map(end).collect()
    }
}

impl Queue {
    fn wake_for_filling(&mut self, job: &Xdp) -> Result<()> {
        if job.wakeup == Wakeup::WhenAsked && self.socket.fill.needs_wakeup()? {
            self.end.fill_wakeups += 1;
            self.socket.wake_for_filling()?;
        }
        Ok(())
    }
}

/// Tells where a queue's frame number `number` lies, if that is wanted.
fn tell(job: &Xdp, end: &QueueEnd, pages: &Pages, frame: Descriptor, number: u64) -> Result<()> {
    if number >= job.tell {
        return Ok(());
    }
    let offset = usize::try_from(frame.address)?;
    say(&Report::Frame {
        queue: end.queue,
        place: pages.place(offset, usize::try_from(frame.len)?)?,
        umem: frame.address,
    })
}
