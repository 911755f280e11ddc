//! Frames that scenarios send, and what an independent parser says about frames that come.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use etherparse::{
    EtherType, Ethernet2Header, NetHeaders, PacketBuilder, PacketHeaders, TcpHeader,
    TransportHeader,
};

/// A MAC address.
pub type Mac = [u8; 6];

/// The other end of the cable, as scenarios speak for it.
pub const PEER: Mac = [0x02, 0x82, 0x59, 0xFF, 0x00, 0x01];
/// Everybody.
pub const BROADCAST: Mac = [0xFF; 6];

/// Shortest frame on a cable, without FCS.
pub const SHORTEST: usize = 60;
/// Bytes of the frame check sequence, which counters of bytes include.
pub const FCS: usize = 4;

/// Ethertype for local experiments (IEEE 802, 88-B5).
const EXPERIMENT: u16 = 0x88B5;
/// Bytes of the Ethernet header.
pub const ETHERNET: usize = 14;

/// A frame of `len` bytes, at least 60, from the peer to `to` that tells its number in its first bytes of payload; the
/// rest is a pattern that depends on the number.
#[must_use]
pub fn numbered(to: Mac, number: usize, len: usize) -> Vec<u8> {
    from(PEER, to, number, len)
}

/// The same from any sender.
#[must_use]
pub fn from(sender: Mac, to: Mac, number: usize, len: usize) -> Vec<u8> {
    let mut frame = [&to[..], &sender, &EXPERIMENT.to_be_bytes()].concat();
    frame.extend(label(number).as_bytes());
    let step = number % 251 + 1;
    frame.extend((frame.len()..len).map(|at| (at.wrapping_mul(step)).to_le_bytes()[0]));
    frame
}

/// The text by which frame `number` can be found.
#[must_use]
pub fn label(number: usize) -> String {
    format!("<frame {number:06}>")
}

/// The label of a frame of [`numbered`].
#[must_use]
pub fn label_of(frame: &[u8]) -> Option<String> {
    let start = frame
        .windows(7)
        .take(ETHERNET + 5)
        .position(|window| window == b"<frame ")?;
    let text = frame.get(start..start + label(0).len())?;
    String::from_utf8(text.to_vec()).ok()
}

/// The frame with an 802.1Q tag.
#[must_use]
pub fn tagged(frame: &[u8], tag: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let [high, low] = tag.to_be_bytes();
    [addresses, &[0x81, 0x00, high, low], rest].concat()
}

/// The frame as it lies on a cable: padded to 60 bytes.
#[must_use]
pub fn padded(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}

/// Whether these are the frames that should be.
///
/// # Errors
/// They are not; the error tells of the first that differs.
pub fn same(are: &[Vec<u8>], should_be: &[Vec<u8>]) -> Result<()> {
    let differs = (0..are.len().max(should_be.len())).find(|at| are.get(*at) != should_be.get(*at));
    let Some(at) = differs else {
        return Ok(());
    };
    let (is, expected) = (are.get(at), should_be.get(at));
    let place = is.zip(expected).and_then(|(is, expected)| {
        let pairs = is.iter().zip(expected);
        let place = pairs.enumerate().find(|(_, (a, b))| a != b)?.0;
        Some(format!(", from byte {place} on"))
    });
    bail!(
        "{} frames instead of {}; frame {at} is {} instead of {}{}",
        are.len(),
        should_be.len(),
        summary(is),
        summary(expected),
        place.unwrap_or_default()
    );
}

fn summary(frame: Option<&Vec<u8>>) -> String {
    let Some(frame) = frame else {
        return "missing".to_owned();
    };
    let head = frame.get(..ETHERNET + 4).unwrap_or(frame);
    let label = label_of(frame).unwrap_or_default();
    format!("{} bytes {head:02x?} {label}", frame.len())
}

/// The two ends of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// From.
    pub source: (IpAddr, u16),
    /// To, of the same IP version.
    pub destination: (IpAddr, u16),
}

