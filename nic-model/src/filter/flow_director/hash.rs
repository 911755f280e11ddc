//! The hash of the Flow Director (7.1.2.7): what a frame's fields say about its bucket and its signature.

use serde::{Deserialize, Serialize};

/// The fields that are hashed and compared, after masking. Masked and absent fields are 0.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tuple {
    /// Source address; IPv4 in the first four bytes.
    pub(crate) source: [u8; 16],
    /// Destination address; IPv4 in the first four bytes.
    pub(crate) destination: [u8; 16],
    /// Source port.
    pub(crate) source_port: u16,
    /// Destination port.
    pub(crate) destination_port: u16,
    /// VLAN priority and id, CFI cleared.
    pub(crate) vlan: u16,
    /// The two flexible bytes of the frame, first one high.
    pub(crate) flex: u16,
    /// VM pool.
    pub(crate) pool: u8,
    /// L4 protocol (1:0: 1 UDP, 2 TCP, 3 SCTP) and IPv6 (2).
    pub(crate) flow_type: u8,
}

impl Tuple {
    /// The fields in the order in which the hash takes them.
    fn stream(&self) -> [u8; STREAM_LEN] {
        let mut stream = [0; STREAM_LEN];
        stream[0..2].copy_from_slice(&self.vlan.to_be_bytes());
        stream[2..18].copy_from_slice(&self.source);
        stream[18..34].copy_from_slice(&self.destination);
        stream[34..36].copy_from_slice(&self.source_port.to_be_bytes());
        stream[36..38].copy_from_slice(&self.destination_port.to_be_bytes());
        stream[38..40].copy_from_slice(&self.flex.to_be_bytes());
        stream[40] = self.pool;
        stream[41] = self.flow_type;
        stream
    }

    /// The fields that lie at bit 16 of a 32-bit column of the stream, summed: the key repeats every 32 bits, so the
    /// hash does not tell them apart.
    #[inline]
    fn column(&self) -> u32 {
        let words = |bytes: &[u8; 16]| {
            let [a, b] = [0, 8].map(|at| {
                let mut half = [0; 8];
                half.copy_from_slice(&bytes[at..at + 8]);
                u64::from_be_bytes(half)
            });
            a ^ b
        };
        let both = words(&self.source) ^ words(&self.destination);
        let ports = u32::from(self.source_port) << 16 | u32::from(self.destination_port);
        ((both >> 32 ^ both) & 0xFFFF_FFFF) as u32 ^ ports ^ u32::from(self.flex) << 16
    }

    /// The fields that differ from the rest in where the key starts for them.
    #[inline]
    fn ends(&self) -> u32 {
        u32::from(self.pool) << 24 | u32::from(self.flow_type) << 16 | u32::from(self.vlan)
    }
}

const STREAM_LEN: usize = 42;
const STREAM_BITS: usize = 8 * STREAM_LEN;
/// Bits of the stretched key.
const KEY_BITS: usize = 351;

/// The hash by its definition, 16 bits: the windows of the (circular) stream that begin where a key bit is set.
fn definition(key: u32, stream: &[u8; STREAM_LEN]) -> u16 {
    // Bit 0 of the stream is the last bit of the last byte; the stretched stream starts 15 bits before it.
    let stream_bit = |n: usize| {
        let bit = (n + STREAM_BITS - 15) % STREAM_BITS;
        u16::from(stream[STREAM_LEN - 1 - bit / 8] >> (bit % 8) & 1)
    };
    (0..KEY_BITS)
        .filter(|i| key >> ((i + 1) % 32) & 1 == 1)
        .fold(0, |hash, i| {
            hash ^ (0..16).fold(0, |window, bit| window | stream_bit(i + bit) << bit)
        })
}

/// Both hashes of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashes {
    /// By FDIRHKEY; as many low bits of it as the table has buckets.
    pub(crate) bucket: u16,
    /// By FDIRSKEY, 15 bits.
    pub(crate) signature: u16,
}

/// The hash function for a pair of keys (FDIRHKEY, FDIRSKEY).
///
/// It is linear, so each half byte of the two sums [`Tuple::column`] and [`Tuple::ends`] contributes a value that is
/// looked up, for both keys at once.
#[derive(Clone, Debug)]
pub(crate) struct Hasher {
    table: Box<[[u32; 16]; 16]>,
}

impl Hasher {
    /// The tables for two keys.
    pub(crate) fn new(bucket_key: u32, signature_key: u32) -> Self {
        let mut table = Box::new([[0; 16]; 16]);
        for (place, row) in table.iter_mut().enumerate() {
            let bits = [0, 1, 2, 3].map(|bit| {
                let value = 1u64 << (4 * place + bit);
                let stream = example((value & 0xFFFF_FFFF) as u32, (value >> 32) as u32);
                u32::from(definition(signature_key, &stream)) << 16
                    | u32::from(definition(bucket_key, &stream))
            });
            for (value, hash) in row.iter_mut().enumerate() {
                *hash = bits
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| value >> bit & 1 == 1)
                    .fold(0, |hash, (_, part)| hash ^ part);
            }
        }
        Self { table }
    }

    /// Both hashes of `tuple`.
    #[inline]
    pub(crate) fn hash(&self, tuple: &Tuple) -> Hashes {
        let mut value = u64::from(tuple.ends()) << 32 | u64::from(tuple.column());
        let mut hash = 0;
        for row in self.table.iter() {
            hash ^= row[(value & 0xF) as usize];
            value >>= 4;
        }
        Hashes {
            bucket: (hash & 0xFFFF) as u16,
            signature: (hash >> 16 & 0x7FFF) as u16,
        }
    }
}

