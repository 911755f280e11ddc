//! Making frames.

use crate::{
    Mac, bits, checksum,
    dissect::Dissection,
    fragment::Fragments,
    layer::{Field, Kind, Layer},
    payload::Payload,
    value::{self, Sequence, Setting},
    words::Words,
};

/// Sender of frames of which nobody says who sends them.
const SENDER: u128 = 0x0200_0000_0001;
const V4: [u128; 2] = [0xC000_0201, 0xC000_0202];
const V6: [u128; 2] = [
    0x2001_0DB8_0000_0000_0000_0000_0000_0001,
    0x2001_0DB8_0000_0000_0000_0000_0000_0002,
];
/// Bytes of the longest frame that is made: an IP packet of 64 KB with its headers, and as much again.
const LONGEST: usize = 1 << 17;

/// Frames that are described header by header. What is not said is as it should be, or as the documentation of
/// `ixgbectl inject` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// From the outermost on; the first is [`Layer::Eth`].
    layers: Vec<Words>,
    /// What was said, before anything was added.
    said: Vec<Words>,
    pub(crate) payload: Option<Payload>,
    pub(crate) len: Option<Sequence>,
    truncate: Option<usize>,
    fragments: Option<Fragments>,
}

/// Why there is no such frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CraftError {
    /// Two headers where one can be.
    #[error("--{0} and --{1} cannot both be in a frame")]
    Both(&'static str, &'static str),
    /// A header without that which has to be before it.
    #[error("--{0} needs {1}")]
    Needs(&'static str, &'static str),
    /// The headers are longer than the frame is to be.
    #[error(
        "the headers alone have {headers} bytes, more than --len {len}; --truncate {len} cuts them off"
    )]
    Short {
        /// Bytes of all headers.
        headers: usize,
        /// Bytes of the frame.
        len: usize,
    },
    /// An IP packet cannot be that long.
    #[error("an IP packet of {0} bytes cannot be told in its length field; say len= as well")]
    Long(usize),
    /// No card takes such a frame.
    #[error("a frame of {0} bytes is longer than any that can be made, {LONGEST}")]
    TooLong(usize),
    /// There is nothing to cut.
    #[error("--fragments cuts IP packets; say --ip or --ip6")]
    NoPacket,
    /// `@layer.field` or `same` without a frame that is answered, or one without that header.
    #[error("the frame that is answered has no {0}; --on FILTER says which are answered")]
    NotAnswered(&'static str),
    /// `nic` where the address is not known.
    #[error("this server does not tell the address of its NIC; say --eth dst=")]
    NoNic,
}

/// What is known when a frame is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// The address of the NIC, to which frames go unless something else is said.
    pub nic: Option<Mac>,
    /// The frame that is answered.
    pub answered: Option<&'a Dissection<'a>>,
}

