//! What a guest leaves to do, as the card takes it: virtio's header becomes a context descriptor (7.2.3.2.3).

use nic_driver::{L4, Packet};

use crate::header::{Checksum, Header, Segmentation};

/// Bytes at the beginning of a frame that are looked at, if there is something to do: all headers have to be there.
pub const LOOK: usize = 256;

/// The guest asks for what it may not, or what no card could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible;

/// Where the checksum lies behind the beginning of the L4 header.
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
const VLAN: u16 = 0x8100;
const TCP: u16 = 6;
const UDP: u16 = 17;
/// Bytes of a UDP header, and of a TCP header without options.
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;

/// Turns virtio's header into what the card is to do with the frame, of which `look` is a copy of the beginning.
///
/// For segments, headers have to be as the card wants them (7.2.4): no lengths, and the pseudo header's sum without one.
/// The guest's pages are not written to: `look` is, and [`Packet::bytes`] is then what to send in the place of the headers.
///
/// # Errors
/// [`Impossible`].
pub fn plan<'a>(header: &Header, look: &'a mut [u8]) -> Result<Packet<'a>, Impossible> {
    // Segments get checksums, so there has to be one for the whole.
    let Checksum { start, offset } = header.checksum().ok_or(Impossible)?;
    let (mac_len, kind) = layer_2(look).ok_or(Impossible)?;
    let ip_len = usize::from(start).checked_sub(mac_len).ok_or(Impossible)?;
    let l4 = match offset {
        TCP_CHECKSUM => L4::Tcp,
        UDP_CHECKSUM => L4::Udp,
        _ => return Err(Impossible),
    };
    if !(20..512).contains(&ip_len) || !matches!(kind, IPV4 | IPV6) {
        return Err(Impossible);
    }
    let mut packet = Packet {
        bytes: &[],
        ipv4: kind == IPV4,
        l4: Some(l4),
        mac_len: u8::try_from(mac_len).map_err(|_| Impossible)?,
        ip_len: u16::try_from(ip_len).map_err(|_| Impossible)?,
        ..Packet::default()
    };
    let mss = match header.segmentation() {
        Segmentation::None => return Ok(packet),
        Segmentation::Tcp(mss) if mss > 0 && l4 == L4::Tcp => mss,
        Segmentation::Udp(mss) if mss > 0 && l4 == L4::Udp => mss,
        _ => return Err(Impossible),
    };
    let start = usize::from(start);
    let (l4_len, at, protocol) = match l4 {
        L4::Udp => (UDP_HEADER, UDP_CHECKSUM, UDP),
        _ => {
            let words = look.get(start + 12).ok_or(Impossible)? >> 4;
            (usize::from(words) * 4, TCP_CHECKSUM, TCP)
        }
    };
    let headers = look.get_mut(..start + l4_len).ok_or(Impossible)?;
    let (before, behind) = headers.split_at_mut_checked(start).ok_or(Impossible)?;
    let ip = before.get_mut(mac_len..).ok_or(Impossible)?;
    let addresses = if kind == IPV4 {
        ip.get_mut(2..4).ok_or(Impossible)?.fill(0);
        ip.get_mut(10..12).ok_or(Impossible)?.fill(0);
        ip.get(12..20)
    } else {
        ip.get_mut(4..6).ok_or(Impossible)?.fill(0);
        ip.get(8..40)
    };
    let sum = pseudo_header(addresses.ok_or(Impossible)?, protocol, 0);
    let at = usize::from(at);
    behind
        .get_mut(at..at + 2)
        .filter(|_| l4 == L4::Udp || l4_len >= TCP_HEADER)
        .ok_or(Impossible)?
        .copy_from_slice(&sum.to_be_bytes());
    packet.mss = Some(mss);
    packet.ip_checksum = kind == IPV4;
    packet.l4_len = u8::try_from(l4_len).map_err(|_| Impossible)?;
    packet.bytes = headers;
    Ok(packet)
}

/// Length of the MAC header with its tag, if it has one, and what follows it.
fn layer_2(frame: &[u8]) -> Option<(usize, u16)> {
    let kind = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    match kind(12)? {
        VLAN => Some((18, kind(16)?)),
        other => Some((14, other)),
    }
}

/// The folded sum of the pseudo header of TCP with this length of header and payload.
pub(crate) fn tcp_pseudo_header(addresses: &[u8], len: u16) -> u16 {
    pseudo_header(addresses, TCP, len)
}

fn pseudo_header(addresses: &[u8], protocol: u16, len: u16) -> u16 {
    let words = addresses.as_chunks::<2>().0.iter();
    let begin = u32::from(protocol) + u32::from(len);
    let sum = words.fold(begin, |sum, word| {
        sum + u32::from(u16::from_be_bytes(*word))
    });
    let once = (sum & 0xFFFF) + (sum >> 16);
    u16::try_from((once & 0xFFFF) + (once >> 16)).unwrap_or(u16::MAX)
}
