//! A port's state, saved and restored.

use ixgbe_spec::register::{Reg, bits::ctrl};

use super::Port;
use crate::{
    interrupt::Interrupts,
    ipsec::IpSec,
    link::Link,
    pci::Function,
    record::{Answer, Call},
    regs::RegisterFile,
    rx::Receive,
    state::{Shift, State, StateError},
    time::Time,
    tx::Transmit,
};

impl Port {
    /// What makes another port go on as this one would. The port itself does not change.
    #[must_use]
    pub fn save(&self, now: Time) -> State {
        let Self {
            place,
            mac,
            regs,
            pci,
            irq,
            link,
            flow_control,
            leds,
            nvm,
            firmware: _,
            timers,
            timesync,
            ipsec,
            rx,
            tx,
            faults,
            refused_dma,
            ioaddr,
            unmodelled: _,
            observers: _,
            recording: _,
            // What goes wrong is the affair of who asked for it, here.
            injected,
        } = self;
        let resets = injected.as_ref().is_some_and(|it| it.is_resetting());
        State {
            at: now,
            place: *place,
            mac: *mac,
            registers: if resets {
                // Nobody would end it where this is restored.
                let mut done = regs.clone();
                done.set(Reg::CTRL, 0, regs.get(Reg::CTRL, 0) & !ctrl::RST);
                done.save()
            } else {
                regs.save()
            },
            pci: pci.save(place),
            interrupts: irq.save(),
            link: link.save(),
            flow_control: *flow_control,
            leds: leds.clone(),
            card: nvm.card().save(),
            nvm_written: nvm.is_written(),
            timers: timers.clone(),
            timesync: timesync.saved(now),
            ipsec: ipsec.save(),
            receive: rx.save(),
            transmit: tx.save(),
            faults: *faults,
            refused_dma: *refused_dma,
            ioaddr: *ioaddr,
        }
    }

    /// Becomes the port that was saved, at `now`. Who looks on stays; what he has seen is not told again. Faults that were
    /// asked for stay as well, but what they have done to this port is gone with it. Nothing is signalled by this itself: an
    /// INTx pin that was active is taken to be so still (see [`Port::renew_signals`]).
    ///
    /// # Errors
    /// The field that no port can have, or that this one cannot, being the other port of a card. The port is then as
    /// before.
    pub fn restore(&mut self, state: State, now: Time) -> Result<(), StateError> {
        if self.recording.is_on() {
            let bytes = state.to_bytes();
            let call = Call::Restore { state: &bytes };
            let restore = |port: &mut Self| port.restore(state, now);
            return self.recorded_alone(Some(now), &call, restore, |result| {
                Answer::Restored(result.is_ok())
            });
        }
        let State {
            at,
            place,
            mac,
            registers,
            pci: function,
            interrupts,
            link,
            flow_control,
            leds,
            card,
            nvm_written,
            timers,
            timesync,
            ipsec,
            receive,
            transmit,
            faults,
            refused_dma,
            ioaddr,
        } = state;
        if (place.lan_id, place.functions) != (self.place.lan_id, self.place.functions) {
            return Err(StateError::new(
                "place",
                "it is of the other port of a card, or one has two ports and the other one",
            ));
        }
        let shift = Shift::new(at, now);
        let regs = RegisterFile::restore(registers).map_err(within("registers"))?;
        let shared = card.restore().map_err(within("card"))?;
        let handle = self.nvm.card().clone();
        let pci = Function::restore(function, &place, handle.clone()).map_err(within("pci"))?;
        let irq = Interrupts::restore(interrupts, shift, &regs).map_err(within("interrupts"))?;
        let link = Link::restore(link, shift).map_err(within("link"))?;
        let timesync = timesync.restored(shift).map_err(within("timesync"))?;
        let ipsec = IpSec::restore(ipsec).map_err(within("ipsec"))?;
        let rx = Receive::restore(receive, shift, &regs).map_err(within("receive"))?;
        let tx = Transmit::restore(transmit, shift, &regs).map_err(within("transmit"))?;

        let same_nvm = self.nvm.chip().image() == *shared.chip.image();
        *handle.lock() = shared;
        self.place = place;
        self.mac = mac;
        self.regs = regs;
        self.pci = pci;
        self.irq = irq;
        self.link = link;
        self.flow_control = flow_control.restored(shift);
        self.leds = leds;
        // Who keeps the NVM's contents has others to keep now.
        self.nvm.set_written(nvm_written || !same_nvm);
        self.timers = timers.restored(shift);
        self.timesync = timesync;
        self.ipsec = ipsec;
        self.rx = rx;
        self.tx = tx;
        self.faults = faults;
        self.refused_dma = refused_dma;
        self.ioaddr = ioaddr;
        if let Some(injected) = &mut self.injected {
            injected.forget_port();
        }
        Ok(())
    }
}

/// Says in which part the field lies.
fn within(part: &'static str) -> impl FnOnce(StateError) -> StateError {
    move |error| error.within(part)
}
