//! The register file: one value for each element of each row of the register table.

mod saved;

use ixgbe_spec::register::{Access, Reg, SLOTS};

pub(crate) use saved::Saved;

/// The values of all registers of a port.
///
/// Plain storage: what a write sets in motion is the affair of the register's chapter.
#[derive(Clone, Debug)]
pub struct RegisterFile {
    values: Box<[u32; SLOTS]>,
    /// What left the counters that a read clears, by a read or a reset.
    left: Box<[u64; SLOTS]>,
}

impl Default for RegisterFile {
    fn default() -> Self {
        let mut file = Self {
            values: Box::new([0; SLOTS]),
            left: Box::new([0; SLOTS]),
        };
        Reg::ALL.iter().for_each(|reg| file.reset(*reg));
        file
    }
}

impl RegisterFile {
    /// Value of element `index`; 0 if there is no such element.
    #[inline]
    #[must_use]
    pub fn get(&self, reg: Reg, index: usize) -> u32 {
        if index >= reg.count() {
            return 0;
        }
        self.values
            .get(reg.first_slot() + index)
            .copied()
            .unwrap_or(0)
    }

    /// Sets element `index`, whatever the access kind and write mask (for the model itself). No effect if there is no
    /// such element.
    #[inline]
    pub fn set(&mut self, reg: Reg, index: usize, value: u32) {
        if index < reg.count()
            && let Some(slot) = self.values.get_mut(reg.first_slot() + index)
        {
            *slot = value;
        }
    }

    /// What software reads, with the side effect that the access kind has.
    pub fn read(&mut self, reg: Reg, index: usize) -> u32 {
        let value = self.get(reg, index);
        if reg.row().access == Access::ReadClear {
            self.keep(reg, index);
            self.set(reg, index, 0);
        }
        value
    }

    /// Values of all elements.
    #[inline]
    #[must_use]
    pub fn all(&self, reg: Reg) -> &[u32] {
        let first = reg.first_slot();
        self.values
            .get(first..first + reg.count())
            .unwrap_or_default()
    }

    /// Software has read `value` of a counter that a read clears, at an earlier time: takes out as much of it as is
    /// still there.
    pub fn take(&mut self, counter: Reg, index: usize, value: u32) {
        let value = value.min(self.get(counter, index));
        self.set(counter, index, self.get(counter, index) - value);
        self.has_left(counter, index, value);
    }

    /// The same for a 36-bit counter that lies in two registers, `low` and `high`.
    pub fn take36(&mut self, low: Reg, high: Reg, index: usize, value: u64) {
        let held = u64::from(self.get(high, index)) << 32 | u64::from(self.get(low, index));
        let value = value.min(held);
        self.set36(low, high, index, held - value);
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.has_left(low, index, u32::from_le_bytes([a, b, c, d]));
        self.has_left(high, index, u32::from_le_bytes([e, f, g, h]));
    }

    /// What a counter that a read clears has counted in all: what stands in it, and what reads and resets took out.
    #[must_use]
    pub fn total(&self, counter: Reg, index: usize) -> u64 {
        let left = self.left.get(counter.first_slot() + index).copied();
        left.unwrap_or(0)
            .wrapping_add(self.get(counter, index).into())
    }

    fn keep(&mut self, counter: Reg, index: usize) {
        self.has_left(counter, index, self.get(counter, index));
    }

    fn has_left(&mut self, counter: Reg, index: usize, value: u32) {
        if let Some(left) = self.left.get_mut(counter.first_slot() + index) {
            *left = left.wrapping_add(value.into());
        }
    }

    /// Stores what software writes as far as access kind and write mask allow; returns the value after it.
    pub fn write(&mut self, reg: Reg, index: usize, value: u32) -> u32 {
        let row = reg.row();
        let old = self.get(reg, index);
        let written = value & row.write_mask;
        let new = match row.access {
            Access::ReadWrite => old & !row.write_mask | written,
            Access::WriteOneToClear => old & !written,
            Access::WriteOneToSet => old | written,
            Access::ReadOnly | Access::ReadClear | Access::Effect => old,
        };
        self.set(reg, index, new);
        new
    }

    /// Puts all elements of a register back to the table's reset value.
    pub fn reset(&mut self, reg: Reg) {
        if reg.row().access == Access::ReadClear {
            (0..reg.count()).for_each(|index| self.keep(reg, index));
        }
        let first = reg.first_slot();
        if let Some(values) = self.values.get_mut(first..first + reg.count()) {
            values.fill(reg.row().reset);
        }
    }

    /// Adds to a 32-bit statistics counter, which stays at its maximum (8.2.3.23).
    #[inline]
    pub fn count(&mut self, counter: Reg, index: usize, by: u32) {
        let value = self.get(counter, index).saturating_add(by);
        self.set(counter, index, value);
    }

    /// Adds one to a 16-bit statistics counter: those of pauses, and FCCRC.
    pub fn count16(&mut self, counter: Reg, index: usize) {
        let value = self.get(counter, index);
        if value < u16::MAX.into() {
            self.set(counter, index, value + 1);
        }
    }

