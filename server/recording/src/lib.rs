//! Recordings: all that was done to a NIC's ports, in a file, and done again to the model.
//!
//! # Why that is enough
//! A port of `nic-model` has no clock, thread or source of chance. What it does follows from
//! - how it was built: MAC address, module, NVM, and with which other port on a card (the header of the file);
//! - the calls of its methods with their times: accesses to registers and configuration space, memory mapped and taken back,
//!   resets, carrier and module, what `ixgbectl` did to it, the steps by which time passes ([`Call`]);
//! - what it got when it asked: each byte that its DMA engine read, at the moment when it read it, refusals of memory, what
//!   the wire does itself and whether it was busy, and the frames that arrived ([`Act`]).
//!
//! Ports of one card share its NVM and semaphores, so while they are recorded their calls come one after another; the file has
//! them in that order. Nothing else is shared by ports.
//!
//! # What is compared
//! What the port did stands in the file, too, in the order in which it did it: what it read and where, writes and
//! write-backs, frames sent, interrupts, verdicts about frames, values of registers. Of bytes that the port made itself there
//! is the length and a sum (CRC-32). [`Replay`] calls the ports of this program in the same way, says to them what the file
//! says, compares each deed, and stops at the first that is another ([`Difference`]). A port that panicked does so again.
//!
//! # The file
//! A header (`header.rs`: a mark, a version, JSON), then blocks with a length and a sum (`block.rs`) of whole calls, each with
//! its deeds and what it returned (`call.rs`, `deed.rs`); numbers as in LEB128 (`code.rs`). The file begins when the ports are
//! powered on, or with a saved state that is restored first, and ends with a word that says whether all is in it. A file that
//! was cut is replayed up to there.
//!
//! While a port is recorded all its DMA goes by copies and each call is written down, so it is slower; see
//! docs/reproduce.md. [`Writer`] makes files, with a thread; it waits rather than lose something.
//!
//! # What is not there
//! - A recording of one port of a card's two from the middle: what the other one does to the NVM would be missing.
//! - Mapped doorbells' pages: what is taken out of them is recorded as the accesses that it becomes.
//! - Compression: `zstd` makes a file of zeros and small numbers much shorter.
//!
//! [`Call`]: nic_model::record::Call
//! [`Act`]: nic_model::record::Act
#![forbid(unsafe_code)]

mod block;
mod call;
mod code;
mod deed;
mod fault;
mod header;
mod read;
mod replay;
mod write;

pub use block::{Blocks, Ending, MAX_BLOCK};
pub use code::{Broken, Wrong};
pub use header::{Header, MARK, MAX_PORTS, PortHeader, VERSION};
pub use read::{ReadError, Reader};
pub use replay::{Difference, Memory, Packets, Range, Replay, ReplayError, Step, Until};
pub use write::{Writer, create, recorder};
