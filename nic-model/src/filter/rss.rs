//! Receive side scaling: the Toeplitz hash, and the queue by MRQC (7.1.2.8).

use ixgbe_spec::{
    descriptor::rx::RssType,
    register::{
        Reg,
        bits::{mrqc as field, psrtype},
    },
};

use crate::{
    regs::RegisterFile,
    rx::header::{Headers, L3, L4},
};

/// How MRQC.MRQE composes a queue index from pool, traffic class and RSS index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    /// Queues of a pool, or of a traffic class without pools.
    group: u8,
    /// Which number selects the group.
    by: Group,
    /// Bits of the RSS index that are used.
    rss: u8,
    /// Traffic classes within a pool.
    classes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    None,
    TrafficClass,
    Pool,
}

impl Mode {
    const fn new(mrqc: u32) -> Self {
        let (group, by, rss, classes) = match mrqc & field::MRQE {
            0x1 => (0, Group::None, 0xF, 1),
            0x2 => (16, Group::TrafficClass, 0, 8),
            0x3 => (32, Group::TrafficClass, 0, 4),
            0x4 => (16, Group::TrafficClass, 0xF, 8),
            0x5 => (32, Group::TrafficClass, 0xF, 4),
            0x8 => (2, Group::Pool, 0, 1),
            0xA => (4, Group::Pool, 3, 1),
            0xB => (2, Group::Pool, 1, 1),
            0xC => (8, Group::Pool, 0, 8),
            0xD => (4, Group::Pool, 0, 4),
            _ => (0, Group::None, 0, 1),
        };
        Self {
            group,
            by,
            rss,
            classes,
        }
    }

    const fn queue(self, pool: u8, class: u8, rss: u8) -> u8 {
        let class = class & (self.classes - 1);
        let rss = rss & self.rss;
        let queue = match self.by {
            Group::None => rss,
            Group::TrafficClass => self.group * class + rss,
            Group::Pool => self.group.wrapping_mul(pool) + class + rss,
        };
        queue & 0x7F
    }
}

/// Whether the queue of a frame depends on its traffic class.
pub(crate) fn has_classes(regs: &RegisterFile) -> bool {
    Mode::new(regs.get(Reg::MRQC, 0)).classes > 1
}

/// Whether a queue is one of a pool's.
pub(crate) fn belongs(queue: u8, pool: u8, regs: &RegisterFile) -> bool {
    let mode = Mode::new(regs.get(Reg::MRQC, 0));
    mode.by != Group::Pool || queue / mode.group == pool
}

/// The queue that MRQC gives a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Receive queue.
    pub(crate) queue: u8,
    /// What was hashed.
    pub(crate) rss_type: RssType,
    /// The hash; 0 if nothing was.
    pub(crate) hash: u32,
}

impl Choice {
    /// A queue, without a hash.
    #[inline]
    pub(crate) const fn without_hash(queue: u8) -> Self {
        Self {
            queue,
            rss_type: RssType::None,
            hash: 0,
        }
    }
}

/// The queue of each frame of a traffic class, without pools; `None` if it goes by a hash.
pub(crate) fn fixed_queue(class: u8, regs: &RegisterFile) -> Option<u8> {
    let mode = Mode::new(regs.get(Reg::MRQC, 0));
    (mode.rss == 0).then(|| mode.queue(0, class, 0))
}

/// Receive side scaling of a port.
#[derive(Debug, Default)]
pub(crate) struct Rss {
    /// None until a frame needs it after a change of the key.
    toeplitz: Option<Toeplitz>,
}

impl Rss {
    /// The state after a reset; the key is looked at when the next frame comes.
    pub(crate) fn reset(&mut self) {
        self.key_changed();
    }

    /// RSSRK has been written.
    pub(crate) fn key_changed(&mut self) {
        let Self { toeplitz } = self;
        *toeplitz = None;
    }

    /// Hashes a frame and looks its queue up. A frame that cannot be hashed goes to the first queue of its group.
    #[inline]
    pub(crate) fn choose(
        &mut self,
        window: &[u8],
        headers: &Headers,
        pool: u8,
        class: u8,
        regs: &RegisterFile,
    ) -> Choice {
        let mrqc = regs.get(Reg::MRQC, 0);
        let mode = Mode::new(mrqc);
        let rss_type = if mode.rss == 0 {
            RssType::None
        } else {
            rss_type(mrqc, headers)
        };
        if rss_type == RssType::None {
            return Choice::without_hash(mode.queue(pool, class, 0));
        }
        let hash = self.hash(window, headers, rss_type, regs);
        let index = (hash & 0x7F) as usize;
        let entry = regs.get(Reg::RETA, index / 4) >> (8 * (index % 4));
        let mut rss = (entry & 0xF) as u8;
        match mode.by {
            Group::None => {}
            Group::TrafficClass => {
                let bits = regs.get(Reg::RQTC, 0) >> (4 * u32::from(class)) & 7;
                rss &= (1u8 << bits).wrapping_sub(1);
            }
            Group::Pool => {
                let queues = regs.get(Reg::PSRTYPE, usize::from(pool)) >> psrtype::RQPL_SHIFT;
                rss &= match queues {
                    0 => 0,
                    1 => 1,
                    _ => 3,
                };
            }
        }
        Choice {
            queue: mode.queue(pool, class, rss),
            rss_type,
            hash,
        }
    }

