//! The checksums of the Internet, and SCTP's.

/// The one's complement sum of 16-bit words (RFC 1071), as it stands in a header; an odd last byte is the high one of a word.
pub(crate) fn internet(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for word in part.chunks(2) {
            let high = u64::from(word[0]) << 8;
            sum += high + u64::from(word.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0xFFFF)
}

/// CRC32c over a packet whose checksum is zero, as it stands in SCTP's header (RFC 9260, 6.8).
pub(crate) fn sctp(packet: &[u8]) -> u32 {
    crc32c::crc32c(packet).swap_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_sum_is_etherparses(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let oracle = etherparse::checksum::Sum16BitWords::new().add_slice(&bytes).ones_complement();

            prop_assert_eq!(internet(&[&bytes]), oracle.to_be());
        }
    }
}
