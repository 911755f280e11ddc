//! Payloads about interrupts.

use bitflags::bitflags;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

bitflags! {
    /// What an interrupt type can do (`VFIO_IRQ_INFO_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IrqFlags: u32 {
        /// It can signal eventfds.
        const EVENTFD = 1 << 0;
        /// It takes the mask and unmask actions.
        const MASKABLE = 1 << 1;
        /// It masks itself when it fires.
        const AUTOMASKED = 1 << 2;
        /// Its vectors are set up all at once. QEMU then takes them all down to add one, and
        /// interrupts are lost in between: better not set.
        const NORESIZE = 1 << 3;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// What `DEVICE_SET_IRQS` is to do (`VFIO_IRQ_SET_*`): one data bit and one action bit.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IrqSetFlags: u32 {
        /// No data: the action applies to the whole range.
        const DATA_NONE = 1 << 0;
        /// One byte for each vector: the action applies where it is not 0.
        const DATA_BOOL = 1 << 1;
        /// Eventfds came along.
        const DATA_EVENTFD = 1 << 2;
        /// Mask.
        const ACTION_MASK = 1 << 3;
        /// Unmask.
        const ACTION_UNMASK = 1 << 4;
        /// Trigger.
        const ACTION_TRIGGER = 1 << 5;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// Payload of `DEVICE_GET_IRQ_INFO` and of its reply.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct IrqInfo {
    /// Request: the most payload bytes that the reply may have. Reply: 16.
    pub argsz: U32,
    /// See [`IrqFlags`].
    pub flags: U32,
    /// Which interrupt type.
    pub index: U32,
    /// Reply: how many vectors it has.
    pub count: U32,
}

/// Payload of `DEVICE_SET_IRQS`; with [`IrqSetFlags::DATA_BOOL`] the bytes follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct IrqSet {
    /// Size of this structure and the data behind it.
    pub argsz: U32,
    /// See [`IrqSetFlags`].
    pub flags: U32,
    /// Which interrupt type.
    pub index: U32,
    /// The first vector.
    pub start: U32,
    /// How many vectors; 0 with `DATA_NONE | ACTION_TRIGGER` turns the whole type off.
    pub count: U32,
}

const _: () = assert!(size_of::<IrqInfo>() == 16);
const _: () = assert!(size_of::<IrqSet>() == 20);
