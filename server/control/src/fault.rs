//! The messages about faults that somebody asks for.

use std::{borrow::Cow, time::Duration};

use nic_model::fault::{
    Fault, FaultKind, FaultReport, FaultRoom, FaultState, Target, TooManyFaults, Trigger,
};
use serde::{Deserialize, Serialize};
use wire::{Backend, Tapped};

use crate::{
    look::View,
    protocol::{ControlError, Direction, as_varlink_int},
    worker::Card,
};

/// Parameters of `AddFault`: kinds are texts, as they grow in number.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct AddFaultParameters {
    fault: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vector: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nth: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    for_nanos: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_nanos: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every_nanos: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

impl AddFaultParameters {
    /// Asks a port for a fault.
    pub(crate) fn new(fault: &Fault, port: Option<u32>) -> Self {
        let Fault {
            kind,
            target,
            trigger,
            delay,
            every,
        } = *fault;
        Self {
            fault: kind.name().to_owned(),
            direction: target.direction.map(Into::into),
            queue: target.queue.map(Into::into),
            vector: target.vector.map(Into::into),
            probability: Some(trigger.probability),
            nth: trigger.nth,
            count: trigger.count,
            seed: Some(trigger.seed),
            for_nanos: trigger.duration.map(nanos),
            delay_nanos: delay.map(nanos),
            every_nanos: every.map(nanos),
            port,
        }
    }

    /// The fault that is asked for.
    pub(crate) fn fault(&self) -> Result<Fault, ControlError> {
        let kind = self.fault.parse().map_err(|_| ControlError::UnknownFault {
            fault: self.fault.clone(),
        })?;
        let fault = Fault {
            kind,
            target: Target {
                direction: self.direction.map(Into::into),
                // What is too high stays so, and is refused.
                queue: self.queue.map(|queue| queue.try_into().unwrap_or(u8::MAX)),
                vector: self
                    .vector
                    .map(|vector| vector.try_into().unwrap_or(u8::MAX)),
            },
            trigger: Trigger {
                seed: self.seed.unwrap_or(1),
                probability: self.probability.unwrap_or(1.0),
                nth: self.nth,
                count: self.count,
                duration: self.for_nanos.map(Duration::from_nanos),
            },
            delay: self.delay_nanos.map(Duration::from_nanos),
            every: self.every_nanos.map(Duration::from_nanos),
        };
        fault.check().map_err(|reason| ControlError::BadFault {
            reason: reason.to_string(),
        })?;
        Ok(fault)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Reply of `AddFault`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct FaultAdded {
    /// Its number at its port.
    pub id: u64,
}

/// A fault of a port.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveFault {
    /// Its number at its port.
    pub id: u64,
    /// Name of its kind.
    pub fault: Cow<'static, str>,
    /// Frames, rings or interrupts of this direction only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Of this queue only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Of this MSI-X vector only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<u32>,
    /// How likely each occasion is taken.
    pub probability: f64,
    /// The first occasion that may be taken, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// How many are taken at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Seed of its chances.
    #[serde(serialize_with = "as_varlink_int")]
    pub seed: u64,
    /// How long it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_nanos: Option<u64>,
    /// How late what is late comes, how long what is away stays away.
    #[serde(serialize_with = "as_varlink_int")]
    pub delay_nanos: u64,
    /// Time between two occasions of a fault that makes its own.
    #[serde(serialize_with = "as_varlink_int")]
    pub every_nanos: u64,
    /// Occasions so far.
    #[serde(serialize_with = "as_varlink_int")]
    pub seen: u64,
    /// Those that it has taken.
    #[serde(serialize_with = "as_varlink_int")]
    pub fired: u64,
    /// How far it has come.
    pub state: ActiveState,
}

/// How far a fault has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActiveState {
    /// It takes occasions.
    Armed,
    /// It has taken all that it may; what it did may last.
    Spent,
    /// Its time is over.
    Over,
}

impl ActiveState {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Spent => "spent",
            Self::Over => "over",
        }
    }
}

