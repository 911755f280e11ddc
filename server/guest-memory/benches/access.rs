//! What an access of the DMA engine costs: look-up and copy of a small frame, a full one and 64 KiB.
//!
//! Each benchmark goes over its addresses in a scrambled order that stays in a megabyte, so that caches help as they
//! do with a ring that is in use. `plain` maps a megabyte in one of two ranges, as QEMU does; `paged` maps it page by
//! page at scrambled places, as QEMU does under a virtual IOMMU.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has no result"
)]

use std::cell::Cell;
use std::hint::black_box;
use std::os::fd::AsFd;

use divan::Bencher;
use divan::counter::BytesCount;
use guest_memory::{Backing, IovaTable, SharedMemory};
use vm_memory::Permissions::{Read, ReadWrite};

const PAGE: u64 = 0x1000;
const PAGES: u64 = 256;
const LENS: [usize; 3] = [60, 1514, 65536];

fn main() {
    divan::main();
}

/// A range that goes from one address to another, pages of the file in scrambled order if `paged`.
fn table(paged: bool) -> IovaTable {
    let client = SharedMemory::new(c"client", usize::try_from(PAGES * PAGE).unwrap()).unwrap();
    let mut table = IovaTable::default();
    let mut map = |iova, size, offset| {
        let fd = client.as_fd().try_clone_to_owned().unwrap();
        table
            .map(iova, size, ReadWrite, Backing::File { fd, offset })
            .unwrap();
    };
    if paged {
        (0..PAGES).for_each(|page| map(page * PAGE, PAGE, page * 37 % PAGES * PAGE));
    } else {
        map(0, PAGES * PAGE, 0);
        map(1 << 32, PAGES * PAGE, 0);
    }
    // The first touch of a page is another story.
    (0..PAGES).for_each(|page| table.write(page * PAGE, &[1; 4096]).unwrap());
    table
}

/// Addresses for accesses, 2 KiB apart as receive buffers are.
struct Addresses {
    mask: u64,
    at: Cell<u64>,
}

impl Addresses {
    /// For accesses of `len` bytes. A power of two of them, for a division would cost as much as a look-up.
    fn new(len: usize) -> Self {
        let slots = PAGES * PAGE / 2048 / if len > 2048 { 2 } else { 1 };
        Self {
            mask: slots - 1,
            at: Cell::new(0),
        }
    }

    fn next(&self) -> u64 {
        self.at.set((self.at.get() + 211) & self.mask);
        self.at.get() * 2048
    }
}

#[divan::bench(args = LENS, consts = [false, true])]
fn read<const PAGED: bool>(bencher: Bencher<'_, '_>, len: usize) {
    let (table, addresses) = (table(PAGED), Addresses::new(len));
    let mut to = vec![0; len];
    bencher
        .counter(BytesCount::new(len))
        .bench_local(|| table.read(addresses.next(), black_box(&mut to)));
}

#[divan::bench(args = LENS, consts = [false, true])]
fn write<const PAGED: bool>(bencher: Bencher<'_, '_>, len: usize) {
    let (table, addresses) = (table(PAGED), Addresses::new(len));
    let from = vec![1; len];
    bencher
        .counter(BytesCount::new(len))
        .bench_local(|| table.write(addresses.next(), black_box(&from)));
}

/// The copy alone, for comparison.
#[divan::bench(args = LENS)]
fn memcpy(bencher: Bencher<'_, '_>, len: usize) {
    let addresses = Addresses::new(len);
    let memory = vec![1_u8; usize::try_from(PAGES * PAGE).unwrap()];
    let mut to = vec![0; len];
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        let at = usize::try_from(addresses.next()).unwrap();
        black_box(&mut to).copy_from_slice(&memory[at..at + len]);
    });
}

#[divan::bench(args = LENS, consts = [false, true])]
fn slices<const PAGED: bool>(bencher: Bencher<'_, '_>, len: usize) {
    let (table, addresses) = (table(PAGED), Addresses::new(len));
    bencher.bench_local(|| {
        let slices = table.slices(addresses.next(), len, Read).unwrap();
        slices.for_each(|slice| {
            black_box(slice);
        });
    });
}

#[divan::bench(consts = [false, true])]
fn read_descriptor<const PAGED: bool>(bencher: Bencher<'_, '_>) {
    let (table, addresses) = (table(PAGED), Addresses::new(16));
    let mut to = [0; 16];
    bencher.bench_local(|| table.read(addresses.next(), black_box(&mut to)));
}

#[divan::bench(consts = [false, true])]
fn write_back<const PAGED: bool>(bencher: Bencher<'_, '_>) {
    let (table, addresses) = (table(PAGED), Addresses::new(16));
    bencher.bench_local(|| table.write_back(addresses.next(), black_box(1), black_box(2)));
}

/// Two ranges in turn, each of which misses what was hit last.
#[divan::bench]
fn read_alternating(bencher: Bencher<'_, '_>) {
    let (table, addresses) = (table(false), Addresses::new(16));
    let high = Cell::new(0);
    let mut to = [0; 16];
    bencher.bench_local(|| {
        high.set(high.get() ^ (1 << 32));
        table.read(addresses.next() + high.get(), black_box(&mut to))
    });
}
