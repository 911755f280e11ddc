//! A port: one physical function of the card, from its BARs to its wire.

mod access;
mod arrivals;
mod bus_master;
mod csr;
mod dma_errors;
mod egress;
mod injected;
mod reset;
mod saved;
mod statistics;
mod switch;
#[cfg(test)]
pub(crate) mod tests;

use ixgbe_spec::register::{
    Reg,
    bits::{hlreg0, rxctrl, status},
};
use serde::{Deserialize, Serialize};

use crate::observe::ResetKind as Reset;
use crate::{
    bus::{Bus, Iova},
    card::{Card, Functions, Place},
    dma::Dma,
    fault::CardFaults,
    faults::GuestFaults,
    filter::{AddressMatch, Mac},
    firmware::Firmware,
    hw::Hw,
    interrupt::Interrupts,
    ipsec::IpSec,
    led::{LEDS, Led, Leds},
    link::{Link, Module, flow_control::FlowControl},
    nvm::{Nvm, NvmChip, NvmImage},
    observe::{Event, Observer, ObserverId, Observers, Scene, Told},
    pci::{ConfigEffect, Function},
    record::{Answer, Call, Recording},
    regs::RegisterFile,
    rx::{self, Receive},
    time::Time,
    timer::Timers,
    timesync::TimeSync,
    tx::Transmit,
    virtual_function,
    wakeup::{self, Wake},
    wire::{Nowhere, Wire},
};
pub use arrivals::Arrivals;
use bus_master::NotMaster;
use csr::Unmodelled;
use egress::{Cable, Loopback};
use switch::Switch;

/// What surrounds a port during a call.
#[expect(missing_debug_implementations, reason = "borrows two trait objects")]
pub struct Context<'a> {
    /// Now.
    pub now: Time,
    /// Client memory and interrupts.
    pub bus: &'a dyn Bus,
    /// The cable.
    pub wire: &'a mut dyn Wire,
}

/// A base address register of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bar {
    /// BAR0: the CSRs, and above them the flash's window.
    Csr,
    /// BAR2: IOADDR and IODATA.
    Io,
    /// BAR4: MSI-X table and pending bits.
    MsiX,
    /// The expansion ROM: the flash, read-only.
    Rom,
}

/// Which port of the card (STATUS.LAN ID).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum LanId {
    /// The first port, LAN 0; its interrupt pin is INTA.
    #[default]
    Port0,
    /// The second port, LAN 1; its interrupt pin is INTB.
    Port1,
}

impl LanId {
    /// 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Port0 => 0,
            Self::Port1 => 1,
        }
    }
}

/// How a port is built.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Permanent MAC address, in the NVM and in RAL0/RAH0 after reset, unless [`PortConfig::nvm`] has one; the PCIe
    /// serial number of the card is made of that of its first port.
    pub mac: [u8; 6],
    /// Which port of the card this is.
    pub lan_id: LanId,
    /// What is in the cage at power-on.
    pub module: Module,
    /// What the card's NVM holds, if it is not what the factory writes. The two ports of a card have one NVM: that of
    /// the first of them that has some.
    pub nvm: Option<NvmImage>,
}

impl PortConfig {
    /// The card's first port, with this permanent MAC address and the default module.
    #[must_use]
    pub const fn new(mac: [u8; 6]) -> Self {
        Self {
            mac,
            lan_id: LanId::Port0,
            module: Module::Sr,
            nvm: None,
        }
    }
}

/// One port of the 82599.
#[derive(Debug)]
pub struct Port {
    place: Place,
    /// Its MAC address if the NVM has none.
    mac: [u8; 6],
    pub(crate) regs: RegisterFile,
    pub(crate) pci: Function,
    pub(crate) irq: Interrupts,
    link: Link,
    flow_control: FlowControl,
    leds: Leds,
    nvm: Nvm,
    firmware: Firmware,
    timers: Timers,
    timesync: TimeSync,
    ipsec: IpSec,
    rx: Receive,
    tx: Transmit,
    faults: GuestFaults,
    /// Refused accesses to memory that have been told of.
    refused_dma: u64,
    /// The register that IODATA stands for.
    ioaddr: u32,
    unmodelled: Unmodelled,
    observers: Observers,
    pub(crate) recording: Recording,
    /// What somebody wants to go wrong.
    injected: Option<Box<CardFaults>>,
}

