//! A driver that does anything: registers, configuration space, descriptors, and memory that changes under the card.
//!
//! The first byte of an input: bit 0, the card is brought up before; bit 1, its DMA goes by windows. Then come acts, each a
//! byte that chooses it and what it needs.

use ixgbe_spec::register::Reg;
use nic_model::{
    Bar, Context, Module, Port, PortConfig, Time, Wire,
    testing::TestBus,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use crate::{bytes::Bytes, hostile_bus::HostileBus};

/// Bytes of client memory.
const MEMORY: usize = 0x4_0000;
/// Acts of one input.
const MAX_ACTS: usize = 2000;
/// Steps after which a card that still has something to do is one that never rests.
const MAX_STEPS: usize = 100_000;

/// A wire that takes every frame, or none.
#[derive(Debug, Default)]
struct Taker {
    busy: bool,
    offload: bool,
}

impl Wire for Taker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            checksum: self.offload,
            tso4: self.offload,
            tso6: self.offload,
        }
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        if self.busy {
            return Err(WireBusy);
        }
        assert_eq!(frame.to_vec().len(), frame.len());
        Ok(())
    }

    fn receive(&mut self, _: usize, _: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        0
    }

    fn carrier(&self) -> bool {
        true
    }
}

struct Bench {
    port: Port,
    bus: HostileBus,
    wire: Taker,
    now: Time,
}

/// Does what the input says.
///
/// # Panics
/// If the card never rests, or its deadline is one that it has missed.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let how = bytes.byte();
    let port = Port::new(PortConfig::new([2, 0, 0, 0, 0, 1]));
    drive(port, how, &mut bytes);
}

/// Does to a card what the rest of an input says, whose first byte is `how`.
pub(crate) fn drive(port: Port, how: u8, bytes: &mut Bytes<'_>) {
    let memory = TestBus::new(MEMORY);
    let memory = if how & 2 == 0 {
        memory
    } else {
        memory.without_record()
    };
    let mut bench = Bench {
        port,
        bus: HostileBus::new(memory),
        wire: Taker::default(),
        now: Time::from_nanos(1_000_000_000),
    };
    if how & 1 != 0 {
        bench.bring_up();
    }
    let mut acts = 0;
    while !bytes.is_empty() && acts < MAX_ACTS {
        acts += 1;
        bench.act(bytes);
        bench.bus.memory.take_reads();
        bench.bus.memory.take_writes();
        bench.bus.memory.take_signals();
    }
    bench.rest();
}

impl Bench {
    fn call<T>(&mut self, act: impl FnOnce(&mut Port, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            now: self.now,
            bus: &self.bus,
            wire: &mut self.wire,
        };
        act(&mut self.port, &mut context)
    }

    fn set(&mut self, reg: Reg, index: usize, value: u32) {
        let offset = reg.offset(index).into();
        self.call(|port, context| {
            port.bar_write(Bar::Csr, offset, &value.to_le_bytes(), context);
        });
    }

    /// A link, bus mastering, and a ring each way.
    fn bring_up(&mut self) {
        self.call(|port, context| {
            port.set_carrier(true, context);
            port.config_write(0x04, &[6, 0], context);
        });
        let base = u32::try_from(TestBus::BASE).unwrap_or_default();
        for (reg, value) in [
            (Reg::RDBAL, base),
            (Reg::RDLEN, 0x400),
            (Reg::RXDCTL, 1 << 25),
            (Reg::RDT, 63),
            (Reg::RXCTRL, 1),
            (Reg::FCTRL, 0x702),
            (Reg::TDBAL, base + 0x1000),
            (Reg::TDLEN, 0x400),
            (Reg::DMATXCTL, 1),
            (Reg::TXDCTL, 1 << 25),
            (Reg::TDT, 32),
        ] {
            self.set(reg, 0, value);
        }
    }

    fn act(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 12 {
            0..=3 => {
                let reg = Reg::ALL[usize::from(bytes.word()) % Reg::ALL.len()];
                let index = usize::from(bytes.byte()) % reg.count();
                let value = bytes.dword();
                self.set(reg, index, value);
            }
            4 => {
                let offset = u64::from(bytes.dword() % 0x8_0010);
                let bar = [Bar::Csr, Bar::Io, Bar::MsiX, Bar::Rom][usize::from(bytes.byte() % 4)];
                let len = usize::from(bytes.byte() % 17);
                let data = bytes.slice(len);
                self.call(|port, context| port.bar_write(bar, offset, data, context));
            }
            5 => {
                let offset = u64::from(bytes.dword() % 0x8_0010);
                let bar = [Bar::Csr, Bar::Io, Bar::MsiX, Bar::Rom][usize::from(bytes.byte() % 4)];
                let mut data = vec![0; usize::from(bytes.byte() % 17)];
                self.call(|port, context| port.bar_read(bar, offset, &mut data, context));
            }
            6 => {
                let offset = bytes.word() % 0x1010;
                let len = usize::from(bytes.byte() % 9);
                let data = bytes.slice(len);
                self.call(|port, context| port.config_write(offset, data, context));
                self.port.config_read(offset, &mut vec![0; len]);
            }
            7 => {
                // Descriptors and buffers, written from outside.
                let place = u64::from(bytes.word());
                let len = usize::from(bytes.byte());
                let data = bytes.slice(len);
                self.bus.memory.poke(TestBus::BASE + place, data);
            }
            8 => {
                let count = usize::from(bytes.byte() % 32);
                let changes = (0..count).map(|_| (bytes.word() % 0x2000, bytes.byte()));
                self.bus.will_change(changes.collect());
            }
            9 => {
                let len = usize::from(bytes.byte());
                let padding = usize::from(bytes.word() % 10_000);
                let mut frame = bytes.slice(len).to_vec();
                frame.resize(frame.len() + padding, 0);
                self.call(|port, context| port.receive(&RxFrame::new(&frame), context));
            }
            10 => {
                let how = bytes.byte();
                self.wire.busy = how & 1 != 0;
                self.wire.offload = how & 2 != 0;
                match how >> 2 {
                    0..=1 => self.call(|port, context| port.set_carrier(how & 4 != 0, context)),
                    2 => self.call(|port, context| port.reset(context)),
                    3 => self.call(|port, context| port.set_module(Module::BaseT, context)),
                    4 => self.call(|port, context| port.set_module(Module::Sr, context)),
                    _ => self.port.leds().iter().for_each(drop),
                }
            }
            _ => {
                let nanos = u64::from(bytes.dword());
                self.now = self.now.plus_nanos(nanos);
                self.call(Port::step);
                let _ = self.port.has_room();
            }
        }
    }

    /// Lets the card work until it rests. What it then waits for lies ahead.
    fn rest(&mut self) {
        self.wire.busy = false;
        self.bus.will_change(Vec::new());
        let mut steps = 0;
        while self.call(Port::step) {
            steps += 1;
            assert!(steps < MAX_STEPS, "the card never rests");
        }
        if let Some(deadline) = self.port.deadline() {
            assert!(deadline > self.now, "the deadline is in the past");
        }
    }
}
