//! Events as they happen: `Trace`. A bounded queue between the port and a client; what finds no room is counted as lost.

use std::{
    collections::{BTreeSet, VecDeque},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use ixgbe_spec::register::{CSR_SPACE, Reg};
use nic_model::{
    Time,
    observe::{Event, Observer},
};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};

use super::event::{EventKind, TraceEvent};
use crate::{
    capture::Source,
    protocol::{ControlError, Direction},
};

/// Events that wait for a client.
const MAX_EVENTS: usize = 65_536;
/// Events of a reply: at some 300 bytes each, less than a message.
const REPLY_EVENTS: usize = 1000;

/// Which events a trace tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TraceFilter {
    /// Only those of these kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<EventKind>>,
    /// Of those that belong to a queue, only those of these queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<u32>>,
    /// Of those that have a direction, only those of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Of accesses to registers, only those to these, by the datasheet's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<Vec<String>>,
    /// The port; [`Client::trace`](crate::Client::trace) fills in its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
}

/// One of the replies of `Trace`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Traced {
    /// Events since the reply before.
    pub events: Vec<TraceEvent>,
    /// Events that were missed since the trace began.
    pub lost: u64,
}

/// Which events are told, ready for use.
#[derive(Debug)]
struct Sieve {
    /// Each kind once, however often the client named it.
    kinds: Vec<EventKind>,
    queues: Option<BTreeSet<u32>>,
    direction: Option<Direction>,
    /// One for each dword of the register space.
    registers: Option<Box<[bool]>>,
}

impl Sieve {
    fn new(filter: &TraceFilter) -> Result<Self, ControlError> {
        let registers = filter.registers.as_ref().map(|names| {
            let names: BTreeSet<&String> = names.iter().collect();
            let mut wanted = Vec::new();
            for name in names {
                let reg = Reg::ALL.iter().find(|reg| reg.row().name == name);
                let unknown = || ControlError::UnknownRegister { name: name.clone() };
                wanted.push(*reg.ok_or_else(unknown)?);
            }
            let dwords = (0..CSR_SPACE).step_by(4);
            let chosen =
                dwords.map(|at| Reg::decode(at).is_some_and(|(reg, _)| wanted.contains(&reg)));
            Ok(chosen.collect())
        });
        Ok(Self {
            kinds: EventKind::ALL
                .into_iter()
                .filter(|kind| {
                    filter
                        .kinds
                        .as_ref()
                        .is_none_or(|kinds| kinds.contains(kind))
                })
                .collect(),
            queues: filter
                .queues
                .as_ref()
                .map(|queues| queues.iter().copied().collect()),
            direction: filter.direction,
            registers: registers.transpose()?,
        })
    }

    /// Whether an event may be told, as far as that is seen cheaply.
    fn may_pass(&self, event: &Event<'_>) -> bool {
        let kind = match event {
            Event::RegisterRead { offset, .. } | Event::RegisterWrite { offset, .. } => {
                let dword = usize::try_from(offset / 4).unwrap_or(usize::MAX);
                let chosen = self.registers.as_ref();
                if chosen.is_some_and(|chosen| chosen.get(dword) != Some(&true)) {
                    return false;
                }
                EventKind::Register
            }
            Event::ConfigWrite { .. } | Event::Reset(_) | Event::Carrier(_) => EventKind::Register,
            Event::Fetched(_) | Event::WrittenBack(_) => EventKind::Descriptor,
            Event::Dma(_) => EventKind::Dma,
            Event::Cause { .. } | Event::Interrupt { .. } => EventKind::Interrupt,
            _ => EventKind::Packet,
        };
        self.kinds.contains(&kind)
    }

    fn passes(&self, event: &TraceEvent) -> bool {
        let queue = match (&self.queues, event.queue) {
            (Some(queues), Some(queue)) => queues.contains(&queue),
            _ => true,
        };
        let direction = match (self.direction, event.direction) {
            (Some(wanted), Some(direction)) => wanted == direction,
            _ => true,
        };
        queue && direction
    }
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<TraceEvent>,
    lost: u64,
    /// The observer is gone.
    ended: bool,
}

/// Shared by the port's thread and the client's. `closed` guards no other memory, so `Relaxed` is enough; `waiting` is
/// held for moments only.
#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    closed: AtomicBool,
    event: EventFd,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A thread that died left the queue as it was.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trace's two ends.
///
/// # Errors
/// [`ControlError::UnknownRegister`].
pub(crate) fn queue(filter: &TraceFilter) -> Result<(Tracer, Traces), ControlError> {
    let sieve = Sieve::new(filter)?;
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let event = EventFd::from_value_and_flags(0, flags);
    let event = event.map_err(|_| ControlError::NotAnswering)?;
    let shared = Arc::new(Shared {
        waiting: Mutex::default(),
        closed: AtomicBool::new(false),
        event,
    });
    let tracer = Tracer {
        sieve,
        shared: Arc::clone(&shared),
    };
    Ok((tracer, Traces(shared)))
}

/// The port's end.
#[derive(Debug)]
pub(crate) struct Tracer {
    sieve: Sieve,
    shared: Arc<Shared>,
}

/// Tells whether the client has ended its trace.
#[derive(Debug)]
pub(crate) struct Ending(Arc<Shared>);

impl Ending {
    pub(crate) fn has_come(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }
}

impl Tracer {
    pub(crate) fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.shared))
    }
}

