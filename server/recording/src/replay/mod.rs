//! Doing again what a recording says.

mod memory;
mod script;
#[cfg(test)]
mod tests;

use std::{fmt, io::Read};

use nic_model::{
    Context, Port, State, Time,
    observe::{Observer, ObserverId},
    record::Call,
    wire::RxFrame,
};
use thiserror::Error;

use crate::{
    block::{Ending, Tag},
    call::{self, Returned},
    code::Fields,
    deed::{Deed, TAGS},
    read::{ReadError, Reader, Taken},
};
pub use memory::{Memory, Range};
use script::{Line, Script, Trouble};

/// Frames of a recording, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Those that arrived.
    pub arrived: u64,
    /// Those that were sent.
    pub sent: u64,
}

/// What was counted of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) arrived: u64,
    pub(crate) sent: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) interrupts: u64,
}

/// Where a replay is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// At the end of the recording.
    #[default]
    End,
    /// After this packet, from 1 on, of both directions together.
    Packet(u64),
    /// After this packet of those that arrive.
    Arrived(u64),
    /// After this packet of those that are sent. The card finishes the step in which it sends it.
    Sent(u64),
    /// After the last call at this time or before.
    Time(Time),
    /// After this call, from 1 on.
    Call(u64),
}

impl Until {
    /// Whether it is reached when so much has been done.
    const fn is_reached(self, calls: u64, packets: Packets) -> bool {
        let Packets { arrived, sent } = packets;
        match self {
            Self::End | Self::Time(_) => false,
            Self::Packet(number) => arrived.saturating_add(sent) >= number,
            Self::Arrived(number) => arrived >= number,
            Self::Sent(number) => sent >= number,
            Self::Call(number) => calls >= number,
        }
    }
}

/// The model of this program does not do what the recording says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which call, from 1.
    pub call: u64,
    /// The call in words.
    pub what: String,
    /// Whose it is.
    pub port: usize,
    /// Its time.
    pub time: Time,
    /// Where in the file the deed stands.
    pub offset: u64,
    /// What the recording has.
    pub recorded: String,
    /// What the model does.
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call,
            what,
            port,
            time,
            offset,
            recorded,
            replayed,
        } = self;
        let nanos = time.as_nanos();
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        write!(
            f,
            "call {call} ({what}, port {port}, at {seconds}.{rest:09} s): recorded at byte {offset} is {recorded}; this \
             program's model does {replayed}"
        )
    }
}

/// Why a replay cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The header's ports.
    #[error("header of the recording: {0}")]
    Ports(String),
}

/// What a step of a replay has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A call was done, and the port did the same.
    Same,
    /// This is where it was to stop.
    Reached,
    /// The recording is over.
    End(Ending),
    /// The port did something else; the replay is over.
    Differs(Box<Difference>),
}

/// A recording that is done again.
#[derive(Debug)]
pub struct Replay<R> {
    reader: Reader<R>,
    ports: Vec<Replayed>,
    calls: u64,
    over: bool,
}

/// A port and what is known around it.
#[derive(Debug)]
struct Replayed {
    port: Port,
    memory: Memory,
    now: Time,
    counts: Counts,
}

impl<R: Read> Replay<R> {
    /// Builds the ports that a recording begins with.
    ///
    /// # Errors
    /// The file is no recording, or its header is broken.
    pub fn new(from: R) -> Result<Self, ReplayError> {
        let reader = Reader::new(from)?;
        let ports = reader.header().build().map_err(ReplayError::Ports)?;
        let replayed = |port| Replayed {
            port,
            memory: Memory::default(),
            now: Time::ZERO,
            counts: Counts::default(),
        };
        Ok(Self {
            reader,
            ports: ports.into_iter().map(replayed).collect(),
            calls: 0,
            over: false,
        })
    }

    /// The file.
    #[must_use]
    pub const fn reader(&self) -> &Reader<R> {
        &self.reader
    }

    /// Calls that have been done.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// Packets of all ports so far.
    #[must_use]
    pub fn packets(&self) -> Packets {
        let ports = self.ports.iter();
        ports.fold(Packets::default(), |sum, port| Packets {
            arrived: sum.arrived.wrapping_add(port.counts.arrived),
            sent: sum.sent.wrapping_add(port.counts.sent),
        })
    }

