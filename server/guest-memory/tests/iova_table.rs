//! What a client's maps and unmaps mean for the device's accesses.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use guest_memory::{AccessError, Backing, IovaTable, Limits, MapError, SharedMemory};
use nix::errno::Errno;
use vm_memory::Permissions::{self, Read, ReadWrite};

const PAGE: u64 = 0x1000;
const TOP_PAGE: u64 = u64::MAX - 0xfff;

fn memory(pages: usize) -> SharedMemory {
    SharedMemory::new(c"client", pages * 0x1000).unwrap()
}

/// The client's memory from an offset on.
fn part(memory: &SharedMemory, offset: u64) -> Backing {
    Backing::File {
        fd: memory.as_fd().try_clone_to_owned().unwrap(),
        offset,
    }
}

/// A file from its start.
fn file(fd: impl Into<OwnedFd>) -> Backing {
    Backing::File {
        fd: fd.into(),
        offset: 0,
    }
}

fn bytes(memory: &SharedMemory, offset: usize, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    memory.slice(offset, len).unwrap().copy_to(&mut out[..]);
    out
}

#[test]
fn a_write_lands_in_client_memory_and_a_read_sees_what_the_client_wrote() {
    let client = memory(4);
    let mut table = IovaTable::default();
    table
        .map(0x10_0000, 2 * PAGE, ReadWrite, part(&client, PAGE))
        .unwrap();

    table.write(0x10_0123, b"to the client").unwrap();
    client.slice(0x2000, 9).unwrap().copy_from(b"to device");
    let mut read = [0; 9];
    table.read(0x10_1000, &mut read).unwrap();

    assert_eq!(bytes(&client, 0x1123, 13), b"to the client");
    assert_eq!(&read, b"to device");
}

#[test]
fn an_access_crosses_ranges_that_adjoin() {
    let (low, high) = (memory(1), memory(1));
    let mut table = IovaTable::default();
    table.map(0x1000, PAGE, ReadWrite, part(&high, 0)).unwrap();
    table.map(0x0000, PAGE, ReadWrite, part(&low, 0)).unwrap();

    table.write(0xffd, b"across").unwrap();
    let mut read = [0; 6];
    table.read(0xffd, &mut read).unwrap();

    assert_eq!(bytes(&low, 0xffd, 3), b"acr");
    assert_eq!(bytes(&high, 0, 3), b"oss");
    assert_eq!(&read, b"across");
}

#[test]
fn a_write_that_runs_off_the_mapped_memory_changes_nothing() {
    let client = memory(1);
    let mut table = IovaTable::default();
    table.map(0, PAGE, ReadWrite, part(&client, 0)).unwrap();

    let result = table.write(0xffd, b"beyond");

    assert_eq!(result, Err(AccessError::Unmapped { iova: 0x1000 }));
    assert_eq!(bytes(&client, 0xffd, 3), [0; 3]);
}

#[test]
fn a_range_that_the_client_lends_for_reading_is_not_written() {
    let client = memory(1);
    let mut table = IovaTable::default();
    table.map(0, PAGE, Read, part(&client, 0)).unwrap();

    let write = table.write(8, b"x");
    let store = table.store_release_u64(8, 1);
    let gather = table.slices(8, 1, Permissions::Write).map(|_| ());
    let read = table.read(8, &mut [0]);

    let refused = Err(AccessError::Permission { iova: 8 });
    assert_eq!([write, store, gather], [refused; 3]);
    assert_eq!(read, Ok(()));
}

#[test]
fn a_range_that_the_client_lends_for_writing_is_not_read() {
    let client = memory(1);
    let mut table = IovaTable::default();
    let access = Permissions::Write;
    table.map(0, PAGE, access, part(&client, 0)).unwrap();

    let read = table.read(8, &mut [0]);
    let write = table.write(8, b"x");

    assert_eq!(read, Err(AccessError::Permission { iova: 8 }));
    assert_eq!(write, Ok(()));
}

#[test]
fn a_range_without_a_descriptor_is_left_to_messages() {
    let mut table = IovaTable::default();
    table
        .map(0xf_0000, PAGE, ReadWrite, Backing::Messages)
        .unwrap();

    let read = table.read(0xf_0ff0, &mut [0; 16]);
    let write = table.write(0xf_0ff8, &[0; 16]);

    let iova = 0xf_0ff0;
    assert_eq!(read, Err(AccessError::MessageBacked { iova, len: 16 }));
    let iova = 0xf_0ff8;
    assert_eq!(write, Err(AccessError::MessageBacked { iova, len: 8 }));
}

