//! Fields of some bits in bytes, the highest bit first, as headers are drawn.

/// Reads `width` (at most 128) bits from bit `at` on; `None` if they are not all there.
pub(crate) fn read(bytes: &[u8], at: usize, width: usize) -> Option<u128> {
    let mut value = 0;
    for bit in at..at + width {
        let byte = bytes.get(bit / 8)?;
        value = value << 1 | u128::from(byte >> (7 - bit % 8) & 1);
    }
    Some(value)
}

/// Writes the low `width` bits of `value`. What lies beyond the bytes is left out.
pub(crate) fn write(bytes: &mut [u8], at: usize, width: usize, value: u128) {
    for index in 0..width {
        let bit = at + width - 1 - index;
        let Some(byte) = bytes.get_mut(bit / 8) else {
            continue;
        };
        let mask = 1 << (7 - bit % 8);
        if index < 128 && value >> index & 1 == 1 {
            *byte |= mask;
        } else {
            *byte &= !mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_highest_bit_comes_first() {
        assert_eq!(read(&[0b1010_0000, 0xFF], 0, 3), Some(0b101));
        assert_eq!(read(&[0x12, 0x34, 0x56], 4, 12), Some(0x234));
        assert_eq!(read(&[0x12], 4, 5), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_nothing_else_has_changed(
            mut bytes: [u8; 24],
            at in 0..64_usize,
            width in 1..=128_usize,
            value: u128,
        ) {
            let before = bytes;
            let value = if width == 128 { value } else { value & ((1 << width) - 1) };

            write(&mut bytes, at, width, value);

            prop_assert_eq!(read(&bytes, at, width), Some(value));
            prop_assert_eq!(read(&bytes, 0, at), read(&before, 0, at));
            let after = (at + width).max(64);
            prop_assert_eq!(read(&bytes, after, 192 - after), read(&before, after, 192 - after));
        }
    }
}
