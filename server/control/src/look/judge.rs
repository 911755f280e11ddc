//! What becomes of a frame: `Judge`.

use std::sync::{Arc, Mutex};

use nic_model::{
    AddressMatch, Port, Time, Wire,
    observe::{Event, Observer},
    rx::Verdict,
    wire::{Flow, RxFrame},
};
use serde::{Deserialize, Serialize};
use wire::{Backend, InjectError, Tapped};

use super::{View, event::TraceEvent, lock};
use crate::protocol::{ControlError, InjectParameters};

/// What became of a frame at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Written to a ring (with VM pools: to one at least).
    Delivered,
    /// Waits in a packet buffer for descriptors.
    Buffered,
    /// Dropped.
    Dropped,
}

/// A frame's fate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Fate {
    /// What became of it.
    pub outcome: Outcome,
    /// The stage that has dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What accepts its destination address, if something does: `rar[N]`, `unicast-promiscuous`, `unicast-hash`,
    /// `multicast-promiscuous`, `multicast-hash`, `broadcast`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What happened, in order: the first hundred events.
    pub events: Vec<TraceEvent>,
    /// Events that came after those.
    #[serde(default)]
    pub lost: u64,
    /// When the port will act next if nothing happens before: a moderated interrupt, the end of a large receive or
    /// another timer. In nanoseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<u64>,
}

/// Reply of `Judge`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Fates {
    /// One for each frame.
    pub fates: Vec<Fate>,
}

/// Frames that were injected before and arrive in the same call, at most.
const MOST_BEFORE: usize = 256;
/// Frames of one call: their events have to fit a message.
pub const MAX_JUDGED: usize = 16;

/// Events that are told of a frame.
const MAX_EVENTS: usize = 100;

/// The events of a frame, and how many more there were.
type Seen = (Vec<TraceEvent>, u64);

#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Seen>>);

impl Observer for Witness {
    fn see(&mut self, now: Time, event: &Event<'_>) {
        let (events, lost) = &mut *lock(&self.0);
        if events.len() < MAX_EVENTS {
            events.push(TraceEvent::of(now, event));
        } else {
            *lost += 1;
        }
    }
}

/// Lets frames arrive one by one, and tells what became of each.
pub(crate) fn answer<B: Backend>(
    asked: &InjectParameters,
    view: &mut View<'_>,
    wire: &mut Tapped<B>,
) -> Result<Fates, ControlError> {
    if asked.frames.len() > MAX_JUDGED {
        return Err(ControlError::TooMuch);
    }
    for (index, frame) in asked.frames.iter().enumerate() {
        let length = frame.len();
        if !wire::INJECTED_LEN.contains(&length) {
            return Err(ControlError::FrameLength { index, length });
        }
    }
    let damage = asked.damage();
    // What was injected before goes first, as much of it as a turn takes and the port has room for.
    for _ in 0..MOST_BEFORE {
        if !wire.has_injected() || !view.port.has_room() {
            break;
        }
        arrive(view, wire);
    }
    if wire.has_injected() {
        return Err(ControlError::TooMuch);
    }
    let fates = asked.frames.iter().map(|frame| {
        match wire.inject(frame, damage) {
            Ok(()) => {}
            Err(InjectError::Unplugged) => return Err(ControlError::LinkDown),
            Err(InjectError::Full | InjectError::Length { .. }) => {
                return Err(ControlError::NotAnswering);
            }
        }
        let witness = Witness::default();
        let id = view.port.observe(Box::new(witness.clone()));
        let verdict = arrive(view, wire);
        view.port.stop_observing(id);
        let (outcome, reason) = match verdict {
            Some(Verdict::Delivered { .. }) => (Outcome::Delivered, None),
            Some(Verdict::Buffered) => (Outcome::Buffered, None),
            Some(Verdict::Dropped(reason)) => (Outcome::Dropped, Some(reason.name())),
            None => (Outcome::Dropped, Some("cable")),
        };
        let now = view.context.now;
        let (events, lost) = std::mem::take(&mut *lock(&witness.0));
        Ok(Fate {
            outcome,
            reason: reason.map(ToOwned::to_owned),
            filter: address_filter(frame, view.port),
            events,
            lost,
            due: view.port.deadline().map(|due| super::nanos(now, due)),
        })
    });
    Ok(Fates {
        fates: fates.collect::<Result<_, _>>()?,
    })
}

/// Lets the next injected frame arrive.
fn arrive<B: Backend>(view: &mut View<'_>, wire: &mut Tapped<B>) -> Option<Verdict> {
    let mut verdict = None;
    let View { port, context } = view;
    wire.receive(1, &mut |frame: &RxFrame<'_>| {
        verdict = Some(port.receive(frame, context));
        Flow::More
    });
    verdict
}

/// What accepts the destination address of a frame, by the registers (7.1.1.1).
fn address_filter(frame: &[u8], port: &Port) -> Option<String> {
    let name = match port.address_match(*frame.first_chunk()?)? {
        AddressMatch::Rar(number) => return Some(format!("rar[{number}]")),
        AddressMatch::Broadcast => "broadcast",
        AddressMatch::MulticastHash => "multicast-hash",
        AddressMatch::MulticastPromiscuous => "multicast-promiscuous",
        AddressMatch::UnicastHash => "unicast-hash",
        AddressMatch::UnicastPromiscuous => "unicast-promiscuous",
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_beyond_the_first_hundred_are_counted() {
        let mut witness = Witness::default();

        for queue in 0..103 {
            witness.see(Time::ZERO, &Event::Coalesced { queue });
        }

        let (events, lost) = &*lock(&witness.0);
        assert_eq!((events.len(), *lost), (100, 3));
        assert_eq!(events[99].queue, Some(99));
    }
}
