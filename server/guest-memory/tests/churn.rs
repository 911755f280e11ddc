//! A client behind a virtual IOMMU maps page by page. Alone in its file, since it counts what the process holds.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;
use std::os::fd::AsFd;

use guest_memory::{Backing, IovaTable, SharedMemory};
use vm_memory::Permissions::ReadWrite;

const PAGE: u64 = 0x1000;
const PAGES: u64 = 4096;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings_of_the_client() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let lines = maps.lines();
    lines.filter(|line| line.contains("memfd:client")).count()
}

fn map_page(table: &mut IovaTable, client: &SharedMemory, page: u64) {
    let fd = client.as_fd().try_clone_to_owned().unwrap();
    // As Linux's allocator of I/O virtual addresses does: downwards from 4 GiB, pages of the file in any order.
    let iova = 0xffff_f000 - page * PAGE;
    let offset = (page * 37 % PAGES) * PAGE;
    let backing = Backing::File { fd, offset };
    table.map(iova, PAGE, ReadWrite, backing).unwrap();
}

#[test]
fn a_storm_of_single_page_maps_keeps_descriptors_and_mappings_flat() {
    let len = usize::try_from(PAGES * PAGE).unwrap();
    let client = SharedMemory::new(c"client", len).unwrap();
    let mut table = IovaTable::default();
    map_page(&mut table, &client, 0);
    let before = (descriptors(), mappings_of_the_client());

    for round in 0..3 {
        // Translation goes on: one map per page.
        (0..PAGES).for_each(|page| map_page(&mut table, &client, page));
        // A global invalidation: ranges that were never mapped or span many maps, then all pages again, those that
        // went and those that are still there.
        table.unmap(0, 0x8000_0000).unwrap();
        table.unmap(0xff80_0000, 0x10_0000).unwrap();
        (0..PAGES).for_each(|page| map_page(&mut table, &client, page));
        table.write(0xffff_e000, &[round]).unwrap();
        assert_eq!(table.len(), 4096);
        assert_eq!((descriptors(), mappings_of_the_client()), before);
        // Translation goes off.
        table.unmap(0, 0xfee0_0000).unwrap();
        table.unmap(0xfef0_0000, 0xffff_ffff_0110_0000).unwrap();
        assert!(table.is_empty());
        assert_eq!((descriptors(), mappings_of_the_client()), before);
    }

    table.unmap_all();
    // The client's own view is left.
    assert_eq!((descriptors(), mappings_of_the_client()), (before.0, 1));
}
