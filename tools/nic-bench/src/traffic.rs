//! Frames and segments per second through one pair of queues.

use std::{
    path::{Path, PathBuf},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nic_driver::{Config, DmaMemory, DriverError, Filled, L4, Packet};
use wire::{Rate, SEQUENCE, Stream};

use crate::{
    Measured, Traffic,
    card::{self, Card},
    to_f64,
};

/// Frames that are looked at between two looks at the clock.
const BURST: usize = 256;
/// Frames that are checked byte for byte.
const CHECKED: u64 = 100_000;
/// How long the next frame may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Headers of a segment: Ethernet, IPv4 and TCP.
const MAC_LEN: u8 = 14;
const IP_LEN: u16 = 20;
const TCP_LEN: u8 = 20;
/// Payload of a large segment: the most that an IPv4 packet holds, in whole segments of 1460.
const TSO_PAYLOAD: usize = 44 * 1460;

/// Mpps, or Gbit/s of frame bytes for frames that are not of the smallest size.
pub fn rate(frames: u64, len: u16, took: Duration) -> Measured {
    let per_second = to_f64(frames) / took.as_secs_f64();
    if len == 60 {
        Measured {
            value: per_second / 1e6,
            unit: "Mpps",
        }
    } else {
        Measured {
            value: per_second * f64::from(len) * 8.0 / 1e9,
            unit: "Gbit/s",
        }
    }
}

fn config(traffic: &Traffic) -> Config {
    Config {
        ring_len: traffic.ring,
        promiscuous: true,
        max_frame: traffic.len.saturating_add(4).max(1518),
        rx_buffer: usize::from(traffic.len).next_multiple_of(1024).max(2048),
        ..Config::default()
    }
}

/// Takes what has arrived; reads a word of each frame, as any stack would.
fn take(card: &mut Card, word: &mut u64) -> Result<u64, DriverError> {
    let (ring, device) = card.rx(0);
    let count = ring.burst(device, BURST, |frame| *word ^= frame.load(8))?;
    Ok(count as u64)
}

/// Sends as many frames of `len` bytes as there is room for, each with the next number.
fn give(
    card: &mut Card,
    limit: usize,
    frame: &mut [u8],
    next: &mut u64,
) -> Result<u64, DriverError> {
    let (ring, device) = card.tx(0);
    ring.reclaim();
    let len = u16::try_from(frame.len()).unwrap_or(u16::MAX);
    // A doorbell for less than this would cost more than the frames.
    if ring.free() < limit {
        return Ok(0);
    }
    let fill = |memory: &DmaMemory, offset: usize| {
        frame[SEQUENCE].copy_from_slice(&next.to_be_bytes());
        *next = next.wrapping_add(1);
        memory.put(offset, frame);
        len
    };
    Ok(ring.burst(device, limit, fill)? as u64)
}

/// A frame that a switch would take: from us to nobody, of an Ethertype for experiments.
fn frame(len: u16) -> Vec<u8> {
    let mut frame = vec![0x5a; len.into()];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
    frame
}

/// Calls `step`, which returns how many frames it moved, for `time`, after a tenth of it to warm up.
fn measure(
    time: Duration,
    len: u16,
    mut step: impl FnMut() -> Result<u64, DriverError>,
) -> Result<Measured> {
    let warm = Instant::now();
    while warm.elapsed() < time / 10 {
        step()?;
    }
    let start = Instant::now();
    let mut frames = 0;
    let mut turns = 0_u32;
    loop {
        frames += step()?;
        turns = turns.wrapping_add(1);
        // The clock costs as much as a frame.
        if turns.is_multiple_of(16) && start.elapsed() >= time {
            break;
        }
    }
    let took = start.elapsed();
    ensure!(frames > 0, "no frame passed in {took:?}");
    Ok(rate(frames, len, took))
}

/// Frames that arrive.
pub fn receive(traffic: &Traffic, time: Duration) -> Result<Measured> {
    let mut card = card::bring_up(&traffic.socket, &config(traffic))?;
    check_generated(&mut card, traffic.len)?;
    let mut word = 0;
    let measured = measure(time, traffic.len, || take(&mut card, &mut word));
    std::hint::black_box(word);
    measured
}

/// Frames that leave.
pub fn transmit(traffic: &Traffic, time: Duration) -> Result<Measured> {
    let mut card = card::bring_up(&traffic.socket, &config(traffic))?;
    let mut frame = frame(traffic.len);
    let mut next = 0;
    measure(time, traffic.len, || {
        give(&mut card, traffic.ring / 4, &mut frame, &mut next)
    })
}

/// Frames that arrive and frames that leave, together.
pub fn duplex(traffic: &Traffic, time: Duration) -> Result<Measured> {
    let mut card = card::bring_up(&traffic.socket, &config(traffic))?;
    check_generated(&mut card, traffic.len)?;
    let mut frame = frame(traffic.len);
    let (mut word, mut next) = (0, 0);
    let measured = measure(time, traffic.len, || {
        let received = take(&mut card, &mut word)?;
        Ok(received + give(&mut card, traffic.ring / 4, &mut frame, &mut next)?)
    });
    std::hint::black_box(word);
    measured
}

/// Frames that one port sends and the other receives: those count that have arrived.
pub fn pair(traffic: &Traffic, to: &Path, time: Duration) -> Result<Measured> {
    let mut from = card::bring_up(&traffic.socket, &config(traffic))?;
    let mut to = card::bring_up(to, &config(traffic))?;
    let mut frame = frame(traffic.len);
    let mut next = 0;
    let mut checker = Checker::new(frame.clone());
    checker.run(|look| {
        give(&mut from, traffic.ring / 4, &mut frame, &mut next)?;
        let (ring, device) = to.rx(0);
        ring.burst(device, BURST, look)
    })?;
    let mut word = 0;
    let measured = measure(time, traffic.len, || {
        give(&mut from, traffic.ring / 4, &mut frame, &mut next)?;
        take(&mut to, &mut word)
    });
    std::hint::black_box(word);
    measured
}

/// Frames of 60 bytes that leave all ports together. There may be more threads than cores: one that has no room for more
/// frames lets another run.
pub fn ports(sockets: &[PathBuf], time: Duration) -> Result<Measured> {
    let begin = Barrier::new(sockets.len());
    let one = |socket: &PathBuf| {
        let traffic = Traffic {
            socket: socket.clone(),
            len: 60,
            ring: 1024,
        };
        let card = card::bring_up(socket, &config(&traffic));
        // Nobody may miss at the barrier, or the others would wait for ever.
        begin.wait();
        let mut card = card?;
        let mut frame = frame(traffic.len);
        let mut next = 0;
        measure(time, traffic.len, || {
            let sent = give(&mut card, traffic.ring / 4, &mut frame, &mut next)?;
            if sent == 0 {
                thread::yield_now();
            }
            Ok(sent)
        })
    };
    let each = thread::scope(|scope| {
        let threads: Vec<_> = sockets
            .iter()
            .map(|socket| scope.spawn(|| one(socket)))
            .collect();
        let results = threads.into_iter().map(|thread| {
            let result = thread.join();
            result.unwrap_or_else(|_| bail!("a thread that drove a port has panicked"))
        });
        results.collect::<Result<Vec<Measured>>>()
    })?;
    let first = each.first().context("no port was named")?;
    Ok(Measured {
        value: each.iter().map(|measured| measured.value).sum(),
        unit: first.unit,
    })
}

/// Payload of large segments.
pub fn tso(traffic: &Traffic, time: Duration) -> Result<Measured> {
    let config = Config {
        ring_len: 64,
        tx_buffer: 16 * 1024,
        ..config(traffic)
    };
    let mut card = card::bring_up(&traffic.socket, &config)?;
    let segment = large_segment();
    let packet = Packet {
        bytes: &segment,
        ip_checksum: true,
        ipv4: true,
        l4: Some(L4::Tcp),
        mss: Some(1460),
        mac_len: MAC_LEN,
        ip_len: IP_LEN,
        l4_len: TCP_LEN,
        ..Packet::default()
    };
    let len = u16::try_from(TSO_PAYLOAD)?;
    measure(time, len, || {
        let (ring, device) = card.tx(0);
        ring.reclaim();
        match ring.send(device, &packet) {
            Ok(()) => Ok(1),
            Err(DriverError::RingFull) => Ok(0),
            Err(error) => Err(error),
        }
    })
}

/// Headers as a driver leaves them for TSO (7.2.4), and the payload.
fn large_segment() -> Vec<u8> {
    const IP_AND_TCP: [u8; 40] = [
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 18, 0, 1, 198, 19, 0, 1, //
        0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
    ];
    let mut segment = frame(MAC_LEN.into());
    segment[12..14].copy_from_slice(&[0x08, 0x00]);
    segment.extend(IP_AND_TCP);
    segment.resize(segment.len() + TSO_PAYLOAD, 0x5a);
    segment
}

/// Checks the frames of a generator byte for byte.
fn check_generated(card: &mut Card, len: u16) -> Result<()> {
    let stream = Stream {
        rate: Rate::Max,
        size: len,
    };
    let mut checker = Checker::new(stream.frame());
    checker.run(|look| {
        let (ring, device) = card.rx(0);
        ring.burst(device, BURST, look)
    })
}

/// Sends numbered frames and checks each that comes back.
pub fn check(traffic: &Traffic) -> Result<()> {
    let mut card = card::bring_up(&traffic.socket, &config(traffic))?;
    let mut frame = frame(traffic.len);
    let mut next = 0;
    let mut checker = Checker::new(frame.clone());
    checker.run(|look| {
        give(&mut card, traffic.ring / 4, &mut frame, &mut next)?;
        let (ring, device) = card.rx(0);
        ring.burst(device, BURST, look)
    })
}

/// Looks at numbered frames: their numbers have no gap, and the bytes around them are what they should be.
struct Checker {
    /// The frame with number 0.
    expected: Vec<u8>,
    seen: u64,
    /// Number of the next frame.
    next: u64,
    wrong: Option<String>,
}

impl Checker {
    fn new(mut expected: Vec<u8>) -> Self {
        expected[SEQUENCE].fill(0);
        Self {
            expected,
            seen: 0,
            next: 0,
            wrong: None,
        }
    }

    /// Calls `step`, which shows frames, until enough were seen.
    fn run(
        &mut self,
        mut step: impl FnMut(&mut dyn FnMut(&Filled<'_>)) -> Result<usize, DriverError>,
    ) -> Result<()> {
        let mut frame = vec![0; self.expected.len()];
        let mut last = Instant::now();
        while self.seen < CHECKED {
            let before = self.seen;
            step(&mut |filled| self.look(filled, &mut frame))?;
            if let Some(wrong) = self.wrong.take() {
                bail!("frame {} is wrong: {wrong}", self.seen);
            }
            if self.seen > before {
                last = Instant::now();
            }
            ensure!(last.elapsed() < PATIENCE, "only {} frames came", self.seen);
        }
        Ok(())
    }

    fn look(&mut self, filled: &Filled<'_>, frame: &mut [u8]) {
        if self.wrong.is_some() {
            return;
        }
        if filled.len() != self.expected.len() {
            self.wrong = Some(format!("it has {} bytes", filled.len()));
            return;
        }
        filled.copy_to(frame);
        let mut number = [0; 8];
        number.copy_from_slice(&frame[SEQUENCE]);
        let number = u64::from_be_bytes(number);
        frame[SEQUENCE].fill(0);
        if self.seen > 0 && number != self.next {
            self.wrong = Some(format!("number {number}, not {}", self.next));
        } else if frame != self.expected {
            self.wrong = Some(format!("{frame:02x?} instead of {:02x?}", self.expected));
        }
        self.next = number.wrapping_add(1);
        self.seen += 1;
    }
}
