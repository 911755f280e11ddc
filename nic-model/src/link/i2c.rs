//! The module's side of the two-wire bus, bit by bit (3.7.6, SFF-8472 chapter 4).

use ixgbe_spec::register::bits::i2cctl;
use serde::{Deserialize, Serialize};

use super::sfp::Sfp;
use crate::state::StateError;

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum State {
    /// Nobody has addressed the module since the last start.
    #[default]
    Idle,
    /// A byte comes in.
    Receive(Byte),
    /// The module acknowledges it.
    Acknowledge(Byte),
    /// A byte goes out.
    Transmit,
    /// The master acknowledges it, or does not and that is the end.
    MasterAcknowledge { more: bool },
}

/// Which byte of a transfer comes in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Byte {
    DeviceAddress,
    MemoryAddress,
    Data,
}

/// The module's two-wire interface.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slave {
    state: State,
    clock: bool,
    data: bool,
    /// The module pulls the data line down.
    pulls: bool,
    shift: u8,
    bits: u8,
    device: u8,
    address: u8,
}

impl Default for Slave {
    /// Both lines are high.
    fn default() -> Self {
        Self {
            state: State::Idle,
            clock: true,
            data: true,
            pulls: false,
            shift: 0,
            bits: 0,
            device: 0,
            address: 0,
        }
    }
}

impl Slave {
    /// Whether it can be in this state.
    pub(super) fn check(&self) -> Result<(), StateError> {
        StateError::unless(self.bits <= 8, "bits", "a byte has eight")
    }

    /// The master drives the lines as the outputs of the register value `value` say. Returns what the register reads.
    pub(super) fn lines(&mut self, value: u32, sfp: &Sfp) -> u32 {
        let clock = value & i2cctl::CLK_OUT != 0;
        let master = value & i2cctl::DATA_OUT != 0;
        if clock != self.clock {
            // The data line first, so that a write that moves both is not taken for a start or a stop.
            self.data = master && !self.pulls;
            self.clock = clock;
            if clock {
                self.rising();
            } else {
                self.falling(sfp);
            }
            self.data = master && !self.pulls;
        } else {
            let data = master && !self.pulls;
            if clock && data != self.data {
                self.bits = 0;
                self.pulls = false;
                self.state = if data {
                    State::Idle
                } else {
                    State::Receive(Byte::DeviceAddress)
                };
            }
            self.data = data;
        }
        let bit = |level, bit| if level { bit } else { 0 };
        value & (i2cctl::CLK_OUT | i2cctl::DATA_OUT)
            | bit(clock, i2cctl::CLK_IN)
            | bit(self.data, i2cctl::DATA_IN)
    }

    /// The clock rises: both sides sample.
    fn rising(&mut self) {
        match &mut self.state {
            State::Receive(_) => {
                self.shift = self.shift << 1 | u8::from(self.data);
                self.bits += 1;
            }
            State::Transmit => self.bits += 1,
            State::MasterAcknowledge { more } => *more = !self.data,
            State::Idle | State::Acknowledge(_) => {}
        }
    }

    /// The clock falls: the module may change the data line.
    fn falling(&mut self, sfp: &Sfp) {
        match self.state {
            State::Receive(byte) if self.bits == 8 => {
                self.bits = 0;
                self.received(byte, sfp);
            }
            State::Acknowledge(byte) => {
                self.pulls = false;
                let reads = self.device & 1 != 0;
                match byte {
                    Byte::DeviceAddress if reads => self.transmit(sfp),
                    Byte::DeviceAddress => self.state = State::Receive(Byte::MemoryAddress),
                    Byte::MemoryAddress | Byte::Data => self.state = State::Receive(Byte::Data),
                }
            }
            State::Transmit if self.bits == 8 => {
                self.bits = 0;
                self.pulls = false;
                self.state = State::MasterAcknowledge { more: false };
            }
            State::Transmit => self.put_bit(),
            State::MasterAcknowledge { more: true } => self.transmit(sfp),
            State::MasterAcknowledge { more: false } => self.state = State::Idle,
            State::Idle | State::Receive(_) => {}
        }
    }

    fn received(&mut self, byte: Byte, sfp: &Sfp) {
        let known = match byte {
            Byte::DeviceAddress => {
                self.device = self.shift;
                sfp.page(self.device).is_some()
            }
            Byte::MemoryAddress => {
                self.address = self.shift;
                true
            }
            // The memory is read-only.
            Byte::Data => true,
        };
        if known {
            self.pulls = true;
            self.state = State::Acknowledge(byte);
        } else {
            self.state = State::Idle;
        }
    }

    fn transmit(&mut self, sfp: &Sfp) {
        let page = sfp.page(self.device);
        self.shift = page.map_or(0xFF, |page| page[usize::from(self.address)]);
        self.address = self.address.wrapping_add(1);
        self.bits = 0;
        self.state = State::Transmit;
        self.put_bit();
    }

    fn put_bit(&mut self) {
        self.pulls = self.shift & 0x80 == 0;
        self.shift <<= 1;
    }
}
