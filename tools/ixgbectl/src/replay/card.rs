//! Ports of a replay behind a control socket, so that all that looks at a running NIC can look at them.
//!
//! Time stands still there. Memory is what the card has seen of it; nothing writes it any more, so that frames which are
//! injected are told as dropped by DMA.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::Context as _;
use control::{Counter, Inbox, Mapping, MemoryAccess, MemoryBacking, Server, View};
use ixgbe_spec::register::Reg;
use nic_model::{
    Bus, Context, ErrorMessage, HardwareError, LEDS, Led, Module, Port, Time,
    bus::{DmaError, Iova, Requester, Signal, Spans, Window},
    check::Finding,
    observe::{Observer, ObserverId},
    wire::Nowhere,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        signalfd::SignalFd,
    },
};
use recording::Memory;
use wire::{Null, Tapped};

/// The ports, served by a thread until this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    // The first to go: nobody asks the thread any more.
    server: Option<Server>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    /// Goes with its socket.
    _folder: Option<Folder>,
}

/// A folder for a socket that only this program uses.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it does no harm.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A port at rest.
struct Resting {
    port: Port,
    bus: Frozen,
    now: Time,
    inbox: Inbox,
    wire: Tapped<Null>,
}

impl Stage {
    /// Serves ports at `path`, or where nobody else finds them.
    pub(crate) fn set(
        ports: Vec<(Port, Memory, Time)>,
        path: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut handles = Vec::new();
        let mut resting = Vec::new();
        for (port, memory, now) in ports {
            let (handle, inbox) =
                control::channel().context("cannot make a way for control requests")?;
            handles.push(handle);
            resting.push(Resting {
                port,
                bus: Frozen(memory),
                now,
                inbox,
                wire: Tapped::new(Null::new()),
            });
        }
        let (path, folder) = match path {
            Some(path) => (path.to_owned(), None),
            None => {
                let folder = std::env::temp_dir().join(format!("ixgbectl-{}", std::process::id()));
                std::fs::create_dir(&folder)
                    .with_context(|| format!("cannot make the folder {}", folder.display()))?;
                (folder.join("replay.control"), Some(Folder(folder)))
            }
        };
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let stop = EventFd::from_value_and_flags(0, flags).context("cannot make an eventfd")?;
        let stop = Arc::new(stop);
        let server = Server::start(&path, handles)?;
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || serve(resting, &stop)
        });
        Ok(Self {
            server: Some(server),
            stop,
            thread: Some(thread),
            _folder: folder,
        })
    }

    /// Where they are served.
    pub(crate) fn path(&self) -> &Path {
        self.server.as_ref().map_or(Path::new(""), Server::path)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.take();
        // It is not full: nobody else writes it.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers what is asked, until it is to stop.
fn serve(mut ports: Vec<Resting>, stop: &EventFd) {
    loop {
        let mut fds: Vec<PollFd<'_>> = ports
            .iter()
            .map(|port| PollFd::new(port.inbox.wake_fd(), PollFlags::POLLIN))
            .collect();
        fds.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        let stopped = fds.last().and_then(PollFd::any).unwrap_or(false);
        if stopped {
            return;
        }
        for resting in &mut ports {
            let Resting {
                port,
                bus,
                now,
                inbox,
                wire,
            } = resting;
            inbox.clear_wake();
            let mut card = Card {
                port,
                bus,
                now: *now,
                nowhere: Nowhere,
            };
            inbox.serve(wire, &mut card);
        }
    }
}

/// Waits for SIGINT or SIGTERM.
pub(crate) fn wait(signals: &SignalFd) -> anyhow::Result<()> {
    let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for a signal"),
        }
    }
}

/// A port at rest, as control requests see it.
struct Card<'a> {
    port: &'a mut Port,
    bus: &'a Frozen,
    now: Time,
    nowhere: Nowhere,
}

impl control::Card for Card<'_> {
    fn counters(&self) -> Vec<Counter> {
        Counter::of_port(self.port).collect()
    }

    fn address(&self) -> [u8; 6] {
        let [a, b, c, d] = self.port.register(Reg::RAL, 0).to_le_bytes();
        let [e, f, ..] = self.port.register(Reg::RAH, 0).to_le_bytes();
        [a, b, c, d, e, f]
    }

    fn observe(&mut self, observer: Box<dyn Observer>) -> Option<ObserverId> {
        Some(self.port.observe(observer))
    }

    fn stop_observing(&mut self, id: ObserverId) {
        self.port.stop_observing(id);
    }

    fn leds(&mut self) -> [Led; LEDS] {
        self.port.leds()
    }

    fn findings(&self) -> Option<Vec<(Finding, u64)>> {
        None
    }

    fn is_stopped(&self) -> bool {
        false
    }

    fn module(&self) -> Module {
        self.port.module()
    }

    fn set_module(&mut self, module: Module) {
        let View { port, mut context } = self.view();
        port.set_module(module, &mut context);
    }

    fn inject_error(&mut self, error: HardwareError) -> Option<ErrorMessage> {
        let View { port, mut context } = self.view();
        port.inject_error(error, &mut context)
    }

    fn view(&mut self) -> View<'_> {
        View {
            port: self.port,
            context: Context {
                now: self.now,
                bus: self.bus,
                wire: &mut self.nowhere,
            },
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        let ranges = self.bus.0.ranges();
        let mappings = ranges.map(|range| Mapping {
            iova: range.first,
            last: range.last,
            access: MemoryAccess::Both,
            backing: MemoryBacking::File,
        });
        mappings.collect()
    }
}

/// Memory that is looked at, and no more.
struct Frozen(Memory);

fn refused<T>(iova: Iova) -> Result<T, DmaError> {
    Err(DmaError::Refused { iova: iova.0 })
}

impl Bus for Frozen {
    fn read(&self, _by: Requester, iova: Iova, _to: &mut [u8]) -> Result<(), DmaError> {
        refused(iova)
    }

    fn write(&self, _by: Requester, iova: Iova, _from: &[u8]) -> Result<(), DmaError> {
        refused(iova)
    }

    fn write_back(&self, _: Requester, iova: Iova, _low: u64, _high: u64) -> Result<(), DmaError> {
        refused(iova)
    }

    fn gather<'a>(
        &'a self,
        _by: Requester,
        iova: Iova,
        _len: usize,
        _spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        refused(iova)
    }

    fn look(&self, iova: Iova) -> Option<Window<'_>> {
        self.0.look(iova)
    }

    fn retire(&self) {}

    fn signal(&self, _by: Requester, _signal: Signal) {}
}
