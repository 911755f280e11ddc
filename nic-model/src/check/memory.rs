//! Client memory, as far as it can be looked at without side effects.

use crate::bus::{Bus, Iova};

/// Copies the bytes at `iova`. Only what the client has mapped by a file descriptor can be read at once; returns whether
/// that was all of it.
pub(super) fn read(bus: &dyn Bus, iova: u64, to: &mut [u8]) -> bool {
    let slice = bus
        .look(Iova(iova))
        .and_then(|window| window.slice(Iova(iova), to.len()));
    match slice {
        Some(slice) => {
            slice.copy_to(to);
            true
        }
        None => to.is_empty(),
    }
}
