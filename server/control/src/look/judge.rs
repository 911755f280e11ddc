//! What becomes of a frame: `Judge`.

use std::sync::{Arc, Mutex};

use ixgbe_spec::register::{
    Reg,
    bits::{
        fctrl::{BAM, MPE, UPE},
        mcstctrl::MFE,
        rah::AV,
    },
};
use nic_model::{
    Port, Time, Wire,
    observe::{Event, Observer},
    rx::Verdict,
    wire::{Flow, RxFrame},
};
use serde::{Deserialize, Serialize};
use wire::{Backend, Damage, Fcs, InjectError, Short, Tapped};

use super::{
    View,
    event::{TraceEvent, drop_reason},
    lock,
};
use crate::protocol::ControlError;

/// Parameters of `Judge`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct JudgeParameters {
    #[serde(with = "crate::base64::list")]
    pub(crate) frames: Vec<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bad_fcs: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runts: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

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
    /// Everything that happened, in order.
    pub events: Vec<TraceEvent>,
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

/// Frames of one call: their events have to fit a message.
pub const MAX_JUDGED: usize = 16;

/// Events that are told of a frame.
const MAX_EVENTS: usize = 100;

#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<TraceEvent>>>);

impl Observer for Witness {
    fn see(&mut self, now: Time, event: &Event<'_>) {
        let mut events = lock(&self.0);
        if events.len() < MAX_EVENTS {
            events.push(TraceEvent::of(now, event));
        }
    }
}

/// Lets frames arrive one by one, and tells what became of each.
pub(crate) fn answer<B: Backend>(
    asked: &JudgeParameters,
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
    let damage = Damage {
        fcs: if asked.bad_fcs == Some(true) {
            Fcs::Bad
        } else {
            Fcs::Good
        },
        short: if asked.runts == Some(true) {
            Short::Runt
        } else {
            Short::Padded
        },
    };
    // What was injected before goes first.
    while wire.has_injected() {
        arrive(view, wire);
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
            Some(Verdict::Dropped(reason)) => (Outcome::Dropped, Some(drop_reason(reason))),
            None => (Outcome::Dropped, Some("cable")),
        };
        let now = view.context.now;
        Ok(Fate {
            outcome,
            reason: reason.map(ToOwned::to_owned),
            filter: address_filter(frame, view.port),
            events: std::mem::take(&mut *lock(&witness.0)),
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
    let address: [u8; 6] = *frame.first_chunk()?;
    let control = port.register(Reg::FCTRL, 0);
    let [a, b, c, d, e, f] = address;
    let (low, high) = (
        u32::from_le_bytes([a, b, c, d]),
        u32::from(e) | u32::from(f) << 8,
    );
    let entry = (0..Reg::RAH.count()).find(|n| {
        let rah = port.register(Reg::RAH, *n);
        rah & AV != 0 && rah & 0xFFFF == high && port.register(Reg::RAL, *n) == low
    });
    let exact = entry.map(|n| format!("rar[{n}]"));
    let text = |text: &str| Some(text.to_owned());
    let hash = |table| {
        // The twelve address bits that MCSTCTRL.MO selects (8.2.3.7).
        let number = u64::from(high) << 32 | u64::from(low);
        let lowest = match port.register(Reg::MCSTCTRL, 0) & 3 {
            0 => 36,
            1 => 35,
            2 => 34,
            _ => 32,
        };
        let bits = usize::try_from(number >> lowest & 0xFFF).unwrap_or(0);
        port.register(table, bits >> 5) >> (bits & 31) & 1 == 1
    };
    if address == [0xFF; 6] {
        return match control {
            _ if control & BAM != 0 => text("broadcast"),
            _ if control & MPE != 0 => text("multicast-promiscuous"),
            _ => None,
        };
    }
    if address[0] & 1 == 1 {
        let hashed = port.register(Reg::MCSTCTRL, 0) & MFE != 0 && hash(Reg::MTA);
        return exact.or_else(|| {
            if hashed {
                text("multicast-hash")
            } else if control & MPE != 0 {
                text("multicast-promiscuous")
            } else {
                None
            }
        });
    }
    exact.or_else(|| {
        if control & UPE != 0 {
            text("unicast-promiscuous")
        } else if hash(Reg::PFUTA) {
            text("unicast-hash")
        } else {
            None
        }
    })
}
