//! Faults of the card that somebody asks for, as a recording holds them.

use std::time::Duration;

use nic_model::{
    fault::{Fault, FaultKind, Target, Trigger},
    observe::Direction,
};

use crate::{
    call::named,
    code::{Broken, Fields, put, put_bytes},
};

const DIRECTIONS: [Option<Direction>; 3] =
    [None, Some(Direction::Receive), Some(Direction::Transmit)];

/// Writes a fault.
pub(crate) fn encode(to: &mut Vec<u8>, fault: &Fault) {
    let Fault {
        kind,
        target: Target {
            direction,
            queue,
            vector,
        },
        trigger:
            Trigger {
                seed,
                probability,
                nth,
                count,
                duration,
            },
        delay,
        every,
    } = *fault;
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    put_bytes(to, kind.name().as_bytes());
    to.push(match direction {
        None => 0,
        Some(Direction::Receive) => 1,
        Some(Direction::Transmit) => 2,
    });
    put_perhaps(to, queue.map(Into::into));
    put_perhaps(to, vector.map(Into::into));
    put(to, seed);
    put(to, probability.to_bits());
    put_perhaps(to, nth);
    put_perhaps(to, count);
    for time in [duration, delay, every] {
        put_perhaps(to, time.map(nanos));
    }
}

fn put_perhaps(to: &mut Vec<u8>, number: Option<u64>) {
    to.push(number.is_some().into());
    if let Some(number) = number {
        put(to, number);
    }
}

/// Reads what [`encode`] has written. It is a fault that there can be.
pub(crate) fn decode(from: &mut Fields<'_>) -> Result<Fault, Broken> {
    let place = from.offset();
    let kind: FaultKind = named(from, "fault")?;
    let choice = |byte: u8| DIRECTIONS.get(usize::from(byte)).copied();
    let direction = from.choice("direction of a fault", choice)?;
    let target = Target {
        direction,
        queue: perhaps(from, "queue of a fault")?,
        vector: perhaps(from, "vector of a fault")?,
    };
    let seed = from.number("seed of a fault")?;
    let probability = f64::from_bits(from.number("probability of a fault")?);
    let nth = perhaps(from, "first occasion of a fault")?;
    let count = perhaps(from, "occasions of a fault")?;
    let mut time = |field| Ok(perhaps(from, field)?.map(Duration::from_nanos));
    let fault = Fault {
        kind,
        target,
        trigger: Trigger {
            seed,
            probability,
            nth,
            count,
            duration: time("time of a fault")?,
        },
        delay: time("delay of a fault")?,
        every: time("interval of a fault")?,
    };
    match fault.check() {
        Ok(()) => Ok(fault),
        Err(_) => Err(Fields::unknown("fault", place, seed)),
    }
}

fn perhaps<T: TryFrom<u64>>(
    from: &mut Fields<'_>,
    field: &'static str,
) -> Result<Option<T>, Broken> {
    let is_there = from.choice(field, crate::call::flag)?;
    is_there.then(|| from.narrow(field)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of what was written.
    fn again(fault: &Fault) -> Result<Fault, Broken> {
        let mut bytes = Vec::new();
        encode(&mut bytes, fault);
        decode(&mut Fields::new(&bytes, 0, 0))
    }

    fn fault(probability: f64) -> Fault {
        Fault {
            kind: FaultKind::InterruptLate,
            target: Target {
                direction: Some(Direction::Transmit),
                queue: Some(127),
                vector: Some(63),
            },
            trigger: Trigger {
                seed: u64::MAX,
                probability,
                nth: Some(3),
                count: Some(4),
                duration: Some(Duration::from_nanos(5)),
            },
            delay: Some(Duration::from_nanos(6)),
            every: Some(Duration::from_nanos(7)),
        }
    }

    #[test]
    fn every_field_of_a_fault_is_read_as_it_was_written() {
        let full = fault(0.1);
        let bare = Fault {
            kind: FaultKind::TransmitStuck,
            target: Target::default(),
            trigger: Trigger::always(0),
            delay: None,
            every: None,
        };

        assert_eq!((again(&full), again(&bare)), (Ok(full), Ok(bare)));
    }

    #[test]
    fn a_fault_that_there_cannot_be_is_refused() {
        let refused = [2.0, f64::NAN].map(|probability| again(&fault(probability)).is_err());

        assert_eq!(refused, [true; 2]);
    }
}
