//! The register table: its rows, and the way from an offset to a row.

pub mod bits;
mod gap;
mod table;

pub use gap::Gap;
pub use table::Reg;

use table::{COUNT, ROWS};

/// Size of the register space in bytes (CSRs of BAR0).
pub const CSR_SPACE: u32 = 0x2_0000;

/// How a register behaves under reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Bits of the write mask are stored, the others keep their value.
    ReadWrite,
    /// Writes are ignored.
    ReadOnly,
    /// A counter: the read returns it and clears it; writes are ignored.
    ReadClear,
    /// A written 1 clears the bit, a 0 leaves it.
    WriteOneToClear,
    /// A written 1 sets the bit, a 0 leaves it.
    WriteOneToSet,
    /// Nothing is stored by the table's rules: reads and writes are the affair of the register's chapter.
    Effect,
}

/// The chapter of the datasheet (and the module of the model) that a register belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chapter {
    /// General control and LEDs (8.2.3.1).
    General,
    /// EEPROM and flash (8.2.3.2).
    Nvm,
    /// Flow control (8.2.3.3).
    FlowControl,
    /// PCIe (8.2.3.4).
    Pcie,
    /// Interrupts (8.2.3.5).
    Interrupt,
    /// Receive filters and address tables (8.2.3.7).
    Filter,
    /// Receive DMA (8.2.3.8).
    Receive,
    /// Transmit DMA (8.2.3.9).
    Transmit,
    /// Data centre bridging (8.2.3.10).
    Dcb,
    /// Direct cache access (8.2.3.11).
    Dca,
    /// Security, LinkSec and IPsec (8.2.3.12, 8.2.3.13).
    Security,
    /// Timers (8.2.3.14).
    Time,
    /// Time synchronisation, IEEE 1588 (8.2.3.16).
    TimeSync,
    /// `FCoE` (8.2.3.15).
    Fcoe,
    /// Virtualisation (8.2.3.17, 8.2.3.27).
    Virtualisation,
    /// Power management, wake-up, manageability (8.2.3.18, 8.2.3.19).
    Wakeup,
    /// MAC, link and SFP+ (8.2.3.22).
    Mac,
    /// Statistics (8.2.3.23).
    Statistics,
    /// Semaphores and the firmware interface.
    Firmware,
    /// Diagnostics (8.2.3.26 and what register dumps read).
    Diagnostic,
}

/// How much of a register the model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// It does what the datasheet says.
    Works,
    /// It holds what is written and nothing follows from it; [`Reg::gap`] tells why.
    Stored,
}

/// Equally spaced elements of a register array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Byte offset of the first element in BAR0.
    pub offset: u32,
    /// Bytes from one element to the next.
    pub stride: u32,
    /// Number of elements.
    pub count: u32,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    /// The datasheet's name.
    pub name: &'static str,
    /// Meaning and source.
    pub doc: &'static str,
    /// Chapter.
    pub chapter: Chapter,
    /// Where its elements are; the blocks' elements are numbered through.
    pub at: &'static [Block],
    /// Further places of the same storage, numbered from element 0.
    pub alias: &'static [Block],
    /// Value after reset, of each element.
    pub reset: u32,
    /// Bits that a write can change.
    pub write_mask: u32,
    /// Behaviour.
    pub access: Access,
    /// State of the model.
    pub coverage: Coverage,
}

impl Register {
    /// Number of elements; 1 for a plain register.
    #[must_use]
    pub const fn count(&self) -> u32 {
        count(self.at)
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "of rows of the table, when it is compiled; indices are below the length, and a sum has less than 16 bits"
)]
const fn count(blocks: &[Block]) -> u32 {
    let mut sum = 0;
    let mut b = 0;
    while b < blocks.len() {
        sum += blocks[b].count;
        b += 1;
    }
    sum
}

const DWORDS: usize = (CSR_SPACE / 4) as usize;
const NOTHING: u32 = u32::MAX;

/// For each dword of the space the row (high half) and the element (low half).
static DECODE: [u32; DWORDS] = decode_table(&ROWS);

