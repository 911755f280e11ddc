//! Register values that several commands look at.

use std::collections::HashMap;

use control::Client;
use ixgbe_spec::register::Reg;

use crate::regs;

/// The values of some registers at one time.
pub(crate) struct Values(HashMap<u32, u32>);

impl Values {
    /// Asks for all elements of `registers`.
    pub(crate) fn ask(client: &mut Client, registers: &[Reg]) -> anyhow::Result<Self> {
        let values = regs::values(client, registers)?;
        let by_offset = values
            .into_iter()
            .map(|register| (register.offset, register.value));
        Ok(Self(by_offset.collect()))
    }

    /// An element of one of them; 0 where there is none.
    pub(crate) fn get(&self, reg: Reg, index: usize) -> u32 {
        if index >= reg.count() {
            return 0;
        }
        self.0.get(&reg.offset(index)).copied().unwrap_or(0)
    }

    /// Two registers as one number.
    pub(crate) fn get64(&self, low: Reg, high: Reg, index: usize) -> u64 {
        u64::from(self.get(high, index)) << 32 | u64::from(self.get(low, index))
    }
}
