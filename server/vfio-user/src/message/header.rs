//! The 16 bytes before every message.

use bitflags::bitflags;
use std::fmt;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Errno;

/// The header's length in bytes, and so the least that a message's size can be.
pub const HEADER_SIZE: usize = size_of::<Header>();

/// The command field: a number, named where the specification names it.
///
/// A number without a name is a value like any other; whoever serves it answers with an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Command(pub u16);

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Command {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The specification's name without its `VFIO_USER_` prefix.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// Negotiation; the first message of a connection.
    VERSION = 1;
    /// The server may access this range of the client's memory.
    DMA_MAP = 2;
    /// The server may no longer access this range.
    DMA_UNMAP = 3;
    /// What kind of device, how many regions and interrupt types.
    DEVICE_GET_INFO = 4;
    /// One region's size, rights and capabilities.
    DEVICE_GET_REGION_INFO = 5;
    /// The ioeventfds and ioregionfds of a region.
    DEVICE_GET_REGION_IO_FDS = 6;
    /// One interrupt type's number of vectors and abilities.
    DEVICE_GET_IRQ_INFO = 7;
    /// Assign, mask, unmask or trigger interrupts.
    DEVICE_SET_IRQS = 8;
    /// Read from a region.
    REGION_READ = 9;
    /// Write to a region.
    REGION_WRITE = 10;
    /// The server reads the client's memory.
    DMA_READ = 11;
    /// The server writes the client's memory.
    DMA_WRITE = 12;
    /// Reset the device.
    DEVICE_RESET = 13;
    /// Dirty page logging as it was before `DEVICE_FEATURE`; gone from the specification.
    DIRTY_PAGES = 14;
    /// Many small region writes in one message.
    REGION_WRITE_MULTI = 15;
    /// Get, set or probe a device feature.
    DEVICE_FEATURE = 16;
    /// Read a stopped device's state.
    MIG_DATA_READ = 17;
    /// Write a resuming device's state.
    MIG_DATA_WRITE = 18;
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command {}", self.0),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}({})", self.0)
    }
}

bitflags! {
    /// The flag bits of a header. Bits 0 to 3 are the type: 0 is a command, 1 a reply.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct HeaderFlags: u32 {
        /// Type 1: the answer to the command with the same message id.
        const REPLY = 1;
        /// On a command: no answer is wanted, not even about an error.
        const NO_REPLY = 1 << 4;
        /// On a reply: the command failed, and the error field says why.
        const ERROR = 1 << 5;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// What the type bits of a header say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// Type 0.
    Command,
    /// Type 1.
    Reply,
    /// Types 2 to 15, which the specification does not give a meaning.
    Unknown(u8),
}

/// The header of a message.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Chosen by the sender of the command, echoed in its reply. Not unique.
    pub id: U16,
    /// See [`Command`].
    pub command: U16,
    /// Bytes in the whole message, this header included.
    pub size: U32,
    /// See [`HeaderFlags`].
    pub flags: U32,
    /// In an error reply the errno, else 0.
    pub error: U32,
}

const _: () = assert!(size_of::<Header>() == 16);

impl Header {
    /// The header of a command whose payload is `payload` bytes long.
    #[must_use]
    pub fn command(id: u16, command: Command, payload: u32, flags: HeaderFlags) -> Self {
        Self {
            id: id.into(),
            command: command.0.into(),
            size: message_size(payload).into(),
            flags: flags.bits().into(),
            error: 0.into(),
        }
    }

    /// The header of the good reply to `self`, with `payload` bytes behind it.
    #[must_use]
    pub fn reply(&self, payload: u32) -> Self {
        Self {
            size: message_size(payload).into(),
            flags: HeaderFlags::REPLY.bits().into(),
            error: 0.into(),
            ..*self
        }
    }

    /// The whole error reply to `self`: it never has a payload.
    #[must_use]
    pub fn error_reply(&self, errno: Errno) -> Self {
        Self {
            size: message_size(0).into(),
            flags: (HeaderFlags::REPLY | HeaderFlags::ERROR).bits().into(),
            error: errno.raw().into(),
            ..*self
        }
    }

    /// The flag bits.
    #[must_use]
    pub fn flags(&self) -> HeaderFlags {
        HeaderFlags::from_bits_retain(self.flags.get())
    }

    /// The command number.
    #[must_use]
    pub fn number(&self) -> Command {
        Command(self.command.get())
    }

    /// Command or reply.
    #[must_use]
    pub fn message_type(&self) -> MessageType {
        match self.flags.get() & 0xf {
            0 => MessageType::Command,
            1 => MessageType::Reply,
            other => MessageType::Unknown(u8::try_from(other).unwrap_or(u8::MAX)),
        }
    }

    /// Whether the sender of this command waits for no answer.
    #[must_use]
    pub fn is_posted(&self) -> bool {
        self.flags().contains(HeaderFlags::NO_REPLY)
    }

    /// The errno of an error reply; `None` on any other message.
    #[must_use]
    pub fn failure(&self) -> Option<Errno> {
        (self.message_type() == MessageType::Reply && self.flags().contains(HeaderFlags::ERROR))
            .then(|| Errno::from_raw(self.error.get()))
    }
}

/// The size field of a message with `payload` bytes behind its header.
fn message_size(payload: u32) -> u32 {
    payload.saturating_add(16)
}
