//! The memory of the module in the cage (SFF-8472): what it is, and what it measures.

mod diagnostics;
mod identity;
#[cfg(test)]
mod tests;

use super::Module;

/// Device address of the page that says what the module is.
const IDENTITY: u8 = 0xA0;
/// Device address of the page with its measurements.
const DIAGNOSTICS: u8 = 0xA2;

/// The module, and what it notices of its surroundings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sfp {
    /// What it is.
    pub(super) module: Module,
    /// Light, or a signal, arrives at it.
    pub(super) receives: bool,
    /// The pin TX_DISABLE lets it send.
    pub(super) may_send: bool,
}

impl Sfp {
    /// The page at a device address (bit 0, read or write, does not matter), if the module answers there.
    pub(super) fn page(&self, device: u8) -> Option<[u8; 256]> {
        match device & 0xFE {
            IDENTITY => Some(identity::of(self.module)?.page()),
            DIAGNOSTICS => Some(diagnostics::of(self.module)?.page(self)),
            _ => None,
        }
    }
}

/// Writes `bytes` from `at` on; both are constants of this module's children.
fn put(page: &mut [u8; 256], at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Check code: the low 8 bits of the sum.
fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}
