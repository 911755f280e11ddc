//! The flash behind the pins of FLA: 512 KB with the commands of an AT25DF041A. The expansion ROM is its contents, and
//! its first 256 KB are a window in BAR0 above the CSRs, where Intel's tools look for it. Software that may (EEC.FWE)
//! writes it there, or erases it by FLA.
//!
//! Not implemented: the protection of its sectors, which this chip has after power-on. The contents last as long as the
//! server.

use ixgbe_spec::nvm::FLASH_SIZE;
use serde::{Deserialize, Serialize};

use super::serial::{Event, Pins, Serial};
use crate::state::{
    StateError,
    hex::Hex,
    sparse::{self, Sparse},
};

const READ: u8 = 0x03;
const FAST_READ: u8 = 0x0B;
const PROGRAM: u8 = 0x02;
const WRITE_DISABLE: u8 = 0x04;
const READ_STATUS: u8 = 0x05;
const WRITE_ENABLE: u8 = 0x06;
const READ_ID: u8 = 0x9F;
const ERASE_4K: u8 = 0x20;
const ERASE_32K: u8 = 0x52;
const ERASE_64K: u8 = 0xD8;
const ERASE_CHIP: u8 = 0x60;
const ERASE_CHIP_TOO: u8 = 0xC7;

/// Manufacturer and device (JEDEC), and that no more follows.
const ID: [u8; 4] = [0x1F, 0x44, 0x01, 0x00];
/// Bytes of a page; programming wraps within it.
const PAGE: u32 = 256;
/// The address wraps at the chip's end.
const ADDRESS: u32 = FLASH_SIZE - 1;

const _: () = assert!(FLASH_SIZE.is_power_of_two());

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum State {
    #[default]
    Command,
    /// Bytes of the address, and one without a meaning for [`FAST_READ`], come in.
    Address {
        command: u8,
        bytes: u8,
        address: u32,
    },
    Read {
        address: u32,
    },
    Program {
        address: u32,
    },
    /// Takes effect when the chip is deselected.
    Erase {
        first: u32,
        len: u32,
    },
    Id {
        next: usize,
    },
    Status,
    /// The command is done, or unknown: until deselected the chip does not listen.
    Done,
}

/// The chip.
#[derive(Debug, Default)]
pub(super) struct Flash {
    serial: Serial,
    state: State,
    write_enabled: bool,
    /// The bytes, once anything was programmed; before, all ones.
    bytes: Option<Box<[u8]>>,
}

/// The saved form: of the bytes, the pages that are not all ones.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    serial: Serial,
    state: State,
    write_enabled: bool,
    pages: Sparse<Hex>,
}

impl Flash {
    /// The saved form.
    pub(super) fn save(&self) -> Saved {
        let Self {
            serial,
            state,
            write_enabled,
            bytes,
        } = self;
        let pages = bytes.iter().flat_map(|bytes| bytes.chunks(PAGE as usize));
        Saved {
            serial: serial.clone(),
            state: *state,
            write_enabled: *write_enabled,
            pages: sparse::save(pages, |page| {
                let erased = page.iter().all(|byte| *byte == 0xFF);
                (!erased).then(|| Hex(page.to_vec()))
            }),
        }
    }

    /// Of the saved form.
    pub(super) fn restore(saved: Saved) -> Result<Self, StateError> {
        let Saved {
            serial,
            state,
            write_enabled,
            pages,
        } = saved;
        serial.check().map_err(|error| error.within("serial"))?;
        if let State::Address { bytes, .. } = state {
            StateError::unless(bytes <= 4, "state", "an address has fewer bytes")?;
        }
        let mut flash = Self {
            serial,
            state,
            write_enabled,
            bytes: None,
        };
        for (page, Hex(bytes)) in pages {
            let first = u32::from(page) * PAGE;
            let fits = first < FLASH_SIZE && bytes.len() == PAGE as usize;
            StateError::unless(fits, format!("pages.{page}"), "no page of the flash")?;
            flash.write(first, &bytes);
        }
        Ok(flash)
    }

    /// The pins have new levels. Returns the level of the chip's data output.
    pub(super) fn pins(&mut self, pins: Pins) -> bool {
        match self.serial.pins(pins) {
            Event::None => {}
            Event::Deselected => {
                self.deselect();
                // Nobody drives the line, which is pulled up.
                return true;
            }
            Event::Byte(byte) => self.byte(byte),
        }
        self.serial.data_out()
    }

