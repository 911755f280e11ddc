//! Received packets: who sent them is checked, and they are decrypted where they lie (7.12.5).

use ixgbe_spec::{descriptor::rx::Status, register::bits::ipsrxmod};

use super::{
    Confidentiality, IpSec, PacketError, Place, Protocol, packet::Inner, tables::Selector,
};
use crate::wire::IpVersion;

/// What came of a packet for which there is an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// SECP and SECERR.
    pub(crate) status: Status,
    /// What it carries; `None` if there was an error.
    pub(crate) inner: Option<Inner>,
}

impl IpSec {
    /// Checks and decrypts the IP packet in `frame` whose header is at `ip_start` and which ends, as it says, at `ip_end`.
    /// `None` if it is not IPsec, or there is no SA for it.
    pub(crate) fn open(&self, frame: &mut [u8], ip_start: usize, ip_end: usize) -> Option<Opened> {
        let place = Place::find(frame, ip_start)?;
        let (at, len) = match place.ip {
            IpVersion::V4 => (ip_start + 16, 4),
            IpVersion::V6 => (ip_start + 24, 16),
        };
        let entry = self.receive.find(&Selector {
            spi: place.spi(frame)?,
            ip: place.ip,
            destination: frame.get(at..at + len)?,
        })?;
        let wanted = if entry.mode & ipsrxmod::ESP != 0 {
            Protocol::Esp
        } else {
            Protocol::Ah
        };
        let error = |error| Opened {
            status: Status::SECP | error,
            inner: None,
        };
        if place.protocol != wanted {
            return Some(error(Status::SECERR_PROTOCOL));
        }
        let confidentiality = if entry.mode & ipsrxmod::DECRYPT != 0 {
            Confidentiality::Encrypted
        } else {
            Confidentiality::None
        };
        let Some(packet) = frame.get_mut(..ip_end) else {
            return Some(error(Status::SECERR_LENGTH));
        };
        Some(match place.open(packet, &entry.secret, confidentiality) {
            Ok(inner) => Opened {
                status: Status::SECP,
                inner: Some(inner),
            },
            Err(PacketError::Length) => error(Status::SECERR_LENGTH),
            Err(PacketError::Authentication) => error(Status::SECERR_AUTHENTICATION),
        })
    }
}
