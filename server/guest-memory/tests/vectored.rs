//! Scatter lists and file descriptors.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use guest_memory::{Backing, IovaTable, SharedMemory, read_vectored, write_vectored};
use nix::libc;
use vm_memory::Permissions::{self, ReadWrite};
use vm_memory::VolatileSlice;

fn map(table: &mut IovaTable, client: &SharedMemory, iova: u64, offset: u64) {
    let fd = client.as_fd().try_clone_to_owned().unwrap();
    let backing = Backing::File { fd, offset };
    table.map(iova, 0x1000, ReadWrite, backing).unwrap();
}

/// Two pages whose second lies before the first in the file, so that a range over both has two pieces.
fn two_pages() -> IovaTable {
    let client = SharedMemory::new(c"client", 0x2000).unwrap();
    let mut table = IovaTable::default();
    map(&mut table, &client, 0, 0x1000);
    map(&mut table, &client, 0x1000, 0);
    table
}

fn slices(table: &IovaTable, iova: u64, len: usize, access: Permissions) -> Vec<VolatileSlice<'_>> {
    table.slices(iova, len, access).unwrap().collect()
}

#[test]
fn a_frame_goes_out_of_client_pages_in_one_write() {
    let table = two_pages();
    table.write(0xffe, b"payload").unwrap();
    let (near, far) = UnixDatagram::pair().unwrap();

    let list = slices(&table, 0xffe, 7, Permissions::Read);
    let sent = write_vectored(&near, b"head:", &list).unwrap();
    let mut packet = [0; 64];
    let received = far.recv(&mut packet).unwrap();

    assert_eq!(list.len(), 2);
    assert_eq!(sent, 12);
    assert_eq!(&packet[..received], b"head:payload");
}

#[test]
fn a_frame_comes_into_client_pages_in_one_read() {
    let table = two_pages();
    let (near, far) = UnixDatagram::pair().unwrap();
    far.send(b"head:payload").unwrap();

    let mut head = [0; 5];
    let list = slices(&table, 0xffe, 64, Permissions::Write);
    let got = read_vectored(&near, &mut head, &list).unwrap();
    let mut payload = [0; 7];
    table.read(0xffe, &mut payload).unwrap();

    assert_eq!(got, 12);
    assert_eq!(&head, b"head:");
    assert_eq!(&payload, b"payload");
}

#[test]
fn a_last_slice_of_ones_own_catches_what_does_not_fit() {
    let table = two_pages();
    let (near, far) = UnixDatagram::pair().unwrap();
    far.send(b"longer than the buffer").unwrap();

    let mut rest = [0; 64];
    let mut list = slices(&table, 0, 6, Permissions::Write);
    list.push(VolatileSlice::from(&mut rest[..]));
    let got = read_vectored(&near, &mut [], &list).unwrap();

    assert_eq!(got, 22);
    assert_eq!(&rest[..16], b" than the buffer");
}

#[test]
fn memory_lent_for_reading_is_not_written_by_a_system_call() {
    let on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.as_file().set_len(0x1000).unwrap();
    let fd = File::open(on_disk.path()).unwrap().into();
    let mut table = IovaTable::default();
    let backing = Backing::File { fd, offset: 0 };
    table.map(0, 0x1000, Permissions::Read, backing).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();

    let list = slices(&table, 0, 1, Permissions::Read);
    let result = read_vectored(&near, &mut [], &list);

    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EFAULT));
}

#[test]
fn a_list_of_nothing_writes_nothing() {
    let (near, mut far) = UnixStream::pair().unwrap();

    let sent = write_vectored(&near, &[], &[]).unwrap();
    drop(near);
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).unwrap();

    assert_eq!(sent, 0);
    assert!(rest.is_empty());
}