impl From<FaultReport> for ActiveFault {
    fn from(report: FaultReport) -> Self {
        let fault = report.fault;
        Self {
            id: report.id,
            fault: fault.kind.name().into(),
            direction: fault.target.direction.map(Into::into),
            queue: fault.target.queue.map(Into::into),
            vector: fault.target.vector.map(Into::into),
            probability: fault.trigger.probability,
            nth: fault.trigger.nth,
            count: fault.trigger.count_for(fault.kind),
            seed: fault.trigger.seed,
            for_nanos: fault.trigger.duration.map(nanos),
            delay_nanos: nanos(fault.delay()),
            every_nanos: nanos(fault.every()),
            seen: report.seen,
            fired: report.fired,
            state: match report.state {
                FaultState::Armed => ActiveState::Armed,
                FaultState::Spent => ActiveState::Spent,
                FaultState::Over => ActiveState::Over,
            },
        }
    }
}

/// Reply of `Faults`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Faults {
    /// Those that were asked for and not cleared, in the order of their numbers.
    pub faults: Vec<ActiveFault>,
}

/// Parameters of `ClearFaults`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClearFaultsParameters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// Reply of `ClearFaults`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct FaultsCleared {
    /// How many there were.
    pub cleared: u64,
}

/// The numbers that a port's faults get.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Lets cable or card have a fault.
    pub(crate) fn add<B: Backend>(
        &mut self,
        fault: Fault,
        wire: &mut Tapped<B>,
        card: &mut dyn Card,
    ) -> Result<FaultAdded, ControlError> {
        let id = self.0.saturating_add(1);
        match fault.kind.room() {
            FaultRoom::Wire => wire.add_fault(id, fault, card.view().context.now),
            FaultRoom::Card => {
                let View { port, mut context } = card.view();
                port.add_fault(id, fault, &mut context)
            }
        }
        .map_err(|TooManyFaults| ControlError::TooManyFaults)?;
        self.0 = id;
        Ok(FaultAdded { id })
    }
}

/// The faults of cable and card.
pub(crate) fn all<B: Backend>(wire: &Tapped<B>, card: &mut dyn Card) -> Faults {
    let mut faults = wire.fault_reports();
    faults.extend(card.view().port.fault_reports());
    faults.sort_by_key(|report| report.id);
    Faults {
        faults: faults.into_iter().map(Into::into).collect(),
    }
}

/// Ends faults of cable and card.
pub(crate) fn clear<B: Backend>(
    id: Option<u64>,
    wire: &mut Tapped<B>,
    card: &mut dyn Card,
) -> Result<FaultsCleared, ControlError> {
    let View { port, mut context } = card.view();
    let of_card = port.clear_faults(id, &mut context);
    let cleared = wire.clear_faults(id).saturating_add(of_card);
    match id {
        Some(id) if cleared == 0 => Err(ControlError::NoSuchFault { id }),
        _ => Ok(FaultsCleared {
            cleared: u64::try_from(cleared).unwrap_or(u64::MAX),
        }),
    }
}

/// The names of all kinds, for who asks for one that is not there.
pub(crate) fn names() -> Vec<&'static str> {
    FaultKind::names().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_was_written() {
        for kind in FaultKind::all() {
            let fault = Fault {
                kind,
                target: Target::default(),
                trigger: Trigger {
                    seed: 77,
                    probability: 0.25,
                    nth: Some(3),
                    count: Some(9),
                    duration: Some(Duration::from_millis(1500)),
                },
                delay: Some(Duration::from_micros(30)),
                every: None,
            };
            let text = serde_json::to_string(&AddFaultParameters::new(&fault, None)).unwrap();

            let read: AddFaultParameters = serde_json::from_str(&text).unwrap();

            assert_eq!(read.fault(), Ok(fault));
        }
    }

    #[test]
    fn a_number_that_no_queue_has_is_refused() {
        let parameters = AddFaultParameters {
            fault: "tx-stuck".to_owned(),
            queue: Some(100_000),
            ..AddFaultParameters::default()
        };

        let refused = parameters.fault();

        assert!(matches!(refused, Err(ControlError::BadFault { .. })));
    }
}
