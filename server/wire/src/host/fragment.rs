//! Cuts IPv4 packets into fragments that the port takes (RFC 791, section 3.2).

use smoltcp::wire::{EthernetFrame, EthernetProtocol, Ipv4Packet};

use super::MIN_FRAME;

/// Length of an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// Hands `frame` to `send`: whole if its IP packet is no longer than `mtu` or cannot be cut (no IPv4), else in
/// fragments. A packet that is a fragment already is cut further.
pub(super) fn split(frame: &[u8], mtu: usize, send: &mut dyn FnMut(&[u8])) {
    match cut(frame, mtu) {
        Some(cut) => cut.for_each_piece(frame, send),
        None => send(frame),
    }
}

/// How a frame is cut.
struct Cut {
    /// Length of Ethernet and IP headers.
    headers: usize,
    /// End of the IP packet in the frame.
    end: usize,
    /// Payload bytes a fragment, a multiple of 8.
    piece: usize,
}

fn cut(frame: &[u8], mtu: usize) -> Option<Cut> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let header = usize::from(ip.header_len());
    let total = usize::from(ip.total_len());
    let piece = mtu.checked_sub(header)? & !7;
    (total > mtu && piece > 0).then_some(Cut {
        headers: ETHERNET_HEADER + header,
        end: ETHERNET_HEADER + total,
        piece,
    })
}

impl Cut {
    fn for_each_piece(&self, frame: &[u8], send: &mut dyn FnMut(&[u8])) {
        let headers = &frame[..self.headers];
        let payload = &frame[self.headers..self.end];
        let whole = Ipv4Packet::new_unchecked(&headers[ETHERNET_HEADER..]);
        let (first_offset, last_has_more) = (whole.frag_offset(), whole.more_frags());
        let count = payload.len().div_ceil(self.piece);
        let mut fragment = Vec::with_capacity(self.headers + self.piece);
        for (index, piece) in payload.chunks(self.piece).enumerate() {
            fragment.clear();
            fragment.extend_from_slice(headers);
            fragment.extend_from_slice(piece);
            let len = u16::try_from(self.headers - ETHERNET_HEADER + piece.len());
            let at = u16::try_from(index * self.piece).ok();
            let (Ok(len), Some(offset)) = (len, at.and_then(|at| first_offset.checked_add(at)))
            else {
                return;
            };
            let mut ip = Ipv4Packet::new_unchecked(&mut fragment[ETHERNET_HEADER..]);
            ip.set_total_len(len);
            ip.set_dont_frag(false);
            ip.set_more_frags(last_has_more || index + 1 < count);
            ip.set_frag_offset(offset);
            ip.fill_checksum();
            if fragment.len() < MIN_FRAME {
                fragment.resize(MIN_FRAME, 0);
            }
            send(&fragment);
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, PacketBuilder, SlicedPacket, defrag::IpDefragPool};

    use super::*;

    fn udp(payload: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(7, 7)
            .write(&mut frame, &vec![0x5a; payload])
            .unwrap();
        frame
    }

    fn pieces(frame: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        split(frame, mtu, &mut |piece| pieces.push(piece.to_vec()));
        pieces
    }

    #[test]
    fn a_packet_of_exactly_the_mtu_stays_whole() {
        let frame = udp(1500 - 28);

        assert_eq!(pieces(&frame, 1500), [frame]);
    }

    #[test]
    fn fragments_fit_the_mtu_and_reassemble_to_the_packet() {
        let frame = udp(9000);

        let pieces = pieces(&frame, 1500);

        let mut pool = IpDefragPool::<(), ()>::new();
        let whole: Vec<_> = pieces
            .iter()
            .filter_map(|piece| {
                let sliced = SlicedPacket::from_ethernet(piece).unwrap();
                let Some(NetSlice::Ipv4(ip)) = &sliced.net else {
                    panic!("no IPv4")
                };
                assert_eq!(
                    ip.header().header_checksum(),
                    ip.header().to_header().calc_header_checksum()
                );
                pool.process_sliced_packet(&sliced, (), ()).unwrap()
            })
            .collect();
        assert_eq!(pieces.len(), 7);
        assert!(pieces.iter().all(|piece| piece.len() <= 1514));
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].payload, frame[34..]);
    }

    #[test]
    fn a_fragment_is_cut_into_fragments_of_the_same_packet() {
        let frame = udp(9000);
        let large = pieces(&frame, 4000);

        let small: Vec<_> = large.iter().flat_map(|piece| pieces(piece, 1500)).collect();

        let mut pool = IpDefragPool::<(), ()>::new();
        let whole: Vec<_> = small
            .iter()
            .filter_map(|piece| {
                let sliced = SlicedPacket::from_ethernet(piece).unwrap();
                pool.process_sliced_packet(&sliced, (), ()).unwrap()
            })
            .collect();
        assert_eq!(whole[0].payload, frame[34..]);
    }

    #[test]
    fn a_long_frame_that_is_not_ipv4_stays_whole() {
        let mut frame = udp(3000);
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);

        assert_eq!(pieces(&frame, 1500), [frame]);
    }
}
