//! Frames that pass the security block on their way in (7.12).

use super::{
    Admitted, Receive, Verdict,
    header::{Headers, L3, WINDOW},
    mac::Health,
    settings, window,
};
use crate::{
    hw::Hw,
    wire::{L4Checksum, RxFrame},
};

/// Length of the IPv6 header; with extension headers L4 starts later.
const IPV6_LEN: u16 = 40;

impl Receive {
    /// Takes a frame with an IPsec header: what its SA protects is checked and decrypted on a copy, and the filters see
    /// what it carries.
    #[cold]
    pub(super) fn receive_secured(
        &mut self,
        frame: &RxFrame<'_>,
        original: &[u8],
        admitted: Admitted<'_>,
        hw: &mut Hw<'_>,
    ) -> Verdict {
        if !passes(&admitted) {
            return self.distribute(frame, original, &admitted, hw);
        }
        let mut bytes = [frame.head, frame.body].concat();
        let headers = *admitted.headers;
        let (start, end) = (headers.l3_offset.into(), headers.ip_end.into());
        let Some(opened) = hw.ipsec.open(&mut bytes, start, end) else {
            return self.distribute(frame, original, &admitted, hw);
        };
        let frame = RxFrame {
            head: &bytes,
            body: &[],
            fcs: frame.fcs,
            l4_checksum: L4Checksum::Unknown,
        };
        let mut copy = [0; WINDOW];
        let window = window(&frame, &mut copy);
        let behind = opened.inner.map(|inner| {
            let place = (inner.protocol, inner.start, inner.end);
            Headers::behind_ipsec(headers, window, frame.len(), &settings(hw.regs), place)
        });
        let admitted = Admitted {
            headers: behind.as_ref().unwrap_or(&headers),
            security: opened.status,
            ..admitted
        };
        self.distribute(&frame, window, &admitted, hw)
    }
}

/// Whether the security block looks at a frame: an intact one, with the IPsec header right behind a plain IP header.
fn passes(admitted: &Admitted<'_>) -> bool {
    let &Headers {
        tag,
        outer_tag,
        snap,
        l3,
        l3_offset,
        l4_offset,
        ..
    } = admitted.headers;
    let plain_ip = l3 == L3::Ipv4 || l3 == L3::Ipv6 && l4_offset == l3_offset + IPV6_LEN;
    admitted.health == Health::Good && tag.is_none() && !outer_tag && !snap && plain_ip
}
