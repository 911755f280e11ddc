//! A port: one physical function of the card, from its BARs to its wire.

use ixgbe_spec::register::{Chapter, Reg};

use crate::{
    bus::Bus,
    faults::GuestFaults,
    hw::Hw,
    interrupt::Interrupts,
    regs::RegisterFile,
    rx::{Receive, Verdict},
    time::Time,
    tx::{Egress, Transmit},
    wire::{Capabilities, RxFrame, TxFrame, Wire, WireBusy},
};

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
    /// BAR0: the CSRs, and the flash above them.
    Csr,
    /// BAR2: IOADDR and IODATA.
    Io,
    /// BAR4: MSI-X table and pending bits.
    MsiX,
}

/// How a port is built.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Permanent MAC address, in the NVM and in RAL0/RAH0 after reset.
    pub mac: [u8; 6],
}

/// One port of the 82599.
#[derive(Debug)]
pub struct Port {
    config: PortConfig,
    regs: RegisterFile,
    irq: Interrupts,
    rx: Receive,
    tx: Transmit,
    faults: GuestFaults,
}

impl Port {
    /// A port after power-on.
    #[must_use]
    pub fn new(config: PortConfig) -> Self {
        Self {
            config,
            regs: RegisterFile::default(),
            irq: Interrupts::default(),
            rx: Receive::default(),
            tx: Transmit::default(),
            faults: GuestFaults::default(),
        }
    }

    /// Reads configuration space, any width and alignment.
    pub fn config_read(&mut self, _offset: u16, data: &mut [u8]) {
        data.fill(0);
    }

    /// Writes configuration space, any width and alignment.
    pub fn config_write(&mut self, _offset: u16, _data: &[u8], _context: &mut Context<'_>) {}

    /// Reads a BAR, any width and alignment.
    pub fn bar_read(
        &mut self,
        _bar: Bar,
        _offset: u64,
        data: &mut [u8],
        _context: &mut Context<'_>,
    ) {
        data.fill(0);
    }

    /// Writes a BAR, any width and alignment.
    pub fn bar_write(&mut self, _bar: Bar, _offset: u64, _data: &[u8], _context: &mut Context<'_>) {
    }

    /// Resets the function as the bus does it.
    pub fn reset(&mut self, _context: &mut Context<'_>) {}

    /// The cable's far end has come or gone; a change is a link status change (EICR.LSC).
    pub fn set_carrier(&mut self, _carrier: bool, _context: &mut Context<'_>) {}

    /// When [`Port::step`] has to be called at the latest, if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// Whether the port has room for frames of the wire; if not, the wire should keep them.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.rx.has_room()
    }

    /// A register's value as it stands, without the side effects of a read.
    #[must_use]
    pub fn register(&self, reg: Reg, index: usize) -> u32 {
        self.regs.get(reg, index)
    }

    /// Takes a frame that arrives on the cable.
    pub fn receive(&mut self, frame: &RxFrame<'_>, context: &mut Context<'_>) -> Verdict {
        let Self {
            config: _,
            regs,
            irq,
            rx,
            tx: _,
            faults,
        } = self;
        let mut hw = Hw {
            now: context.now,
            bus: context.bus,
            regs,
            irq,
            faults,
        };
        rx.receive(frame, &mut hw)
    }

    /// Does a bounded amount of the work that waits (transmit queues, packet buffer, timers). Returns whether more can
    /// be done at once.
    pub fn step(&mut self, context: &mut Context<'_>) -> bool {
        const BUDGET: usize = 64;
        let Self {
            config: _,
            regs,
            irq,
            rx,
            tx,
            faults,
        } = self;
        let mut hw = Hw {
            now: context.now,
            bus: context.bus,
            regs,
            irq,
            faults,
        };
        let more = rx.step(BUDGET, &mut hw);
        let mut egress = ToWire(context.wire);
        tx.step(BUDGET, &mut hw, &mut egress) || more
    }

    /// What the guest did wrong so far.
    #[must_use]
    pub fn faults(&self) -> &GuestFaults {
        &self.faults
    }

    /// A register write of software has changed the register's storage.
    #[expect(dead_code, reason = "the register access path calls it")]
    fn written(&mut self, reg: Reg, index: usize, old: u32, new: u32, context: &mut Context<'_>) {
        let Self {
            config: _,
            regs,
            irq,
            rx,
            tx,
            faults,
        } = self;
        let mut hw = Hw {
            now: context.now,
            bus: context.bus,
            regs,
            irq,
            faults,
        };
        match reg.row().chapter {
            Chapter::Receive | Chapter::Filter => rx.written(reg, index, old, new, &mut hw),
            Chapter::Transmit => tx.written(reg, index, old, new, &mut hw),
            _ => {}
        }
    }
}

struct ToWire<'a>(&'a mut dyn Wire);

impl Egress for ToWire<'_> {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn send(&mut self, frame: &TxFrame<'_>, _hw: &mut Hw<'_>) -> Result<(), WireBusy> {
        self.0.transmit(frame)
    }
}
