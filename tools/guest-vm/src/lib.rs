//! Virtual machines for the demo, the tests and the benchmarks: QEMU, kernels and guest images from Debian's packages,
//! kept in cargo's target folder; guests that run commands; network namespaces for their peers; and a QEMU with no
//! guest, whose devices are driven one access at a time.
//!
//! Nothing is installed into the system and nothing outlives the process that uses this crate. Begin with
//! [`Lab::open`]:
//!
//! ```no_run
//! # fn main() -> Result<(), guest_vm::Error> {
//! let lab = guest_vm::Lab::open(guest_vm::Kernel::Debian13)?;
//! let config = lab.guest("example")?.with_vfio_user(0, "/run/nic.socket".as_ref());
//! let mut guest = lab.boot(&config)?;
//! println!("{}", guest.sh("modprobe ixgbe; ethtool -i eth0")?);
//! # Ok(()) }
//! ```
//!
//! Not done: guests and hosts that are not x86-64; package archives other than Debian's.

#![forbid(unsafe_code)]

mod archive;
mod cable_peer;
mod cache;
mod cpio;
mod dpdk;
mod error;
mod guest;
mod host_stack;
mod image;
mod kernel;
pub mod kernel_log;
mod lab;
mod namespace;
mod passt;
mod process;
mod progress;
mod qemu;
mod qmp;
mod qtest;
mod server;
mod test_setting;
mod testpmd;
mod tshark;
mod userland;
mod valgrind;

pub use crate::archive::{FetchedPackage, Versions};
pub use crate::cable_peer::CablePeer;
pub use crate::cache::Cache;
pub use crate::error::{Error, Result};
pub use crate::guest::{
    Accel, ConsoleUse, ForeignBoot, ForeignGuest, Guest, GuestConfig, GuestError, KernelBoot,
    Output,
};
pub use crate::host_stack::HostStack;
pub use crate::image::{Image, ImageVersions};
pub use crate::kernel::Kernel;
pub use crate::lab::Lab;
pub use crate::namespace::Namespace;
pub use crate::passt::passt;
pub use crate::process::{Process, Program, Spawner};
pub use crate::progress::Step;
pub use crate::qemu::{Qemu, root_port_arguments, vfio_user_arguments};
pub use crate::qmp::Qmp;
pub use crate::qtest::{EnabledNic, PciAddress, Qtest};
pub use crate::server::NicServer;
pub use crate::test_setting::{TestExtent, TestSetting};
pub use crate::testpmd::Testpmd;
pub use crate::tshark::tshark;
pub use crate::userland::Userland;
pub use crate::valgrind::valgrind;