impl Flow {
    /// A TCP segment of this flow in a frame, all checksums right.
    ///
    /// # Errors
    /// Source and destination are not of one IP version, or the payload is too long.
    pub fn tcp(&self, from: Mac, to: Mac, payload: &[u8]) -> Result<Vec<u8>> {
        let header = TcpHeader::new(self.source.1, self.destination.1, 0x1234_5678, 0x2000);
        self.tcp_with(from, to, header, payload)
    }

    /// The same with more in its header; its ports become the flow's.
    ///
    /// # Errors
    /// As [`Flow::tcp`].
    pub fn tcp_with(
        &self,
        from: Mac,
        to: Mac,
        mut header: TcpHeader,
        payload: &[u8],
    ) -> Result<Vec<u8>> {
        header.source_port = self.source.1;
        header.destination_port = self.destination.1;
        let mut frame = Vec::new();
        let ethernet = PacketBuilder::ethernet2(from, to);
        let ip = match (self.source.0, self.destination.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
            _ => bail!("a flow between IP versions"),
        };
        ip.tcp_header(header).write(&mut frame, payload)?;
        Ok(frame)
    }

    /// A UDP datagram of this flow in a frame, all checksums right.
    ///
    /// # Errors
    /// As [`Flow::tcp`].
    pub fn udp(&self, from: Mac, to: Mac, payload: &[u8]) -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        let ethernet = PacketBuilder::ethernet2(from, to);
        let ip = match (self.source.0, self.destination.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
            _ => bail!("a flow between IP versions"),
        };
        ip.udp(self.source.1, self.destination.1)
            .write(&mut frame, payload)?;
        Ok(frame)
    }
}

/// A frame whose checksums and lengths are right, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Ethernet header.
    pub ethernet: Ethernet2Header,
    /// Tag control information of its tag.
    pub vlan: Option<u16>,
    /// IP header.
    pub net: NetHeaders,
    /// TCP or UDP header.
    pub transport: TransportHeader,
    /// What they carry.
    pub payload: Vec<u8>,
}

impl Checked {
    /// Takes a TCP or UDP frame apart; its padding is left out.
    ///
    /// # Errors
    /// It is not of TCP or UDP, or a checksum or a length is wrong.
    pub fn new(frame: &[u8]) -> Result<Self> {
        let headers = PacketHeaders::from_ethernet_slice(frame)
            .map_err(|error| anyhow::anyhow!("{error}: {frame:02x?}"))?;
        let ethernet = headers
            .link
            .and_then(etherparse::LinkHeader::ethernet2)
            .context("no Ethernet header")?;
        let vlan = headers
            .link_exts
            .first()
            .and_then(|extension| match extension {
                etherparse::LinkExtHeader::Vlan(vlan) => {
                    let [high, low, ..] = vlan.to_bytes();
                    Some(u16::from_be_bytes([high, low]))
                }
                etherparse::LinkExtHeader::Macsec(_) => None,
            });
        let net = headers.net.context("no IP header")?;
        let transport = headers.transport.context("no transport header")?;
        let payload = headers.payload.slice();
        check_ip(&net, frame, vlan.is_some())?;
        check_transport(&net, &transport, payload)?;
        Ok(Self {
            ethernet,
            vlan,
            net,
            transport,
            payload: payload.to_vec(),
        })
    }

    /// Its TCP header.
    ///
    /// # Errors
    /// It has none.
    pub fn tcp(&self) -> Result<&TcpHeader> {
        match &self.transport {
            TransportHeader::Tcp(header) => Ok(header),
            other => bail!("{other:?} instead of TCP"),
        }
    }

    /// Identification of the IPv4 header.
    #[must_use]
    pub fn ipv4_id(&self) -> Option<u16> {
        match &self.net {
            NetHeaders::Ipv4(header, _) => Some(header.identification),
            _ => None,
        }
    }
}