impl Recipe {
    /// A frame of these headers, in any order but for tags, of which the first said is the outermost.
    ///
    /// # Errors
    /// [`CraftError::Both`] or [`CraftError::Needs`].
    pub fn new(said: Vec<Words>) -> Result<Self, CraftError> {
        let all = |layer: Layer| {
            said.iter()
                .filter(move |words| words.layer() == layer)
                .cloned()
        };
        let one_of = |layers: &[Layer]| -> Result<Option<Words>, CraftError> {
            let mut found = layers.iter().flat_map(|layer| all(*layer));
            let first = found.next();
            match (&first, found.next()) {
                (Some(first), Some(second)) => Err(CraftError::Both(
                    first.layer().name(),
                    second.layer().name(),
                )),
                _ => Ok(first),
            }
        };
        let eth = one_of(&[Layer::Eth])?.unwrap_or_else(|| Words::none(Layer::Eth));
        let vlans: Vec<Words> = all(Layer::Vlan).collect();
        let network = one_of(&[Layer::Arp, Layer::Ip, Layer::Ip6])?;
        let frag6 = one_of(&[Layer::Frag6])?;
        let transport = one_of(&[
            Layer::Tcp,
            Layer::Udp,
            Layer::Icmp,
            Layer::Icmp6,
            Layer::Sctp,
        ])?;
        let over = network.as_ref().map(Words::layer);
        if frag6.is_some() && over != Some(Layer::Ip6) {
            return Err(CraftError::Needs("frag6", "--ip6"));
        }
        // A header over IP says that there is one.
        let network = match (&transport, network) {
            (Some(transport), None) if transport.layer() == Layer::Icmp6 => {
                Some(Words::none(Layer::Ip6))
            }
            (Some(_), None) => Some(Words::none(Layer::Ip)),
            (Some(transport), Some(network)) if network.layer() == Layer::Arp => {
                return Err(CraftError::Both("arp", transport.layer().name()));
            }
            (_, network) => network,
        };
        let mut layers = vec![eth];
        layers.extend(vlans);
        layers.extend(network);
        layers.extend(frag6);
        layers.extend(transport);
        let tags = layers
            .iter()
            .filter(|words| words.layer() == Layer::Vlan)
            .count();
        for (index, words) in layers.iter_mut().enumerate() {
            defaults(words, index == 1 && tags > 1);
        }
        Ok(Self {
            layers,
            said,
            payload: None,
            len: None,
            truncate: None,
            fragments: None,
        })
    }

    /// With this payload.
    #[must_use]
    pub fn payload(mut self, payload: Option<Payload>) -> Self {
        self.payload = payload;
        self
    }

    /// Of so many bytes without FCS, which the payload fills.
    #[must_use]
    pub const fn len(mut self, len: Option<Sequence>) -> Self {
        self.len = len;
        self
    }

    /// Cut off after so many bytes; what the headers say of their lengths stays.
    #[must_use]
    pub const fn truncate(mut self, len: Option<usize>) -> Self {
        self.truncate = len;
        self
    }

    /// With its IP packet in fragments.
    #[must_use]
    pub const fn fragments(mut self, fragments: Option<Fragments>) -> Self {
        self.fragments = fragments;
        self
    }

    /// What was said of headers.
    pub(crate) fn said(&self) -> &[Words] {
        &self.said
    }

    /// Whether nothing was said: any frame is one of these.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.said.is_empty() && self.payload.is_none() && self.len.is_none()
    }

    /// Whether it takes something from a frame that is answered.
    #[must_use]
    pub fn answers(&self) -> bool {
        let refers = |words: &Words| {
            let mut settings = words.settings().iter();
            settings.any(|(_, setting)| matches!(setting, Setting::From(..)))
        };
        self.payload == Some(Payload::Same) || self.layers.iter().any(refers)
    }

    /// Frame `n`, from 0: one, or its fragments.
    ///
    /// # Errors
    /// [`CraftError`].
    pub fn frames(
        &self,
        n: u64,
        circumstances: &Circumstances<'_>,
    ) -> Result<Vec<Vec<u8>>, CraftError> {
        let mut draft = Draft::new(self, n, circumstances)?;
        draft.set_values(n, circumstances)?;
        draft.map_multicast();
        draft.complete()?;
        let mut frames = match self.fragments {
            None => vec![draft.bytes],
            Some(fragments) => {
                let ip = draft
                    .headers
                    .iter()
                    .find(|header| matches!(header.words.layer(), Layer::Ip | Layer::Ip6));
                let ip = ip.ok_or(CraftError::NoPacket)?;
                fragments.cut(&draft.bytes, ip.words.layer(), ip.at, ip.len, n)
            }
        };
        if let Some(len) = self.truncate {
            frames.iter_mut().for_each(|frame| frame.truncate(len));
        }
        Ok(frames)
    }
}

