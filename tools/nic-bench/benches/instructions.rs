//! Instructions of the card for each packet, counted by callgrind: the model and the client memory under it, in one
//! process with the driver. What the driver does is not counted, but for its writes to the tails.
//!
//! `cargo xtask bench instructions` runs this and compares the counts with those that are on record. The name of each
//! function is the figure's, that of its case says how many packets it takes.
#![expect(
    clippy::unwrap_used,
    missing_docs,
    unused_qualifications,
    reason = "a benchmark that cannot be set up has no result; gungraun's macros make public items and
              modules"
)]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use ixgbe_spec::register::Reg;
use nic_driver::{Config, Device, Driver, L4, Packet, in_process::InProcess};
use nic_model::{
    PortConfig, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

/// Packets of a measurement.
const PACKETS: usize = 256;
/// Packets for each write to a tail.
const BURST: usize = 32;
/// Descriptors of a ring: nothing wraps, so what the driver would do after each burst need not be done.
const RING: usize = 2048;
/// Headers of a TCP packet, and its payload for TSO: 44 segments of 1460.
const MAC_LEN: u8 = 14;
const IP_LEN: u16 = 20;
const TCP_LEN: u8 = 20;
const MSS: u16 = 1460;
const TSO_PAYLOAD: usize = 44 * 1460;

/// The far end of the cable: it has as many copies of one frame as it is told to, and looks at nothing that it gets.
struct Far {
    frame: Vec<u8>,
    waiting: usize,
    capabilities: Capabilities,
    taken: usize,
}

impl Wire for Far {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.taken += 1;
        black_box(frame);
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        for done in 0..budget {
            if self.waiting == 0 {
                return done;
            }
            self.waiting -= 1;
            if sink(&RxFrame::new(&self.frame)) == Flow::Stop {
                return done + 1;
            }
        }
        budget
    }

    fn carrier(&self) -> bool {
        true
    }
}

/// A card that is up and has moved a burst already, so that nothing is made for the first time.
struct Bench {
    card: Driver<InProcess<Far>>,
    /// Descriptors of a packet.
    step: usize,
    /// Where the tail was last.
    tail: usize,
}

impl Bench {
    fn new(frame: Vec<u8>, capabilities: Capabilities) -> Self {
        let far = Far {
            frame,
            waiting: 0,
            capabilities,
            taken: 0,
        };
        let config = Config {
            ring_len: RING,
            promiscuous: true,
            tx_buffer: 16 * 1024,
            ..Config::default()
        };
        let card = InProcess::new(PortConfig::new([2, 0, 0, 0, 0, 1]), far);
        Self {
            card: Driver::new(card, &config).unwrap(),
            step: 1,
            tail: 0,
        }
    }

    /// A card for which frames of `len` bytes will arrive, as the wire `generate` sends them.
    fn receiver(frame: Vec<u8>) -> Self {
        let mut bench = Self::new(frame, Capabilities::default());
        bench.tail = RING - 1;
        bench.receive(BURST);
        bench
    }

    /// A card whose transmit ring holds more packets than will be sent; it knows of none.
    fn transmitter(packet: &Packet<'_>, step: usize, capabilities: Capabilities) -> Self {
        let mut bench = Self::new(Vec::new(), capabilities);
        bench.step = step;
        let (ring, _) = bench.card.tx(0);
        for _ in 0..PACKETS + BURST {
            ring.put(packet).unwrap();
        }
        bench.send(BURST);
        bench
    }

    /// Bursts that arrive; after each the driver gives as many descriptors back.
    fn receive(&mut self, packets: usize) {
        for _ in 0..packets / BURST {
            let device = self.card.device();
            device.wire().waiting = BURST;
            device.turn();
            self.tail = (self.tail + BURST) % RING;
            let tail = u32::try_from(self.tail).unwrap();
            device.write(Reg::RDT.offset(0), tail).unwrap();
        }
        assert_eq!(self.card.device().wire().waiting, 0);
    }

    /// Bursts that leave.
    fn send(&mut self, packets: usize) {
        for _ in 0..packets / BURST {
            self.tail += BURST * self.step;
            let tail = u32::try_from(self.tail).unwrap();
            let device = self.card.device();
            device.write(Reg::TDT.offset(0), tail).unwrap();
            device.turn();
        }
    }
}

/// A frame of no protocol that the card knows: from a stranger to nobody.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0x5A; len];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xB5]);
    frame
}

/// A large TCP segment as a driver leaves it for TSO (7.2.4).
fn large_segment() -> Vec<u8> {
    const IP_AND_TCP: [u8; 40] = [
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 18, 0, 1, 198, 19, 0, 1, //
        0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xFF, 0xFF, 0, 0, 0, 0,
    ];
    let mut segment = frame(MAC_LEN.into());
    segment[12..14].copy_from_slice(&[0x08, 0x00]);
    segment.extend(IP_AND_TCP);
    segment.resize(segment.len() + TSO_PAYLOAD, 0x5A);
    segment
}

fn arriving(len: usize) -> Bench {
    Bench::receiver(frame(len))
}

fn leaving(len: usize) -> Bench {
    Bench::transmitter(&Packet::plain(&frame(len)), 1, Capabilities::default())
}

fn leaving_large(capabilities: Capabilities) -> Bench {
    let segment = large_segment();
    let packet = Packet {
        bytes: &segment,
        ip_checksum: true,
        ipv4: true,
        l4: Some(L4::Tcp),
        mss: Some(MSS),
        mac_len: MAC_LEN,
        ip_len: IP_LEN,
        l4_len: TCP_LEN,
        ..Packet::default()
    };
    // The context, and four buffers of 16 KiB.
    Bench::transmitter(&packet, 5, capabilities)
}

/// A wire that takes large segments whole.
fn whole() -> Capabilities {
    Capabilities {
        checksum: true,
        tso4: true,
        tso6: true,
    }
}

#[library_benchmark]
#[bench::packets_256(arriving(60))]
fn rx_60(mut bench: Bench) -> Bench {
    bench.receive(PACKETS);
    bench
}

#[library_benchmark]
#[bench::packets_256(arriving(1514))]
fn rx_1514(mut bench: Bench) -> Bench {
    bench.receive(PACKETS);
    bench
}

#[library_benchmark]
#[bench::packets_256(leaving(60))]
fn tx_60(mut bench: Bench) -> Bench {
    bench.send(PACKETS);
    bench
}

#[library_benchmark]
#[bench::packets_256(leaving_large(whole()))]
fn tso_whole(mut bench: Bench) -> Bench {
    bench.send(PACKETS);
    bench
}

#[library_benchmark]
#[bench::packets_256(leaving_large(Capabilities::default()))]
fn tso_cut(mut bench: Bench) -> Bench {
    bench.send(PACKETS);
    bench
}

library_benchmark_group!(
    name = card,
    benchmarks = [rx_60, rx_1514, tx_60, tso_whole, tso_cut]
);

main!(library_benchmark_groups = card);