#[test]
fn the_last_page_below_two_to_the_64_is_usable_to_its_last_byte() {
    let client = memory(1);
    let mut table = IovaTable::default();
    table
        .map(TOP_PAGE, PAGE, ReadWrite, part(&client, 0))
        .unwrap();

    let iova = u64::MAX - 3;
    let inside = table.write(iova, b"last");
    let past = table.write(iova, b"first");

    assert_eq!(inside, Ok(()));
    assert_eq!(past, Err(AccessError::Unmapped { iova }));
    assert_eq!(bytes(&client, 0xffc, 4), b"last");
}

#[test]
fn an_unmap_of_everything_up_to_two_to_the_64_removes_what_lies_inside() {
    let client = memory(1);
    let mut table = IovaTable::default();
    for iova in [0xfee0_0000, 0x1_0000_0000, TOP_PAGE] {
        table.map(iova, PAGE, ReadWrite, part(&client, 0)).unwrap();
    }

    table.unmap(0xfef0_0000, 0xffff_ffff_0110_0000).unwrap();

    assert_eq!(table.len(), 1);
    assert_eq!(table.read(0xfee0_0000, &mut [0]), Ok(()));
}

#[test]
fn an_unmap_of_nothing_succeeds() {
    let mut table = IovaTable::default();

    let result = table.unmap(0, 0x8000_0000);

    assert_eq!(result, Ok(()));
}

#[test]
fn an_unmap_in_the_middle_leaves_both_ends_where_they_were() {
    let client = memory(3);
    let mut table = IovaTable::default();
    table.map(0, 3 * PAGE, ReadWrite, part(&client, 0)).unwrap();

    table.unmap(0x1000, PAGE).unwrap();
    table.write(0xfff, b"a").unwrap();
    table.write(0x2000, b"b").unwrap();
    let between = table.read(0x1000, &mut [0]);

    assert_eq!(between, Err(AccessError::Unmapped { iova: 0x1000 }));
    assert_eq!(bytes(&client, 0xfff, 1), b"a");
    assert_eq!(bytes(&client, 0x2000, 1), b"b");
}

#[test]
fn an_access_right_after_an_unmap_finds_nothing() {
    let client = memory(1);
    let mut table = IovaTable::default();
    table.map(0, PAGE, ReadWrite, part(&client, 0)).unwrap();
    table.write(0, b"hit").unwrap();

    table.unmap(0, PAGE).unwrap();
    let result = table.write(0, b"hit");

    assert_eq!(result, Err(AccessError::Unmapped { iova: 0 }));
}

