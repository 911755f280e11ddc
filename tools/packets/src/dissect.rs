//! Finding the headers of a frame.

use std::ops::Range;

use crate::{
    bits, checksum,
    layer::{Field, Kind, Layer},
};

/// Where tags begin.
const TAGS: usize = 12;
/// More tags than this are payload.
const MAX_TAGS: usize = 8;
/// More extension headers than this are payload.
const MAX_EXTENSIONS: usize = 8;

/// A header that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub layer: Layer,
    /// Its first byte in the frame.
    pub at: usize,
    /// Its bytes, options included.
    pub len: usize,
}

/// The headers of a frame. A header of which bytes are missing is not found; what follows the last one is payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dissection<'a> {
    frame: &'a [u8],
    headers: Vec<Found>,
    /// Where the type of the frame stands, behind the tags.
    ether_type_at: usize,
    payload: Range<usize>,
    /// The protocol over IP, whether its header is there or not.
    protocol: Option<u8>,
}

impl<'a> Dissection<'a> {
    /// Looks at a frame without FCS.
    #[must_use]
    pub fn new(frame: &'a [u8]) -> Self {
        let mut this = Self {
            frame,
            headers: Vec::with_capacity(6),
            ether_type_at: TAGS,
            payload: 0..frame.len(),
            protocol: None,
        };
        if frame.len() < TAGS + 2 {
            return this;
        }
        this.found(Layer::Eth, 0, Layer::Eth.len());
        while this.headers.len() <= MAX_TAGS
            && is_tag(this.ether_type())
            && frame.len() >= this.ether_type_at + 6
        {
            this.found(Layer::Vlan, this.ether_type_at, Layer::Vlan.len());
            this.ether_type_at += 4;
        }
        let at = this.ether_type_at + 2;
        this.payload.start = at;
        match this.ether_type() {
            0x0806 if this.has(Layer::Arp, at) => this.found(Layer::Arp, at, Layer::Arp.len()),
            0x0800 => this.ipv4(at),
            0x86DD => this.ipv6(at),
            _ => {}
        }
        this
    }

    fn has(&self, layer: Layer, at: usize) -> bool {
        self.payload.end >= at + layer.len()
    }

    fn found(&mut self, layer: Layer, at: usize, len: usize) {
        self.headers.push(Found { layer, at, len });
        self.payload.start = at + len;
    }

    /// What the packet says about its length, in so far as it is true.
    fn end_at(&mut self, end: usize) {
        let end = end.max(self.payload.start);
        self.payload.end = self.payload.end.min(end);
    }

    fn ipv4(&mut self, at: usize) {
        if !self.has(Layer::Ip, at) || self.frame[at] >> 4 != 4 {
            return;
        }
        let header = usize::from(self.frame[at] & 0xF) * 4;
        if header < 20 || self.frame.len() < at + header {
            return;
        }
        self.found(Layer::Ip, at, header);
        self.end_at(at + usize::from(self.word(at + 2)));
        let protocol = self.frame[at + 9];
        self.protocol = Some(protocol);
        // Behind the first fragment there is no header.
        if self.word(at + 6) & 0x1FFF == 0 {
            self.transport(protocol, at + header);
        }
    }

    fn ipv6(&mut self, at: usize) {
        if !self.has(Layer::Ip6, at) || self.frame[at] >> 4 != 6 {
            return;
        }
        self.found(Layer::Ip6, at, Layer::Ip6.len());
        self.end_at(at + 40 + usize::from(self.word(at + 4)));
        let (mut next, mut at) = (self.frame[at + 6], at + 40);
        for _ in 0..MAX_EXTENSIONS {
            match next {
                // Hop-by-hop, routing and destination options.
                0 | 43 | 60 if self.payload.end >= at + 8 => {
                    next = self.frame[at];
                    at += 8 + usize::from(self.frame[at + 1]) * 8;
                }
                44 if self.has(Layer::Frag6, at) => {
                    next = self.frame[at];
                    let offset = self.word(at + 2) >> 3;
                    self.found(Layer::Frag6, at, 8);
                    at += 8;
                    if offset != 0 {
                        self.protocol = Some(next);
                        return;
                    }
                }
                _ => break,
            }
        }
        if at <= self.payload.end {
            self.payload.start = at;
            self.protocol = Some(next);
            self.transport(next, at);
        }
    }