/// Says what was not said and does not depend on anything else.
fn defaults(words: &mut Words, outer_tag: bool) {
    match words.layer() {
        Layer::Eth => words.or("src", SENDER),
        // With two tags the outer one is 802.1ad's.
        Layer::Vlan => words.or("tpid", if outer_tag { 0x88A8 } else { 0x8100 }),
        Layer::Arp => {
            for (name, value) in [
                ("hrd", 1),
                ("pro", 0x0800),
                ("hln", 6),
                ("pln", 4),
                ("op", 1),
            ] {
                words.or(name, value);
            }
            words.or("spa", V4[0]);
            words.or("tpa", V4[1]);
        }
        Layer::Ip => {
            for (name, value) in [("version", 4), ("ttl", 64), ("src", V4[0]), ("dst", V4[1])] {
                words.or(name, value);
            }
        }
        Layer::Ip6 => {
            for (name, value) in [("version", 6), ("hop", 64), ("src", V6[0]), ("dst", V6[1])] {
                words.or(name, value);
            }
        }
        Layer::Tcp => {
            for (name, value) in [
                ("sport", 40_000),
                ("dport", 9),
                ("flags", 2),
                ("window", 65_535),
            ] {
                words.or(name, value);
            }
        }
        Layer::Udp => {
            words.or("sport", 40_000);
            words.or("dport", 9);
        }
        Layer::Sctp => {
            words.or("sport", 40_000);
            words.or("dport", 9);
        }
        Layer::Icmp => {
            for (name, value) in [("type", 8), ("id", 1), ("seq", 1)] {
                words.or(name, value);
            }
        }
        Layer::Icmp6 => {
            for (name, value) in [("type", 128), ("id", 1), ("seq", 1)] {
                words.or(name, value);
            }
        }
        Layer::Frag6 => {}
    }
}

/// A header in a frame that is being made.
struct Header<'a> {
    words: &'a Words,
    at: usize,
    len: usize,
}

/// A frame that is being made.
struct Draft<'a> {
    headers: Vec<Header<'a>>,
    /// Where the type stands.
    ether_type_at: usize,
    bytes: Vec<u8>,
}

impl<'a> Draft<'a> {
    /// Empty headers, options, and payload.
    fn new(
        recipe: &'a Recipe,
        n: u64,
        circumstances: &Circumstances<'_>,
    ) -> Result<Self, CraftError> {
        let mut headers = Vec::new();
        let (mut at, mut ether_type_at) = (0, 12);
        for words in &recipe.layers {
            let layer = words.layer();
            if !matches!(layer, Layer::Eth | Layer::Vlan) && at == ether_type_at {
                at += 2;
            }
            let len = layer.len() + words.options().len();
            headers.push(Header { words, at, len });
            at += len;
            if layer == Layer::Vlan {
                ether_type_at = at;
            }
        }
        let payload_at = at.max(ether_type_at + 2);
        let payload = recipe.payload.as_ref().unwrap_or(&Payload::Counting);
        let answered = match payload {
            Payload::Same => circumstances
                .answered
                .ok_or(CraftError::NotAnswered("payload"))?
                .payload(),
            _ => &[],
        };
        let len = match recipe
            .len
            .map(|len| usize::try_from(len.at(n)).unwrap_or(usize::MAX))
        {
            None => None,
            Some(len) if len > LONGEST => return Err(CraftError::TooLong(len)),
            Some(len) => Some(len.checked_sub(payload_at).ok_or(CraftError::Short {
                headers: payload_at,
                len,
            })?),
        };
        let mut bytes = vec![0; payload_at];
        bytes.extend(payload.bytes(n, len, answered));
        for Header { words, at, len } in &headers {
            let options = words.options();
            bytes[at + len - options.len()..at + len].copy_from_slice(options);
        }
        Ok(Self {
            headers,
            ether_type_at,
            bytes,
        })
    }

    /// Where a field starts, in bits.
    fn place(&self, header: &Header<'_>, field: &Field) -> usize {
        if header.words.layer() == Layer::Eth && field.name == "type" {
            8 * self.ether_type_at
        } else {
            8 * header.at + field.at
        }
    }

    fn put(&mut self, index: usize, name: &str, value: u128) {
        let header = &self.headers[index];
        if let Some(field) = header.words.layer().field(name) {
            let place = self.place(header, field);
            bits::write(&mut self.bytes, place, field.width, value);
        }
    }

