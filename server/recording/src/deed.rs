//! What a port does during a call, as a recording holds it.
//!
//! What the port was given stands there byte for byte, since it has to be given again. Of what the port made itself, a sum
//! is enough to see whether it makes the same again.

use std::fmt;

use nic_model::{
    bus::{DmaError, Iova, Requester, Signal},
    record::Act,
    rx::{DropReason, Verdict},
    wire::{Capabilities, Fcs, IpVersion, L4Checksum, Offload, WireBusy},
};

use crate::{
    call::flag,
    code::{Broken, Fields, put, put_bytes, put_size},
};

/// Tags of deeds lie in this range.
pub(crate) const TAGS: std::ops::RangeInclusive<u8> = 0x20..=0x28;

/// The length of bytes, and the sum by which they are compared (CRC-32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) len: usize,
    sum: u32,
}

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            len: bytes.len(),
            sum: crc32fast::hash(bytes),
        }
    }

    fn encode(self, to: &mut Vec<u8>) {
        put_size(to, self.len);
        put(to, self.sum.into());
    }

    fn decode(from: &mut Fields<'_>) -> Result<Self, Broken> {
        Ok(Self {
            len: from.narrow("length of bytes")?,
            sum: from.narrow("sum of bytes")?,
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes (sum {:08x})", self.len, self.sum)
    }
}

/// How the DMA engine reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Into the card.
    Read,
    /// For a frame that leaves.
    Gather,
}

/// A range that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) way: Way,
    pub(crate) by: Requester,
    pub(crate) iova: Iova,
    pub(crate) len: usize,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    Bytes {
        by: Requester,
        iova: Iova,
        bytes: Digest,
    },
    Descriptor {
        by: Requester,
        iova: Iova,
        low: u64,
        high: u64,
    },
}

/// What the port does, and what it gets for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed<'a> {
    Reads(Reading, Result<&'a [u8], DmaError>),
    Writes(Writing, Result<(), DmaError>),
    Signals(Requester, Signal),
    Asks(Capabilities),
    Sends {
        frame: Digest,
        offload: Offload,
        result: Result<(), WireBusy>,
    },
    Takes {
        head: &'a [u8],
        body: &'a [u8],
        fcs: Fcs,
        l4_checksum: L4Checksum,
    },
    Judges(Verdict),
}

impl<'a> Deed<'a> {
    pub(crate) fn of(act: &Act<'a>) -> Self {
        match *act {
            Act::Read {
                by,
                iova,
                len,
                result,
            } => {
                let way = Way::Read;
                Self::Reads(Reading { way, by, iova, len }, result)
            }
            Act::Gather {
                by,
                iova,
                len,
                result,
            } => {
                let way = Way::Gather;
                Self::Reads(Reading { way, by, iova, len }, result)
            }
            Act::Write {
                by,
                iova,
                bytes,
                result,
            } => {
                let bytes = Digest::of(bytes);
                Self::Writes(Writing::Bytes { by, iova, bytes }, result)
            }
            Act::WriteBack {
                by,
                iova,
                low,
                high,
                result,
            } => Self::Writes(
                Writing::Descriptor {
                    by,
                    iova,
                    low,
                    high,
                },
                result,
            ),
            Act::Signal { by, signal } => Self::Signals(by, signal),
            Act::Capabilities(capabilities) => Self::Asks(capabilities),
            Act::Sent { frame, result } => Self::Sends {
                frame: Digest::of(&frame.to_vec()),
                offload: frame.offload,
                result,
            },
            Act::Arrived { frame } => Self::Takes {
                head: frame.head,
                body: frame.body,
                fcs: frame.fcs,
                l4_checksum: frame.l4_checksum,
            },
            Act::Judged(verdict) => Self::Judges(verdict),
        }
    }

