//! What happens in a port, as it is told to clients.

use std::fmt::LowerHex;

use ixgbe_spec::register::Reg;
use nic_model::{
    Time,
    bus::{DmaError, Signal},
    observe::{Chooser, Event, Purpose, ResetKind},
    rx::Verdict,
};
use serde::{Deserialize, Serialize};

use crate::protocol::Direction;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// An access of software to a register or to configuration space, a reset, the carrier.
    Register,
    /// An access of the DMA engine to client memory.
    Dma,
    /// A descriptor, as it was fetched or written back.
    Descriptor,
    /// A frame.
    Packet,
    /// A cause that has become pending, or a signal.
    Interrupt,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Register,
        Self::Dma,
        Self::Descriptor,
        Self::Packet,
        Self::Interrupt,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Dma => "dma",
            Self::Descriptor => "descriptor",
            Self::Packet => "packet",
            Self::Interrupt => "interrupt",
        }
    }
}

/// Something that happened. What an event has nothing to say about is not there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceEvent {
    /// Nanoseconds since the server started.
    pub time: i64,
    /// What it is about.
    pub kind: EventKind,
    /// What happened: `read`, `write`, `config`, `reset`, `carrier`; `read`, `write`; `fetched`, `written-back`; `arrived`,
    /// `steered`, `coalesced`, `buffered`, `replica`, `received`, `released`, `sent`; `cause`, `signal`.
    pub what: String,
    /// Which way data goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// VM pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<u32>,
    /// Traffic class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u32>,
    /// Index of a descriptor in its ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Register, with its element: `RDT[3]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// Offset of a register, or in configuration space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// Value of a register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u32>,
    /// First address in client memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iova: Option<String>,
    /// Bytes, of an access or of a frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// What bytes are moved for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// What became of it: `done`, `refused`, `pending`; `delivered`, `buffered`, `dropped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Why a frame was dropped, or how far a reset reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The two quadwords of a descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<[String; 2]>,
    /// What has chosen the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chooser: Option<String>,
    /// What the hash is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_type: Option<String>,
    /// RSS hash, or what the descriptor has in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Headers that were recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<String>,
    /// Status and errors of a descriptor, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// VLAN tag control information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u32>,
    /// First byte behind the headers that header split would split off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<u32>,
    /// Queue causes or vectors that have become pending, one bit each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<String>,
    /// Other causes that have become pending, as in EICR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causes: Option<String>,
    /// An interrupt signal: `intx`, `intx-release`, `msi`, `msix-3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// First bytes of a frame or of what was written, in hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// Bytes of a frame that are told.
const SHOWN: usize = 64;

impl TraceEvent {
    fn new(now: Time, kind: EventKind, what: &str) -> Self {
        Self {
            time: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            kind,
            what: what.to_owned(),
            direction: None,
            queue: None,
            pool: None,
            class: None,
            index: None,
            register: None,
            offset: None,
            value: None,
            iova: None,
            length: None,
            purpose: None,
            result: None,
            reason: None,
            words: None,
            chooser: None,
            rss_type: None,
            hash: None,
            headers: None,
            status: None,
            vlan: None,
            boundary: None,
            vectors: None,
            causes: None,
            signal: None,
            data: None,
        }
    }

