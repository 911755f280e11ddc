//! A port on a bench: memory, a wire that keeps what it is sent, and a clock moved by hand.

use ixgbe_spec::register::Reg;

use crate::{
    Bar, Context, Module, Port, PortConfig, Time, Wire,
    bus::Signal,
    rx::Verdict,
    testing::TestBus,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

pub const MAC: [u8; 6] = [0x00, 0x1B, 0x21, 0xAA, 0xBB, 0xCC];

#[derive(Debug, Default)]
pub struct Sink {
    pub frames: Vec<Vec<u8>>,
    pub busy: bool,
}

impl Wire for Sink {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        if self.busy {
            return Err(WireBusy);
        }
        self.frames.push(frame.to_vec());
        Ok(())
    }

    fn receive(&mut self, _budget: usize, _sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        0
    }

    fn carrier(&self) -> bool {
        true
    }
}

pub struct World {
    pub port: Port,
    pub bus: TestBus,
    pub wire: Sink,
    pub now: Time,
}

impl World {
    /// A port after power-on: no carrier, bus mastering off.
    pub fn cold() -> Self {
        Self::of(Port::new(PortConfig::new(MAC)))
    }

    /// The two ports of a card after power-on, each on a bench of its own. The second one's MAC address ends with CD.
    pub fn pair() -> [Self; 2] {
        let mut second = MAC;
        second[5] = 0xCD;
        Port::pair(PortConfig::new(MAC), PortConfig::new(second)).map(Self::of)
    }

    fn of(port: Port) -> Self {
        Self {
            port,
            bus: TestBus::new(0x10_0000),
            wire: Sink::default(),
            now: Time::from_nanos(1_000_000_000),
        }
    }

    /// A port with a carrier whose driver has enabled memory and bus mastering, and no pending cause.
    pub fn enabled() -> Self {
        let mut world = Self::cold();
        world.carrier(true);
        world.config_write16(0x04, 0x0006);
        world.set(Reg::EICR, u32::MAX);
        world
    }

    /// As [`World::enabled`], with MSI-X enabled.
    pub fn msix() -> Self {
        let mut world = Self::enabled();
        world.config_write16(0x72, 0x8000);
        world
    }

    pub fn call<R>(&mut self, f: impl FnOnce(&mut Port, &mut Context<'_>) -> R) -> R {
        let mut context = Context {
            now: self.now,
            bus: &self.bus,
            wire: &mut self.wire,
        };
        f(&mut self.port, &mut context)
    }

    pub fn read(&mut self, offset: u32) -> u32 {
        let mut data = [0; 4];
        self.call(|port, context| port.bar_read(Bar::Csr, offset.into(), &mut data, context));
        u32::from_le_bytes(data)
    }

    pub fn write(&mut self, offset: u32, value: u32) {
        let data = value.to_le_bytes();
        self.call(|port, context| port.bar_write(Bar::Csr, offset.into(), &data, context));
    }

    pub fn get(&mut self, reg: Reg) -> u32 {
        self.read(reg.offset(0))
    }

    pub fn set(&mut self, reg: Reg, value: u32) {
        self.write(reg.offset(0), value);
    }

    pub fn get_at(&mut self, reg: Reg, index: usize) -> u32 {
        self.read(reg.offset(index))
    }

    pub fn set_at(&mut self, reg: Reg, index: usize, value: u32) {
        self.write(reg.offset(index), value);
    }

    pub fn config_read<const N: usize>(&mut self, offset: u16) -> [u8; N] {
        let mut data = [0; N];
        self.port.config_read(offset, &mut data);
        data
    }

    pub fn config_read16(&mut self, offset: u16) -> u16 {
        u16::from_le_bytes(self.config_read(offset))
    }

    pub fn config_read32(&mut self, offset: u16) -> u32 {
        u32::from_le_bytes(self.config_read(offset))
    }

    pub fn config_write(&mut self, offset: u16, data: &[u8]) {
        self.call(|port, context| port.config_write(offset, data, context));
    }

    pub fn config_write16(&mut self, offset: u16, value: u16) {
        self.config_write(offset, &value.to_le_bytes());
    }

    pub fn config_write32(&mut self, offset: u16, value: u32) {
        self.config_write(offset, &value.to_le_bytes());
    }

    pub fn carrier(&mut self, carrier: bool) {
        self.call(|port, context| port.set_carrier(carrier, context));
    }

    pub fn plug(&mut self, module: Module) {
        self.call(|port, context| port.set_module(module, context));
    }

    /// Waits until a module that was plugged in, or a link that was lost, is ready.
    pub fn train(&mut self) {
        self.pass_nanos(1_000_000_000);
        self.step();
    }

    pub fn step(&mut self) -> bool {
        self.call(Port::step)
    }

    pub fn receive(&mut self, frame: &[u8]) -> Verdict {
        self.call(|port, context| port.receive(&RxFrame::new(frame), context))
    }

    /// Lets time pass, and nothing else happen.
    pub fn pass_nanos(&mut self, nanos: u64) {
        self.now = self.now.plus_nanos(nanos);
    }

    /// The interrupt signals since the last call.
    pub fn signals(&self) -> Vec<Signal> {
        self.bus
            .take_signals()
            .into_iter()
            .map(|(_, signal)| signal)
            .collect()
    }
}