    /// Whether the port does the same, whatever it gets.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Reads(one, _), Self::Reads(other, _)) => one == other,
            (Self::Writes(one, _), Self::Writes(other, _)) => one == other,
            (Self::Asks(_), Self::Asks(_)) => true,
            (
                Self::Sends { frame, offload, .. },
                Self::Sends {
                    frame: other_frame,
                    offload: other_offload,
                    ..
                },
            ) => frame == other_frame && offload == other_offload,
            _ => self == other,
        }
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        match *self {
            Self::Reads(Reading { way, by, iova, len }, result) => {
                to.push(match way {
                    Way::Read => 0x20,
                    Way::Gather => 0x21,
                });
                put_requester(to, by);
                put(to, iova.0);
                put_size(to, len);
                put_result(to, result.map(drop));
                if let Ok(bytes) = result {
                    put_bytes(to, bytes);
                }
            }
            Self::Writes(Writing::Bytes { by, iova, bytes }, result) => {
                to.push(0x22);
                put_requester(to, by);
                put(to, iova.0);
                bytes.encode(to);
                put_result(to, result);
            }
            Self::Writes(
                Writing::Descriptor {
                    by,
                    iova,
                    low,
                    high,
                },
                result,
            ) => {
                to.push(0x23);
                put_requester(to, by);
                put(to, iova.0);
                to.extend(low.to_le_bytes());
                to.extend(high.to_le_bytes());
                put_result(to, result);
            }
            Self::Signals(by, signal) => {
                to.push(0x24);
                put_requester(to, by);
                to.push(match signal {
                    Signal::IntxAssert => 0xFF,
                    Signal::IntxDeassert => 0xFE,
                    Signal::Msi => 0xFD,
                    Signal::MsiX(vector) => vector,
                });
            }
            Self::Asks(Capabilities {
                checksum,
                tso4,
                tso6,
            }) => {
                to.push(0x25);
                to.push(u8::from(checksum) | u8::from(tso4) << 1 | u8::from(tso6) << 2);
            }
            Self::Sends {
                frame,
                offload,
                result,
            } => {
                to.push(0x26);
                frame.encode(to);
                put_offload(to, offload);
                to.push(result.is_err().into());
            }
            Self::Takes {
                head,
                body,
                fcs,
                l4_checksum,
            } => {
                to.push(0x27);
                let bad = fcs == Fcs::Bad;
                let valid = l4_checksum == L4Checksum::Valid;
                to.push(u8::from(bad) | u8::from(valid) << 1);
                put_bytes(to, head);
                put_bytes(to, body);
            }
            Self::Judges(verdict) => {
                to.push(0x28);
                put_verdict(to, verdict);
            }
        }
    }

    pub(crate) fn decode(from: &mut Fields<'a>) -> Result<Self, Broken> {
        let tag = from.choice("deed", |tag| TAGS.contains(&tag).then_some(tag))?;
        Ok(match tag {
            0x20 | 0x21 => {
                let reading = Reading {
                    way: if tag == 0x20 { Way::Read } else { Way::Gather },
                    by: take_requester(from)?,
                    iova: Iova(from.number("address of a DMA read")?),
                    len: from.narrow("length of a DMA read")?,
                };
                let result = match take_result(from)? {
                    Ok(()) => Ok(from.bytes("bytes of a DMA read")?),
                    Err(error) => Err(error),
                };
                Self::Reads(reading, result)
            }
            0x22 => {
                let writing = Writing::Bytes {
                    by: take_requester(from)?,
                    iova: Iova(from.number("address of a DMA write")?),
                    bytes: Digest::decode(from)?,
                };
                Self::Writes(writing, take_result(from)?)
            }
            0x23 => {
                let by = take_requester(from)?;
                let iova = Iova(from.number("address of a write-back")?);
                let mut half = || {
                    let bytes = from.exactly(8, "descriptor")?.iter().rev();
                    Ok(bytes.fold(0, |half, byte| half << 8 | u64::from(*byte)))
                };
                let (low, high) = (half()?, half()?);
                let writing = Writing::Descriptor {
                    by,
                    iova,
                    low,
                    high,
                };
                Self::Writes(writing, take_result(from)?)
            }
            0x24 => {
                let by = take_requester(from)?;
                let signal = from.choice("interrupt", |byte| match byte {
                    0xFF => Some(Signal::IntxAssert),
                    0xFE => Some(Signal::IntxDeassert),
                    0xFD => Some(Signal::Msi),
                    vector => (vector < 64).then_some(Signal::MsiX(vector)),
                })?;
                Self::Signals(by, signal)
            }
            0x25 => Self::Asks(from.choice("what the wire does itself", |byte| {
                (byte < 8).then_some(Capabilities {
                    checksum: byte & 1 != 0,
                    tso4: byte & 2 != 0,
                    tso6: byte & 4 != 0,
                })
            })?),
            0x26 => {
                let frame = Digest::decode(from)?;
                let offload = take_offload(from)?;
                let busy = from.choice("whether the wire was busy", flag)?;
                Self::Sends {
                    frame,
                    offload,
                    result: if busy { Err(WireBusy) } else { Ok(()) },
                }
            }
            0x27 => {
                let (fcs, l4_checksum) = from.choice("state of a frame", |byte| {
                    let fcs = if byte & 1 == 0 { Fcs::Good } else { Fcs::Bad };
                    let l4 = if byte & 2 == 0 {
                        L4Checksum::Unknown
                    } else {
                        L4Checksum::Valid
                    };
                    (byte < 4).then_some((fcs, l4))
                })?;
                Self::Takes {
                    head: from.bytes("first part of a frame")?,
                    body: from.bytes("second part of a frame")?,
                    fcs,
                    l4_checksum,
                }
            }
            _ => Self::Judges(take_verdict(from)?),
        })
    }
}

