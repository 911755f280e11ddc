//! The EEPROM behind the pins of EEC: the usual 25-series commands with 16 address bits.

use serde::{Deserialize, Serialize};

use super::{
    NvmImage,
    serial::{Event, Pins, Serial},
};
use crate::state::StateError;

const READ: u8 = 0x03;
const WRITE: u8 = 0x02;
const WRITE_DISABLE: u8 = 0x04;
const READ_STATUS: u8 = 0x05;
const WRITE_ENABLE: u8 = 0x06;

/// Bytes of a page; a write wraps within it.
const PAGE: u16 = 64;

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum State {
    #[default]
    Command,
    Address {
        command: u8,
        bytes: u8,
        address: u16,
    },
    Read {
        address: u16,
    },
    Write {
        address: u16,
    },
    Status,
    /// The command is done, or unknown: until deselected the chip does not listen.
    Done,
}

/// The chip's serial interface.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Eeprom {
    serial: Serial,
    state: State,
    write_enabled: bool,
    /// Something was written since this was asked for.
    written: bool,
}

impl Eeprom {
    /// Whether it can be in this state.
    pub(super) fn check(&self) -> Result<(), StateError> {
        self.serial.check().map_err(|error| error.within("serial"))
    }

    /// Whether something was written since this was asked for.
    pub(super) fn take_written(&mut self) -> bool {
        std::mem::take(&mut self.written)
    }

    /// The pins have new levels. Returns the level of the chip's data output.
    pub(super) fn pins(&mut self, pins: Pins, image: &mut NvmImage) -> bool {
        match self.serial.pins(pins) {
            Event::None => {}
            Event::Deselected => {
                if matches!(self.state, State::Write { .. }) {
                    self.write_enabled = false;
                }
                self.state = State::Command;
            }
            Event::Byte(byte) => self.byte(byte, image),
        }
        self.serial.data_out()
    }

    /// A byte is complete.
    fn byte(&mut self, input: u8, image: &mut NvmImage) {
        self.state = match self.state {
            State::Command => match input {
                command @ (READ | WRITE) => State::Address {
                    command,
                    bytes: 0,
                    address: 0,
                },
                READ_STATUS => self.put_status(),
                WRITE_ENABLE => {
                    self.write_enabled = true;
                    State::Done
                }
                WRITE_DISABLE => {
                    self.write_enabled = false;
                    State::Done
                }
                _ => State::Done,
            },
            State::Address {
                command,
                bytes: 0,
                address: _,
            } => State::Address {
                command,
                bytes: 1,
                address: u16::from(input) << 8,
            },
            State::Address {
                command, address, ..
            } => {
                let address = address | u16::from(input);
                match command {
                    READ => self.read(address, image),
                    _ if self.write_enabled => State::Write { address },
                    _ => State::Done,
                }
            }
            State::Read { address } => self.read(address, image),
            State::Write { address } => {
                image.set_byte(address.into(), input);
                self.written = true;
                let next = address & !(PAGE - 1) | address.wrapping_add(1) & (PAGE - 1);
                State::Write { address: next }
            }
            State::Status => self.put_status(),
            State::Done => State::Done,
        };
    }

    /// Puts the byte at `address` out.
    fn read(&mut self, address: u16, image: &NvmImage) -> State {
        self.serial.put(image.byte(address.into()));
        State::Read {
            address: address.wrapping_add(1),
        }
    }

    /// Puts the status out: never busy.
    fn put_status(&mut self) -> State {
        self.serial.put(u8::from(self.write_enabled) << 1);
        State::Status
    }
}