    /// What was said, and what goes without saying.
    fn set_values(&mut self, n: u64, circumstances: &Circumstances<'_>) -> Result<(), CraftError> {
        let nic = || {
            circumstances
                .nic
                .map(value::mac_value)
                .ok_or(CraftError::NoNic)
        };
        let eth = self.headers[0].words;
        if eth.get("dst").is_none() {
            let to_all = self
                .headers
                .iter()
                .any(|header| is_arp_request(header.words));
            let dst = if to_all { 0xFFFF_FFFF_FFFF } else { nic()? };
            self.put(0, "dst", dst);
        }
        for index in 0..self.headers.len() {
            let words = self.headers[index].words;
            for (field, setting) in words.settings() {
                let value = match setting {
                    Setting::Values(values) => values.at(n),
                    Setting::Random => value::random(n, field),
                    Setting::Nic => nic()?,
                    Setting::From(layer, source) => circumstances
                        .answered
                        .and_then(|answered| answered.get(*layer, 0, source))
                        .ok_or(CraftError::NotAnswered(layer.name()))?,
                    Setting::Good | Setting::Bad | Setting::More(_) => continue,
                };
                let place = self.place(&self.headers[index], field);
                bits::write(&mut self.bytes, place, field.width, value);
            }
        }
        if let Some(index) = self.index_of(Layer::Arp)
            && self.headers[index].words.get("sha").is_none()
        {
            let sender = bits::read(&self.bytes, 48, 48).unwrap_or(0);
            self.put(index, "sha", sender);
        }
        Ok(())
    }

    fn index_of(&self, layer: Layer) -> Option<usize> {
        self.headers
            .iter()
            .position(|header| header.words.layer() == layer)
    }

    /// A packet for a group goes to the address of the group (RFC 1112, RFC 2464), one for all to all.
    fn map_multicast(&mut self) {
        if self.headers[0].words.get("dst").is_some() {
            return;
        }
        let Some(ip) = self
            .headers
            .iter()
            .find(|header| matches!(header.words.layer(), Layer::Ip | Layer::Ip6))
        else {
            return;
        };
        let to = if ip.words.layer() == Layer::Ip {
            bits::read(&self.bytes, 8 * ip.at + 128, 32)
        } else {
            bits::read(&self.bytes, 8 * ip.at + 192, 128)
        };
        let address = match (ip.words.layer(), to) {
            (Layer::Ip, Some(0xFFFF_FFFF)) => 0xFFFF_FFFF_FFFF,
            (Layer::Ip, Some(to)) if to >> 28 == 0xE => 0x0100_5E00_0000 | to & 0x7F_FFFF,
            (Layer::Ip6, Some(to)) if to >> 120 == 0xFF => 0x3333_0000_0000 | to & 0xFFFF_FFFF,
            _ => return,
        };
        self.put(0, "dst", address);
    }

    /// Types, lengths and checksums, from the inside to the outside.
    fn complete(&mut self) -> Result<(), CraftError> {
        for index in (0..self.headers.len()).rev() {
            let Header { words, at, len } = self.headers[index];
            let next = self
                .headers
                .get(index + 1)
                .map(|header| header.words.layer());
            let bytes = self.bytes.len() - at;
            match words.layer() {
                Layer::Eth => self.unless_said(index, "type", ether_type(self.network())),
                Layer::Ip => {
                    self.length(index, "ihl", len / 4)?;
                    self.length(index, "len", bytes)?;
                    self.unless_said(index, "proto", next.and_then(protocol).unwrap_or(253));
                }
                Layer::Ip6 => {
                    self.length(index, "len", bytes - 40)?;
                    self.unless_said(index, "next", next.and_then(protocol).unwrap_or(59));
                }
                Layer::Frag6 => {
                    self.unless_said(index, "next", next.and_then(protocol).unwrap_or(59));
                }
                Layer::Tcp => self.length(index, "off", len / 4)?,
                Layer::Udp => self.length(index, "len", bytes)?,
                Layer::Vlan | Layer::Arp | Layer::Icmp | Layer::Icmp6 | Layer::Sctp => {}
            }
        }
        for index in (0..self.headers.len()).rev() {
            self.sum(index);
        }
        Ok(())
    }

