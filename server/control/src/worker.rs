//! The way between the control threads and the worker that owns the port.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    time::Duration,
};

use nic_model::{
    ErrorMessage, HardwareError, LEDS, Led, Module,
    check::Finding,
    fault::{Fault, FaultRoom},
    observe::{Observer, ObserverId},
};
use nix::{
    errno::Errno,
    sys::eventfd::{EfdFlags, EventFd},
};
use wire::{Backend, Damage, InjectError, Plug, Tapped};

use crate::{
    capture::{Notes, Recorder},
    fault::{self, FaultAdded, Faults, FaultsCleared, Numbers},
    look::{
        Looks, Question, Seen, View,
        memory::Mapping,
        record::{Running, Start},
        registers::Chosen,
    },
    protocol::{
        self, Checked, ControlError, Counter, ErrorInjected, Group, Info, Injected, Leds, Link,
        Stats,
    },
    server::MAX_CLIENTS,
};

/// How long a client waits for the worker. A turn of its loop takes far less.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that are served in one turn: as many as there can be, since each client waits for the answer to its one, and the
/// thread of `/metrics` for those to its two.
const PER_TURN: usize = MAX_CLIENTS + 2;

/// What a client wants of the worker.
#[derive(Debug)]
pub(crate) enum Request {
    /// Who answers, and as which of how many ports.
    Info {
        /// This one, from 0.
        port: u32,
        /// So many there are.
        ports: u32,
    },
    /// All counters.
    Stats,
    /// The LEDs.
    Leds,
    /// What the driver checker has found.
    Check,
    /// Let frames arrive.
    Inject(Vec<Vec<u8>>, Damage),
    /// Show every frame to this recorder.
    Capture(Recorder),
    /// Hand over all that the port is given and does.
    Record(Start),
    /// Put the cable in or pull it.
    SetLink(Link),
    /// Change what is in the cage.
    SetModule(Module),
    /// Let the card have an error.
    InjectError(HardwareError),
    /// Read registers.
    Registers(Chosen),
    /// Let cable or card have a fault.
    AddFault(Fault),
    /// The faults that were asked for.
    Faults,
    /// End the fault of this number, or all.
    ClearFaults(Option<u64>),
    /// Look at its inside.
    Look(Box<Question>),
}

impl Request {
    /// Whether this changes the card, rather than its cable or who looks on.
    fn changes(&self, card: &mut dyn Card) -> bool {
        match self {
            Self::SetModule(_) | Self::InjectError(_) => true,
            Self::AddFault(fault) => fault.kind.room() == FaultRoom::Card,
            Self::ClearFaults(id) => {
                let mut reports = card.view().port.fault_reports().into_iter();
                reports.any(|report| id.is_none_or(|id| report.id == id))
            }
            Self::Look(question) => question.changes(),
            Self::Info { .. }
            | Self::Stats
            | Self::Leds
            | Self::Check
            | Self::Inject(..)
            | Self::Capture(_)
            | Self::Record(_)
            | Self::SetLink(_)
            | Self::Registers(_)
            | Self::Faults => false,
        }
    }
}

/// What the worker says to that.
#[derive(Debug)]
pub(crate) enum Reply {
    /// To [`Request::Info`].
    Info(Info),
    /// To [`Request::Stats`].
    Stats(Stats),
    /// To [`Request::Leds`].
    Leds(Leds),
    /// To [`Request::Check`].
    Checked(Checked),
    /// To [`Request::Inject`].
    Injected(Injected),
    /// To [`Request::InjectError`].
    ErrorInjected(ErrorInjected),
    /// To [`Request::Registers`]: the values of their elements.
    Registers(Vec<u32>),
    /// To [`Request::AddFault`].
    FaultAdded(FaultAdded),
    /// To [`Request::Faults`].
    Faults(Faults),
    /// To [`Request::ClearFaults`].
    FaultsCleared(FaultsCleared),
    /// To [`Request::Look`].
    Seen(Seen),
    /// To the others.
    Done,
}

/// What requests want of the worker's port.
pub trait Card {
    /// All counters of the port (groups hardware and model).
    fn counters(&self) -> Vec<Counter>;

    /// Its own MAC address: the first of its receive addresses.
    fn address(&self) -> [u8; 6];

    /// From now on `observer` is told what the port does; `None` if there is no port.
    fn observe(&mut self, observer: Box<dyn Observer>) -> Option<ObserverId>;

    /// Ends what [`Card::observe`] has begun.
    fn stop_observing(&mut self, id: ObserverId);

    /// Looks at its LEDs.
    fn leds(&mut self) -> [Led; LEDS];

    /// What the checker of its client's driver has found, each with how often; `None` if there is none.
    fn findings(&self) -> Option<Vec<(Finding, u64)>>;

    /// Whether its client has stopped it, to move it. Nothing but the client may change it then.
    fn is_stopped(&self) -> bool;

    /// What is in its cage.
    fn module(&self) -> Module;

    /// Draws the module and plugs in this one.
    fn set_module(&mut self, module: Module);