    fn hash(
        &mut self,
        window: &[u8],
        headers: &Headers,
        rss_type: RssType,
        regs: &RegisterFile,
    ) -> u32 {
        let toeplitz = self
            .toeplitz
            .get_or_insert_with(|| Toeplitz::new(&key(regs)));
        let l3 = usize::from(headers.l3_offset);
        let l4 = usize::from(headers.l4_offset);
        let (mut from, mut to) = match headers.l3 {
            L3::Ipv6 => (l3 + 8..l3 + 24, l3 + 24..l3 + 40),
            _ => (l3 + 12..l3 + 16, l3 + 16..l3 + 20),
        };
        if matches!(
            rss_type,
            RssType::Ipv6Ex | RssType::TcpIpv6Ex | RssType::UdpIpv6Ex
        ) {
            let (home, routed) = (headers.home_address.into(), headers.routed_address.into());
            if home != 0 {
                from = home..home + 16;
            }
            if routed != 0 {
                to = routed..routed + 16;
            }
        }
        let ports = match rss_type {
            RssType::Ipv4 | RssType::Ipv6 | RssType::Ipv6Ex => l4..l4,
            _ => l4..l4 + 4,
        };
        toeplitz.hash([
            window.get(from).unwrap_or_default(),
            window.get(to).unwrap_or_default(),
            window.get(ports).unwrap_or_default(),
        ])
    }
}

/// The key in RSSRK.
fn key(regs: &RegisterFile) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    for (n, bytes) in key.chunks_exact_mut(4).enumerate() {
        bytes.copy_from_slice(&regs.get(Reg::RSSRK, n).to_le_bytes());
    }
    key
}

/// The strongest of the enabled hash functions for a frame.
#[inline]
fn rss_type(mrqc: u32, headers: &Headers) -> RssType {
    let candidates = match (headers.l3, headers.l4) {
        (L3::None, _) => return RssType::None,
        (L3::Ipv4, L4::Tcp) => [
            (field::TCP_IPV4, RssType::TcpIpv4),
            (field::IPV4, RssType::Ipv4),
        ]
        .as_slice(),
        (L3::Ipv4, L4::Udp) => &[
            (field::UDP_IPV4, RssType::UdpIpv4),
            (field::IPV4, RssType::Ipv4),
        ],
        (L3::Ipv4, _) => &[(field::IPV4, RssType::Ipv4)],
        (L3::Ipv6, L4::Tcp) => &[
            (field::TCP_IPV6, RssType::TcpIpv6),
            (field::TCP_IPV6_EX, RssType::TcpIpv6Ex),
            (field::IPV6, RssType::Ipv6),
            (field::IPV6_EX, RssType::Ipv6Ex),
        ],
        (L3::Ipv6, L4::Udp) => &[
            (field::UDP_IPV6, RssType::UdpIpv6),
            (field::UDP_IPV6_EX, RssType::UdpIpv6Ex),
            (field::IPV6, RssType::Ipv6),
            (field::IPV6_EX, RssType::Ipv6Ex),
        ],
        (L3::Ipv6, _) => &[
            (field::IPV6, RssType::Ipv6),
            (field::IPV6_EX, RssType::Ipv6Ex),
        ],
    };
    candidates
        .iter()
        .find(|(field, _)| mrqc & field != 0)
        .map_or(RssType::None, |(_, rss_type)| *rss_type)
}

/// Bytes of the secret key (RSSRK).
pub(crate) const KEY_LEN: usize = 40;

/// Longest input: two IPv6 addresses and two ports.
const INPUT_LEN: usize = 36;

/// The Toeplitz hash for one key.
///
/// The hash is linear, so the contribution of each half byte at each place is looked up.
#[derive(Clone, Debug)]
pub(crate) struct Toeplitz {
    table: Box<[[u32; 16]; 2 * INPUT_LEN]>,
}

