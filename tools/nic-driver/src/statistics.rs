//! The card's counters (8.2.3.23), which a read clears: the driver keeps the totals.

use std::collections::BTreeMap;

use ixgbe_spec::register::{Access, Chapter, Coverage, Reg};

use crate::{Device, DriverError};

/// Totals of the counters that the card keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    totals: BTreeMap<(Reg, usize), u64>,
}

impl Statistics {
    /// Adds what the counters show now.
    pub(crate) fn update(&mut self, device: &mut dyn Device) -> Result<(), DriverError> {
        let counters = Reg::ALL.iter().filter(|reg| {
            let row = reg.row();
            row.chapter == Chapter::Statistics
                && row.access == Access::ReadClear
                && row.coverage == Coverage::Works
        });
        for reg in counters {
            for index in 0..reg.count() {
                let value = device.read(reg.offset(index))?;
                *self.totals.entry((*reg, index)).or_default() += u64::from(value);
            }
        }
        Ok(())
    }

    /// Total of counter `index` of `reg`; 0 for what is no counter.
    #[must_use]
    pub fn total(&self, reg: Reg, index: usize) -> u64 {
        self.totals.get(&(reg, index)).copied().unwrap_or(0)
    }

    /// Total of a counter that is spread over two registers, for instance GORCL and GORCH.
    #[must_use]
    pub fn wide(&self, low: Reg, high: Reg, index: usize) -> u64 {
        self.total(low, index) + (self.total(high, index) << 32)
    }

    /// The counters that are not 0, in the order of the register table.
    pub fn iter(&self) -> impl Iterator<Item = (Reg, usize, u64)> {
        self.totals
            .iter()
            .filter(|(_, total)| **total != 0)
            .map(|((reg, index), total)| (*reg, *index, *total))
    }
}