    /// Adds to a 36-bit counter that lies in two registers, `low` and `high` (4 bits).
    #[inline]
    pub fn count36(&mut self, low: Reg, high: Reg, index: usize, by: u64) {
        const MAX: u64 = (1 << 36) - 1;
        let value = u64::from(self.get(high, index)) << 32 | u64::from(self.get(low, index));
        self.set36(low, high, index, value.saturating_add(by).min(MAX));
    }

    fn set36(&mut self, low: Reg, high: Reg, index: usize, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.set(low, index, u32::from_le_bytes([a, b, c, d]));
        self.set(high, index, u32::from_le_bytes([e, f, g, h]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_changes_only_the_bits_of_the_write_mask() {
        let mut file = RegisterFile::default();
        assert_eq!(file.write(Reg::RDLEN, 3, u32::MAX), 0x000F_FF80);
        assert_eq!(file.read(Reg::RDLEN, 3), 0x000F_FF80);
        assert_eq!(file.read(Reg::RDLEN, 2), 0);
    }

    #[test]
    fn the_total_of_a_counter_goes_on_over_reads_and_resets() {
        let mut file = RegisterFile::default();
        file.count(Reg::GPTC, 0, 3);
        assert_eq!(file.read(Reg::GPTC, 0), 3);
        file.count(Reg::GPTC, 0, 4);
        file.reset(Reg::GPTC);
        file.count(Reg::GPTC, 0, 5);

        assert_eq!(file.get(Reg::GPTC, 0), 5);
        assert_eq!(file.total(Reg::GPTC, 0), 12);
    }

    #[test]
    fn every_counter_stays_at_its_maximum_until_it_is_read() {
        let mut file = RegisterFile::default();
        let counters = Reg::ALL
            .iter()
            .filter(|reg| reg.row().access == Access::ReadClear);
        for counter in counters {
            let last = counter.count() - 1;
            file.count(*counter, last, u32::MAX - 1);
            file.count(*counter, last, 5);

            assert_eq!(file.read(*counter, last), u32::MAX, "{counter:?}");
            assert_eq!(file.read(*counter, last), 0, "{counter:?}");
        }
    }

    #[test]
    fn a_counter_of_16_bits_stays_at_its_maximum_until_it_is_read() {
        let mut file = RegisterFile::default();
        file.set(Reg::LXOFFTXC, 0, 0xFFFE);
        (0..3).for_each(|_| file.count16(Reg::LXOFFTXC, 0));

        assert_eq!(file.read(Reg::LXOFFTXC, 0), 0xFFFF);
        file.count16(Reg::LXOFFTXC, 0);
        assert_eq!(file.read(Reg::LXOFFTXC, 0), 1);
    }

    #[test]
    fn a_counter_of_36_bits_carries_into_its_high_half_and_stays_at_its_maximum() {
        let mut file = RegisterFile::default();
        file.count36(Reg::GORCL, Reg::GORCH, 0, 0xFFFF_FFFF);
        file.count36(Reg::GORCL, Reg::GORCH, 0, 1);
        assert_eq!(file.get(Reg::GORCL, 0), 0);
        assert_eq!(file.get(Reg::GORCH, 0), 1);

        file.count36(Reg::GORCL, Reg::GORCH, 0, 0xF_0000_0000);
        assert_eq!(file.read(Reg::GORCL, 0), u32::MAX);
        assert_eq!(file.read(Reg::GORCH, 0), 0xF);
        assert_eq!(file.read(Reg::GORCH, 0), 0);
    }

    #[test]
    fn what_was_read_earlier_is_taken_out_and_what_was_counted_since_stays() {
        let mut file = RegisterFile::default();
        file.count(Reg::QPRC, 3, 10);

        file.take(Reg::QPRC, 3, 7);
        file.take(Reg::QPRC, 4, 7);

        assert_eq!(file.get(Reg::QPRC, 3), 3);
        assert_eq!(file.total(Reg::QPRC, 3), 10);
        assert_eq!(file.get(Reg::QPRC, 4), 0);
    }

    #[test]
    fn a_counter_of_36_bits_borrows_from_its_high_half() {
        let mut file = RegisterFile::default();
        file.count36(Reg::QBRC_L, Reg::QBRC_H, 0, 0x1_0000_0005);

        file.take36(Reg::QBRC_L, Reg::QBRC_H, 0, 0xFFFF_FFFF);

        assert_eq!(file.get(Reg::QBRC_L, 0), 6);
        assert_eq!(file.get(Reg::QBRC_H, 0), 0);
        let total = file.total(Reg::QBRC_L, 0) + (file.total(Reg::QBRC_H, 0) << 32);
        assert_eq!(total, 0x1_0000_0005);
    }

    #[test]
    fn an_element_that_does_not_exist_reads_zero_and_stores_nothing() {
        let mut file = RegisterFile::default();
        file.set(Reg::RDT, 128, 7);
        assert_eq!(file.get(Reg::RDT, 128), 0);
        assert_eq!(file.get(Reg::RXDCTL, 0), 0);
    }
}