/// For each dword of the register space its row (high half) and element (low half), or all ones.
///
/// # Panics
/// If two registers claim one offset (the message is the name of the second one), if an offset is not aligned, or if an
/// alias has more elements than its register. In a constant, as this crate uses it, that is an error of the compiler:
///
/// ```compile_fail
/// use ixgbe_spec::register::{Block, Reg, Register, decode_table};
/// const FIRST: Register = *Reg::CTRL.row();
/// const SECOND: Register = Register { at: &[Block { offset: 4, stride: 4, count: 1 }], alias: &[], ..FIRST };
/// const TABLE: [u32; 0x8000] = decode_table(&[FIRST, SECOND]);
/// assert_eq!(TABLE[0], 0);
/// ```
///
/// With another offset the same lines compile:
///
/// ```
/// use ixgbe_spec::register::{Block, Reg, Register, decode_table};
/// const FIRST: Register = *Reg::CTRL.row();
/// const SECOND: Register = Register { at: &[Block { offset: 8, stride: 4, count: 1 }], alias: &[], ..FIRST };
/// const TABLE: [u32; 0x8000] = decode_table(&[FIRST, SECOND]);
/// assert_eq!(TABLE[0], 0);
/// ```
#[must_use]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "for constants: what is out of range is an error of the compiler"
)]
pub const fn decode_table(rows: &[Register]) -> [u32; (CSR_SPACE / 4) as usize] {
    let mut table = [NOTHING; DWORDS];
    let mut row = 0;
    while (row as usize) < rows.len() {
        let Register { at, alias, .. } = rows[row as usize];
        enter(&mut table, rows, row, at);
        enter(&mut table, rows, row, alias);
        assert!(
            count(alias) <= count(at),
            "an alias has more elements than its register"
        );
        row += 1;
    }
    table
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "for constants: what is out of range is an error of the compiler"
)]
const fn enter(table: &mut [u32; DWORDS], rows: &[Register], row: u32, blocks: &[Block]) {
    let mut element = 0;
    let mut b = 0;
    while b < blocks.len() {
        let mut i = 0;
        while i < blocks[b].count {
            let offset = blocks[b].offset + i * blocks[b].stride;
            assert!(
                offset.is_multiple_of(4),
                "a register is not aligned to 4 bytes"
            );
            let dword = (offset / 4) as usize;
            assert!(table[dword] == NOTHING, "{}", rows[row as usize].name);
            table[dword] = row << 16 | element;
            element += 1;
            i += 1;
        }
        b += 1;
    }
}

/// For each row the number of elements in all rows before it; last, their sum.
#[expect(
    clippy::indexing_slicing,
    reason = "a constant: what is out of range is an error of the compiler"
)]
const FIRST_SLOT: [u32; COUNT + 1] = {
    let mut first = [0; COUNT + 1];
    let mut row = 0;
    while row < COUNT {
        first[row + 1] = first[row] + count(ROWS[row].at);
        row += 1;
    }
    first
};

/// Number of values that a register file has to hold.
pub const SLOTS: usize = FIRST_SLOT[COUNT] as usize;

impl Reg {
    /// The register's row.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "the table has as many rows as there are registers: one macro makes both"
    )]
    pub const fn row(self) -> &'static Register {
        &ROWS[self as usize]
    }

    /// The register and element at a byte offset of BAR0, if one is there.
    #[must_use]
    pub fn decode(offset: u32) -> Option<(Self, usize)> {
        let entry = *DECODE.get(usize::try_from(offset / 4).ok()?)?;
        let row = (entry >> 16) as usize;
        Some((*Self::ALL.get(row)?, (entry & 0xFFFF) as usize))
    }

    /// Number of elements.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "there is a place for each register and one more, and they grow"
    )]
    pub const fn count(self) -> usize {
        (FIRST_SLOT[self as usize + 1] - FIRST_SLOT[self as usize]) as usize
    }

    /// Place of element 0 in a register file of [`SLOTS`] values; the others follow it.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a place for each register and one more"
    )]
    pub const fn first_slot(self) -> usize {
        FIRST_SLOT[self as usize] as usize
    }

    /// Byte offset of element `index` in BAR0.
    ///
    /// # Panics
    /// If there is no such element; at compile time, in constants.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "the index is below the count, which is a u32 and the sum of the blocks' own; offsets are below 128 KB"
    )]
    pub const fn offset(self, index: usize) -> u32 {
        let blocks = self.row().at;
        assert!(index < self.count(), "no such element");
        let mut left = index as u32;
        let mut b = 0;
        while b < blocks.len() {
            if left < blocks[b].count {
                return blocks[b].offset + left * blocks[b].stride;
            }
            left -= blocks[b].count;
            b += 1;
        }
        unreachable!()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_decodes_to_itself() {
        for reg in Reg::ALL {
            for index in 0..reg.count() {
                assert_eq!(
                    Reg::decode(reg.offset(index)),
                    Some((*reg, index)),
                    "{}({index})",
                    reg.row().name
                );
            }
        }
    }

    #[test]
    fn an_offset_without_a_register_decodes_to_nothing() {
        assert_eq!(Reg::decode(0x1_FFFC), None);
        assert_eq!(Reg::decode(u32::MAX), None);
    }
}
