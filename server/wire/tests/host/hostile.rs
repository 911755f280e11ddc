//! The embedded host under frames that nobody should send.

use nic_model::{
    Time, Wire,
    wire::{Flow, Offload, TxFrame},
};
use proptest::{prelude::*, sample::Index};
use wire::{Backend, Host, HostConfig};

/// Frames that the host understands, to be damaged.
fn understood() -> Vec<Vec<u8>> {
    use etherparse::PacketBuilder;
    const HOST: [u8; 6] = [0x02, 0x82, 0x59, 0, 0, 2];
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
    let v6 = |last| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[0xfd, 0, 0x82, 0x59]);
        address[15] = last;
        address
    };
    let v4 = || PacketBuilder::ethernet2(MAC, HOST).ipv4([10, 0, 2, 77], [10, 0, 2, 2], 64);
    let v6 = || PacketBuilder::ethernet2(MAC, HOST).ipv6(v6(0x77), v6(2), 255);
    let mut frames = vec![Vec::new(); 8];
    v4().icmpv4_echo_request(1, 1)
        .write(&mut frames[0], &[1; 99])
        .unwrap();
    v6().icmpv6_echo_request(1, 1)
        .write(&mut frames[1], &[1; 99])
        .unwrap();
    v4().udp(5555, 7).write(&mut frames[2], &[1; 99]).unwrap();
    v6().udp(5555, 19).write(&mut frames[3], &[1; 99]).unwrap();
    v4().tcp(5555, 7, 1, 1000)
        .syn()
        .write(&mut frames[4], &[])
        .unwrap();
    v6().tcp(5555, 9, 1, 1000)
        .syn()
        .write(&mut frames[5], &[])
        .unwrap();
    v6().icmpv6_raw(133, 0, [0; 4])
        .write(&mut frames[6], &[1, 1, 2, 0, 0, 0, 0, 7])
        .unwrap();
    let mut dhcp = vec![1, 1, 6, 0, 1, 2, 3, 4];
    dhcp.resize(236, 0);
    dhcp.extend_from_slice(&[
        0x63, 0x82, 0x53, 0x63, 53, 1, 1, 61, 7, 1, 2, 3, 4, 5, 6, 7, 255,
    ]);
    v4().udp(68, 67).write(&mut frames[7], &dhcp).unwrap();
    frames
}

/// Repairs the IPv4 header checksum, so that damage behind it gets through.
fn repair(frame: &mut [u8]) {
    if let Some(header) = frame.get_mut(14..34) {
        header[10..12].fill(0);
        let sum = header.chunks(2).fold(0_u32, |sum, word| {
            sum + u32::from(u16::from_be_bytes([word[0], word[1]]))
        });
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        header[10..12].copy_from_slice(&(!folded).to_be_bytes()[2..]);
    }
    // No UDP checksum.
    if frame.get(23) == Some(&17) && frame.len() >= 42 {
        frame[40..42].fill(0);
    }
}

fn feed(host: &mut Host, frames: &[Vec<u8>]) -> usize {
    let mut answers = 0;
    for (turn, frame) in frames.iter().enumerate() {
        let _ = host.transmit(&TxFrame {
            head: frame,
            payload: &[],
            offload: Offload::None,
        });
        host.advance(Time::from_nanos(turn as u64 * 50_000_000));
        answers += host.receive(100, &mut |_| Flow::More);
    }
    answers
}

proptest! {
    // Each case opens the host's sockets anew.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damaged_frames_do_not_stop_the_host(
        damage in prop::collection::vec(
            (any::<Index>(), prop::collection::vec((any::<Index>(), any::<u8>()), 0..4), any::<Index>(), any::<bool>()),
            1..40,
        )
    ) {
        let understood = understood();
        let frames: Vec<_> = damage.into_iter().map(|(which, changes, cut, mend)| {
            let mut frame = which.get(&understood).clone();
            for (place, value) in changes {
                let place = place.index(frame.len());
                frame[place] = value;
            }
            if !mend {
                frame.truncate(cut.index(frame.len() + 1));
            } else if frame.get(12) == Some(&8) {
                repair(&mut frame);
            }
            frame
        }).collect();
        let mut host = Host::new(HostConfig::default());

        feed(&mut host, &frames);

        // It still answers ping: ARP first, then the echo.
        let mut arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 0x77], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[2, 0, 0, 0, 0, 0x77]].concat();
        arp.extend_from_slice(&[10, 0, 2, 77, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
        prop_assert!(feed(&mut host, &[arp, understood[0].clone()]) >= 2);
    }

    #[test]
    fn random_bytes_do_not_stop_the_host(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut host = Host::new(HostConfig::default());

        feed(&mut host, &frames);
    }
}