impl Port {
    /// The only enabled port of a card, after power-on, without a carrier.
    #[must_use]
    pub fn new(config: PortConfig) -> Self {
        let card = Card::new(&[&config]);
        let place = Place {
            lan_id: config.lan_id,
            functions: Functions::One,
            serial: card.mac(config.lan_id).unwrap_or(config.mac),
        };
        Self::on_card(&config, card, place)
    }

    /// The two ports of a card, LAN 0 and LAN 1, after power-on, without a carrier. They are functions 0 and 1 of one
    /// PCI device, and share what the card has once: the NVM, the semaphores (SWSM, `SW_FW_SYNC`) and the serial number.
    /// Each may be moved to a thread of its own. [`PortConfig::lan_id`] does not matter here.
    #[must_use]
    pub fn pair(first: PortConfig, second: PortConfig) -> [Self; 2] {
        let first = PortConfig {
            lan_id: LanId::Port0,
            ..first
        };
        let second = PortConfig {
            lan_id: LanId::Port1,
            ..second
        };
        let card = Card::new(&[&first, &second]);
        let serial = card.mac(LanId::Port0).unwrap_or(first.mac);
        [first, second].map(|config| {
            let place = Place {
                lan_id: config.lan_id,
                functions: Functions::Two,
                serial,
            };
            Self::on_card(&config, card.clone(), place)
        })
    }

    fn on_card(config: &PortConfig, card: Card, place: Place) -> Self {
        let mut port = Self {
            regs: RegisterFile::default(),
            pci: Function::new(&place, card.clone()),
            irq: Interrupts::default(),
            link: Link::new(config.module),
            flow_control: FlowControl::default(),
            leds: Leds::default(),
            nvm: Nvm::new(card.clone(), place.lan_id),
            firmware: Firmware::new(card, place.lan_id),
            timers: Timers::default(),
            timesync: TimeSync::default(),
            ipsec: IpSec::default(),
            rx: Receive::default(),
            tx: Transmit::default(),
            faults: GuestFaults::default(),
            refused_dma: 0,
            ioaddr: 0,
            unmodelled: Unmodelled::default(),
            observers: Observers::default(),
            recording: Recording::default(),
            injected: None,
            place,
            mac: config.mac,
        };
        port.reset_by(Reset::Bus, &NotMaster);
        port
    }

    /// Reads configuration space, any width and alignment. Bytes past its end are 0.
    pub fn config_read(&mut self, offset: u16, data: &mut [u8]) {
        if self.recording.is_on() {
            let call = Call::ConfigRead {
                offset,
                len: data.len(),
            };
            let read = |port: &mut Self| {
                port.config_read(offset, data);
                data
            };
            self.recorded_alone(None, &call, read, |data| Answer::Bytes(data));
            return;
        }
        self.pci.config_read(offset, data);
    }