    /// Ends the command that is under way.
    pub(super) fn deselect(&mut self) {
        if let State::Erase { first, len } = self.state {
            let bytes = self.bytes.iter_mut().flatten();
            for byte in bytes.skip(first as usize).take(len as usize) {
                *byte = 0xFF;
            }
        }
        if matches!(self.state, State::Erase { .. } | State::Program { .. }) {
            self.write_enabled = false;
        }
        self.state = State::Command;
        self.serial = Serial::default();
    }

    /// Reads the contents from `offset` on, all ones past the chip's end.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xFF);
        if let (Some(bytes), Ok(offset)) = (&self.bytes, usize::try_from(offset)) {
            for (to, from) in data.iter_mut().zip(bytes.iter().skip(offset)) {
                *to = *from;
            }
        }
    }

    /// Programs bytes from `offset` on, as far as the chip reaches.
    pub(super) fn write(&mut self, offset: u32, data: &[u8]) {
        for (address, byte) in (offset..FLASH_SIZE).zip(data) {
            self.program(address, *byte);
        }
    }

    /// Makes all of it ones.
    pub(super) fn erase(&mut self) {
        self.bytes = None;
    }

    /// A byte is complete.
    fn byte(&mut self, input: u8) {
        self.state = match self.state {
            State::Command => self.command(input),
            State::Address {
                command,
                bytes,
                address,
            } => {
                let address = if bytes < 3 {
                    address << 8 | u32::from(input)
                } else {
                    address
                };
                let wanted = if command == FAST_READ { 4 } else { 3 };
                if bytes + 1 < wanted {
                    State::Address {
                        command,
                        bytes: bytes + 1,
                        address,
                    }
                } else {
                    self.addressed(command, address & ADDRESS)
                }
            }
            State::Read { address } => self.put(address),
            State::Program { address } => {
                self.program(address, input);
                let next = address & !(PAGE - 1) | address.wrapping_add(1) & (PAGE - 1);
                State::Program { address: next }
            }
            State::Id { next } => self.put_id(next),
            State::Status => self.put_status(),
            // A command that goes on after its end is none.
            State::Erase { .. } | State::Done => State::Done,
        };
    }

    fn command(&mut self, command: u8) -> State {
        match command {
            READ | FAST_READ | PROGRAM | ERASE_4K | ERASE_32K | ERASE_64K => State::Address {
                command,
                bytes: 0,
                address: 0,
            },
            READ_STATUS => self.put_status(),
            READ_ID => self.put_id(0),
            WRITE_ENABLE | WRITE_DISABLE => {
                self.write_enabled = command == WRITE_ENABLE;
                State::Done
            }
            ERASE_CHIP | ERASE_CHIP_TOO if self.write_enabled => State::Erase {
                first: 0,
                len: FLASH_SIZE,
            },
            _ => State::Done,
        }
    }

    /// A command has its address.
    fn addressed(&mut self, command: u8, address: u32) -> State {
        let erase = |len: u32| State::Erase {
            first: address & !(len - 1),
            len,
        };
        match command {
            READ | FAST_READ => self.put(address),
            _ if !self.write_enabled => State::Done,
            PROGRAM => State::Program { address },
            ERASE_4K => erase(4 << 10),
            ERASE_32K => erase(32 << 10),
            _ => erase(64 << 10),
        }
    }

    /// Programming can only make zeros of ones.
    fn program(&mut self, address: u32, value: u8) {
        let erased = || vec![0xFF; FLASH_SIZE as usize].into_boxed_slice();
        let bytes = self.bytes.get_or_insert_with(erased);
        if let Some(byte) = bytes.get_mut(address as usize) {
            *byte &= value;
        }
    }

    /// Puts the byte at `address` out.
    fn put(&mut self, address: u32) -> State {
        let mut byte = [0];
        self.read(address.into(), &mut byte);
        self.serial.put(byte[0]);
        State::Read {
            address: address.wrapping_add(1) & ADDRESS,
        }
    }

    fn put_id(&mut self, place: usize) -> State {
        self.serial.put(ID.get(place).copied().unwrap_or(0));
        State::Id {
            next: place.saturating_add(1),
        }
    }

    /// Puts the status out: never busy, nothing protected.
    fn put_status(&mut self) -> State {
        self.serial.put(u8::from(self.write_enabled) << 1);
        State::Status
    }
}