impl Observer for Tracer {
    fn see(&mut self, now: Time, event: &Event<'_>) {
        let shared = &self.shared;
        if shared.closed.load(Ordering::Relaxed) || !self.sieve.may_pass(event) {
            return;
        }
        let event = TraceEvent::of(now, event);
        if !self.sieve.passes(&event) {
            return;
        }
        let mut waiting = shared.lock();
        if waiting.events.len() >= MAX_EVENTS {
            waiting.lost = waiting.lost.wrapping_add(1);
            return;
        }
        waiting.events.push_back(event);
        if waiting.events.len() == 1 {
            // A full counter means that the client has been woken already.
            let _ = shared.event.write(1);
        }
    }
}

impl Drop for Tracer {
    /// The client's thread shall see that nothing more comes.
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.lock().ended = true;
        let _ = shared.event.write(1);
    }
}

/// The client thread's end.
#[derive(Debug)]
pub(crate) struct Traces(Arc<Shared>);

impl Traces {
    /// Readable when there are events.
    pub(crate) fn event_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    /// Takes note of the event. To be called before the queue is emptied.
    pub(crate) fn clear_event(&self) {
        // Nothing to clear is as good.
        let _ = self.0.event.read();
    }

    /// Lets no further event in; what is there can still be taken.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// The events of one reply. An empty one means that there are no more now.
    pub(crate) fn take(&self) -> (Traced, Source) {
        let mut waiting = self.0.lock();
        let count = waiting.events.len().min(REPLY_EVENTS);
        let events = waiting.events.drain(..count).collect();
        let source = if waiting.ended {
            Source::Gone
        } else {
            Source::Open
        };
        let lost = waiting.lost;
        (Traced { events, lost }, source)
    }
}

impl Drop for Traces {
    /// The port's observer goes with its client.
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(tracer: &mut Tracer, event: &Event<'_>) {
        tracer.see(Time::from_nanos(5), event);
    }

    fn write(reg: Reg) -> Event<'static> {
        Event::RegisterWrite {
            offset: reg.offset(0),
            value: 7,
            mask: u32::MAX,
        }
    }

    #[test]
    fn events_come_in_order_with_what_they_are_about() {
        let (mut tracer, traces) = queue(&TraceFilter::default()).unwrap();

        see(&mut tracer, &write(Reg::RDT));
        see(&mut tracer, &Event::Coalesced { queue: 3 });

        let (traced, source) = traces.take();
        assert_eq!(source, Source::Open);
        assert_eq!(traced.events[0].register.as_deref(), Some("RDT[0]"));
        assert_eq!(traced.events[0].value, Some(7));
        assert_eq!(traced.events[1].queue, Some(3));
    }

    #[test]
    fn a_filter_lets_through_what_it_names() {
        let filter = TraceFilter {
            kinds: Some(vec![EventKind::Register, EventKind::Packet]),
            queues: Some(vec![4]),
            registers: Some(vec!["TDT".to_owned()]),
            ..TraceFilter::default()
        };
        let (mut tracer, traces) = queue(&filter).unwrap();

        see(&mut tracer, &write(Reg::RDT));
        see(&mut tracer, &write(Reg::TDT));
        see(&mut tracer, &Event::Coalesced { queue: 3 });
        see(&mut tracer, &Event::Coalesced { queue: 4 });
        see(
            &mut tracer,
            &Event::Cause {
                vectors: 1,
                other: 0,
            },
        );

        let (traced, _) = traces.take();
        let told: Vec<_> = traced.events.iter().map(|event| &*event.what).collect();
        assert_eq!(told, ["write", "coalesced"]);
        assert_eq!(traced.events[1].queue, Some(4));
    }

    #[test]
    fn a_register_that_there_is_not_is_refused() {
        let filter = TraceFilter {
            registers: Some(vec!["RDX".to_owned()]),
            ..TraceFilter::default()
        };

        let refused = queue(&filter).unwrap_err();

        let name = "RDX".to_owned();
        assert_eq!(refused, ControlError::UnknownRegister { name });
    }

    #[test]
    fn events_beyond_the_queue_are_lost_and_counted() {
        let (mut tracer, traces) = queue(&TraceFilter::default()).unwrap();

        for _ in 0..MAX_EVENTS + 3 {
            see(&mut tracer, &write(Reg::RDT));
        }

        assert_eq!(traces.take().0.lost, 3);
    }

    #[test]
    fn a_reply_fits_a_message() {
        let (mut tracer, traces) = queue(&TraceFilter::default()).unwrap();
        let frame = nic_model::wire::RxFrame::new(&[0xAA; 1514]);

        for _ in 0..=REPLY_EVENTS {
            see(&mut tracer, &Event::Arrived { frame: &frame });
        }

        let (traced, _) = traces.take();
        assert_eq!(traced.events.len(), REPLY_EVENTS);
        let message = serde_json::to_vec(&traced).unwrap();
        assert!(message.len() < crate::MAX_MESSAGE - 100);
    }

    #[test]
    fn a_trace_whose_client_is_gone_has_ended() {
        let (tracer, traces) = queue(&TraceFilter::default()).unwrap();
        let ending = tracer.ending();

        drop(traces);

        assert!(ending.has_come());
    }

    #[test]
    fn a_client_whose_port_is_gone_gets_the_rest_and_is_told() {
        let (mut tracer, traces) = queue(&TraceFilter::default()).unwrap();
        see(&mut tracer, &write(Reg::RDT));
        drop(tracer);

        let (traced, source) = traces.take();

        assert_eq!((traced.events.len(), source), (1, Source::Gone));
    }
}