    /// Lets it have an error. Returns the message to the root complex by which it tells of it.
    fn inject_error(&mut self, error: HardwareError) -> Option<ErrorMessage>;

    /// The port itself, and what surrounds it.
    fn view(&mut self) -> View<'_>;

    /// The client's memory, by address.
    fn mappings(&self) -> Vec<Mapping>;
}

type Answer = Result<Reply, ControlError>;

struct Asked {
    request: Request,
    answer: SyncSender<Answer>,
}

/// A way from control threads to a worker, and its end at the worker.
///
/// # Errors
/// The system has no descriptor left for the wake-up.
pub fn channel() -> io::Result<(Handle, Inbox)> {
    let (to, from) = mpsc::channel();
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
    let handle = Handle {
        requests: to,
        wake: Arc::clone(&wake),
    };
    Ok((
        handle,
        Inbox {
            requests: from,
            wake,
            recording: None,
            kept: Kept::default(),
        },
    ))
}

/// The control threads' end. Each of them has its own clone.
#[derive(Clone)]
pub struct Handle {
    requests: Sender<Asked>,
    wake: Arc<EventFd>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Asks for the state of this port, number `port` of `ports`, and for its counters, and does not wait.
    ///
    /// # Errors
    /// [`ControlError::NotAnswering`]: the worker has ended.
    pub fn overview(&self, port: u32, ports: u32) -> Result<Overview, ControlError> {
        Ok(Overview {
            info: self.send(Request::Info { port, ports })?,
            stats: self.send(Request::Stats)?,
        })
    }

    /// Asks the worker and waits for its answer.
    pub(crate) fn ask(&self, request: Request) -> Answer {
        match self.send(request)?.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(ControlError::NotAnswering)
            }
        }
    }

    fn send(&self, request: Request) -> Result<Receiver<Answer>, ControlError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.requests
            .send(Asked { request, answer })
            .map_err(|_| ControlError::NotAnswering)?;
        // A full counter means that the worker has been woken already.
        let _ = self.wake.write(1);
        Ok(answered)
    }
}

/// What [`Handle::overview`] has asked for.
#[derive(Debug)]
pub struct Overview {
    info: Receiver<Answer>,
    stats: Receiver<Answer>,
}

impl Overview {
    /// Waits at most so long for the answer; `None` if it is still to come. There is one answer.
    ///
    /// # Errors
    /// [`ControlError::NotAnswering`]: there will be none.
    pub fn wait(&self, patience: Duration) -> Option<Result<(Info, Stats), ControlError>> {
        // The worker answers in turn: once it has told the counters, the state is there.
        let stats = match self.stats.recv_timeout(patience) {
            Ok(stats) => stats,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => return Some(Err(ControlError::NotAnswering)),
        };
        Some(match (self.info.try_recv(), stats) {
            (Ok(Ok(Reply::Info(info))), Ok(Reply::Stats(stats))) => Ok((info, stats)),
            _ => Err(ControlError::NotAnswering),
        })
    }
}

/// The worker's end.
///
/// The worker calls [`Inbox::serve`] once a turn, which costs next to nothing when nobody asks. Before it sleeps it
/// waits for [`Inbox::wake_fd`], too, and calls [`Inbox::clear_wake`] when that is readable.
pub struct Inbox {
    requests: Receiver<Asked>,
    wake: Arc<EventFd>,
    kept: Kept,
    recording: Option<Running>,
}

/// What requests leave behind.
#[derive(Debug, Default)]
struct Kept {
    looks: Looks,
    captures: Captures,
    faults: Numbers,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    /// Readable when somebody asks, until [`Inbox::clear_wake`].
    #[must_use]
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes note of a wake-up. To be called before [`Inbox::serve`], so that none is lost.
    pub fn clear_wake(&self) {
        match self.wake.read() {
            // Nothing to clear is as good.
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => tracing::warn!(%errno, "cannot clear the control wake-up"),
        }
    }

    /// Answers what was asked, at most one of each client. To the counters of `card` those of the cable are added here.
    pub fn serve<B: Backend>(&mut self, wire: &mut Tapped<B>, card: &mut dyn Card) {
        for _ in 0..PER_TURN {
            let Ok(Asked { request, answer }) = self.requests.try_recv() else {
                break;
            };
            // A client that is gone wants no answer.
            let answered = match request {
                request if card.is_stopped() && request.changes(card) => Err(ControlError::Stopped),
                Request::Record(start) => self.record(start, wire, card),
                request => respond(request, wire, card, &mut self.kept),
            };
            let _ = answer.try_send(answered);
        }
        let Kept {
            looks, captures, ..
        } = &mut self.kept;
        if looks.has_ended() {
            looks.sweep(card.view().port);
        }
        captures.turn(card);
        self.go_on_recording(card);
    }

    /// Hands over what has been recorded, and ends a recording whose client has enough.
    fn go_on_recording(&mut self, card: &mut dyn Card) {
        let running = self.recording.as_ref();
        if running.is_some_and(|running| !running.turn()) {
            self.recording = None;
            card.view().port.stop_recording();
        }
    }