fn put_requester(to: &mut Vec<u8>, by: Requester) {
    to.push(match by {
        Requester::Pf => 0xFF,
        Requester::Vf(number) => number,
    });
}

fn take_requester(from: &mut Fields<'_>) -> Result<Requester, Broken> {
    from.choice("function", |byte| match byte {
        0xFF => Some(Requester::Pf),
        number => (number < 64).then_some(Requester::Vf(number)),
    })
}

fn put_result(to: &mut Vec<u8>, result: Result<(), DmaError>) {
    match result {
        Ok(()) => to.push(0),
        Err(DmaError::Pending) => to.push(1),
        Err(DmaError::Refused { iova }) => {
            to.push(2);
            put(to, iova);
        }
    }
}

fn take_result(from: &mut Fields<'_>) -> Result<Result<(), DmaError>, Broken> {
    Ok(
        match from.choice("outcome of a DMA access", |byte| {
            (byte <= 2).then_some(byte)
        })? {
            0 => Ok(()),
            1 => Err(DmaError::Pending),
            _ => Err(DmaError::Refused {
                iova: from.number("address that was refused")?,
            }),
        },
    )
}

fn put_offload(to: &mut Vec<u8>, offload: Offload) {
    match offload {
        Offload::None => to.push(0),
        Offload::Checksum { start, offset } => {
            to.push(1);
            put(to, start.into());
            put(to, offset.into());
        }
        Offload::Segment {
            ip,
            start,
            header_len,
            mss,
        } => {
            to.push(match ip {
                IpVersion::V4 => 2,
                IpVersion::V6 => 3,
            });
            put(to, start.into());
            put(to, header_len.into());
            put(to, mss.into());
        }
    }
}

fn take_offload(from: &mut Fields<'_>) -> Result<Offload, Broken> {
    Ok(
        match from.choice("what is left to the wire", |byte| {
            (byte <= 3).then_some(byte)
        })? {
            0 => Offload::None,
            1 => Offload::Checksum {
                start: from.narrow("start of a checksum")?,
                offset: from.narrow("place of a checksum")?,
            },
            version => Offload::Segment {
                ip: if version == 2 {
                    IpVersion::V4
                } else {
                    IpVersion::V6
                },
                start: from.narrow("start of the TCP header")?,
                header_len: from.narrow("length of headers")?,
                mss: from.narrow("payload of a segment")?,
            },
        },
    )
}

fn put_verdict(to: &mut Vec<u8>, verdict: Verdict) {
    match verdict {
        Verdict::Delivered { queue } => to.push(queue),
        Verdict::Buffered => to.push(0x80),
        Verdict::Dropped(reason) => {
            to.push(0x81);
            let place = DropReason::ALL.iter().position(|other| *other == reason);
            put_size(to, place.unwrap_or(usize::MAX));
        }
    }
}

fn take_verdict(from: &mut Fields<'_>) -> Result<Verdict, Broken> {
    Ok(
        match from.choice("verdict", |byte| (byte <= 0x81).then_some(byte))? {
            0x80 => Verdict::Buffered,
            0x81 => Verdict::Dropped(from.choice("reason of a drop", |number| {
                DropReason::ALL.get(usize::from(number)).copied()
            })?),
            queue => Verdict::Delivered { queue },
        },
    )
}