    /// DMA reads, DMA writes and interrupts of all ports so far.
    #[must_use]
    pub fn deeds(&self) -> (u64, u64, u64) {
        let ports = self.ports.iter();
        ports.fold((0, 0, 0), |(reads, writes, interrupts), port| {
            (
                port.counts.reads.wrapping_add(reads),
                port.counts.writes.wrapping_add(writes),
                port.counts.interrupts.wrapping_add(interrupts),
            )
        })
    }

    /// The time of the last call.
    #[must_use]
    pub fn now(&self) -> Time {
        let times = self.ports.iter().map(|port| port.now);
        times.max().unwrap_or_default()
    }

    /// How many ports there are.
    #[must_use]
    pub const fn ports(&self) -> usize {
        self.ports.len()
    }

    /// A port as it is now, what is known of its client's memory, and its time; `None` if there is no such port.
    pub fn port(&mut self, number: usize) -> Option<(&mut Port, &Memory, Time)> {
        let Replayed {
            port, memory, now, ..
        } = self.ports.get_mut(number)?;
        Some((port, memory, *now))
    }

    /// The ports as they are now, each with what is known of its client's memory, and its time.
    #[must_use]
    pub fn into_ports(self) -> Vec<(Port, Memory, Time)> {
        let ports = self.ports.into_iter();
        ports
            .map(|port| (port.port, port.memory, port.now))
            .collect()
    }

    /// Lets someone look on at what a port does; `None` if there is no such port.
    pub fn observe(&mut self, port: usize, observer: Box<dyn Observer>) -> Option<ObserverId> {
        let replayed = self.ports.get_mut(port)?;
        Some(replayed.port.observe(observer))
    }

    /// Goes on until the recording is over, `until` is reached, or something is not as it was.
    ///
    /// # Errors
    /// The file is broken.
    pub fn run(&mut self, until: Until) -> Result<Step, ReplayError> {
        loop {
            match self.step(until)? {
                Step::Same => {}
                end => return Ok(end),
            }
        }
    }

    /// Does the next call.
    ///
    /// # Errors
    /// The file is broken.
    pub fn step(&mut self, until: Until) -> Result<Step, ReplayError> {
        let packets = self.packets();
        if self.over || until.is_reached(self.calls, packets) {
            return Ok(Step::Reached);
        }
        let Some(taken) = self.reader.next_call()? else {
            self.over = true;
            return Ok(Step::End(self.reader.ending().unwrap_or(Ending::Cut)));
        };
        if matches!(until, Until::Time(time) if taken.now > time) {
            self.over = true;
            return Ok(Step::Reached);
        }
        self.calls = self.calls.wrapping_add(1);
        let offset = taken.offset;
        let (number, now, what) = (taken.port, taken.now, taken.call);
        let Some(replayed) = self.ports.get_mut(number) else {
            let what = "ports: one is missing".to_owned();
            return Err(ReplayError::Ports(what));
        };
        replayed.now = now;
        let stop = |counts: &Counts, before: Counts| {
            let packets = Packets {
                arrived: packets.arrived + (counts.arrived - before.arrived),
                sent: packets.sent + (counts.sent - before.sent),
            };
            until.is_reached(0, packets)
        };
        let (at, end) = replayed.perform(&taken, stop);
        let end = match end {
            Ended::Same => Step::Same,
            Ended::Cut => {
                self.over = true;
                Step::Reached
            }
            Ended::Trouble(Trouble::Broken(broken)) => return Err(ReadError::from(broken).into()),
            Ended::Trouble(Trouble::Differs {
                offset: deed,
                recorded,
                replayed,
            }) => {
                self.over = true;
                Step::Differs(Box::new(Difference {
                    call: self.calls,
                    what: call::told(&what),
                    port: number,
                    time: now,
                    offset: deed.max(offset),
                    recorded,
                    replayed,
                }))
            }
        };
        self.reader.resume(at);
        Ok(end)
    }
}

/// How a call ends.
enum Ended {
    Same,
    /// In the middle of a burst of frames, where the replay was to stop.
    Cut,
    Trouble(Trouble),
}

