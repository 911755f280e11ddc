//! What the NIC does wrong, and a good driver gets over. A receive ring whose descriptors the NIC is refused is not tried: it
//! stands still until the driver sets it up anew, and Linux's, for one, does not notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use control::{Direction, Fault, FaultKind, Target, Trigger};

use crate::{Outcome, Station, Wish};

/// How often a fault happens that a driver gets over in a moment.
const TIMES: u64 = 3;
/// How long the driver may do nothing in which a fault could happen.
const IDLE: Duration = Duration::from_secs(2);
/// How late a write-back is: long after the interrupt has been served.
const LATE: Duration = Duration::from_millis(20);

pub(super) fn lost_interrupts(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let fault = fault(FaultKind::InterruptLost, Some(Direction::Receive), TIMES);
    pinged(station, wish, fault, "no interrupt told of a frame")
}

pub(super) fn spurious_interrupts(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let mut fault = fault(FaultKind::InterruptSpurious, None, 100);
    fault.every = Some(Duration::from_millis(1));
    pinged(station, wish, fault, "the driver has no interrupt")
}

pub(super) fn late_write_backs(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let mut fault = fault(FaultKind::WriteBackLate, Some(Direction::Receive), TIMES);
    fault.delay = Some(LATE);
    pinged(station, wish, fault, "no descriptor was written back")
}

pub(super) fn transmit_hang(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let fault = fault(FaultKind::TransmitStuck, None, 1);
    pinged(station, wish, fault, "the driver sends nothing")
}

pub(super) fn dma_error(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let fault = fault(FaultKind::DmaError, Some(Direction::Transmit), 1);
    pinged(station, wish, fault, "the driver sends nothing")
}

fn fault(kind: FaultKind, direction: Option<Direction>, count: u64) -> Fault {
    let mut trigger = Trigger::always(1);
    trigger.count = Some(count);
    Fault {
        kind,
        target: Target {
            direction: direction.map(Into::into),
            ..Target::default()
        },
        trigger,
        delay: None,
        every: None,
    }
}

/// Pings until the fault has happened as often as it is to; each time the driver has to answer again. If it does not happen
/// at all the driver gives it no occasion, for this reason.
fn pinged(
    station: &mut Station<'_>,
    wish: &Wish,
    fault: Fault,
    no_occasion: &str,
) -> Result<Outcome> {
    let count = fault.trigger.count.unwrap_or(1);
    let id = station.cable.add_fault(&fault)?;
    let outcome = (|| {
        let mut longest = Duration::ZERO;
        let begin = Instant::now();
        let mut fired = 0;
        while fired < count && begin.elapsed() < wish.recovery.max(IDLE) {
            let back = station.ping_until(wish.recovery);
            longest = longest.max(back.with_context(|| format!("after {}", fault.kind))?);
            fired = station.cable.fired(id)?;
            if fired == 0 && begin.elapsed() > IDLE {
                return Ok(Outcome::Skipped(no_occasion.to_owned()));
            }
        }
        // What happened last may be what is not got over.
        let back = station.ping_until(wish.recovery);
        longest = longest.max(back.with_context(|| format!("after {}", fault.kind))?);
        Ok(Outcome::Passed(format!(
            "{fired} of them, answers after {} ms at most",
            longest.as_millis()
        )))
    })();
    // Also if it was not got over: what comes next is tried without it.
    station.cable.clear_fault(id)?;
    outcome
}