    fn transport(&mut self, protocol: u8, at: usize) {
        let layer = match protocol {
            1 => Layer::Icmp,
            6 => Layer::Tcp,
            17 => Layer::Udp,
            58 => Layer::Icmp6,
            132 => Layer::Sctp,
            _ => return,
        };
        if !self.has(layer, at) {
            return;
        }
        let len = match layer {
            Layer::Tcp => usize::from(self.frame[at + 12] >> 4) * 4,
            _ => layer.len(),
        };
        if len >= layer.len() && at + len <= self.payload.end {
            self.found(layer, at, len);
        }
    }

    fn word(&self, at: usize) -> u16 {
        match self.frame.get(at..at + 2) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }

    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// The headers in their order.
    #[must_use]
    pub fn headers(&self) -> &[Found] {
        &self.headers
    }

    /// Header number `index` of this layer, from 0.
    #[must_use]
    pub fn header(&self, layer: Layer, index: usize) -> Option<Found> {
        let mut of_layer = self.headers.iter().filter(|found| found.layer == layer);
        of_layer.nth(index).copied()
    }

    /// The type behind all tags; 0 for a frame that has none.
    #[must_use]
    pub fn ether_type(&self) -> u16 {
        self.word(self.ether_type_at)
    }

    /// The protocol over IP, of later fragments as well.
    #[must_use]
    pub const fn protocol(&self) -> Option<u8> {
        self.protocol
    }

    /// What stands behind the last header, without the padding behind an IP packet.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.frame.get(self.payload.clone()).unwrap_or_default()
    }

    /// Where that stands.
    #[must_use]
    pub fn payload_range(&self) -> Range<usize> {
        self.payload.clone()
    }

    /// A field of header number `index` of a layer.
    #[must_use]
    pub fn get(&self, layer: Layer, index: usize, field: &Field) -> Option<u128> {
        let found = self.header(layer, index)?;
        let at = if layer == Layer::Eth && field.at == 8 * TAGS {
            8 * self.ether_type_at
        } else {
            8 * found.at + field.at
        };
        bits::read(self.frame, at, field.width)
    }

    /// The first field of this layer and name.
    #[must_use]
    pub fn value(&self, layer: Layer, name: &str) -> Option<u128> {
        self.get(layer, 0, layer.field(name)?)
    }

    /// What a length or checksum of this layer should be; `None` if it cannot be told.
    #[must_use]
    pub fn right(&self, layer: Layer, field: &Field) -> Option<u128> {
        let found = self.header(layer, 0)?;
        let end = self.payload.end;
        match (layer, field.kind) {
            (Layer::Ip6, Kind::Length(_)) => self
                .frame
                .len()
                .checked_sub(found.at + 40)
                .map(|len| len as u128),
            (Layer::Ip, Kind::Length(1)) => self
                .frame
                .len()
                .checked_sub(found.at)
                .map(|len| len as u128),
            (Layer::Ip | Layer::Tcp, Kind::Length(unit)) => {
                Some((found.len / usize::from(unit)) as u128)
            }
            (_, Kind::Length(_)) => end.checked_sub(found.at).map(|len| len as u128),
            (Layer::Ip, Kind::Checksum) => {
                let mut header = self.frame.get(found.at..found.at + found.len)?.to_vec();
                bits::write(&mut header, field.at, field.width, 0);
                Some(checksum::internet(&[&header]).into())
            }
            (_, Kind::Checksum) => self.transport_checksum(found, field),
            _ => None,
        }
    }

    /// The checksum of what goes over IP, from the header `found` to the end of the packet.
    fn transport_checksum(&self, found: Found, field: &Field) -> Option<u128> {
        let mut packet = self.frame.get(found.at..self.payload.end)?.to_vec();
        bits::write(&mut packet, field.at, field.width, 0);
        if found.layer == Layer::Sctp {
            return Some(checksum::sctp(&packet).into());
        }
        if found.layer == Layer::Icmp {
            return Some(checksum::internet(&[&packet]).into());
        }
        let len = u32::try_from(packet.len()).ok()?.to_be_bytes();
        let (addresses, protocol) = if let Some(ip) = self.header(Layer::Ip, 0) {
            (
                self.frame.get(ip.at + 12..ip.at + 20)?,
                self.frame[ip.at + 9],
            )
        } else {
            let ip = self.header(Layer::Ip6, 0)?;
            (self.frame.get(ip.at + 8..ip.at + 40)?, self.protocol?)
        };
        let sum = checksum::internet(&[addresses, &len, &[0, 0, 0, protocol], &packet]);
        // To UDP zero says that there is none (RFC 768).
        Some(if found.layer == Layer::Udp && sum == 0 {
            0xFFFF
        } else {
            sum.into()
        })
    }
}

