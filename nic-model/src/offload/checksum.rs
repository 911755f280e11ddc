//! The Internet checksum: ones' complement sums of 16-bit words (RFC 1071).

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::bus::Span;

/// A running ones' complement sum over bytes that come in pieces of any length.
///
/// The pieces count as if they lay one after the other: after an odd number of bytes the next byte is the low half of
/// its word.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    /// Sum of the folded sums of the pieces.
    total: u64,
    /// Whether an odd number of bytes has been added.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            total: 0,
            odd: false,
        }
    }

    /// The sum of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = Self::new();
        sum.add(bytes);
        sum
    }

    /// The pseudo-header of TCP and UDP over IPv4 (RFC 9293, 3.1): addresses, protocol, and the length of L4 header and
    /// payload.
    #[must_use]
    pub fn pseudo_header_v4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, len: u32) -> Self {
        let mut sum = Self::of(&from.octets());
        sum.add(&to.octets());
        sum.add_number(u64::from(protocol) + u64::from(len));
        sum
    }

    /// The pseudo-header of upper-layer protocols over IPv6 (RFC 8200, 8.1).
    #[must_use]
    pub fn pseudo_header_v6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, len: u32) -> Self {
        let mut sum = Self::of(&from.octets());
        sum.add(&to.octets());
        sum.add_number(u64::from(protocol) + u64::from(len));
        sum
    }

    /// Adds the bytes that follow.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        self.append(Self {
            total: u64::from(sum_words(bytes)),
            odd: !bytes.len().is_multiple_of(2),
        });
    }

    /// Adds the bytes that `next` is the sum of, as those that follow.
    #[inline]
    pub fn append(&mut self, next: Self) {
        let folded = next.folded();
        self.total += u64::from(if self.odd {
            folded.swap_bytes()
        } else {
            folded
        });
        self.odd ^= next.odd;
    }

    /// Adds a number as if its 16-bit words lay at an even place.
    #[inline]
    pub fn add_number(&mut self, number: u64) {
        self.total += u64::from(fold(number));
    }

    /// Takes away a number that had been added.
    #[inline]
    pub fn subtract_number(&mut self, number: u64) {
        self.total += u64::from(!fold(number));
    }

    /// Adds `len` bytes of `span` from `offset` on, less where the span ends first. They are read once.
    pub fn add_span(&mut self, span: &Span<'_>, offset: usize, len: usize) {
        match span {
            Span::Owned(bytes) => {
                let rest = bytes.get(offset..).unwrap_or_default();
                self.add(rest.get(..len).unwrap_or(rest));
            }
            Span::Mapped(_) => {
                // The client may write to its pages while they are read, so they are summed on a copy that stays in the
                // first-level cache.
                let mut chunk = [0; 2048];
                let mut at = offset;
                let mut left = len;
                while left > 0 {
                    let want = left.min(chunk.len());
                    let got = span.copy_to(at, &mut chunk[..want]);
                    if got == 0 {
                        break;
                    }
                    self.add(&chunk[..got]);
                    at += got;
                    left -= got;
                }
            }
        }
    }

    /// Adds the bytes of all `spans` in order.
    pub fn add_spans(&mut self, spans: &[Span<'_>]) {
        for span in spans {
            self.add_span(span, 0, span.len());
        }
    }

    /// The sum in 16 bits.
    #[inline]
    #[must_use]
    pub fn folded(self) -> u16 {
        fold(self.total)
    }

    /// The checksum: the sum's complement.
    #[inline]
    #[must_use]
    pub fn checksum(self) -> u16 {
        !self.folded()
    }

    /// The checksum as UDP writes it: 0 means "none" there, and 0xFFFF stands for it (RFC 768).
    #[inline]
    #[must_use]
    pub fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xFFFF,
            checksum => checksum,
        }
    }
}

/// Checksum of an IPv4 header whose checksum field is zero (RFC 791). With the field filled, the result for an intact
/// header is 0.
#[inline]
#[must_use]
pub fn ipv4_header(header: &[u8]) -> u16 {
    // Nearly all have no options.
    if let Ok(plain) = <&[u8; 20]>::try_from(header) {
        let words = plain.as_chunks::<4>().0;
        let sum = words.iter().fold(0, |sum: u64, word| {
            sum + u64::from(u32::from_ne_bytes(*word))
        });
        return !u16::from_be(fold(sum));
    }
    Sum::of(header).checksum()
}

