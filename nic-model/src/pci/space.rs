//! Configuration space as storage: bytes, and which of their bits software can change.

use ixgbe_spec::pci::CONFIG_SIZE;

/// 4096 bytes with, for each bit, what a write does to it.
#[derive(Debug)]
pub(super) struct ConfigSpace {
    bytes: Box<[u8]>,
    writable: Box<[u8]>,
    clear_by_one: Box<[u8]>,
}

impl ConfigSpace {
    /// All zero and read-only.
    pub(super) fn new() -> Self {
        let zeroes = || vec![0; CONFIG_SIZE].into_boxed_slice();
        Self {
            bytes: zeroes(),
            writable: zeroes(),
            clear_by_one: zeroes(),
        }
    }

    /// The bits that software can write.
    pub(super) fn writable(&self) -> &[u8] {
        &self.writable
    }

    /// The bits that a written 1 clears.
    pub(super) fn clear_by_one(&self) -> &[u8] {
        &self.clear_by_one
    }

    /// Reads; bytes past the end are 0.
    pub(super) fn read(&self, offset: usize, to: &mut [u8]) {
        to.fill(0);
        let end = offset.saturating_add(to.len()).min(self.bytes.len());
        if let Some(from) = self.bytes.get(offset..end) {
            to[..from.len()].copy_from_slice(from);
        }
    }

    /// A write of software, as far as the masks let it; bytes past the end are ignored.
    pub(super) fn write(&mut self, offset: usize, from: &[u8]) {
        let cells = self
            .bytes
            .iter_mut()
            .zip(&self.writable)
            .zip(&self.clear_by_one)
            .skip(offset);
        for (((byte, writable), clear), new) in cells.zip(from) {
            *byte = (*byte & !writable | new & writable) & !(new & clear);
        }
    }

    /// A 16-bit register.
    pub(super) fn get16(&self, offset: usize) -> u16 {
        let mut bytes = [0; 2];
        self.read(offset, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// A 32-bit register.
    pub(super) fn get32(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Sets bytes, whatever the masks (for the model itself).
    pub(super) fn set(&mut self, offset: usize, value: &[u8]) {
        put(&mut self.bytes, offset, value);
    }

    /// Sets bits of a 16-bit register, whatever the masks.
    pub(super) fn raise16(&mut self, offset: usize, bits: u16) {
        self.set(offset, &(self.get16(offset) | bits).to_le_bytes());
    }

    /// Sets bits of a 32-bit register, whatever the masks.
    pub(super) fn raise32(&mut self, offset: usize, bits: u32) {
        self.set(offset, &(self.get32(offset) | bits).to_le_bytes());
    }

    /// Sets a 16-bit register and says which of its bits software can write.
    pub(super) fn define16(&mut self, offset: usize, value: u16, writable: u16) {
        self.set(offset, &value.to_le_bytes());
        put(&mut self.writable, offset, &writable.to_le_bytes());
    }

    /// Sets a 32-bit register and says which of its bits software can write.
    pub(super) fn define32(&mut self, offset: usize, value: u32, writable: u32) {
        self.set(offset, &value.to_le_bytes());
        put(&mut self.writable, offset, &writable.to_le_bytes());
    }

    /// Says which bits of a 32-bit register a written 1 clears.
    pub(super) fn clear_by_one32(&mut self, offset: usize, bits: u32) {
        put(&mut self.clear_by_one, offset, &bits.to_le_bytes());
    }

    /// Says which bits of a 16-bit register a written 1 clears.
    pub(super) fn clear_by_one16(&mut self, offset: usize, bits: u16) {
        put(&mut self.clear_by_one, offset, &bits.to_le_bytes());
    }
}

fn put(cells: &mut [u8], offset: usize, value: &[u8]) {
    for (cell, byte) in cells.iter_mut().skip(offset).zip(value) {
        *cell = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_across_the_end_touches_only_what_is_there() {
        let mut space = ConfigSpace::new();
        space.define32(CONFIG_SIZE - 4, 0x1122_3344, u32::MAX);
        space.write(CONFIG_SIZE - 1, &[0xAA, 0xBB, 0xCC]);
        let mut bytes = [0xFF; 4];
        space.read(CONFIG_SIZE - 2, &mut bytes);
        assert_eq!(bytes, [0x22, 0xAA, 0, 0]);
        space.read(usize::MAX, &mut bytes);
        assert_eq!(bytes, [0; 4]);
    }
}