impl Replayed {
    /// Does a call. Returns how far the block was read, and how it ended.
    fn perform(
        &mut self,
        taken: &Taken<'_>,
        stop: impl Fn(&Counts, Counts) -> bool,
    ) -> (usize, Ended) {
        let Self {
            port,
            memory,
            now,
            counts,
        } = self;
        match taken.call {
            Call::Mapped { iova, len } => memory.map(iova, len),
            Call::Unmapped { iova, len } => memory.unmap(iova, len),
            _ => {}
        }
        let before = *counts;
        let mut after = *counts;
        let script = Script::new(taken.deeds, memory, &mut after);
        let mut read = Vec::new();
        let mut cut = false;
        let returned = if taken.call == Call::Receive {
            let context = Context {
                now: *now,
                bus: &script,
                wire: &mut Line(&script),
            };
            port.receive_burst(&context, |arrivals| {
                while let Some(Deed::Takes {
                    head,
                    body,
                    fcs,
                    l4_checksum,
                }) = script.next_frame()
                {
                    let frame = RxFrame {
                        head,
                        body,
                        fcs,
                        l4_checksum,
                    };
                    let verdict = arrivals.take(&frame);
                    script.does(&Deed::Judges(verdict));
                    cut = script.stops(|counts| stop(counts, before));
                    if cut {
                        break;
                    }
                }
            });
            Returned::Nothing
        } else {
            let mut context = Context {
                now: *now,
                bus: &script,
                wire: &mut Line(&script),
            };
            act(port, &taken.call, &mut context, &mut read)
        };
        let (mut rest, trouble) = script.into_parts();
        *counts = after;
        let ended = match trouble {
            Some(trouble) => Ended::Trouble(trouble),
            None if cut => Ended::Cut,
            None => compare(&mut rest, &returned),
        };
        (rest.at(), ended)
    }
}

/// Whether the call ends as the recording says.
fn compare(rest: &mut Fields<'_>, returned: &Returned<'_>) -> Ended {
    let offset = rest.offset();
    let differs = |recorded: String| {
        Ended::Trouble(Trouble::Differs {
            offset,
            recorded,
            replayed: returned.to_string(),
        })
    };
    match rest.peek() {
        Some(tag) if TAGS.contains(&tag) => match Deed::decode(rest) {
            Ok(deed) => differs(deed.to_string()),
            Err(broken) => Ended::Trouble(Trouble::Broken(broken)),
        },
        Some(tag) if tag == Tag::Done.byte() => {
            let recorded = rest
                .byte("end of a call")
                .and_then(|_| Returned::decode(rest));
            match recorded {
                Ok(recorded) if recorded == *returned => Ended::Same,
                Ok(recorded) => differs(recorded.to_string()),
                Err(broken) => Ended::Trouble(Trouble::Broken(broken)),
            }
        }
        _ => differs("a panic of the model in the middle of the call".to_owned()),
    }
}

/// Calls the port. What it reads is put into `read`.
fn act<'r>(
    port: &mut Port,
    call: &Call<'_>,
    context: &mut Context<'_>,
    read: &'r mut Vec<u8>,
) -> Returned<'r> {
    let now = context.now;
    match *call {
        Call::ConfigRead { offset, len } => {
            read.resize(len, 0);
            port.config_read(offset, read);
            return Returned::Bytes(read);
        }
        Call::ConfigWrite { offset, data } => port.config_write(offset, data, context),
        Call::BarRead { bar, offset, len } => {
            read.resize(len, 0);
            port.bar_read(bar, offset, read, context);
            return Returned::Bytes(read);
        }
        Call::BarWrite { bar, offset, data } => port.bar_write(bar, offset, data, context),
        Call::Reset => port.reset(context),
        Call::Mapped { iova, len } => port.client_mapped(iova, len, now),
        Call::Unmapped { iova, len } => port.client_unmaps(iova, len, now),
        Call::Carrier(carrier) => port.set_carrier(carrier, context),
        Call::Module(module) => port.set_module(module, context),
        Call::Leds => return Returned::of_leds(&port.leds()),
        Call::TakeCounter {
            counter,
            index,
            value,
        } => port.take_counter(counter, index, value),
        Call::TakeCounter36 {
            low,
            high,
            index,
            value,
        } => port.take_counter36(low, high, index, value),
        Call::HardwareError(error) => {
            return Returned::Message(port.inject_error(error, context));
        }
        Call::Restore { state } => {
            let restored = State::from_bytes(state).and_then(|state| port.restore(state, now));
            return Returned::Restored(restored.is_ok());
        }
        Call::RenewSignals => port.renew_signals(context),
        Call::AddFault { id, fault } => {
            let added = port.add_fault(id, fault, context);
            return Returned::Count(added.is_ok().into());
        }
        Call::ClearFaults(id) => {
            return Returned::Count(port.clear_faults(id, context) as u64);
        }
        Call::Receive => {}
        Call::Step => return Returned::More(port.step(context)),
    }
    Returned::Nothing
}
