//! What the program `guest-probe` is asked for, and what it answers: both are JSON, so that a test on the host and the
//! program in a guest speak by the same types.
//!
//! The program runs inside a virtual machine as root, `guest-probe JOB`. It sends and receives by ways that Linux offers
//! without a copy (AF_XDP, MSG_ZEROCOPY, sendfile), and tells by physical address where the bytes lie. It says nothing
//! `unsafe`: its maps are vm-memory's, its sockets rustix' and nix'.
//!
//! Not implemented: AF_XDP frames of several buffers (ixgbe has none), chunks that are not aligned, time stamps.

#![forbid(unsafe_code)]

mod job;
mod report;

pub use job::{Act, Job, SendFile, SendZeroCopy, Transport, UmemUse, Wait, Wakeup, Xdp};
pub use report::{Place, QueueEnd, Report};

/// What the page with this number holds that [`SendZeroCopy`] sends: 4096 bytes, and no two pages are alike.
#[must_use]
pub fn pattern(page: usize) -> Vec<u8> {
    let byte = |at: usize| at.wrapping_mul(2 * page + 1) ^ (at >> 8) ^ page;
    (0..4096).map(|at| byte(at).to_le_bytes()[0]).collect()
}
