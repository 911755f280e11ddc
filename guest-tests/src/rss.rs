//! The Toeplitz hash by its definition: bit by bit, as Microsoft writes it, and as slow.

use std::net::IpAddr;

use crate::frames::Flow;

/// Hash of a flow's addresses and ports.
#[must_use]
pub fn hash(key: &[u8; 40], flow: &Flow) -> u32 {
    let mut input = addresses(flow);
    input.extend(flow.source.1.to_be_bytes());
    input.extend(flow.destination.1.to_be_bytes());
    toeplitz(key, &input)
}

/// Hash of a flow's addresses alone.
#[must_use]
pub fn hash_of_addresses(key: &[u8; 40], flow: &Flow) -> u32 {
    toeplitz(key, &addresses(flow))
}

fn addresses(flow: &Flow) -> Vec<u8> {
    let mut input = Vec::new();
    for address in [flow.source.0, flow.destination.0] {
        match address {
            IpAddr::V4(address) => input.extend(address.octets()),
            IpAddr::V6(address) => input.extend(address.octets()),
        }
    }
    input
}

fn toeplitz(key: &[u8; 40], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| bytes.get(at / 8).map_or(0, |b| b >> (7 - at % 8) & 1);
    let window = |at: usize| (at..at + 32).fold(0, |sum, at| sum << 1 | u32::from(bit(key, at)));
    (0..input.len() * 8)
        .filter(|at| bit(input, *at) == 1)
        .fold(0, |hash, at| hash ^ window(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card_world::RSS_KEY;

    fn flow(source: &str, source_port: u16, destination: &str, destination_port: u16) -> Flow {
        Flow {
            source: (source.parse().unwrap(), source_port),
            destination: (destination.parse().unwrap(), destination_port),
        }
    }

    #[test]
    fn the_published_hash_of_tcp_over_ipv4_comes_out() {
        let flow = flow("66.9.149.187", 2794, "161.142.100.80", 1766);

        assert_eq!(hash(&RSS_KEY, &flow), 0x51cc_c178);
    }

    #[test]
    fn the_published_hash_of_ipv4_addresses_comes_out() {
        let flow = flow("66.9.149.187", 2794, "161.142.100.80", 1766);

        assert_eq!(hash_of_addresses(&RSS_KEY, &flow), 0x323e_8fc2);
    }

    #[test]
    fn the_published_hash_of_tcp_over_ipv6_comes_out() {
        let flow = flow("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766);

        assert_eq!(hash(&RSS_KEY, &flow), 0x4020_7d3d);
    }
}
