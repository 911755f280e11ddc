//! What a keyword asks of a frame.

use std::ops::RangeInclusive;

use super::Course;
use crate::{dissect::Dissection, layer::Layer};

/// Which end is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
    #[default]
    Either,
    Both,
}

impl Side {
    fn holds(self, source: bool, destination: bool) -> bool {
        match self {
            Self::Source => source,
            Self::Destination => destination,
            Self::Either => source || destination,
            Self::Both => source && destination,
        }
    }
}

/// Whether a value is that of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: u128,
    pub(super) mask: u128,
}

impl Network {
    fn has(self, value: Option<u128>) -> bool {
        value.is_some_and(|value| value & self.mask == self.address)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    EtherType(u16),
    /// Over one of these.
    Protocol(u8, &'static [Layer]),
    Vlan(Option<u16>),
    EtherHost(Side, u128),
    /// An address in one of these layers.
    Address(Side, Network, &'static [Layer]),
    /// In one of these layers.
    Port(Side, RangeInclusive<u16>, &'static [Layer]),
    EtherBroadcast,
    EtherMulticast,
    IpBroadcast,
    IpMulticast,
    Ip6Multicast,
    Course(Course),
}

impl Test {
    pub(super) fn holds(&self, frame: &Dissection<'_>, course: Option<Course>) -> bool {
        let value = |layer, name| frame.value(layer, name);
        match self {
            Self::EtherType(wanted) => {
                frame.header(Layer::Eth, 0).is_some() && frame.ether_type() == *wanted
            }
            Self::Protocol(wanted, over) => {
                frame.protocol() == Some(*wanted)
                    && over.iter().any(|layer| frame.header(*layer, 0).is_some())
            }
            Self::Vlan(wanted) => has_tag(frame, *wanted),
            Self::EtherHost(side, address) => side.holds(
                value(Layer::Eth, "src") == Some(*address),
                value(Layer::Eth, "dst") == Some(*address),
            ),
            Self::Address(side, network, layers) => layers.iter().any(|layer| {
                let (source, destination) = match layer {
                    Layer::Arp => ("spa", "tpa"),
                    _ => ("src", "dst"),
                };
                side.holds(
                    network.has(value(*layer, source)),
                    network.has(value(*layer, destination)),
                )
            }),
            Self::Port(side, ports, layers) => {
                let is = |value: Option<u128>| {
                    value
                        .and_then(|port| u16::try_from(port).ok())
                        .is_some_and(|port| ports.contains(&port))
                };
                layers
                    .iter()
                    .any(|layer| side.holds(is(value(*layer, "sport")), is(value(*layer, "dport"))))
            }
            Self::EtherBroadcast => value(Layer::Eth, "dst") == Some(0xFFFF_FFFF_FFFF),
            Self::EtherMulticast => value(Layer::Eth, "dst").is_some_and(|to| to >> 40 & 1 == 1),
            Self::IpBroadcast => value(Layer::Ip, "dst") == Some(0xFFFF_FFFF),
            Self::IpMulticast => value(Layer::Ip, "dst").is_some_and(|to| to >> 28 == 0xE),
            Self::Ip6Multicast => value(Layer::Ip6, "dst").is_some_and(|to| to >> 120 == 0xFF),
            Self::Course(wanted) => course == Some(*wanted),
        }
    }
}

fn has_tag(frame: &Dissection<'_>, wanted: Option<u16>) -> bool {
    let Some(field) = Layer::Vlan.field("id") else {
        return false;
    };
    (0..)
        .map_while(|index| frame.get(Layer::Vlan, index, field))
        .any(|id| wanted.is_none_or(|wanted| id == u128::from(wanted)))
}
