//! The tables of security associations (7.12.3): what software writes entry by entry, through registers.

use std::cell::OnceCell;

use super::cipher::{Cipher, IV_LEN, Nonce, SALT_LEN};
use crate::wire::IpVersion;

/// Entries of the transmit table, and of receive's tables of SPIs and keys.
pub(super) const SA_COUNT: usize = 1024;
/// Entries of receive's table of IP addresses.
pub(super) const IP_COUNT: usize = 128;

/// The secrets of a security association.
#[derive(Clone, Debug, Default)]
pub(super) struct Secret {
    key: [u32; 4],
    salt: u32,
    /// Made when the first packet needs it: drivers clear whole tables, entry by entry.
    cipher: OnceCell<Box<Cipher>>,
}

impl Secret {
    /// The key as its four registers hold it, the last bytes first, and the salt.
    pub(super) fn new(key: [u32; 4], salt: u32) -> Self {
        Self {
            key,
            salt,
            cipher: OnceCell::new(),
        }
    }

    /// The registers that it was made of.
    pub(super) fn registers(&self) -> ([u32; 4], u32) {
        (self.key, self.salt)
    }

    /// The cipher, with the nonce for a packet with this initialisation vector.
    pub(super) fn cipher(&self, iv: [u8; IV_LEN]) -> (&Cipher, Nonce) {
        let cipher = self.cipher.get_or_init(|| {
            let [a, b, c, d] = self.key;
            let words = [d, c, b, a].map(u32::to_be_bytes);
            let mut key = [0; 16];
            key.copy_from_slice(words.as_flattened());
            Box::new(Cipher::new(&key))
        });
        let mut nonce = [0; SALT_LEN + IV_LEN];
        let (salt, rest) = nonce.split_at_mut(SALT_LEN);
        salt.copy_from_slice(&self.salt.to_be_bytes());
        rest.copy_from_slice(&iv);
        (cipher, nonce)
    }
}

/// An entry of receive's table of SPIs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SpiEntry {
    /// Security parameters index, its bytes in the order of the wire.
    pub(super) spi: [u8; 4],
    /// Entry of the table of IP addresses.
    pub(super) ip_index: u32,
}

/// An entry of receive's table of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyEntry {
    /// Key and salt.
    pub(super) secret: Secret,
    /// IPSRXMOD.
    pub(super) mode: u32,
}

/// Who a packet is from: what a receive SA is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Selector<'a> {
    /// Security parameters index.
    pub(super) spi: [u8; 4],
    /// IP version.
    pub(super) ip: IpVersion,
    /// Destination address, 4 or 16 bytes.
    pub(super) destination: &'a [u8],
}

/// Receive's three tables.
#[derive(Clone, Debug)]
pub(super) struct ReceiveTables {
    pub(super) ips: Box<[[u8; 16]]>,
    pub(super) spis: Box<[SpiEntry]>,
    pub(super) keys: Box<[KeyEntry]>,
}

impl Default for ReceiveTables {
    fn default() -> Self {
        Self {
            ips: vec![[0; 16]; IP_COUNT].into(),
            spis: vec![SpiEntry::default(); SA_COUNT].into(),
            keys: vec![KeyEntry::default(); SA_COUNT].into(),
        }
    }
}

impl ReceiveTables {
    /// The first valid entry that a packet belongs to. All SPIs are looked at, 8 KB of them, which costs little beside
    /// the cipher.
    pub(super) fn find(&self, selector: &Selector<'_>) -> Option<&KeyEntry> {
        use ixgbe_spec::register::bits::ipsrxmod::{IPV6, VALID};
        let version = match selector.ip {
            IpVersion::V4 => 0,
            IpVersion::V6 => IPV6,
        };
        let matches = |(entry, key): &(&SpiEntry, &KeyEntry)| {
            entry.spi == selector.spi
                && key.mode & (VALID | IPV6) == VALID | version
                && self.ip_is(entry.ip_index, selector)
        };
        let mut entries = self.spis.iter().zip(&self.keys);
        entries.find(matches).map(|(_, key)| key)
    }

    /// Whether an entry of the table of IP addresses is a packet's destination. An IPv4 address is in the last four bytes.
    fn ip_is(&self, index: u32, selector: &Selector<'_>) -> bool {
        let address = usize::try_from(index).ok().and_then(|i| self.ips.get(i));
        address.is_some_and(|address| match selector.ip {
            IpVersion::V4 => address.get(12..) == Some(selector.destination),
            IpVersion::V6 => address[..] == *selector.destination,
        })
    }
}