    fn network(&self) -> Option<Layer> {
        let mut layers = self.headers.iter().map(|header| header.words.layer());
        layers.find(|layer| matches!(layer, Layer::Arp | Layer::Ip | Layer::Ip6))
    }

    fn unless_said(&mut self, index: usize, name: &str, value: u128) {
        if self.headers[index].words.get(name).is_none() {
            self.put(index, name, value);
        }
    }

    fn length(&mut self, index: usize, name: &str, right: usize) -> Result<(), CraftError> {
        let words = self.headers[index].words;
        let more = match words.get(name) {
            None | Some(Setting::Good) => 0,
            Some(Setting::More(more)) => i128::from(more),
            Some(_) => return Ok(()),
        };
        let max = words.layer().field(name).map_or(0, Field::max);
        if right as u128 > max {
            return Err(CraftError::Long(right));
        }
        let wrong = (right as u128).saturating_add_signed(more);
        self.put(index, name, wrong.min(max));
        Ok(())
    }

    fn sum(&mut self, index: usize) {
        let Header { words, at, len } = self.headers[index];
        let Some(field) = words
            .layer()
            .field("sum")
            .filter(|field| field.kind == Kind::Checksum)
        else {
            return;
        };
        let setting = words.get("sum");
        if !matches!(setting, None | Some(Setting::Good | Setting::Bad)) {
            return;
        }
        let packet = &self.bytes[at..];
        let right = match words.layer() {
            Layer::Ip => checksum::internet(&[&packet[..len]]).into(),
            Layer::Sctp => checksum::sctp(packet).into(),
            Layer::Icmp => checksum::internet(&[packet]).into(),
            layer => self.transport_sum(layer, packet),
        };
        let value = if setting == Some(Setting::Bad) {
            wrong(right, field)
        } else {
            right
        };
        self.put(index, "sum", value);
    }

    /// With the pseudo header of the IP header before it.
    fn transport_sum(&self, layer: Layer, packet: &[u8]) -> u128 {
        let ip = self
            .headers
            .iter()
            .find(|header| matches!(header.words.layer(), Layer::Ip | Layer::Ip6));
        let addresses = match ip {
            Some(ip) if ip.words.layer() == Layer::Ip => &self.bytes[ip.at + 12..ip.at + 20],
            Some(ip) => &self.bytes[ip.at + 8..ip.at + 40],
            None => &[],
        };
        let protocol = protocol(layer)
            .and_then(|number| u8::try_from(number).ok())
            .unwrap_or(0);
        let len = u32::try_from(packet.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        let sum = checksum::internet(&[addresses, &len, &[0, 0, 0, protocol], packet]);
        if layer == Layer::Udp && sum == 0 {
            0xFFFF
        } else {
            sum.into()
        }
    }
}

/// Another checksum than this one, and never UDP's zero, by which it would be none.
const fn wrong(right: u128, field: &Field) -> u128 {
    let other = right ^ 0x5555 & field.max();
    if other == 0 { 0x1234 } else { other }
}

fn is_arp_request(words: &Words) -> bool {
    let request = Setting::Values(Sequence::one(1));
    words.layer() == Layer::Arp && words.get("op") == Some(request)
}

const fn ether_type(network: Option<Layer>) -> u128 {
    match network {
        Some(Layer::Arp) => 0x0806,
        Some(Layer::Ip) => 0x0800,
        Some(Layer::Ip6) => 0x86DD,
        // For local experiments (IEEE 802).
        _ => 0x88B5,
    }
}

const fn protocol(layer: Layer) -> Option<u128> {
    match layer {
        Layer::Icmp => Some(1),
        Layer::Tcp => Some(6),
        Layer::Udp => Some(17),
        Layer::Frag6 => Some(44),
        Layer::Icmp6 => Some(58),
        Layer::Sctp => Some(132),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
