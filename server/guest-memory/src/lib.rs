//! A vfio-user client's memory, as the 82599's DMA engine sees it.
//!
//! A client (QEMU, a user-space driver) lends its memory to the device with `DMA_MAP` messages: an I/O virtual
//! address range, access rights, and usually a file descriptor. This crate keeps the table of those ranges
//! ([`IovaTable`]), maps the files, and copies bytes in and out at an IOVA. It is the only crate of the server that
//! may say `unsafe`; the few other places that need it stand here too, behind safe functions:
//!
//! - [`IovaTable`]: map, unmap, [`read`](IovaTable::read), [`write`](IovaTable::write), scatter lists
//!   ([`slices`](IovaTable::slices)) and ordered publication ([`store_release_u64`](IovaTable::store_release_u64));
//! - [`write_vectored`] and [`read_vectored`]: one system call straight out of, or into, client pages;
//! - [`GuardedRegion`]: a guest's memory for whoever reaches it through `vm-memory`;
//! - [`SharedMemory`]: the client's side, memory that a driver process lends to a device;
//! - [`tap`]: Linux tap devices, whose set-up is a handful of `ioctl`s;
//! - [`packet`]: packet sockets on a network interface, and the ring that one shares with the kernel;
//! - `xdp`: AF_XDP sockets (feature `af-xdp`).
//!
//! # What the client can do, and what happens
//!
//! The client shares these pages and may change them at any time, so they are never a `&[u8]`: what leaves this
//! crate is a [`vm_memory::VolatileSlice`], which is read and written by volatile copies only.
//!
//! The client may also truncate a file that is mapped here; a touch of the lost page raises SIGBUS. A process-wide
//! handler, installed with the first mapping, puts a page of zeros in place and marks the mapping as torn, so the
//! copy ends and its caller gets [`AccessError::Gone`]. A torn mapping stays gone until the client unmaps it. Any
//! SIGBUS from elsewhere goes to the handler that was installed before.
//!
//! # What it relies on
//!
//! - SIGBUS is not blocked in threads that touch client memory, and nobody replaces its handler later.
//! - File descriptors name ordinary files (memfd, shared memory, hugetlbfs, a file on a disk). Whoever can hand
//!   over a file on a file system of their own making (FUSE) can make each touch of it slow.
//!
//! # Not implemented
//!
//! Dirty-page tracking; files other than ordinary ones (dma-buf, device memory); private memory (a client whose
//! memory is mapped privately on its own side hands over a file that does not hold its data, and nothing in the
//! protocol tells).
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]

mod access;
mod error;
mod files;
mod interface;
mod mapping;
pub mod packet;
mod prefetch;
mod range;
mod region;
mod registry;
mod shared;
mod sigbus;
mod table;
pub mod tap;
mod vectored;
#[cfg(feature = "af-xdp")]
pub mod xdp;

pub use error::{AccessError, MapError};
pub use prefetch::{prefetch_for_read, prefetch_for_write};
pub use region::GuardedRegion;
pub use shared::SharedMemory;
pub use table::{Backing, IovaTable, Limits, MappedRange, PAGE_SIZE};
pub use vectored::{read_vectored, write_vectored};
