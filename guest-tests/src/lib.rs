//! Scenarios, written once, and the worlds they run in.
//!
//! A [`Scenario`] sets a NIC up, lets frames pass and looks at what is on the cable, in memory and in the counters. It
//! runs in every [`World`] that can do what it needs: our own driver on the model in this process, the same driver on the
//! server in another process, a Linux kernel's driver in a virtual machine.
//!
//! The test programs are in `tests/`. What they need and how they are called is in CONTRIBUTING.md.
#![forbid(unsafe_code)]

pub mod account;
pub mod black_box;
pub mod cable;
pub mod card_world;
pub mod contract;
pub mod evidence;
pub mod fc;
pub mod frames;
pub mod ipsec;
pub mod kernel_log;
pub mod linux_world;
pub mod offload;
pub mod page;
pub mod probe;
pub mod replaying;
pub mod rss;
pub mod runner;
pub mod scenario;
pub mod scenarios;
pub mod server;
pub mod tally;
pub mod world;

pub use card_world::CardWorld;
pub use linux_world::LinuxWorld;
pub use scenario::{Run, Scenario};
pub use world::World;