impl Toeplitz {
    /// The tables for `key`.
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        let mut table = Box::new([[0; 16]; 2 * INPUT_LEN]);
        for (place, row) in table.iter_mut().enumerate() {
            // The 32 key bits from each of the nibble's four bits on.
            let windows = [3, 2, 1, 0].map(|bit| key_window(key, 4 * place + bit));
            for (value, hash) in row.iter_mut().enumerate() {
                *hash = windows
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| value >> bit & 1 == 1)
                    .fold(0, |hash, (_, window)| hash ^ window);
            }
        }
        Self { table }
    }

    /// The hash over `parts`, one after the other; what is longer than the longest input is left out.
    #[inline]
    pub(crate) fn hash<const N: usize>(&self, parts: [&[u8]; N]) -> u32 {
        let bytes = parts.into_iter().flatten();
        self.table
            .chunks_exact(2)
            .zip(bytes)
            .fold(0, |hash, (row, byte)| {
                hash ^ row[0][usize::from(byte >> 4)] ^ row[1][usize::from(byte & 0xF)]
            })
    }
}

/// The 32 bits of the key that start at bit `start`, the first bit being the most significant one of byte 0.
fn key_window(key: &[u8; KEY_LEN], start: usize) -> u32 {
    (start..start + 32).fold(0, |window, bit| {
        let byte = key.get(bit / 8).copied().unwrap_or(0);
        window << 1 | u32::from(byte >> (7 - bit % 8) & 1)
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    /// The key of Microsoft's verification suite.
    const KEY: [u8; KEY_LEN] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    fn octets(address: &str) -> Vec<u8> {
        match address.parse().unwrap() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        }
    }

    /// Hash over the addresses, and over addresses and ports.
    fn hashes(from: (&str, u16), to: (&str, u16)) -> (u32, u32) {
        let toeplitz = Toeplitz::new(&KEY);
        let addresses = [octets(from.0), octets(to.0)].concat();
        let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        (
            toeplitz.hash([&addresses, &[]]),
            toeplitz.hash([&addresses, &ports]),
        )
    }

    #[test]
    fn the_hash_gives_microsofts_values_for_ipv4() {
        assert_eq!(
            hashes(("66.9.149.187", 2794), ("161.142.100.80", 1766)),
            (0x323e_8fc2, 0x51cc_c178)
        );
        assert_eq!(
            hashes(("199.92.111.2", 14230), ("65.69.140.83", 4739)),
            (0xd718_262a, 0xc626_b0ea)
        );
        assert_eq!(
            hashes(("24.19.198.95", 12898), ("12.22.207.184", 38024)),
            (0xd2d0_a5de, 0x5c2b_394a)
        );
        assert_eq!(
            hashes(("38.27.205.30", 48228), ("209.142.163.6", 2217)),
            (0x8298_9176, 0xafc7_327f)
        );
        assert_eq!(
            hashes(("153.39.163.191", 44251), ("202.188.127.2", 1303)),
            (0x5d18_09c5, 0x10e8_28a2)
        );
    }

    #[test]
    fn the_hash_gives_microsofts_values_for_ipv6() {
        assert_eq!(
            hashes(
                ("3ffe:2501:200:1fff::7", 2794),
                ("3ffe:2501:200:3::1", 1766)
            ),
            (0x2cc1_8cd5, 0x4020_7d3d)
        );
        assert_eq!(
            hashes(("3ffe:501:8::260:97ff:fe40:efab", 14230), ("ff02::1", 4739)),
            (0x0f0c_461c, 0xdde5_1bbf)
        );
        assert_eq!(
            hashes(
                ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251),
                ("fe80::200:f8ff:fe21:67cf", 38024)
            ),
            (0x4b61_e985, 0x02d1_feef)
        );
    }

    /// The definition, bit by bit, with a shift register.
    fn definition(key: &[u8; KEY_LEN], input: &[u8]) -> u32 {
        let mut register = u64::from_be_bytes(key[..8].try_into().unwrap());
        let mut key = key[8..].iter();
        let mut hash = 0;
        for byte in input {
            for bit in (0..8).rev() {
                if byte >> bit & 1 == 1 {
                    hash ^= register >> 32;
                }
                register <<= 1;
            }
            register |= u64::from(*key.next().unwrap_or(&0));
        }
        u32::try_from(hash).unwrap()
    }

    proptest! {
        #[test]
        fn the_tables_follow_the_definition(
            key in any::<[u8; KEY_LEN]>(),
            input in proptest::collection::vec(any::<u8>(), 0..=INPUT_LEN),
            cut in any::<prop::sample::Index>(),
        ) {
            let (a, b) = input.split_at(cut.index(input.len() + 1));

            prop_assert_eq!(Toeplitz::new(&key).hash([a, b]), definition(&key, &input));
        }
    }
}
