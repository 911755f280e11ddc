//! The serial side of a chip: bits at its pins, bytes inside (SPI, mode 0).

use serde::{Deserialize, Serialize};

use crate::state::StateError;

/// Levels that software gives the pins of a chip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pins {
    /// The chip is selected (its pin is low).
    pub(super) selected: bool,
    /// The clock.
    pub(super) clock: bool,
    /// Data to the chip.
    pub(super) data_in: bool,
}

/// What new levels mean to the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing yet.
    None,
    /// It is not selected: a command that was under way ends.
    Deselected,
    /// A byte has come in.
    Byte(u8),
}

/// The shift registers of a chip.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Serial {
    selected: bool,
    clock: bool,
    input: u8,
    bits: u8,
    output: u8,
    data_out: bool,
}

impl Serial {
    /// Whether it can be in this state.
    pub(super) fn check(&self) -> Result<(), StateError> {
        StateError::unless(self.bits < 8, "bits", "eight of them are a byte")
    }

    /// The pins have new levels. Data is taken in as the clock rises, and put out as it falls.
    pub(super) fn pins(&mut self, pins: Pins) -> Event {
        let rises = pins.clock && !self.clock;
        let falls = !pins.clock && self.clock;
        self.clock = pins.clock;
        if !pins.selected {
            self.selected = false;
            self.data_out = false;
            return Event::Deselected;
        }
        if !self.selected {
            self.selected = true;
            self.bits = 0;
            return Event::None;
        }
        if falls {
            self.data_out = self.output & 0x80 != 0;
            self.output <<= 1;
        }
        if rises {
            self.input = self.input << 1 | u8::from(pins.data_in);
            self.bits += 1;
            if self.bits == 8 {
                self.bits = 0;
                return Event::Byte(self.input);
            }
        }
        Event::None
    }

    /// The byte that goes out next.
    pub(super) fn put(&mut self, byte: u8) {
        self.output = byte;
    }

    /// Level of the chip's data output.
    pub(super) fn data_out(&self) -> bool {
        self.data_out
    }
}
