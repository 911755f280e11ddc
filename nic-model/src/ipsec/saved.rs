//! The saved form of the SA tables.

use serde::{Deserialize, Serialize};

use super::{
    IpSec,
    tables::{KeyEntry, ReceiveTables, Secret, SpiEntry},
};
use crate::state::{
    StateError,
    sparse::{self, Sparse},
};

/// The entries that are not all zero. Keys are in it as they are.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    transmit: Sparse<Registers>,
    ips: Sparse<[u8; 16]>,
    spis: Sparse<Spi>,
    keys: Sparse<Key>,
}

/// Key and salt, as the registers hold them.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Registers {
    key: [u32; 4],
    salt: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Spi {
    spi: [u8; 4],
    ip_index: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: [u32; 4],
    salt: u32,
    mode: u32,
}

impl IpSec {
    /// The saved form.
    pub(crate) fn save(&self) -> Saved {
        let Self {
            transmit,
            receive: ReceiveTables { ips, spis, keys },
        } = self;
        Saved {
            transmit: sparse::save(transmit, |secret| {
                let (key, salt) = secret.registers();
                ((key, salt) != Default::default()).then_some(Registers { key, salt })
            }),
            ips: sparse::changed(ips),
            spis: sparse::save(spis, |entry| {
                let SpiEntry { spi, ip_index } = *entry;
                ((spi, ip_index) != Default::default()).then_some(Spi { spi, ip_index })
            }),
            keys: sparse::save(keys, |KeyEntry { secret, mode }| {
                let (key, salt) = secret.registers();
                let mode = *mode;
                ((key, salt, mode) != Default::default()).then_some(Key { key, salt, mode })
            }),
        }
    }

    /// Of the saved form.
    pub(crate) fn restore(saved: Saved) -> Result<Self, StateError> {
        let Saved {
            transmit,
            ips,
            spis,
            keys,
        } = saved;
        let mut ipsec = Self::default();
        sparse::restore(transmit, &mut ipsec.transmit, |entry, place| {
            *place = Secret::new(entry.key, entry.salt);
            Ok(())
        })
        .map_err(|error| error.within("transmit"))?;
        let receive = &mut ipsec.receive;
        sparse::fill(ips, &mut receive.ips).map_err(|error| error.within("ips"))?;
        sparse::restore(spis, &mut receive.spis, |Spi { spi, ip_index }, place| {
            *place = SpiEntry { spi, ip_index };
            Ok(())
        })
        .map_err(|error| error.within("spis"))?;
        sparse::restore(keys, &mut receive.keys, |Key { key, salt, mode }, place| {
            *place = KeyEntry {
                secret: Secret::new(key, salt),
                mode,
            };
            Ok(())
        })
        .map_err(|error| error.within("keys"))?;
        Ok(ipsec)
    }
}