    /// Writes configuration space, any width and alignment. Bytes past its end are ignored.
    pub fn config_write(&mut self, offset: u16, data: &[u8], context: &mut Context<'_>) {
        if self.recording.is_on() {
            let call = Call::ConfigWrite { offset, data };
            let write = |port: &mut Self, context: &mut Context<'_>| {
                port.config_write(offset, data, context);
            };
            return self.recorded(&call, context, write, |()| Answer::Nothing);
        }
        let told = Event::ConfigWrite { offset, data };
        self.observers.tell(context.now, || told);
        let effect = self.pci.config_write(offset, data);
        self.show_vfs();
        match effect {
            ConfigEffect::None => {}
            ConfigEffect::NvmWritten => self.nvm.written_by_bus(),
            ConfigEffect::FunctionReset => self.reset_told(Reset::Bus, context),
            ConfigEffect::PowerUp => self.reset_told(Reset::Power, context),
        }
        self.deliver(context);
    }

    /// STATUS tells how many virtual functions are enabled.
    fn show_vfs(&mut self) {
        let vfs = u32::from(self.pci.enabled_vfs());
        let active = if vfs == 0 { 0 } else { status::IOV_ACTIVE };
        let shown = self.regs.get(Reg::STATUS, 0);
        if shown & !active & status::IOV_ACTIVE != 0 {
            let gone = (shown & status::VFS_MASK) >> status::VFS_SHIFT;
            virtual_function::are_gone(gone.try_into().unwrap_or(usize::MAX), &mut self.regs);
        }
        let others = shown & !(status::VFS_MASK | status::IOV_ACTIVE);
        let new = others | vfs << status::VFS_SHIFT | active;
        self.regs.set(Reg::STATUS, 0, new);
    }

    /// Resets the function as the bus does it. Module, carrier, NVM and the counters of faults stay.
    pub fn reset(&mut self, context: &mut Context<'_>) {
        if self.recording.is_on() {
            return self.recorded(&Call::Reset, context, Self::reset, |()| Answer::Nothing);
        }
        self.reset_told(Reset::Bus, context);
    }

    /// Resets the port and tells who looks on.
    fn reset_told(&mut self, reset: Reset, context: &Context<'_>) {
        self.reset_by(reset, context.bus);
        self.observers.tell(context.now, || Event::Reset(reset));
    }

    /// From now on `observer` is told what the port does.
    pub fn observe(&mut self, observer: Box<dyn Observer>) -> ObserverId {
        self.observers.add(observer)
    }

    /// Ends what [`Port::observe`] has begun, and gives the observer back; `None` if it has ended before.
    pub fn stop_observing(&mut self, id: ObserverId) -> Option<Box<dyn Observer>> {
        self.observers.remove(id)
    }

    /// The client has mapped `len` bytes at `iova` for the card. The port itself asks its bus at each access; this is told to
    /// observers.
    pub fn client_mapped(&mut self, iova: Iova, len: u64, now: Time) {
        if self.recording.is_on() {
            let call = Call::Mapped { iova, len };
            let map = |port: &mut Self| port.client_mapped(iova, len, now);
            return self.recorded_alone(Some(now), &call, map, |()| Answer::Nothing);
        }
        self.observers.tell(now, || Event::Mapped { iova, len });
    }

    /// The client takes back `len` bytes at `iova`, as [`Port::client_mapped`].
    pub fn client_unmaps(&mut self, iova: Iova, len: u64, now: Time) {
        if self.recording.is_on() {
            let call = Call::Unmapped { iova, len };
            let unmap = |port: &mut Self| port.client_unmaps(iova, len, now);
            return self.recorded_alone(Some(now), &call, unmap, |()| Answer::Nothing);
        }
        self.observers.tell(now, || Event::Unmapped { iova, len });
    }

    /// The cable's far end has come or gone; a change is a link status change (EICR.LSC).
    pub fn set_carrier(&mut self, carrier: bool, context: &mut Context<'_>) {
        if self.recording.is_on() {
            let set = |port: &mut Self, context: &mut Context<'_>| {
                port.set_carrier(carrier, context);
            };
            return self.recorded(&Call::Carrier(carrier), context, set, |()| Answer::Nothing);
        }
        let now = context.now;
        self.observers.tell(now, move || Event::Carrier(carrier));
        self.with_link(|link, regs, irq| link.set_carrier(carrier, now, regs, irq));
        self.deliver(context);
    }

    /// What happens to the link may wake a sleeping function.
    fn with_link(&mut self, act: impl FnOnce(&mut Link, &mut RegisterFile, &mut Interrupts)) {
        let before = self.link.is_up();
        act(&mut self.link, &mut self.regs, &mut self.irq);
        if self.link.is_up() != before && !self.pci.is_powered() {
            let wake = wakeup::link_change(&mut self.regs);
            self.woken(wake);
        }
    }

    fn woken(&mut self, wake: Wake) {
        if wake == Wake::Yes {
            self.pci.set_pme_status();
        }
    }

    /// A module is plugged into the cage, or drawn; without one there is no link. One for another is drawn first.
    pub fn set_module(&mut self, module: Module, context: &mut Context<'_>) {
        if self.recording.is_on() {
            let set = |port: &mut Self, context: &mut Context<'_>| {
                port.set_module(module, context);
            };
            return self.recorded(&Call::Module(module), context, set, |()| Answer::Nothing);
        }
        let now = context.now;
        self.with_link(|link, regs, irq| link.set_module(module, now, regs, irq));
        self.deliver(context);
    }

    /// Looks at the LEDs: LED0 to LED3. Those that show activity show what has passed since the last look.
    pub fn leds(&mut self) -> [Led; LEDS] {
        if self.recording.is_on() {
            return self.recorded_alone(None, &Call::Leds, Self::leds, |leds| Answer::Leds(leds));
        }
        self.leds.look(&self.regs)
    }

    /// The NVM chip of the port's card.
    #[must_use]
    pub fn nvm(&self) -> NvmChip {
        self.nvm.chip()
    }

    /// Whether this port has written the NVM since this was asked for. Who keeps the NVM's contents asks after accesses
    /// to registers.
    pub fn take_nvm_written(&mut self) -> bool {
        self.nvm.take_written()
    }

    /// Whether the cable has a carrier, as [`Port::set_carrier`] or a restored state has said last.
    #[must_use]
    pub fn has_carrier(&self) -> bool {
        self.link.has_carrier()
    }

    /// Tells a client again what it may not have been told: an INTx pin that is active is asserted anew. For a port
    /// that was restored for another client than that of the one that was saved.
    pub fn renew_signals(&mut self, context: &Context<'_>) {
        if self.recording.is_on() {
            let (call, now) = (Call::RenewSignals, context.now);
            return self.recorded_by_bus(&call, now, context.bus, |port, bus, _| {
                let wire = &mut Nowhere;
                port.renew_signals(&Context { now, bus, wire });
            });
        }
        self.pci.release_pin();
        self.deliver(context);
    }

    /// What is in the cage.
    #[must_use]
    pub fn module(&self) -> Module {
        self.link.module()
    }

    /// Whether the module sends, so that the other end of the cable has a link: it is there, and neither its laser
    /// (SDP3) nor the link (AUTOC2) is off.
    #[must_use]
    pub fn is_lit(&self) -> bool {
        self.link.is_lit()
    }

    /// Whether the link is up (LINKS.30).
    #[must_use]
    pub fn link_is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Whether frames that come get into the port: there is a link at both ends, and the driver has enabled the receiver
    /// (RXCTRL.RXEN, 8.2.3.8.10).
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.link.is_up() && self.link.is_lit() && self.regs.get(Reg::RXCTRL, 0) & rxctrl::RXEN != 0
    }

    /// When [`Port::step`] has to be called at the latest, if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        [
            self.irq.deadline(),
            self.link.deadline(),
            self.timers.deadline(),
            self.timesync.deadline(),
            self.rx.deadline(),
            // What is there to write back waits while the function must not write.
            self.rx.coalescing_deadline().filter(|_| self.pci.masters()),
            self.rx
                .patience_deadline(&self.regs)
                .filter(|_| self.pci.masters()),
            self.flow_control.deadline(),
            self.tx.deadline().filter(|_| self.pci.masters()),
            self.injected.as_ref().and_then(|faults| faults.deadline()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the port takes frames of the wire; if not, the wire should keep them: while frames wait for descriptors,
    /// those that follow wait on the wire, and are copied once. If no descriptor comes for 100 ms, the port takes them
    /// all the same, and its packet buffer runs over (MPC). With flow control, whose frames go by the level of the packet
    /// buffer, that is filled and no more. With traffic classes the port always takes frames: a class that is full loses
    /// its own (MPC) and does not hold up the others.
    #[must_use]
    pub fn has_room(&self) -> bool {
        (rx::has_classes(&self.regs) || self.rx.wants_more(&self.regs))
            && !IpSec::receive_is_stopped(&self.regs)
    }

    /// Frames that wait for descriptors in the receive packet buffer of a traffic class, 0 to 7 (7.1.4); 0 for any other.
    #[must_use]
    pub fn waiting_frames(&self, class: usize) -> usize {
        self.rx.waiting_frames(class)
    }

    /// The address filter that lets in frames to this destination, as the registers stand; `None` if none does.
    #[must_use]
    pub fn address_match(&self, destination: [u8; 6]) -> Option<AddressMatch> {
        AddressMatch::of(Mac::new(destination), &self.regs)
    }

    /// A register's value as it stands, without the side effects of a read.
    #[must_use]
    pub fn register(&self, reg: Reg, index: usize) -> u32 {
        self.regs.get(reg, index)
    }

    /// The values of all elements of a register as they stand, without the side effects of a read.
    #[inline]
    #[must_use]
    pub fn registers(&self, reg: Reg) -> &[u32] {
        self.regs.all(reg)
    }

    /// Software has read `value` of a counter that a read clears, at a time when the port did not see it: takes out as
    /// much of it as is still there. What was counted since stays.
    pub fn take_counter(&mut self, counter: Reg, index: usize, value: u32) {
        if self.recording.is_on() {
            let call = Call::TakeCounter {
                counter,
                index,
                value,
            };
            let take = |port: &mut Self| port.take_counter(counter, index, value);
            return self.recorded_alone(None, &call, take, |()| Answer::Nothing);
        }
        self.regs.take(counter, index, value);
    }

    /// The same for a 36-bit counter that lies in two registers, `low` and `high`.
    pub fn take_counter36(&mut self, low: Reg, high: Reg, index: usize, value: u64) {
        if self.recording.is_on() {
            let call = Call::TakeCounter36 {
                low,
                high,
                index,
                value,
            };
            let take = |port: &mut Self| port.take_counter36(low, high, index, value);
            return self.recorded_alone(None, &call, take, |()| Answer::Nothing);
        }
        self.regs.take36(low, high, index, value);
    }

    /// Does a bounded amount of the work that waits (transmit queues, packet buffer, timers). Returns whether more can
    /// be done at once.
    pub fn step(&mut self, context: &mut Context<'_>) -> bool {
        const BUDGET: usize = 64;
        if self.recording.is_on() {
            return self.recorded(&Call::Step, context, Self::step, |more| Answer::More(*more));
        }
        let now = context.now;
        if self.injected.is_some() {
            self.advance_faults(context);
        }
        self.with_link(|link, regs, irq| link.step(now, regs, irq));
        self.timers.step(context.now, &mut self.regs, &mut self.irq);
        self.timesync
            .step(context.now, &mut self.regs, &mut self.irq);
        self.rx.end_pauses(context.now, &mut self.regs);
        let mut more = false;
        let link_up = self.link.is_up() && self.link.is_lit();
        let loops_back = self.loops_back();
        let controls = link_up && !loops_back && FlowControl::is_on(&self.regs);
        let mut flow_control = if controls {
            self.flow_control
        } else {
            FlowControl::default()
        };
        if self.pci.masters() {
            let (mut hw, rx, tx) = self.data_path(context.now, context.bus);
            more = rx.step(BUDGET, &mut hw);
            tx.write_back(&mut hw);
            if controls {
                flow_control.step(rx.levels(), &mut hw, context.wire);
            }
            let mut cable = Cable {
                wire: &mut *context.wire,
                link_up,
            };
            more |= if IpSec::transmit_is_stopped(hw.regs) {
                false
            } else if loops_back {
                tx.step(BUDGET, &mut hw, &mut Loopback { rx })
            } else if switch::is_on(hw.regs) {
                let mut switch = Switch::new(cable, rx, hw.regs);
                tx.step(BUDGET, &mut hw, &mut switch)
            } else {
                tx.step(BUDGET, &mut hw, &mut cable)
            };
        } else {
            flow_control.reset();
        }
        self.flow_control = flow_control;
        self.deliver(context);
        more
    }

    /// What the guest did wrong so far.
    #[must_use]
    pub fn faults(&self) -> &GuestFaults {
        &self.faults
    }

    /// Whether the MAC turns transmitted frames round (HLREG0.LPBK).
    fn loops_back(&self) -> bool {
        self.regs.get(Reg::HLREG0, 0) & hlreg0::LPBK != 0
    }

    /// The parts that receive and transmit work with.
    fn data_path<'a>(
        &'a mut self,
        now: Time,
        bus: &'a dyn Bus,
    ) -> (Hw<'a>, &'a mut Receive, &'a mut Transmit) {
        let bus = if self.pci.masters() { bus } else { &NotMaster };
        let mut hw = Hw {
            now,
            dma: Dma::watched(bus, self.observers.watch(now)),
            regs: &mut self.regs,
            irq: &mut self.irq,
            timesync: &self.timesync,
            ipsec: &self.ipsec,
            faults: &mut self.faults,
        };
        if let Some(faults) = &mut self.injected {
            faults.attach(&mut hw.dma, now, hw.regs);
        }
        (hw, &mut self.rx, &mut self.tx)
    }

    /// What a queue has coalesced is in its ring when the interrupt comes (7.11).
    fn complete_large_receives(&mut self, context: &Context<'_>) {
        let firing = self.irq.firing(context.now, &self.regs, &self.pci);
        let (mut hw, rx, _) = self.data_path(context.now, context.bus);
        rx.complete_large_receives(firing, &mut hw);
    }

    /// Reports causes as receive and transmit do it.
    #[cfg(test)]
    pub(crate) fn with_interrupts(
        &mut self,
        context: &Context<'_>,
        report: impl FnOnce(&mut Interrupts, &mut RegisterFile),
    ) {
        report(&mut self.irq, &mut self.regs);
        self.deliver(context);
    }

    /// The last step of each call: the clock follows the link, and the interrupts that are due are signalled.
    pub(crate) fn deliver(&mut self, context: &Context<'_>) {
        self.rx.settle(&mut self.regs);
        self.timesync.follow(context.now, &mut self.regs);
        if self.rx.coalesces() && self.pci.masters() {
            self.complete_large_receives(context);
        }
        self.report_refused_dma();
        if self.observers.is_empty() && self.injected.is_none() {
            self.irq
                .deliver(context.now, &mut self.regs, &mut self.pci, context.bus);
        } else {
            self.deliver_watched(context);
        }
    }

    #[cold]
    fn deliver_watched(&mut self, context: &Context<'_>) {
        let now = context.now;
        self.observers.see_causes(now, self.irq.pending());
        if let Some(faults) = &mut self.injected {
            let causes = self.irq.causes_of_one_signal(&self.regs, &self.pci);
            faults.aim(&self.regs, causes, now);
        }
        let faults = self.injected.as_deref_mut();
        let bus = Told::new(context.bus, now, &mut self.observers, faults);
        self.irq.deliver(now, &mut self.regs, &mut self.pci, &bus);
        // What is cleared by the signal may come up again.
        self.observers.keep_causes(self.irq.pending());
        self.observers.settle(&Scene {
            now,
            bus: context.bus,
            regs: &self.regs,
            masters: self.pci.masters(),
        });
    }
}

/// Each port of a card may have a thread of its own.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Port>();
};