fn check_ip(net: &NetHeaders, frame: &[u8], tagged: bool) -> Result<()> {
    let start = ETHERNET + if tagged { 4 } else { 0 };
    let len = match net {
        NetHeaders::Ipv4(header, _) => {
            let sum = header.calc_header_checksum();
            ensure!(
                header.header_checksum == sum,
                "the IPv4 header checksum is {:#06x} instead of {sum:#06x}",
                header.header_checksum
            );
            usize::from(header.total_len)
        }
        NetHeaders::Ipv6(header, _) => 40 + usize::from(header.payload_length),
        NetHeaders::Arp(_) => bail!("ARP has no checksum"),
    };
    let expected = (start + len).max(SHORTEST);
    ensure!(
        frame.len() == expected,
        "the frame has {} bytes; by its IP header it should have {expected}",
        frame.len()
    );
    Ok(())
}

fn check_transport(net: &NetHeaders, transport: &TransportHeader, payload: &[u8]) -> Result<()> {
    let (is, should_be) = match (net, transport) {
        (NetHeaders::Ipv4(ip, _), TransportHeader::Tcp(tcp)) => {
            (tcp.checksum, tcp.calc_checksum_ipv4(ip, payload)?)
        }
        (NetHeaders::Ipv6(ip, _), TransportHeader::Tcp(tcp)) => {
            (tcp.checksum, tcp.calc_checksum_ipv6(ip, payload)?)
        }
        (NetHeaders::Ipv4(ip, _), TransportHeader::Udp(udp)) => {
            (udp.checksum, udp.calc_checksum_ipv4(ip, payload)?)
        }
        (NetHeaders::Ipv6(ip, _), TransportHeader::Udp(udp)) => {
            (udp.checksum, udp.calc_checksum_ipv6(ip, payload)?)
        }
        _ => bail!("{transport:?} is neither TCP nor UDP"),
    };
    ensure!(
        is == should_be,
        "the L4 checksum is {is:#06x} instead of {should_be:#06x}"
    );
    Ok(())
}

/// The EtherType of a frame without tag.
#[must_use]
pub fn ethertype(frame: &[u8]) -> Option<EtherType> {
    let [high, low] = *frame.get(12..14)?.as_array()?;
    Some(EtherType(u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        Flow {
            source: ("10.0.2.2".parse().unwrap(), 1024),
            destination: ("10.0.2.15".parse().unwrap(), 80),
        }
    }

    #[test]
    fn the_label_of_a_frame_is_found_with_and_without_a_tag() {
        let frame = numbered(BROADCAST, 42, 100);

        assert_eq!(label_of(&frame), Some(label(42)));
        assert_eq!(label_of(&tagged(&frame, 5)), Some(label(42)));
        assert_eq!(label_of(&flow().udp(PEER, BROADCAST, b"x").unwrap()), None);
    }

    #[test]
    fn the_first_frame_that_differs_is_told() {
        let frames = [numbered(BROADCAST, 1, 60), numbered(BROADCAST, 2, 60)];
        let swapped = [frames[1].clone(), frames[0].clone()];

        assert!(same(&frames, &frames).is_ok());
        let text = same(&frames, &swapped).unwrap_err().to_string();
        assert!(text.contains("<frame 000001> instead of"), "{text}");
        let text = same(&frames, &frames[..1]).unwrap_err().to_string();
        assert!(text.contains("2 frames instead of 1"), "{text}");
    }

    #[test]
    fn a_right_frame_passes_and_one_with_a_flipped_bit_does_not() {
        let frame = flow().tcp(PEER, BROADCAST, b"payload").unwrap();
        let mut flipped = frame.clone();
        flipped[20] ^= 1;

        assert_eq!(Checked::new(&padded(&frame)).unwrap().payload, b"payload");
        assert!(Checked::new(&padded(&flipped)).is_err());
    }
}
