//! Looking on: what a person wants to see of a port's inside while it works.
//!
//! Registers, client memory and the NVM are looked at between two turns of the worker. Accounts, traces and verdicts are
//! made by observers of the port (`nic_model::observe`), which are there only as long as somebody wants them.

pub(crate) mod activity;
pub(crate) mod copies;
pub(crate) mod event;
pub(crate) mod judge;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod record;
pub(crate) mod registers;
pub(crate) mod state;
pub(crate) mod trace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nic_model::{Context, Port, State, Time, observe::ObserverId};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use wire::{Backend, Tapped};

use crate::{
    protocol::{ControlError, InjectParameters},
    queue::Ending,
};

use self::{
    activity::{Activity, Watching},
    copies::{Accounting, Copies, CopiesParameters},
    judge::Fates,
    memory::{Mapping, Mappings, MemoryRead, NvmContents, ReadMemoryParameters},
    state::SavedState,
    trace::Tracer,
};

/// What a worker lends to be looked at.
#[expect(missing_debug_implementations, reason = "borrows trait objects")]
pub struct View<'a> {
    /// The port.
    pub port: &'a mut Port,
    /// What surrounds it. The wire is not used.
    pub context: Context<'a>,
}

/// What somebody wants to see.
#[derive(Debug)]
pub(crate) enum Question {
    /// For whom.
    Activity(Weak<()>),
    Copies(CopiesParameters),
    Memory,
    ReadMemory(ReadMemoryParameters),
    Nvm,
    Save,
    Load(Box<State>),
    Judge(InjectParameters),
    Trace(Tracer),
}

impl Question {
    /// The question that a method asks, and the port; `None` if it is none of these methods.
    pub(crate) fn parse(
        method: &str,
        parameters: &str,
    ) -> Option<Result<(Option<u32>, Self), serde_json::Error>> {
        fn read<T: DeserializeOwned>(
            text: &str,
            question: impl FnOnce(T) -> (Option<u32>, Question),
        ) -> Result<(Option<u32>, Question), serde_json::Error> {
            serde_json::from_str(text).map(question)
        }
        type Plain = crate::protocol::PlainParameters;
        Some(match method {
            "Copies" => read(parameters, |asked: CopiesParameters| {
                (asked.port, Self::Copies(asked))
            }),
            "Memory" => read(parameters, |asked: Plain| (asked.port, Self::Memory)),
            "ReadMemory" => read(parameters, |asked: ReadMemoryParameters| {
                (asked.port, Self::ReadMemory(asked))
            }),
            "Nvm" => read(parameters, |asked: Plain| (asked.port, Self::Nvm)),
            "Save" => read(parameters, |asked: Plain| (asked.port, Self::Save)),
            "Judge" => read(parameters, |asked: InjectParameters| {
                (asked.port, Self::Judge(asked))
            }),
            _ => return None,
        })
    }

    /// Whether it changes the card.
    pub(crate) const fn changes(&self) -> bool {
        match self {
            Self::Load(_) | Self::Judge(_) => true,
            Self::Activity(_)
            | Self::Copies(_)
            | Self::Memory
            | Self::ReadMemory(_)
            | Self::Nvm
            | Self::Save
            | Self::Trace(_) => false,
        }
    }
}

/// What somebody has seen. The thread that has asked puts it into words, since the worker has frames to move.
#[derive(Debug)]
pub(crate) enum Seen {
    Activity(Activity),
    Copies(Copies),
    Memory(Mappings),
    Bytes(MemoryRead),
    Nvm(NvmContents),
    State(Box<State>),
    Fates(Fates),
    /// What was asked for is done.
    Done,
}

impl Seen {
    /// The parameters of the reply.
    ///
    /// # Errors
    /// [`ControlError::TooMuch`]
    pub(crate) fn told(&self) -> Result<Box<RawValue>, ControlError> {
        Ok(match self {
            Self::Activity(activity) => raw(activity),
            Self::Copies(copies) => raw(copies),
            Self::Memory(mappings) => raw(mappings),
            Self::Bytes(read) => raw(read),
            Self::Nvm(contents) => raw(contents),
            Self::State(state) => raw(&SavedState::of(state)?),
            Self::Fates(fates) => raw(fates),
            Self::Done => raw(&serde_json::Map::new()),
        })
    }
}

/// What runs at a worker's port because somebody looks on.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    accounting: Option<Accounting>,
    watching: Option<Watching>,
    traces: Vec<(ObserverId, Ending)>,
}

/// Traces at a time.
const MAX_TRACES: usize = 8;

impl Looks {
    /// Answers a question.
    pub(crate) fn answer<B: Backend>(
        &mut self,
        question: Question,
        view: &mut View<'_>,
        mappings: Vec<Mapping>,
        wire: &mut Tapped<B>,
    ) -> Result<Seen, ControlError> {
        Ok(match question {
            Question::Activity(who) => {
                Seen::Activity(activity::answer(&mut self.watching, who, view))
            }
            Question::Copies(asked) => {
                Seen::Copies(copies::answer(&mut self.accounting, asked.action, view))
            }
            Question::Memory => Seen::Memory(memory::mappings(mappings)),
            Question::ReadMemory(asked) => Seen::Bytes(memory::read(&asked, view.context.bus)?),
            Question::Nvm => Seen::Nvm(memory::nvm(view.port)),
            Question::Save => Seen::State(Box::new(view.port.save(view.context.now))),
            Question::Load(state) => {
                state::load(*state, view)?;
                Seen::Done
            }
            Question::Judge(asked) => Seen::Fates(judge::answer(&asked, view, wire)?),
            Question::Trace(tracer) => {
                // Those that have ended since the last turn make room.
                self.sweep(view.port);
                if self.traces.len() >= MAX_TRACES {
                    return Err(ControlError::TooManyTraces);
                }
                let ending = tracer.ending();
                self.traces
                    .push((view.port.observe(Box::new(tracer)), ending));
                Seen::Done
            }
        })
    }

    /// Whether a trace has ended, or who looked on is gone, and the observer is still there.
    pub(crate) fn has_ended(&self) -> bool {
        self.traces.iter().any(|(_, ending)| ending.has_come())
            || self.watching.as_ref().is_some_and(Watching::has_ended)
    }

    /// Lets the observers go that nobody needs any more.
    pub(crate) fn sweep(&mut self, port: &mut Port) {
        if let Some(ended) = self.watching.take_if(|watching| watching.has_ended()) {
            port.stop_observing(ended.observer());
        }
        self.traces.retain(|(id, ending)| {
            let ended = ending.has_come();
            if ended {
                port.stop_observing(*id);
            }
            !ended
        });
    }
}

fn raw<T: serde::Serialize>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("the protocol's types have string keys")
}

/// What an observer and its owner share; both are in the worker's thread.
pub(crate) fn lock<T>(shared: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds from one time to another.
pub(crate) fn nanos(from: Time, to: Time) -> u64 {
    u64::try_from(to.since(from).as_nanos()).unwrap_or(u64::MAX)
}
