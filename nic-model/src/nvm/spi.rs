//! The serial EEPROM behind the pins of EEC: the usual 25-series commands with 16 address bits.

use ixgbe_spec::register::bits::eec;

const READ: u8 = 0x03;
const WRITE: u8 = 0x02;
const WRITE_DISABLE: u8 = 0x04;
const READ_STATUS: u8 = 0x05;
const WRITE_ENABLE: u8 = 0x06;

/// Bytes of a page; a write wraps within it.
const PAGE: u16 = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The chip waits for its chip select.
    #[default]
    Deselected,
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
#[derive(Debug, Default)]
pub(super) struct Spi {
    state: State,
    clock: bool,
    input: u8,
    bits: u8,
    output: u8,
    data_out: bool,
    write_enabled: bool,
}

impl Spi {
    /// The pins have the levels of the register value `pins`. Returns the level of the chip's data output.
    pub(super) fn pins(&mut self, pins: u32, words: &mut [u16]) -> bool {
        let clock = pins & eec::SK != 0;
        if pins & eec::CS != 0 {
            if matches!(self.state, State::Write { .. }) {
                self.write_enabled = false;
            }
            self.state = State::Deselected;
            self.data_out = false;
        } else if self.state == State::Deselected {
            self.state = State::Command;
            self.bits = 0;
        } else if clock && !self.clock {
            self.rising(pins & eec::DI != 0, words);
        } else if !clock && self.clock {
            self.falling();
        }
        self.clock = clock;
        self.data_out
    }

    fn rising(&mut self, data_in: bool, words: &mut [u16]) {
        self.input = self.input << 1 | u8::from(data_in);
        self.bits += 1;
        if self.bits == 8 {
            self.bits = 0;
            self.byte(words);
        }
    }

    fn falling(&mut self) {
        self.data_out = self.output & 0x80 != 0;
        self.output <<= 1;
    }

    /// A byte is complete.
    fn byte(&mut self, words: &mut [u16]) {
        self.state = match self.state {
            State::Command => match self.input {
                command @ (READ | WRITE) => State::Address {
                    command,
                    bytes: 0,
                    address: 0,
                },
                READ_STATUS => {
                    self.output = self.status();
                    State::Status
                }
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
                address: u16::from(self.input) << 8,
            },
            State::Address {
                command, address, ..
            } => {
                let address = address | u16::from(self.input);
                match command {
                    READ => self.read(address, words),
                    _ if self.write_enabled => State::Write { address },
                    _ => State::Done,
                }
            }
            State::Read { address } => self.read(address, words),
            State::Write { address } => {
                if let Some(word) = words.get_mut(usize::from(address / 2)) {
                    let mut bytes = word.to_le_bytes();
                    bytes[usize::from(address % 2)] = self.input;
                    *word = u16::from_le_bytes(bytes);
                }
                let next = address & !(PAGE - 1) | address.wrapping_add(1) & (PAGE - 1);
                State::Write { address: next }
            }
            State::Status => {
                self.output = self.status();
                State::Status
            }
            state @ (State::Done | State::Deselected) => state,
        };
    }

    /// Puts the byte at `address` out.
    fn read(&mut self, address: u16, words: &[u16]) -> State {
        let word = words.get(usize::from(address / 2)).copied();
        let bytes = word.unwrap_or(0xFFFF).to_le_bytes();
        self.output = bytes[usize::from(address % 2)];
        State::Read {
            address: address.wrapping_add(1),
        }
    }

    /// Never busy.
    fn status(&self) -> u8 {
        u8::from(self.write_enabled) << 1
    }
}