/// A stream of which [`Tuple::column`] and [`Tuple::ends`] are as given.
fn example(column: u32, ends: u32) -> [u8; STREAM_LEN] {
    let mut tuple = Tuple {
        vlan: (ends & 0xFFFF) as u16,
        flow_type: (ends >> 16 & 0xFF) as u8,
        pool: (ends >> 24) as u8,
        ..Tuple::default()
    };
    tuple.source[..4].copy_from_slice(&column.to_be_bytes());
    tuple.stream()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    /// The keys that Linux and DPDK program.
    const BUCKET_KEY: u32 = 0x3DAD_14E2;
    const SIGNATURE_KEY: u32 = 0x174D_3614;

    fn ipv4(flow_type: u8, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Tuple {
        let mut tuple = Tuple {
            source_port: from.1,
            destination_port: to.1,
            flow_type,
            ..Tuple::default()
        };
        tuple.source[..4].copy_from_slice(&from.0);
        tuple.destination[..4].copy_from_slice(&to.0);
        tuple
    }

    fn hash(tuple: &Tuple) -> (u16, u16) {
        let hashes = Hasher::new(BUCKET_KEY, SIGNATURE_KEY).hash(tuple);
        (hashes.bucket, hashes.signature)
    }

    #[test]
    fn the_hashes_are_those_that_drivers_compute() {
        let tcp = ipv4(2, ([10, 0, 0, 1], 1024), ([10, 0, 0, 2], 80));
        let udp = ipv4(1, ([192, 168, 1, 10], 5000), ([192, 168, 1, 20], 6000));
        let flex = Tuple {
            flex: 0x0800,
            ..tcp
        };
        let vlan = Tuple { vlan: 100, ..flex };
        let six = |last| Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, last).octets();
        let tcp6 = Tuple {
            source: six(1),
            destination: six(2),
            source_port: 1024,
            destination_port: 80,
            flex: 0x86DD,
            flow_type: 6,
            ..Tuple::default()
        };

        assert_eq!(hash(&tcp), (0xCBD4, 0x61F5));
        assert_eq!(hash(&udp), (0xAA61, 0x5752));
        assert_eq!((hash(&flex).0 & 0x7FFF, hash(&flex).1), (0x0FA6, 0x6373));
        assert_eq!((hash(&vlan).0 & 0x7FFF, hash(&vlan).1), (0x68A4, 0x0D7C));
        assert_eq!((hash(&tcp6).0 & 0x7FFF, hash(&tcp6).1), (0x43CE, 0x6174));
    }

    /// Linux `ixgbe_atr_compute_perfect_hash_82599`, for one key.
    fn driver_formula(key: u32, tuple: &Tuple) -> u32 {
        let words = tuple.source.chunks(4).chain(tuple.destination.chunks(4));
        let ports = u32::from(tuple.source_port) << 16 | u32::from(tuple.destination_port);
        let common = words
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .fold(ports ^ u32::from(tuple.flex) << 16, |sum, word| sum ^ word);
        let flow_vm_vlan =
            u32::from(tuple.pool) << 24 | u32::from(tuple.flow_type) << 16 | u32::from(tuple.vlan);
        let high = common ^ flow_vm_vlan ^ flow_vm_vlan >> 16;
        let low_without = common.rotate_left(16);
        let low = low_without ^ flow_vm_vlan ^ flow_vm_vlan << 16;
        let bit = |n: u32, value: u32| if key >> n & 1 == 1 { value } else { 0 };
        (1..16).fold(bit(0, low_without) ^ bit(16, high), |hash, n| {
            hash ^ bit(n, low >> n) ^ bit(16 + n, high >> n)
        })
    }

    proptest! {
        #[test]
        fn the_tables_follow_the_definition_and_the_driver(
            keys in any::<[u32; 2]>(),
            source in any::<[u8; 16]>(),
            destination in any::<[u8; 16]>(),
            words in any::<[u16; 4]>(),
            bytes in any::<[u8; 2]>(),
        ) {
            let tuple = Tuple {
                source,
                destination,
                source_port: words[0],
                destination_port: words[1],
                vlan: words[2],
                flex: words[3],
                pool: bytes[0],
                flow_type: bytes[1],
            };

            let hashes = Hasher::new(keys[0], keys[1]).hash(&tuple);
            let driver = keys.map(|key| driver_formula(key, &tuple));

            prop_assert_eq!(hashes.bucket, definition(keys[0], &tuple.stream()));
            prop_assert_eq!(hashes.signature, definition(keys[1], &tuple.stream()) & 0x7FFF);
            prop_assert_eq!(u32::from(hashes.bucket), driver[0] & 0xFFFF);
            prop_assert_eq!(u32::from(hashes.signature), driver[1] & 0x7FFF);
        }
    }
}