/// Whether this type is that of a tag.
pub(crate) const fn is_tag(ether_type: u16) -> bool {
    matches!(ether_type, 0x8100 | 0x88A8 | 0x9100)
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    fn layers(frame: &[u8]) -> Vec<Layer> {
        let dissection = Dissection::new(frame);
        dissection
            .headers()
            .iter()
            .map(|found| found.layer)
            .collect()
    }

    #[test]
    fn headers_behind_tags_are_found() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .double_vlan(7.try_into().unwrap(), 8.try_into().unwrap())
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1, 80, 3, 4)
            .write(&mut frame, b"GET")
            .unwrap();
        // Padding belongs to nothing.
        frame.extend([0; 9]);

        let dissection = Dissection::new(&frame);

        assert_eq!(
            layers(&frame),
            [Layer::Eth, Layer::Vlan, Layer::Vlan, Layer::Ip, Layer::Tcp]
        );
        assert_eq!(
            dissection.get(Layer::Vlan, 1, Layer::Vlan.field("id").unwrap()),
            Some(8)
        );
        assert_eq!(dissection.value(Layer::Eth, "type"), Some(0x0800));
        assert_eq!(dissection.value(Layer::Tcp, "dport"), Some(80));
        assert_eq!(dissection.payload(), b"GET");
    }

    #[test]
    fn a_header_that_is_cut_short_is_payload() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1, 80, 3, 4)
            .write(&mut frame, b"GET")
            .unwrap();

        assert_eq!(layers(&frame[..40]), [Layer::Eth, Layer::Ip]);
        assert_eq!(layers(&frame[..20]), [Layer::Eth]);
        assert_eq!(layers(&frame[..13]), []);
    }

    proptest! {
        #[test]
        fn checksums_are_etherparses(payload in prop::collection::vec(any::<u8>(), 0..60), v6: bool, tcp: bool) {
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
            let builder = if v6 {
                builder.ipv6([0xFD; 16], [0xFE; 16], 64)
            } else {
                builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            };
            let mut frame = Vec::new();
            if tcp {
                builder.tcp(1, 80, 3, 4).write(&mut frame, &payload).unwrap();
            } else {
                builder.udp(1, 80).write(&mut frame, &payload).unwrap();
            }
            let dissection = Dissection::new(&frame);
            let layer = if tcp { Layer::Tcp } else { Layer::Udp };
            let sums = |layer: Layer| {
                let field = layer.field("sum").unwrap();
                (dissection.get(layer, 0, field), dissection.right(layer, field))
            };

            let (there, right) = sums(layer);
            prop_assert_eq!(there, right);
            if !v6 {
                let (there, right) = sums(Layer::Ip);
                prop_assert_eq!(there, right);
            }
        }

        #[test]
        fn any_bytes_are_dissected_within_their_bounds(
            mut frame in prop::collection::vec(any::<u8>(), 0..120),
            ether_type in prop::sample::select(vec![0x0800_u16, 0x86DD, 0x0806, 0x8100, 0x88A8]),
            inner in prop::sample::select(vec![[0x08, 0x00, 0x45], [0x86, 0xDD, 0x60], [0x81, 0, 0]]),
        ) {
            if frame.len() > 20 {
                frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
                frame[16..19].copy_from_slice(&inner);
            }
            let dissection = Dissection::new(&frame);

            for found in dissection.headers() {
                prop_assert!(found.at + found.len <= frame.len());
                for field in found.layer.fields() {
                    let _ = dissection.right(found.layer, field);
                }
            }
            let payload = dissection.payload_range();
            prop_assert!(payload.start <= payload.end && payload.end <= frame.len());
        }
    }
}
