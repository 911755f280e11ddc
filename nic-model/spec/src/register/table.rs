//! The rows.
//!
//! A row reads: name, chapter, access, state of the model, `at` its places (`offset + stride * count` for an array), then
//! what differs from the defaults: `alias` (none), `reset` (0), `write` (all bits).

use super::{Access, Block, Chapter, Coverage, Register};

macro_rules! block {
    ($offset:literal) => {
        Block {
            offset: $offset,
            stride: 4,
            count: 1,
        }
    };
    ($offset:literal + $stride:literal * $count:literal) => {
        Block {
            offset: $offset,
            stride: $stride,
            count: $count,
        }
    };
}

macro_rules! or {
    ($default:expr) => {
        $default
    };
    ($default:expr, $value:expr) => {
        $value
    };
}

macro_rules! registers {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident $chapter:ident $access:ident $coverage:ident
            at [$($at:literal $(+ $stride:literal * $count:literal)?),+]
            $(alias [$($alias:literal $(+ $alias_stride:literal * $alias_count:literal)?),+])?
            $(reset $reset:literal)?
            $(write $write:literal)?;
    )*) => {
        /// A register of the 82599, by the datasheet's name.
        #[expect(non_camel_case_types, reason = "the datasheet's names")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Reg {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Reg {
            /// Every register, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }

        pub(super) const COUNT: usize = Reg::ALL.len();

        pub(super) static ROWS: [Register; COUNT] = [$(
            Register {
                name: stringify!($name),
                doc: concat!($($doc),+),
                chapter: Chapter::$chapter,
                at: &[$(block!($at $(+ $stride * $count)?)),+],
                alias: &[$($(block!($alias $(+ $alias_stride * $alias_count)?)),+)?],
                reset: or!(0 $(, $reset)?),
                write_mask: or!(u32::MAX $(, $write)?),
                access: Access::$access,
                coverage: Coverage::$coverage,
            },
        )*];
    };
}

registers! {
    /// Device Control (8.2.3.1.1): GIO master disable (2), link reset (3), device reset (26).
    CTRL General ReadWrite Works at [0x00000] alias [0x00004] write 0x0400_000C;
    /// Device Status (8.2.3.1.2).
    STATUS General ReadOnly Works at [0x00008] reset 0x0008_0000;

    /// MAC Core Control 0 (8.2.3.22.8).
    HLREG0 Mac ReadWrite Works at [0x04240] reset 0x0801_0403;
    /// Extended Interrupt Mask Set/Read, per MSI-X vector (8.2.3.5.6).
    EIMS_EX Interrupt WriteOneToSet Works at [0x00AA0 + 4 * 2];

    /// Receive Descriptor Base Address Low (8.2.3.8.1).
    RDBAL Receive ReadWrite Works at [0x01000 + 0x40 * 64, 0x0D000 + 0x40 * 64] write 0xFFFF_FF80;
    /// Receive Descriptor Base Address High (8.2.3.8.2).
    RDBAH Receive ReadWrite Works at [0x01004 + 0x40 * 64, 0x0D004 + 0x40 * 64];
    /// Receive Descriptor Length (8.2.3.8.3): bytes, a multiple of 128.
    RDLEN Receive ReadWrite Works at [0x01008 + 0x40 * 64, 0x0D008 + 0x40 * 64] write 0x000F_FF80;
    /// Receive Descriptor Head (8.2.3.8.4).
    RDH Receive ReadWrite Works at [0x01010 + 0x40 * 64, 0x0D010 + 0x40 * 64] write 0x0000_FFFF;
    /// Split Receive Control (8.2.3.8.7).
    SRRCTL Receive ReadWrite Works at [0x01014 + 0x40 * 64, 0x0D014 + 0x40 * 64] alias [0x02100 + 4 * 16] reset 0x0000_0402;
    /// Receive Descriptor Tail (8.2.3.8.5): one past the last descriptor that the driver has provided.
    RDT Receive ReadWrite Works at [0x01018 + 0x40 * 64, 0x0D018 + 0x40 * 64] write 0x0000_FFFF;
    /// Receive Descriptor Control (8.2.3.8.6).
    RXDCTL Receive ReadWrite Works at [0x01028 + 0x40 * 64, 0x0D028 + 0x40 * 64];

    /// Transmit Descriptor Base Address Low (8.2.3.9.5).
    TDBAL Transmit ReadWrite Works at [0x06000 + 0x40 * 128] write 0xFFFF_FF80;
    /// Transmit Descriptor Base Address High (8.2.3.9.6).
    TDBAH Transmit ReadWrite Works at [0x06004 + 0x40 * 128];
    /// Transmit Descriptor Length (8.2.3.9.7): bytes, a multiple of 128.
    TDLEN Transmit ReadWrite Works at [0x06008 + 0x40 * 128] write 0x000F_FF80;
    /// Transmit Descriptor Head (8.2.3.9.8).
    TDH Transmit ReadWrite Works at [0x06010 + 0x40 * 128] write 0x0000_FFFF;
    /// Transmit Descriptor Tail (8.2.3.9.9): one past the last descriptor that the driver has provided.
    TDT Transmit ReadWrite Works at [0x06018 + 0x40 * 128] write 0x0000_FFFF;
    /// Transmit Descriptor Control (8.2.3.9.10).
    TXDCTL Transmit ReadWrite Works at [0x06028 + 0x40 * 128];
}
