//! A virtio-net guest without a guest: its driver, in a process of ours, at a host stack's vhost-user socket.
//!
//! It has one pair of rings, with one descriptor a buffer, takes what comes as fast as it comes, and sleeps between: a
//! driver that polled would take the cores that stack and card need.

mod front_end;
mod processes;
mod ring;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use serde::Serialize;
use wire::{Rate, SEQUENCE, Stream};

use self::{front_end::Guest, processes::Processes};
use crate::{Measured, traffic::rate};

/// virtio's header before each frame (virtio 1.2, 5.1.6).
const HEADER: usize = 12;
/// Frames that are checked byte for byte.
const CHECKED: u64 = if cfg!(test) { 2_000 } else { 100_000 };
/// How long the next frame may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Chains that are taken at once.
const BURST: u16 = 64;

/// Who is driven, and with what.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The stack's vhost-user socket
    socket: PathBuf,

    /// Bytes of a frame without FCS
    #[arg(long, default_value_t = 60)]
    len: u16,

    /// Descriptors of a ring
    #[arg(long, default_value_t = 1024)]
    ring: u16,

    /// Processes whose processor time is told, by commas
    #[arg(long, value_delimiter = ',')]
    watch: Vec<u32>,
}

/// What was measured, and what it took.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    #[serde(flatten)]
    measured: Measured,
    frames: u64,
    seconds: f64,
    /// Processor time in seconds: of the processes that are watched, in their order, and of this one.
    cpu: Vec<f64>,
}

/// What the driver does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It looks at a word of it, as any stack would, and gives the buffer back.
    Drop,
    /// It sends it out of the same buffer.
    Forward,
}

/// Frames that arrive in the guest.
pub fn receive(options: &Options, time: Duration) -> Result<Told> {
    run(options, time, Then::Drop)
}

/// Frames that arrive in the guest and leave it again: those count that have left.
pub fn forward(options: &Options, time: Duration) -> Result<Told> {
    run(options, time, Then::Forward)
}

fn run(options: &Options, time: Duration, then: Then) -> Result<Told> {
    let mut guest = Guest::connect(&options.socket, options.ring)?;
    (0..options.ring).for_each(|buffer| guest.post(buffer));
    guest.publish()?;
    check(&mut guest, options.len)?;
    let mut driver = Driver {
        guest,
        then,
        word: 0,
        arrived: Vec::new(),
        back: Vec::new(),
    };
    driver.until(Instant::now() + time / 10)?;
    let processes = Processes::new(&options.watch)?;
    let begun = Instant::now();
    let frames = driver.until(begun + time)?;
    let (took, cpu) = (begun.elapsed(), processes.used()?);
    std::hint::black_box(driver.word);
    Ok(Told {
        measured: rate(frames, options.len, took),
        frames,
        seconds: took.as_secs_f64(),
        cpu,
    })
}

struct Driver {
    guest: Guest,
    then: Then,
    /// What was seen of the frames.
    word: u64,
    /// Buffers that came from the receive ring, with their lengths.
    arrived: Vec<(u16, u32)>,
    /// Buffers that go to it.
    back: Vec<u16>,
}

impl Driver {
    /// Works until `end`, and until a frame was done; returns how many there were.
    fn until(&mut self, end: Instant) -> Result<u64> {
        let mut frames = 0;
        let mut idle = Instant::now();
        loop {
            let done = self.step()?;
            frames += done;
            let now = Instant::now();
            if now >= end && frames > 0 {
                return Ok(frames);
            }
            if done > 0 {
                idle = now;
            } else {
                ensure!(now - idle < PATIENCE, "no frame for {PATIENCE:?}");
                self.guest.sleep()?;
            }
        }
    }

    fn step(&mut self) -> Result<u64> {
        let Self {
            guest,
            then,
            word,
            arrived,
            back,
        } = self;
        arrived.clear();
        back.clear();
        let mut done = guest
            .rx
            .take(BURST, |buffer, len| arrived.push((buffer, len)));
        for &(buffer, len) in &*arrived {
            let mut bytes = [0; 8];
            guest.bytes(buffer, HEADER + 8, &mut bytes);
            *word ^= u64::from_ne_bytes(bytes);
            match then {
                Then::Drop => back.push(buffer),
                Then::Forward => {
                    guest.write(buffer, &[0; HEADER]);
                    guest.send(buffer, len);
                }
            }
        }
        if *then == Then::Forward {
            done = guest.tx.take(BURST, |buffer, _| back.push(buffer));
        }
        back.iter().for_each(|&buffer| guest.post(buffer));
        guest.publish()?;
        Ok(done.into())
    }
}

/// Sees that frames of a generator arrive as they are, each once and in order.
fn check(guest: &mut Guest, len: u16) -> Result<()> {
    let stream = Stream {
        rate: Rate::Max,
        size: len,
    };
    let mut expected = stream.frame();
    let mut frame = vec![0; expected.len()];
    let (mut seen, mut next) = (0, None);
    let mut last = Instant::now();
    let mut arrived = Vec::new();
    while seen < CHECKED {
        arrived.clear();
        guest
            .rx
            .take(BURST, |buffer, len| arrived.push((buffer, len)));
        if arrived.is_empty() {
            ensure!(last.elapsed() < PATIENCE, "only {seen} frames came");
            guest.sleep()?;
            continue;
        }
        last = Instant::now();
        for &(buffer, used) in &arrived {
            ensure!(
                usize::try_from(used)? == HEADER + expected.len(),
                "frame {seen} has {used} bytes with its header"
            );
            guest.bytes(buffer, HEADER, &mut frame);
            let mut number = [0; 8];
            number.copy_from_slice(&frame[SEQUENCE]);
            let number = u64::from_be_bytes(number);
            expected[SEQUENCE].copy_from_slice(&number.to_be_bytes());
            if frame != expected || next.is_some_and(|next| next != number) {
                bail!("frame {seen} is wrong: {frame:02x?}, and was to have number {next:?}");
            }
            next = Some(number.wrapping_add(1));
            seen += 1;
            guest.post(buffer);
        }
        guest.publish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
