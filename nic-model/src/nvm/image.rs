//! What an NVM chip holds, and how a file holds it: as `ethtool -e ethX raw on` writes it.

use std::fmt;

use ixgbe_spec::nvm::{
    CHECKSUM, CHECKSUM_SUM, CORE_SECTION_POINTER, FIRST_SECTION_POINTER, LAST_SECTION_POINTER,
    MAX_WORDS, MIN_WORDS,
};
use thiserror::Error;

use super::factory;
use crate::port::{LanId, PortConfig};

/// The words of an NVM chip.
///
/// As bytes, they follow each other from word 0, the low byte of each first; nothing is before or after them.
#[derive(Clone, PartialEq, Eq)]
pub struct NvmImage {
    /// A power of two of them.
    words: Vec<u16>,
}

/// A file is no NVM: no chip has this size.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an NVM has 4096, 8192, 16384 or 32768 bytes, and this one {bytes}")]
pub struct NvmSizeError {
    /// The size that it has.
    pub bytes: usize,
}

impl NvmImage {
    /// What the factory writes into the chip of a card with these ports: one, or the two of a card.
    #[must_use]
    pub fn factory(ports: &[&PortConfig]) -> Self {
        Self {
            words: factory::words(ports),
        }
    }

    /// The bytes of the chip.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// The MAC address of a port of the card, if there is one: words 1 to 3 of the port's core section.
    #[must_use]
    pub fn mac(&self, lan_id: LanId) -> Option<[u8; 6]> {
        let pointer = self.pointer(CORE_SECTION_POINTER + lan_id.index())?;
        let word = |n| self.word(pointer + n).map(u16::to_le_bytes);
        let ([a, b], [c, d], [e, f]) = (word(1)?, word(2)?, word(3)?);
        Some([a, b, c, d, e, f])
    }

    /// Whether the checksum is that of the words (6.3.2.8). Drivers refuse a card where it is not.
    #[must_use]
    pub fn checksum_is_right(&self) -> bool {
        self.word(CHECKSUM) == Some(checksum(&self.words))
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn word(&self, address: usize) -> Option<u16> {
        self.words.get(address).copied()
    }

    /// The pointer at a word, if it leads anywhere.
    pub(super) fn pointer(&self, address: usize) -> Option<usize> {
        self.word(address)
            .filter(|pointer| leads(*pointer))
            .map(usize::from)
    }

    pub(super) fn set_word(&mut self, address: usize, value: u16) {
        if let Some(word) = self.words.get_mut(address) {
            *word = value;
        }
    }

    /// The byte at an address; all ones past the chip's end.
    pub(super) fn byte(&self, address: usize) -> u8 {
        let word = self.word(address / 2).unwrap_or(0xFFFF);
        word.to_le_bytes()[address % 2]
    }

    pub(super) fn set_byte(&mut self, address: usize, value: u8) {
        if let Some(word) = self.words.get_mut(address / 2) {
            let mut bytes = word.to_le_bytes();
            bytes[address % 2] = value;
            *word = u16::from_le_bytes(bytes);
        }
    }
}

impl fmt::Debug for NvmImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NvmImage")
            .field("words", &self.words.len())
            .finish_non_exhaustive()
    }
}

impl TryFrom<&[u8]> for NvmImage {
    type Error = NvmSizeError;

    fn try_from(bytes: &[u8]) -> Result<Self, NvmSizeError> {
        let words = bytes.len() / 2;
        let is_chip = (MIN_WORDS..=MAX_WORDS).contains(&words) && words.is_power_of_two();
        if !is_chip || !bytes.len().is_multiple_of(2) {
            return Err(NvmSizeError { bytes: bytes.len() });
        }
        let (words, _) = bytes.as_chunks::<2>();
        Ok(Self {
            words: words.iter().copied().map(u16::from_le_bytes).collect(),
        })
    }
}

/// Whether a pointer, or the length of a section, is one.
const fn leads(word: u16) -> bool {
    !matches!(word, 0 | 0xFFFF)
}

/// The word that makes the sum of the header and the sections right (6.3.2.8).
pub(super) fn checksum(words: &[u16]) -> u16 {
    let sum = |from: usize, len: usize| {
        words
            .iter()
            .skip(from)
            .take(len)
            .fold(0_u16, |sum, word| sum.wrapping_add(*word))
    };
    let word = |at: usize| words.get(at).copied().filter(|word| leads(*word));
    let sections = (FIRST_SECTION_POINTER..=LAST_SECTION_POINTER)
        .filter_map(|at| {
            let section = usize::from(word(at)?);
            Some(sum(section + 1, usize::from(word(section)?)))
        })
        .fold(0_u16, u16::wrapping_add);
    CHECKSUM_SUM
        .wrapping_sub(sum(0, CHECKSUM))
        .wrapping_sub(sections)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn factory() -> NvmImage {
        NvmImage::factory(&[&PortConfig::new([2, 1, 2, 3, 4, 5])])
    }

    #[test]
    fn bytes_are_words_with_the_low_byte_first() {
        let bytes = factory().to_bytes();

        assert_eq!(bytes.len(), 16_384);
        assert_eq!(
            bytes[0x2A..0x2C],
            [0xFA, 0xFA],
            "the board's number is text"
        );
        assert_eq!(bytes[0x56..0x58], [0x40, 0x01], "the list of modules");
    }

    #[test]
    fn one_bit_more_or_less_makes_the_checksum_wrong() {
        let mut bytes = factory().to_bytes();
        bytes[0x40] ^= 1;

        let damaged = NvmImage::try_from(bytes.as_slice()).unwrap();

        assert!(factory().checksum_is_right());
        assert!(!damaged.checksum_is_right());
    }

    #[test]
    fn a_section_without_a_length_does_not_count() {
        let mut bytes = factory().to_bytes();
        // A pointer that was not there (-1) leads to words that are all ones: the header's sum grows by 0x0801.
        bytes[0x06..0x08].copy_from_slice(&[0x00, 0x08]);
        let right = u16::from_le_bytes([bytes[0x7E], bytes[0x7F]]).wrapping_sub(0x0801);
        bytes[0x7E..0x80].copy_from_slice(&right.to_le_bytes());

        assert!(
            NvmImage::try_from(bytes.as_slice())
                .unwrap()
                .checksum_is_right()
        );
    }

    #[test]
    fn what_has_no_chips_size_is_no_nvm() {
        let refused = [0, 1, 2048, 4095, 4097, 12_288, 65_536]
            .map(|bytes| NvmImage::try_from(vec![0; bytes].as_slice()));

        assert!(refused.iter().all(Result::is_err));
        assert_eq!(refused[3], Err(NvmSizeError { bytes: 4095 }));
    }

    proptest! {
        #[test]
        fn an_image_is_the_bytes_that_it_was_made_of(
            bytes in prop_oneof![Just(4096), Just(8192), Just(32_768)]
                .prop_flat_map(|len: usize| prop::collection::vec(any::<u8>(), len)),
        ) {
            let image = NvmImage::try_from(bytes.as_slice()).unwrap();

            let _ = (image.mac(LanId::Port0), image.mac(LanId::Port1), image.checksum_is_right());
            prop_assert_eq!(image.to_bytes(), bytes);
        }
    }
}