impl fmt::Display for Deed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads(Reading { way, iova, len, .. }, _) => {
                let what = match way {
                    Way::Read => "a DMA read",
                    Way::Gather => "a DMA read for a frame",
                };
                write!(f, "{what} of {len} bytes at {:#x}", iova.0)
            }
            Self::Writes(Writing::Bytes { iova, bytes, .. }, _) => {
                write!(f, "a DMA write of {bytes} at {:#x}", iova.0)
            }
            Self::Writes(
                Writing::Descriptor {
                    iova, low, high, ..
                },
                _,
            ) => write!(f, "a write-back of {low:016x} {high:016x} at {:#x}", iova.0),
            Self::Signals(_, signal) => match signal {
                Signal::IntxAssert => f.write_str("the interrupt pin goes active"),
                Signal::IntxDeassert => f.write_str("the interrupt pin goes inactive"),
                Signal::Msi => f.write_str("the MSI interrupt"),
                Signal::MsiX(vector) => write!(f, "the MSI-X interrupt {vector}"),
            },
            Self::Asks(_) => f.write_str("a look at what the wire does itself"),
            Self::Sends { frame, offload, .. } => match offload {
                Offload::None => write!(f, "a frame sent, {frame}"),
                Offload::Checksum { .. } => {
                    write!(f, "a frame sent, {frame}, its checksum left to the wire")
                }
                Offload::Segment { .. } => {
                    write!(f, "a frame sent, {frame}, to be cut by the wire")
                }
            },
            Self::Takes { head, body, .. } => {
                let len = head.len().saturating_add(body.len());
                write!(f, "the arrival of a frame of {len} bytes")
            }
            Self::Judges(Verdict::Delivered { queue }) => {
                write!(f, "the frame delivered to queue {queue}")
            }
            Self::Judges(Verdict::Buffered) => f.write_str("the frame in the packet buffer"),
            Self::Judges(Verdict::Dropped(reason)) => {
                write!(f, "the frame dropped ({reason})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requester() -> impl Strategy<Value = Requester> {
        prop_oneof![Just(Requester::Pf), (0_u8..64).prop_map(Requester::Vf),]
    }

    fn result() -> impl Strategy<Value = Result<(), DmaError>> {
        prop_oneof![
            Just(Ok(())),
            Just(Err(DmaError::Pending)),
            any::<u64>().prop_map(|iova| Err(DmaError::Refused { iova })),
        ]
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            (0_u8..128).prop_map(|queue| Verdict::Delivered { queue }),
            Just(Verdict::Buffered),
            prop::sample::select(&DropReason::ALL[..]).prop_map(Verdict::Dropped),
        ]
    }

    fn same(deed: &Deed<'_>) -> Result<(), TestCaseError> {
        let mut bytes = Vec::new();
        deed.encode(&mut bytes);
        let mut fields = Fields::new(&bytes, 0, 0);
        let read = Deed::decode(&mut fields);
        prop_assert_eq!(read.as_ref(), Ok(deed));
        prop_assert_eq!(fields.peek(), None);
        prop_assert!(read.is_ok_and(|read| read.is_as(deed)));
        Ok(())
    }

    proptest! {
        #[test]
        fn a_deed_is_read_as_it_was_written(
            by in requester(),
            iova: u64,
            (low, high) in (any::<u64>(), any::<u64>()),
            data in prop::collection::vec(any::<u8>(), 0..40),
            result in result(),
            verdict in verdict(),
            vector in 0_u8..64,
            (start, header_len, mss) in (any::<u16>(), any::<u16>(), any::<u16>()),
            busy: bool,
        ) {
            let (iova, len) = (Iova(iova), data.len());
            let bytes = Digest::of(&data);
            let read = result.map(|()| data.as_slice());
            let sent = if busy { Err(WireBusy) } else { Ok(()) };
            let ip = IpVersion::V6;
            for deed in [
                Deed::Reads(Reading { way: Way::Read, by, iova, len }, read),
                Deed::Reads(Reading { way: Way::Gather, by, iova, len }, read),
                Deed::Writes(Writing::Bytes { by, iova, bytes }, result),
                Deed::Writes(Writing::Descriptor { by, iova, low, high }, result),
                Deed::Signals(by, Signal::MsiX(vector)),
                Deed::Signals(by, Signal::Msi),
                Deed::Signals(by, Signal::IntxAssert),
                Deed::Signals(by, Signal::IntxDeassert),
                Deed::Asks(Capabilities { checksum: busy, tso4: true, tso6: false }),
                Deed::Sends { frame: bytes, offload: Offload::None, result: sent },
                Deed::Sends {
                    frame: bytes,
                    offload: Offload::Checksum { start, offset: mss },
                    result: sent,
                },
                Deed::Sends {
                    frame: bytes,
                    offload: Offload::Segment { ip, start, header_len, mss },
                    result: sent,
                },
                Deed::Takes {
                    head: &data,
                    body: &data,
                    fcs: Fcs::Bad,
                    l4_checksum: L4Checksum::Valid,
                },
                Deed::Judges(verdict),
            ] {
                same(&deed)?;
                prop_assert!(!deed.to_string().is_empty());
            }
        }

        #[test]
        fn bytes_that_are_no_deed_are_refused_without_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = Deed::decode(&mut Fields::new(&bytes, 0, 0));
        }
    }
}