#[test]
fn the_same_map_again_is_accepted_and_counts_once() {
    let client = memory(2);
    let mut table = IovaTable::default();
    table.map(0, 2 * PAGE, ReadWrite, part(&client, 0)).unwrap();

    let whole = table.map(0, 2 * PAGE, ReadWrite, part(&client, 0));
    let inner = table.map(0x1000, PAGE, ReadWrite, part(&client, PAGE));

    assert_eq!([whole, inner], [Ok(()); 2]);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_map_over_mapped_memory_that_says_otherwise_is_refused() {
    let (client, other) = (memory(2), memory(2));
    let mut table = IovaTable::default();
    table
        .map(0x1000, PAGE, ReadWrite, part(&client, 0))
        .unwrap();

    let results = [
        table.map(0x1000, PAGE, ReadWrite, part(&other, 0)),
        table.map(0x1000, PAGE, ReadWrite, part(&client, PAGE)),
        table.map(0x1000, PAGE, Read, part(&client, 0)),
        table.map(0x1000, PAGE, ReadWrite, Backing::Messages),
        table.map(0x0000, 2 * PAGE, ReadWrite, part(&client, 0)),
        table.map(0x1000, 2 * PAGE, ReadWrite, part(&client, 0)),
    ];

    let errnos = results.map(|result| result.unwrap_err().errno());
    assert_eq!(errnos, [Errno::EEXIST; 6]);
    assert_eq!(table.len(), 1);
}

#[test]
fn unmap_all_leaves_an_empty_table() {
    let client = memory(1);
    let mut table = IovaTable::default();
    table.map(0, PAGE, ReadWrite, part(&client, 0)).unwrap();
    table
        .map(TOP_PAGE, PAGE, ReadWrite, Backing::Messages)
        .unwrap();

    table.unmap_all();
    let result = table.read(0, &mut [0]);

    assert!(table.is_empty());
    assert_eq!(result, Err(AccessError::Unmapped { iova: 0 }));
}

#[test]
fn a_range_past_the_end_of_its_file_is_refused() {
    let client = memory(2);
    let mut table = IovaTable::default();

    let one_page_too_far = table.map(0, 2 * PAGE, ReadWrite, part(&client, PAGE));
    let offset_wraps = table.map(0, PAGE, ReadWrite, part(&client, TOP_PAGE));
    let broken_page = table.map(0, PAGE, ReadWrite, part(&client, 8));

    let results = [one_page_too_far, offset_wraps, broken_page];
    let errnos = results.map(|result| result.unwrap_err().errno());
    assert_eq!(errnos, [Errno::EINVAL; 3]);
}

#[test]
fn descriptors_that_cannot_be_mapped_are_refused_at_once() {
    let (read_end, _write_end) = nix::unistd::pipe().unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let directory = File::open("/").unwrap();
    let device = File::open("/dev/zero").unwrap();
    let mut table = IovaTable::default();

    let results = [
        table.map(0, PAGE, Read, file(read_end)),
        table.map(0, PAGE, Read, file(socket)),
        table.map(0, PAGE, Read, file(directory)),
        table.map(0, PAGE, Read, file(device)),
    ];

    assert_eq!(results, [Err(MapError::NotMappable); 4]);
}

#[test]
fn a_descriptor_open_for_reading_serves_reads_only() {
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(&[7; 0x1000]).unwrap();
    let read_only = || File::open(on_disk.path()).unwrap();
    let write_only = File::options().write(true).open(on_disk.path()).unwrap();
    let mut table = IovaTable::default();

    let for_writing = table.map(0, PAGE, ReadWrite, file(read_only()));
    let not_readable = table.map(0, PAGE, Read, file(write_only));
    let for_reading = table.map(0, PAGE, Read, file(read_only()));
    let mut byte = [0];
    table.read(0xfff, &mut byte).unwrap();

    assert_eq!(for_writing, Err(MapError::WrongMode));
    assert_eq!(not_readable, Err(MapError::WrongMode));
    assert_eq!(for_reading, Ok(()));
    assert_eq!(byte, [7]);
}

#[test]
fn a_file_lent_read_only_first_can_be_lent_for_writing_later() {
    let on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.as_file().set_len(0x1000).unwrap();
    let read_only = File::open(on_disk.path()).unwrap();
    let read_write = on_disk.reopen().unwrap();
    let mut table = IovaTable::default();
    table.map(0, PAGE, Read, file(read_only)).unwrap();

    table
        .map(0x1000, PAGE, ReadWrite, file(read_write))
        .unwrap();
    table.write(0x1000, b"both").unwrap();
    let mut through_the_first = [0; 4];
    table.read(0, &mut through_the_first).unwrap();

    assert_eq!(&through_the_first, b"both");
}

#[test]
fn a_file_sealed_against_writing_is_not_lent_for_writing() {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let sealed = memfd_create(c"client", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    nix::unistd::ftruncate(&sealed, 0x1000).unwrap();
    fcntl(&sealed, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).unwrap();
    let mut table = IovaTable::default();

    let for_writing = table.map(0, PAGE, ReadWrite, file(sealed.try_clone().unwrap()));

    assert_eq!(for_writing.unwrap_err().errno(), Errno::EPERM);
}

#[test]
fn a_file_that_grew_can_be_lent_to_its_new_end() {
    let on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.as_file().set_len(0x1000).unwrap();
    let mut table = IovaTable::default();
    table
        .map(0, PAGE, ReadWrite, file(on_disk.reopen().unwrap()))
        .unwrap();

    on_disk.as_file().set_len(0x2000).unwrap();
    let backing = Backing::File {
        fd: on_disk.reopen().unwrap().into(),
        offset: PAGE,
    };
    let grown = table.map(0x1000, PAGE, ReadWrite, backing);
    let write = table.write(0xffc, b"over the seam");

    assert_eq!(grown, Ok(()));
    assert_eq!(write, Ok(()));
}

#[test]
fn a_client_cannot_map_more_than_its_limits() {
    let limits = Limits {
        maps: 3,
        files: 1,
        mapped_bytes: 0x4000,
    };
    let (client, other, large) = (memory(4), memory(1), memory(5));
    let mut table = IovaTable::new(limits);

    let too_large = table.map(0, PAGE, ReadWrite, part(&large, 0));
    table.map(0, PAGE, ReadWrite, part(&client, 0)).unwrap();
    let second_file = table.map(0x1000, PAGE, ReadWrite, part(&other, 0));
    let second = table.map(0x1000, PAGE, ReadWrite, Backing::Messages);
    let third = table.map(0x2000, PAGE, ReadWrite, Backing::Messages);
    let fourth = table.map(0x3000, PAGE, ReadWrite, Backing::Messages);

    let limit = 0x4000;
    assert_eq!(too_large, Err(MapError::TooManyBytes { limit }));
    assert_eq!(second_file, Err(MapError::TooManyFiles { limit: 1 }));
    assert_eq!([second, third], [Ok(()); 2]);
    assert_eq!(fourth, Err(MapError::TooManyMaps { limit: 3 }));
}

#[test]
fn a_file_out_of_use_makes_room_for_another() {
    let limits = Limits {
        files: 1,
        ..Limits::default()
    };
    let (first, second) = (memory(1), memory(1));
    let mut table = IovaTable::new(limits);
    table.map(0, PAGE, ReadWrite, part(&first, 0)).unwrap();
    table.unmap(0, PAGE).unwrap();

    let result = table.map(0, PAGE, ReadWrite, part(&second, 0));

    assert_eq!(result, Ok(()));
}

#[test]
fn a_cut_that_would_exceed_the_limit_changes_nothing() {
    let client = memory(3);
    let mut table = IovaTable::new(Limits {
        maps: 1,
        ..Limits::default()
    });
    table.map(0, 3 * PAGE, ReadWrite, part(&client, 0)).unwrap();

    let result = table.unmap(0x1000, PAGE);
    let write = table.write(0x1000, b"still there");

    assert_eq!(result, Err(MapError::TooManyMaps { limit: 1 }));
    assert_eq!(write, Ok(()));
}

#[test]
fn a_write_back_puts_both_halves_little_endian() {
    let client = memory(1);
    let mut table = IovaTable::default();
    table.map(0, PAGE, ReadWrite, part(&client, 0)).unwrap();

    let (low, high) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
    table.write_back(0x20, low, high).unwrap();
    let crooked = table.write_back(0x28, 0, 0);
    let crooked_store = table.store_release_u64(0x2c, 0);

    assert_eq!(bytes(&client, 0x20, 16), (0..16).collect::<Vec<u8>>());
    assert_eq!(crooked, Err(AccessError::Misaligned { iova: 0x28 }));
    assert_eq!(crooked_store, Err(AccessError::Misaligned { iova: 0x2c }));
}

#[test]
fn a_scatter_list_names_each_range_once_and_in_order() {
    let (low, high) = (memory(1), memory(1));
    let mut table = IovaTable::default();
    table.map(0, PAGE, ReadWrite, part(&low, 0)).unwrap();
    table.map(0x1000, PAGE, ReadWrite, part(&high, 0)).unwrap();

    let list = table.slices(0xff0, 0x30, Permissions::Write);
    let list: Vec<_> = list.unwrap().collect();
    list[0].copy_from(b"tail of the low.");
    list[1].copy_from(b"head of the high");

    let lens: Vec<_> = list.iter().map(|slice| slice.len()).collect();
    assert_eq!(lens, [0x10, 0x20]);
    assert_eq!(bytes(&low, 0xff0, 16), b"tail of the low.");
    assert_eq!(bytes(&high, 0, 16), b"head of the high");
    assert!(table.is_intact());
}

#[test]
fn a_scatter_list_that_reaches_unmapped_memory_is_refused_whole() {
    let client = memory(1);
    let mut table = IovaTable::default();
    table.map(0, PAGE, ReadWrite, part(&client, 0)).unwrap();

    let result = table.slices(0xff0, 0x30, Read).map(Iterator::count);

    assert_eq!(result, Err(AccessError::Unmapped { iova: 0x1000 }));
}

#[test]
fn a_table_made_in_one_thread_serves_another() {
    let client = memory(1);
    let mut table = IovaTable::default();
    table.map(0, PAGE, ReadWrite, part(&client, 0)).unwrap();

    let write = std::thread::spawn(move || table.write(0, b"moved")).join();

    assert_eq!(write.unwrap(), Ok(()));
    assert_eq!(bytes(&client, 0, 5), b"moved");
}

#[test]
fn a_window_is_the_whole_range_around_an_address_and_no_more() {
    let client = memory(4);
    let mut table = IovaTable::default();
    let backing = part(&client, PAGE);
    table.map(0x10_0000, 2 * PAGE, ReadWrite, backing).unwrap();

    let (first, window) = table.window(0x10_1234, ReadWrite).unwrap();
    window.subslice(0x1234, 3).unwrap().copy_from(b"abc");

    assert_eq!((first, window.len()), (0x10_0000, 0x2000));
    assert_eq!(bytes(&client, 0x2234, 3), b"abc");
    assert!(table.window(0x10_2000, Read).is_none());
    assert!(table.window(0xF_FFFF, Read).is_none());
}

#[test]
fn there_is_no_window_without_the_right_and_none_where_messages_are_needed() {
    let client = memory(2);
    let mut table = IovaTable::default();
    table.map(0, PAGE, Read, part(&client, 0)).unwrap();
    table
        .map(TOP_PAGE, PAGE, ReadWrite, Backing::Messages)
        .unwrap();

    assert!(table.window(0, Read).is_some());
    assert!(table.window(0, ReadWrite).is_none());
    assert!(table.window(TOP_PAGE, Read).is_none());
}
