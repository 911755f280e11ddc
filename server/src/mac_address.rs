//! MAC addresses of ports.

use std::{fmt, path::Path, str::FromStr};

use thiserror::Error;

/// A unicast MAC address that is not all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress([u8; 6]);

/// Why a text is not the MAC address of a NIC.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MacError {
    /// Not six pairs of hex digits.
    #[error("not a MAC address; write six pairs of hex digits as in 02:00:00:12:34:56")]
    Malformed,
    /// The multicast bit is set.
    #[error("a multicast address, which a NIC cannot have; make the first byte even")]
    Multicast,
    /// All zeros, which drivers take for an NVM that was never written.
    #[error("all zeros, which drivers refuse; give another address")]
    Zero,
}

impl MacAddress {
    /// The bytes in the order in which they are sent.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// A locally administered address that depends on the path alone, so that a guest sees the same card whenever
    /// the server is started again, and two servers on one bridge differ.
    #[must_use]
    pub fn of_path(path: &Path) -> Self {
        const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
        let hash = path
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(FNV_OFFSET, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
            });
        let [.., c, d, e] = hash.to_be_bytes();
        Self([0x02, 0x82, 0x59, c, d, e])
    }

    /// The next address that is not in `taken`, from this one on.
    #[must_use]
    pub fn next_free(mut self, taken: &[Self]) -> Self {
        while taken.contains(&self) {
            let [.., last] = &mut self.0;
            *last = last.wrapping_add(1);
        }
        self
    }
}

impl FromStr for MacAddress {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split([':', '-']);
        let mut octets = [0; 6];
        for octet in &mut octets {
            let part = parts.next().ok_or(MacError::Malformed)?;
            if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(MacError::Malformed);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacError::Malformed)?;
        }
        if parts.next().is_some() {
            return Err(MacError::Malformed);
        }
        if octets[0] & 1 != 0 {
            return Err(MacError::Multicast);
        }
        if octets == [0; 6] {
            return Err(MacError::Zero);
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_give_two_default_addresses_and_one_path_always_the_same() {
        let a = MacAddress::of_path(Path::new("/tmp/a"));
        let b = MacAddress::of_path(Path::new("/tmp/b"));

        assert_ne!(a, b);
        assert_eq!(a, MacAddress::of_path(Path::new("/tmp/a")));
    }

    #[test]
    fn addresses_that_no_nic_can_have_are_refused() {
        assert_eq!(
            "02:00:00:00:00".parse::<MacAddress>(),
            Err(MacError::Malformed)
        );
        assert_eq!(
            "02:00:00:00:00:0".parse::<MacAddress>(),
            Err(MacError::Malformed)
        );
        assert_eq!(
            "02:00:00:00:00:00:00".parse::<MacAddress>(),
            Err(MacError::Malformed)
        );
        assert_eq!(
            "02:00:00:00:00:+1".parse::<MacAddress>(),
            Err(MacError::Malformed)
        );
        assert_eq!(
            "03:00:00:00:00:00".parse::<MacAddress>(),
            Err(MacError::Multicast)
        );
        assert_eq!(
            "00:00:00:00:00:00".parse::<MacAddress>(),
            Err(MacError::Zero)
        );
    }

    #[test]
    fn an_address_that_is_taken_gives_way_to_the_next() {
        let taken = ["02:82:59:00:00:ff", "02:82:59:00:00:00"].map(|text| text.parse().unwrap());
        let address: MacAddress = taken[0];

        assert_eq!(address.next_free(&taken).to_string(), "02:82:59:00:00:01");
        assert_eq!(address.next_free(&[]), address);
    }
}