    fn record<B: Backend>(
        &mut self,
        start: Start,
        wire: &Tapped<B>,
        card: &mut dyn Card,
    ) -> Answer {
        // A port at rest has had no turn since the client of the last one went.
        self.go_on_recording(card);
        let mappings = card.mappings();
        let running = Running::begin(start, &mut card.view(), &mappings, &wire.describe())?;
        self.recording = Some(running);
        Ok(Reply::Done)
    }
}

fn respond<B: Backend>(
    request: Request,
    wire: &mut Tapped<B>,
    card: &mut dyn Card,
    kept: &mut Kept,
) -> Answer {
    let Kept {
        looks,
        captures,
        faults,
    } = kept;
    match request {
        Request::Info { port, ports } => Ok(Reply::Info(Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            wire: wire.describe(),
            cable: match wire.plug() {
                Plug::In => Link::Up,
                Plug::Out => Link::Down,
            },
            carrier: nic_model::Wire::carrier(wire),
            module: card.module(),
            address: Some(card.address().map(|byte| format!("{byte:02x}")).join(":")),
            port,
            ports,
        })),
        Request::Stats => {
            let mut counters = card.counters();
            counters.extend(wire_counters(wire));
            Ok(Reply::Stats(Stats { counters }))
        }
        Request::Leds => Ok(Reply::Leds(Leds {
            leds: card.leds().map(Into::into).into(),
        })),
        Request::Check => Ok(Reply::Checked(checked(card))),
        Request::Inject(frames, damage) => inject(&frames, damage, wire).map(Reply::Injected),
        Request::Capture(recorder) => {
            let notes = recorder.notes();
            if wire.capture(Box::new(recorder)) {
                captures.add(notes, card);
                Ok(Reply::Done)
            } else {
                Err(ControlError::TooManyCaptures)
            }
        }
        // The inbox's own.
        Request::Record(_) => Err(ControlError::NotAnswering),
        Request::SetLink(link) => {
            wire.set_plug(match link {
                Link::Up => Plug::In,
                Link::Down => Plug::Out,
            });
            Ok(Reply::Done)
        }
        Request::SetModule(module) => {
            card.set_module(module);
            Ok(Reply::Done)
        }
        Request::Registers(chosen) => Ok(Reply::Registers(chosen.read(card.view().port))),
        Request::Look(question) => {
            let mappings = match *question {
                Question::Memory => card.mappings(),
                _ => Vec::new(),
            };
            let seen = looks.answer(*question, &mut card.view(), mappings, wire);
            seen.map(Reply::Seen)
        }
        Request::AddFault(fault) => faults.add(fault, wire, card).map(Reply::FaultAdded),
        Request::Faults => Ok(Reply::Faults(fault::all(wire, card))),
        Request::ClearFaults(id) => fault::clear(id, wire, card).map(Reply::FaultsCleared),
        Request::InjectError(error) => {
            let message = card.inject_error(error);
            Ok(Reply::ErrorInjected(ErrorInjected {
                message: message.map(|message| message.name().into()),
            }))
        }
    }
}

/// The captures that run, and who looks at the port for each of them.
#[derive(Debug, Default)]
struct Captures(Vec<(Option<ObserverId>, Notes)>);

impl Captures {
    fn add(&mut self, notes: Notes, card: &mut dyn Card) {
        let observer = card.observe(Box::new(notes.clone()));
        if observer.is_some() {
            notes.begin();
        }
        self.0.push((observer, notes));
    }

    /// A turn of the worker: what is held back goes, and who looks on for a capture that has ended.
    fn turn(&mut self, card: &mut dyn Card) {
        self.0.retain(|(observer, notes)| {
            let goes_on = notes.turn();
            if let Some(id) = observer
                && !goes_on
            {
                card.stop_observing(*id);
            }
            goes_on
        });
    }
}

fn checked(card: &dyn Card) -> Checked {
    let findings = card.findings();
    let told = findings.iter().flatten();
    Checked {
        checking: findings.is_some(),
        findings: told
            .map(|(finding, times)| protocol::Finding::new(finding, *times))
            .collect(),
    }
}

fn inject<B: Backend>(
    frames: &[Vec<u8>],
    damage: Damage,
    wire: &mut Tapped<B>,
) -> Result<Injected, ControlError> {
    for (index, frame) in frames.iter().enumerate() {
        if !wire::INJECTED_LEN.contains(&frame.len()) {
            let length = frame.len();
            return Err(ControlError::FrameLength { index, length });
        }
    }
    let mut accepted = 0;
    for frame in frames {
        match wire.inject(frame, damage) {
            Ok(()) => accepted += 1,
            Err(InjectError::Unplugged) => return Err(ControlError::LinkDown),
            // The client offers the rest again.
            Err(InjectError::Full | InjectError::Length { .. }) => break,
        }
    }
    Ok(Injected { accepted })
}

fn wire_counters<B: Backend>(wire: &Tapped<B>) -> impl Iterator<Item = Counter> {
    let tapped = wire.tapped_counters();
    wire.counters()
        .named()
        .into_iter()
        .chain(tapped.named())
        .map(|(name, value)| Counter::new(Group::Wire, name, value))
}
