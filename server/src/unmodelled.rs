//! Tells of accesses to registers that are not fully modelled.

use ixgbe_spec::register::{CSR_SPACE, Reg};

const DWORDS: usize = (CSR_SPACE / 4) as usize;

/// Which registers a client has been told of. A driver's author sees with `--log debug` what the driver uses that has no
/// effect here, a line for each register.
#[derive(Debug)]
pub(crate) struct Unmodelled {
    /// By register, then by dword of the register space for those that are none.
    told: Vec<bool>,
}

impl Default for Unmodelled {
    fn default() -> Self {
        Self {
            told: vec![false; Reg::ALL.len() + DWORDS],
        }
    }
}

impl Unmodelled {
    /// The client reads or writes at byte `offset` of the register space.
    pub(crate) fn touched(&mut self, offset: u64) {
        let Ok(at) = u32::try_from(offset) else {
            return;
        };
        let (name, place, reason) = match Reg::decode(at) {
            Some((reg, _)) => match reg.gap() {
                None => return,
                Some(gap) => (reg.row().name, reg as usize, gap.reason()),
            },
            None => (
                "none",
                Reg::ALL.len() + (at / 4) as usize,
                "the table has no register here",
            ),
        };
        if let Some(told) = self.told.get_mut(place)
            && !std::mem::replace(told, true)
        {
            tracing::debug!(
                register = name,
                offset = format_args!("{offset:#07x}"),
                "not modelled: {reason}"
            );
        }
    }
}