    /// An event of a port as it is told.
    pub(crate) fn of(now: Time, event: &Event<'_>) -> Self {
        let register = |what| Self::new(now, EventKind::Register, what);
        let packet = |what| Self::new(now, EventKind::Packet, what);
        match event {
            Event::RegisterRead { offset, value } => register("read").at(*offset, *value),
            Event::RegisterWrite { offset, value, .. } => register("write").at(*offset, *value),
            Event::ConfigWrite { offset, data } => Self {
                offset: Some((*offset).into()),
                length: Some(length(data.len())),
                data: Some(digits(data.iter().copied())),
                ..register("config")
            },
            Event::Reset(reach) => Self {
                reason: Some(
                    match reach {
                        ResetKind::Device => "device",
                        ResetKind::Power => "power",
                        ResetKind::Bus => "bus",
                    }
                    .to_owned(),
                ),
                ..register("reset")
            },
            Event::Carrier(up) => Self {
                result: Some(if *up { "up" } else { "down" }.to_owned()),
                ..register("carrier")
            },
            Event::Fetched(descriptor) | Event::WrittenBack(descriptor) => {
                let what = match event {
                    Event::Fetched(_) => "fetched",
                    _ => "written-back",
                };
                Self {
                    direction: Some(descriptor.direction.into()),
                    queue: Some(descriptor.queue.into()),
                    index: Some(descriptor.index.into()),
                    iova: Some(hex(descriptor.iova.0)),
                    words: Some([hex(descriptor.low), hex(descriptor.high)]),
                    ..Self::new(now, EventKind::Descriptor, what)
                }
            }
            Event::Dma(transfer) => {
                let what = if transfer.reads() { "read" } else { "write" };
                Self {
                    direction: Some(transfer.direction.into()),
                    queue: transfer.queue.map(Into::into),
                    iova: Some(hex(transfer.iova.0)),
                    length: Some(length(transfer.len)),
                    purpose: Some(purpose(transfer.purpose).to_owned()),
                    result: Some(
                        match transfer.result {
                            Ok(()) => "done",
                            Err(DmaError::Refused { .. }) => "refused",
                            Err(DmaError::Pending) => "pending",
                        }
                        .to_owned(),
                    ),
                    ..Self::new(now, EventKind::Dma, what)
                }
            }
            Event::Arrived { frame } => Self {
                direction: Some(Direction::Receive),
                length: Some(length(frame.len())),
                data: Some(digits(frame.head.iter().chain(frame.body).copied())),
                ..packet("arrived")
            },
            Event::Steered(to) => Self {
                direction: Some(Direction::Receive),
                queue: Some(to.queue.into()),
                pool: Some(to.pool.into()),
                class: Some(to.class.into()),
                chooser: Some(
                    match to.chooser {
                        Chooser::Mrqc => "mrqc",
                        Chooser::FlowDirector => "flow-director",
                        Chooser::Filter => "filter",
                    }
                    .to_owned(),
                ),
                rss_type: Some(format!("{:?}", to.rss_type)),
                hash: Some(hex(to.hash)),
                headers: Some(names(to.packet_type.iter_names())),
                status: Some(names(to.status.iter_names())),
                vlan: to.vlan.map(Into::into),
                boundary: Some(to.boundary.into()),
                ..packet("steered")
            },
            Event::Coalesced { queue } => Self {
                direction: Some(Direction::Receive),
                queue: Some((*queue).into()),
                ..packet("coalesced")
            },
            Event::Buffered { class, len } => Self {
                direction: Some(Direction::Receive),
                class: Some((*class).into()),
                length: Some(length(*len)),
                ..packet("buffered")
            },
            Event::Replica { pool, verdict } => Self {
                pool: Some((*pool).into()),
                ..packet("replica").with_fate(*verdict)
            },
            Event::Received { frame, verdict } => Self {
                length: Some(length(frame.len())),
                ..packet("received").with_fate(*verdict)
            },
            Event::Released {
                class,
                queue,
                verdict,
            } => Self {
                class: Some((*class).into()),
                queue: Some((*queue).into()),
                ..packet("released").with_fate(*verdict)
            },
            Event::Sent { queue, frame } => Self {
                direction: Some(Direction::Transmit),
                queue: Some((*queue).into()),
                length: Some(length(frame.len())),
                data: Some(digits(frame.head.iter().copied())),
                ..packet("sent")
            },
            Event::Cause { vectors, other } => Self {
                vectors: Some(hex(*vectors)),
                causes: Some(hex(*other)),
                ..Self::new(now, EventKind::Interrupt, "cause")
            },
            Event::Interrupt { signal, .. } => Self {
                signal: Some(match signal {
                    Signal::IntxAssert => "intx".to_owned(),
                    Signal::IntxDeassert => "intx-release".to_owned(),
                    Signal::Msi => "msi".to_owned(),
                    Signal::MsiX(vector) => format!("msix-{vector}"),
                }),
                ..Self::new(now, EventKind::Interrupt, "signal")
            },
            // What the model tells and this protocol does not know yet.
            other => packet(&format!("{other:?}")),
        }
    }

    fn at(self, offset: u32, value: u32) -> Self {
        Self {
            register: Reg::decode(offset).map(|(reg, index)| register_name(reg, index)),
            offset: Some(offset),
            value: Some(value),
            ..self
        }
    }

    fn with_fate(self, verdict: Verdict) -> Self {
        let (result, queue, reason) = match verdict {
            Verdict::Delivered { queue } => ("delivered", Some(queue.into()), None),
            Verdict::Buffered => ("buffered", None, None),
            Verdict::Dropped(reason) => ("dropped", None, Some(reason.name().to_owned())),
        };
        Self {
            direction: Some(Direction::Receive),
            queue,
            result: Some(result.to_owned()),
            reason,
            ..self
        }
    }
}

/// A register's name with its element, if it has several.
pub(crate) fn register_name(reg: Reg, index: usize) -> String {
    let name = reg.row().name;
    if reg.count() == 1 {
        name.to_owned()
    } else {
        format!("{name}[{index}]")
    }
}

const fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::DescriptorFetch => "descriptor-fetch",
        Purpose::DescriptorWriteBack => "descriptor-write-back",
        Purpose::HeadWriteBack => "head-write-back",
        Purpose::Header => "header",
        Purpose::Packet => "packet",
        Purpose::BufferList => "buffer-list",
        Purpose::DirectData => "direct-data",
    }
}

fn names<F>(flags: impl Iterator<Item = (&'static str, F)>) -> String {
    flags.map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A number in hex digits, with `0x`.
pub(crate) fn hex(number: impl LowerHex) -> String {
    format!("{number:#x}")
}

fn digits(bytes: impl Iterator<Item = u8>) -> String {
    bytes
        .take(SHOWN)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A number of 64 bits as text, since varlink's integers have a sign.
pub(crate) mod hex_number {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::hex(number))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        u64::from_str_radix(digits, 16).map_err(de::Error::custom)
    }
}

impl From<nic_model::observe::Direction> for Direction {
    fn from(direction: nic_model::observe::Direction) -> Self {
        match direction {
            nic_model::observe::Direction::Receive => Self::Receive,
            nic_model::observe::Direction::Transmit => Self::Transmit,
        }
    }
}

impl From<Direction> for nic_model::observe::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Receive => Self::Receive,
            Direction::Transmit => Self::Transmit,
        }
    }
}
