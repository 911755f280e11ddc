//! Frames that arrive on the cable, one by one or in bursts.

use super::{Context, Port};
use crate::{
    dma::Dma,
    hw::Hw,
    ipsec::IpSec,
    observe::{Event, Observers},
    pci::Function,
    record::{Act, Call, Tape},
    rx::{self, DropReason, Express, Receive, Verdict},
    wakeup::{self, Wake},
    wire::{Nowhere, RxFrame},
};

impl Port {
    /// Takes a frame that arrives on the cable. Without a link, at this end or (with the laser off) at the other, and
    /// while transmit is looped back in the MAC, it does not get into the port.
    pub fn receive(&mut self, frame: &RxFrame<'_>, context: &mut Context<'_>) -> Verdict {
        self.receive_burst(context, |arrivals| arrivals.take(frame))
    }

    /// Lets `frames` hand in frames that arrive one after another, as [`Port::receive`] takes one. What is the same for
    /// all of them is done once, and interrupts are signalled at the end. Returns what `frames` returns. The wire of
    /// `context` is not used.
    pub fn receive_burst<T>(
        &mut self,
        context: &Context<'_>,
        frames: impl FnOnce(&mut Arrivals<'_>) -> T,
    ) -> T {
        if self.recording.is_on() {
            let now = context.now;
            return self.recorded_by_bus(&Call::Receive, now, context.bus, |port, bus, tape| {
                let wire = &mut Nowhere;
                port.burst(&Context { now, bus, wire }, Some(tape), frames)
            });
        }
        self.burst(context, None, frames)
    }

    #[inline]
    fn burst<T>(
        &mut self,
        context: &Context<'_>,
        tape: Option<&Tape>,
        frames: impl FnOnce(&mut Arrivals<'_>) -> T,
    ) -> T {
        let linked = self.link.is_up() && self.link.is_lit();
        let passage = if linked && !self.pci.is_powered() && wakeup::is_armed(&self.regs) {
            Passage::Wakes
        } else if !linked
            || IpSec::receive_is_stopped(&self.regs)
            || self.loops_back()
            || !self.pci.masters()
        {
            Passage::Closed
        } else {
            Passage::Open
        };
        let gate = Gate::of(passage, &self.observers);
        let has_classes = rx::has_classes(&self.regs);
        // It tells nobody what it does, and nothing goes wrong there.
        let express = match gate {
            Gate::Open if self.injected.is_none() => Express::survey(&mut self.rx, &self.regs),
            Gate::Open | Gate::Guarded(_) | Gate::Watched(_) | Gate::Recorded => None,
        };
        // What is to be written back is, when this ends: before the interrupts.
        let result = {
            let mut arrivals = Arrivals {
                gate: if tape.is_some() { Gate::Recorded } else { gate },
                behind: tape.map(|tape| (tape, gate)),
                has_classes,
                express,
                hw: Hw {
                    now: context.now,
                    dma: Dma::watched(context.bus, self.observers.watch(context.now)),
                    regs: &mut self.regs,
                    irq: &mut self.irq,
                    timesync: &self.timesync,
                    ipsec: &self.ipsec,
                    faults: &mut self.faults,
                },
                rx: &mut self.rx,
                pci: &mut self.pci,
            };
            if let Some(faults) = &mut self.injected {
                let Hw { dma, regs, .. } = &mut arrivals.hw;
                faults.attach(dma, context.now, regs);
            }
            frames(&mut arrivals)
        };
        self.deliver(context);
        result
    }
}

/// What stands at the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Nobody: frames get in.
    Open,
    /// Someone who has to look.
    Guarded(Passage),
    /// Someone who has to look, and others who look on.
    Watched(Passage),
    /// A recorder, and behind it one of the others.
    Recorded,
}

impl Gate {
    const fn of(passage: Passage, observers: &Observers) -> Self {
        match passage {
            _ if !observers.is_empty() => Self::Watched(passage),
            Passage::Open => Self::Open,
            Passage::Closed | Passage::Wakes => Self::Guarded(passage),
        }
    }
}

/// Whether frames that arrive get into the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    /// They do.
    Open,
    /// They do not.
    Closed,
    /// They do not, but they may wake the function, which sleeps (5.3.3).
    Wakes,
}

/// A port that takes frames from the cable.
#[expect(missing_debug_implementations, reason = "borrows a trait object")]
pub struct Arrivals<'a> {
    gate: Gate,
    /// The recorder, and the gate behind it.
    behind: Option<(&'a Tape, Gate)>,
    has_classes: bool,
    express: Option<Express>,
    hw: Hw<'a>,
    rx: &'a mut Receive,
    pci: &'a mut Function,
}

impl Arrivals<'_> {
    /// Takes the next frame.
    #[inline]
    pub fn take(&mut self, frame: &RxFrame<'_>) -> Verdict {
        match self.gate {
            Gate::Open => self.rx.receive(frame, self.express.as_ref(), &mut self.hw),
            Gate::Guarded(passage) => self.pass(frame, passage),
            Gate::Watched(passage) => {
                self.hw.dma.tell(move || Event::Arrived { frame });
                let verdict = self.pass(frame, passage);
                self.hw.dma.tell(move || Event::Received { frame, verdict });
                verdict
            }
            Gate::Recorded => self.take_recorded(frame),
        }
    }

    #[cold]
    fn take_recorded(&mut self, frame: &RxFrame<'_>) -> Verdict {
        let Some((tape, gate)) = self.behind else {
            return Verdict::Dropped(DropReason::Disabled);
        };
        let tell = |act| {
            // A recorder has no way to the port, so this is not borrowed already.
            if let Ok(mut recorder) = tape.try_borrow_mut() {
                recorder.act(&act);
            }
        };
        tell(Act::Arrived { frame });
        self.gate = gate;
        let verdict = self.take(frame);
        self.gate = Gate::Recorded;
        tell(Act::Judged(verdict));
        verdict
    }

    #[cold]
    fn pass(&mut self, frame: &RxFrame<'_>, passage: Passage) -> Verdict {
        match passage {
            Passage::Open => self.rx.receive(frame, None, &mut self.hw),
            Passage::Closed => Verdict::Dropped(DropReason::Disabled),
            Passage::Wakes => {
                self.wake(frame);
                Verdict::Dropped(DropReason::Disabled)
            }
        }
    }

    fn wake(&mut self, frame: &RxFrame<'_>) {
        let bytes = [frame.head, frame.body].concat();
        let kind = self.rx.accepts(&bytes, self.hw.regs);
        if wakeup::frame(&bytes, kind, self.hw.regs) == Wake::Yes {
            self.pci.set_pme_status();
        }
    }

    /// As [`Port::has_room`].
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.has_classes || self.rx.wants_more(self.hw.regs)
    }
}
