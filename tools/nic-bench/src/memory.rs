//! What copying alone costs.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use crate::{Measured, to_f64};

/// Bytes between the beginnings of two buffers: as in a receive ring.
const BUFFER: usize = 2048;

/// Copies a block of `len` bytes into one after the other of `ring` buffers.
pub fn copies(len: usize, ring: usize, time: Duration) -> Measured {
    let block = vec![0x5a; len];
    let buffer = len.next_multiple_of(BUFFER);
    let mut buffers = vec![0_u8; buffer * ring.max(1)];
    let start = Instant::now();
    let mut copied = 0_u64;
    while start.elapsed() < time {
        for buffer in buffers.chunks_exact_mut(buffer) {
            buffer[..len].copy_from_slice(black_box(&block));
            copied += len as u64;
        }
        black_box(&mut buffers);
    }
    Measured {
        value: to_f64(copied) * 8.0 / start.elapsed().as_secs_f64() / 1e9,
        unit: "Gbit/s",
    }
}