/// Ones' complement sum of the 16-bit words of `number`.
#[inline]
const fn fold(number: u64) -> u16 {
    let sum = (number >> 32) + (number & 0xFFFF_FFFF);
    let sum = (sum >> 32) + (sum & 0xFFFF_FFFF);
    let sum = (sum >> 16) + (sum & 0xFFFF);
    let sum = (sum >> 16) + (sum & 0xFFFF);
    let [low, high, ..] = ((sum >> 16) + (sum & 0xFFFF)).to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// Folded sum of the big-endian words of `bytes`.
///
/// The sum does not care about byte order but for a swap of the result (RFC 1071, 2.B), so the words are added as the
/// machine reads them, 32 bits at a time in eight lanes that the compiler makes vectors of.
#[inline]
fn sum_words(bytes: &[u8]) -> u16 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let (words, last) = rest.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    sum += match last {
        [] => 0,
        [a] => u64::from(u32::from_ne_bytes([*a, 0, 0, 0])),
        [a, b] => u64::from(u32::from_ne_bytes([*a, *b, 0, 0])),
        [a, b, c, ..] => u64::from(u32::from_ne_bytes([*a, *b, *c, 0])),
    };
    if !blocks.is_empty() {
        let mut lanes = [0_u64; 8];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        sum = lanes
            .iter()
            .fold(sum, |sum, lane| sum + (lane >> 32) + (lane & 0xFFFF_FFFF));
    }
    u16::from_be(fold(sum))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use etherparse::checksum::Sum16BitWords;
    use proptest::prelude::*;
    use vm_memory::VolatileSlice;

    use super::*;

    fn oracle(bytes: &[u8]) -> u16 {
        u16::from_be(
            Sum16BitWords::new()
                .add_slice(bytes)
                .to_ones_complement_with_no_zero(),
        )
    }

    fn no_zero(checksum: u16) -> u16 {
        if checksum == 0 { 0xFFFF } else { checksum }
    }

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        let sum = Sum::of(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]);
        assert_eq!(sum.folded(), 0xDDF2);
    }

    #[test]
    fn an_ipv4_header_with_its_checksum_in_place_checks_to_zero() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xB8, 0x61, 0xC0, 0xA8,
            0x00, 0x01, 0xC0, 0xA8, 0x00, 0xC7,
        ];
        assert_eq!(ipv4_header(&header), 0);
        let mut blank = header;
        blank[10..12].fill(0);
        assert_eq!(ipv4_header(&blank), 0xB861);
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        assert_eq!(Sum::of(&[0xFF, 0xFF]).checksum(), 0);
        assert_eq!(Sum::of(&[0xFF, 0xFF]).udp_checksum(), 0xFFFF);
    }

    #[test]
    fn the_ipv6_pseudo_header_is_that_of_etherparse() {
        let from = Ipv6Addr::new(0x2001, 0xDB8, 1, 2, 3, 4, 5, 6);
        let to = Ipv6Addr::new(0xFE80, 0, 0, 0, 0xFFFF, 0xEEEE, 7, 9);
        let payload = [1_u8, 2, 3, 4, 5];
        let header = etherparse::UdpHeader {
            source_port: 0,
            destination_port: 0,
            length: 13,
            checksum: 0,
        };
        let expected = header
            .calc_checksum_ipv6_raw(from.octets(), to.octets(), &payload)
            .unwrap();
        let mut sum = Sum::pseudo_header_v6(from, to, 17, 13);
        sum.add(&[0, 0, 0, 0, 0, 13, 0, 0]);
        sum.add(&payload);
        assert_eq!(sum.udp_checksum(), expected);
    }

    proptest! {
        #[test]
        fn the_sum_of_any_bytes_is_that_of_etherparse(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
            prop_assert_eq!(no_zero(Sum::of(&bytes).checksum()), oracle(&bytes));
        }

        #[test]
        fn pieces_of_any_length_sum_to_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 0..12),
        ) {
            let mut sum = Sum::new();
            for piece in &pieces {
                sum.add(piece);
            }
            prop_assert_eq!(no_zero(sum.checksum()), oracle(&pieces.concat()));
        }

        #[test]
        fn spans_sum_to_the_whole(
            mut pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..5),
        ) {
            let whole = pieces.concat();
            let first: Rc<[u8]> = Rc::from(pieces.remove(0));
            let mut spans = vec![Span::Owned(first)];
            spans.extend(pieces.iter_mut().map(|piece| Span::Mapped(VolatileSlice::from(piece.as_mut_slice()))));
            let mut sum = Sum::new();
            sum.add_spans(&spans);
            prop_assert_eq!(no_zero(sum.checksum()), oracle(&whole));
        }

        #[test]
        fn a_number_that_is_taken_away_was_never_there(
            bytes in prop::collection::vec(any::<u8>(), 1..60),
            number in any::<u32>(),
        ) {
            let mut sum = Sum::of(&bytes);
            sum.add_number(number.into());
            sum.subtract_number(number.into());
            prop_assert_eq!(no_zero(sum.checksum()), no_zero(Sum::of(&bytes).checksum()));
        }
    }
}
