//! Events as they happen: `Trace`.

use std::collections::BTreeSet;

use ixgbe_spec::register::{CSR_SPACE, Reg};
use nic_model::{
    Time,
    observe::{Event, Observer},
};
use serde::{Deserialize, Serialize};

use super::event::{EventKind, TraceEvent};
use crate::{
    protocol::{ControlError, Direction},
    queue::{self, Ending, Item, Limits, Receiver, Sender},
};

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

impl Item for TraceEvent {
    /// Each is counted alike: a message has room for a thousand at some 300 bytes each.
    const LIMITS: Limits = Limits {
        items: 65_536,
        bytes: 65_536,
        reply_items: 1000,
        reply_bytes: 1000,
    };
    type Reply = Traced;

    fn size(&self) -> usize {
        1
    }

    fn reply(events: Vec<Self>, lost: u64) -> Traced {
        Traced { events, lost }
    }
}

/// A trace's two ends.
///
/// # Errors
/// [`ControlError::UnknownRegister`].
pub(crate) fn trace(filter: &TraceFilter) -> Result<(Tracer, Receiver<TraceEvent>), ControlError> {
    let sieve = Sieve::new(filter)?;
    let (events, traced) = queue::queue().map_err(|_| ControlError::NotAnswering)?;
    Ok((Tracer { sieve, events }, traced))
}

/// The port's end.
#[derive(Debug)]
pub(crate) struct Tracer {
    sieve: Sieve,
    events: Sender<TraceEvent>,
}

impl Tracer {
    /// Tells whether the client has ended its trace.
    pub(crate) fn ending(&self) -> Ending {
        self.events.ending()
    }
}

impl Observer for Tracer {
    fn see(&mut self, now: Time, event: &Event<'_>) {
        if self.events.is_closed() || !self.sieve.may_pass(event) {
            return;
        }
        let event = TraceEvent::of(now, event);
        if self.sieve.passes(&event) {
            self.events.push(event);
        }
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
        let (mut tracer, traces) = trace(&TraceFilter::default()).unwrap();

        see(&mut tracer, &write(Reg::RDT));
        see(&mut tracer, &Event::Coalesced { queue: 3 });

        let (traced, _) = traces.take();
        assert_eq!(traced[0].register.as_deref(), Some("RDT[0]"));
        assert_eq!(traced[0].value, Some(7));
        assert_eq!(traced[1].queue, Some(3));
    }

    #[test]
    fn a_filter_lets_through_what_it_names() {
        let filter = TraceFilter {
            kinds: Some(vec![EventKind::Register, EventKind::Packet]),
            queues: Some(vec![4]),
            registers: Some(vec!["TDT".to_owned()]),
            ..TraceFilter::default()
        };
        let (mut tracer, traces) = trace(&filter).unwrap();

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
        let told: Vec<_> = traced.iter().map(|event| &*event.what).collect();
        assert_eq!(told, ["write", "coalesced"]);
        assert_eq!(traced[1].queue, Some(4));
    }

    #[test]
    fn a_register_that_there_is_not_is_refused() {
        let filter = TraceFilter {
            registers: Some(vec!["RDX".to_owned()]),
            ..TraceFilter::default()
        };

        let refused = trace(&filter).unwrap_err();

        let name = "RDX".to_owned();
        assert_eq!(refused, ControlError::UnknownRegister { name });
    }

    #[test]
    fn a_reply_fits_a_message() {
        let (mut tracer, traces) = trace(&TraceFilter::default()).unwrap();
        let frame = nic_model::wire::RxFrame::new(&[0xAA; 1514]);

        for _ in 0..=TraceEvent::LIMITS.reply_items {
            see(&mut tracer, &Event::Arrived { frame: &frame });
        }

        let (traced, _) = traces.take();
        assert_eq!(traced.len(), TraceEvent::LIMITS.reply_items);
        let message = serde_json::to_vec(&TraceEvent::reply(traced, u64::MAX)).unwrap();
        assert!(message.len() < crate::MAX_MESSAGE - 100);
    }
}
