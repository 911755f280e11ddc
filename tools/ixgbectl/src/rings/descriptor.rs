//! Descriptors in words.

use ixgbe_spec::descriptor::{
    rx::{Info, LegacyErrors, Status},
    tx::{self, Kind},
};

/// SRRCTL.DESCTYPE of legacy descriptors (8.2.3.8.7).
const LEGACY: u32 = 0;

/// A descriptor in words, and where its buffer lies.
pub(super) struct Decoded {
    pub(super) words: String,
    pub(super) buffer: Option<u64>,
}

/// A receive descriptor that is the card's (7.1.5, 7.1.6.1).
pub(super) fn receive_posted(low: u64, high: u64, format: Option<u32>) -> Decoded {
    let header = if format == Some(LEGACY) || high & !1 == 0 {
        String::new()
    } else {
        format!(", header buffer {:#x}", high & !1)
    };
    Decoded {
        words: format!("packet buffer {:#x}{header}", low & !1),
        buffer: Some(low & !1),
    }
}

/// One that the card has written back, or never had. An advanced one no longer says where its buffer is.
pub(super) fn receive_done(low: u64, high: u64, format: Option<u32>) -> Decoded {
    if format == Some(LEGACY) {
        let [length_low, length_high, _, _, status, errors, ..] = high.to_le_bytes();
        let length = u16::from_le_bytes([length_low, length_high]);
        let status = Status::from_bits_retain(status.into());
        if !status.contains(Status::DD) {
            return Decoded {
                words: format!("not done, packet buffer {low:#x}"),
                buffer: Some(low),
            };
        }
        let errors = LegacyErrors::from_bits_retain(errors);
        return Decoded {
            words: format!(
                "{length} bytes, {}",
                names(
                    status
                        .iter_names()
                        .map(first)
                        .chain(errors.iter_names().map(first))
                )
            ),
            buffer: Some(low),
        };
    }
    let word = |number: u64| (number & 0xFFFF_FFFF) as u32;
    let status = Status::from_bits_retain(word(high));
    if !status.contains(Status::DD) {
        return Decoded {
            words: format!("not done, packet buffer {:#x}", low & !1),
            buffer: Some(low & !1),
        };
    }
    let (length, vlan) = (high >> 32 & 0xFFFF, high >> 48);
    let info = Info::from_bits(word(low));
    let vlan = if status.contains(Status::VP) {
        format!(", vlan {vlan:#06x}")
    } else {
        String::new()
    };
    Decoded {
        words: format!(
            "{length} bytes, {}; headers {}; {:?} hash {:#010x}{vlan}",
            names(status.iter_names().map(first)),
            names(info.packet_type().iter_names().map(first)),
            info.rss_type(),
            low >> 32,
        ),
        buffer: None,
    }
}

/// A transmit descriptor (7.2.3).
pub(super) fn transmit(low: u64, high: u64) -> Decoded {
    let descriptor = tx::Descriptor {
        low: low.into(),
        high: high.into(),
    };
    let flag = |set: bool, name: &'static str| set.then_some(name);
    match descriptor.decode() {
        Kind::Legacy(legacy) => {
            let control = legacy.control;
            let flags = [
                flag(control.eop(), "EOP"),
                flag(control.ifcs(), "IFCS"),
                flag(control.ic(), "IC"),
                flag(control.rs(), "RS"),
                flag(control.vle(), "VLE"),
                flag(control.dd(), "DD"),
            ];
            Decoded {
                words: format!(
                    "legacy, {} bytes at {:#x}, {}",
                    control.length(),
                    legacy.address,
                    names(flags.into_iter().flatten())
                ),
                buffer: Some(legacy.address),
            }
        }
        Kind::Data(data) => {
            let control = data.control;
            let flags = [
                flag(control.eop(), "EOP"),
                flag(control.ifcs(), "IFCS"),
                flag(control.rs(), "RS"),
                flag(control.vle(), "VLE"),
                flag(control.tse(), "TSE"),
                flag(control.dd(), "DD"),
                flag(control.cc(), "CC"),
                flag(control.ixsm(), "IXSM"),
                flag(control.txsm(), "TXSM"),
                flag(control.ipsec(), "IPSEC"),
            ];
            Decoded {
                words: format!(
                    "data, {} of {} bytes at {:#x}, context {}, {}",
                    control.dtalen(),
                    control.paylen(),
                    data.address,
                    control.idx(),
                    names(flags.into_iter().flatten())
                ),
                buffer: Some(data.address),
            }
        }
        Kind::Context(context) => Decoded {
            words: format!(
                "context {}, L2 {} + L3 {} + L4 {} bytes, {:?}, MSS {}, vlan {:#06x}",
                context.high.idx(),
                context.low.maclen(),
                context.low.iplen(),
                context.high.l4len(),
                context.high.l4t(),
                context.high.mss(),
                context.low.vlan(),
            ),
            buffer: None,
        },
        Kind::Reserved { .. } => Decoded {
            words: "reserved".to_owned(),
            buffer: None,
        },
    }
}

fn first<T>((name, _): (&'static str, T)) -> &'static str {
    name
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    let all: Vec<_> = names.collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_back_descriptor_tells_length_and_status() {
        let decoded = receive_done(0, 60 << 32 | 3, Some(1));

        assert_eq!(
            decoded.words,
            "60 bytes, DD EOP; headers none; None hash 0x00000000"
        );
        assert_eq!(decoded.buffer, None);
    }

    #[test]
    fn a_legacy_transmit_descriptor_tells_its_command() {
        let decoded = transmit(0x1000, 60 | 0xB << 24);

        assert_eq!(decoded.words, "legacy, 60 bytes at 0x1000, EOP IFCS RS");
        assert_eq!(decoded.buffer, Some(0x1000));
    }

    #[test]
    fn a_posted_descriptor_tells_its_buffers() {
        assert_eq!(
            receive_posted(0x2001, 0x3000, Some(2)).words,
            "packet buffer 0x2000, header buffer 0x3000"
        );
    }
}
