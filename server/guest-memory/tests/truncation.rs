//! A client that truncates the file behind its memory harms itself only.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(
    unsafe_code,
    reason = "the tests make faults and handlers that the crate must tell from its own"
)]

use std::env;
use std::ffi::{c_int, c_void};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio, exit};
use std::sync::Barrier;
use std::thread;

use guest_memory::{
    AccessError, Backing, GuardedRegion, IovaTable, prefetch_for_read, prefetch_for_write,
    write_vectored,
};
use nix::libc::{self, siginfo_t};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::unistd::ftruncate;
use vm_memory::Permissions::{Read, ReadWrite};
use vm_memory::{Bytes, FileOffset, GuestAddress, MemoryRegionAddress};

const PAGE: u64 = 0x1000;
const PAGES: u64 = 16;

fn unsealed() -> OwnedFd {
    let fd = memfd_create(c"client", MFdFlags::MFD_CLOEXEC).unwrap();
    truncate(&fd, PAGES);
    fd
}

fn truncate(fd: &OwnedFd, pages: u64) {
    ftruncate(fd, i64::try_from(pages * PAGE).unwrap()).unwrap();
}

fn map(table: &mut IovaTable, iova: u64, fd: &OwnedFd) {
    let fd = fd.try_clone().unwrap();
    let backing = Backing::File { fd, offset: 0 };
    table.map(iova, PAGES * PAGE, ReadWrite, backing).unwrap();
}

fn lend(fd: &OwnedFd) -> IovaTable {
    let mut table = IovaTable::default();
    map(&mut table, 0, fd);
    table
}

#[test]
fn a_truncated_file_reads_as_gone_and_the_process_lives() {
    let fd = unsealed();
    let table = lend(&fd);
    table.write(0x8000, b"before").unwrap();
    truncate(&fd, 1);

    let mut read = [0xaa; 6];
    let first = table.read(0x8000, &mut read);
    let later = table.read(0, &mut [0]);

    assert_eq!(first, Err(AccessError::Gone { iova: 0x8000 }));
    assert_eq!(read, [0; 6]);
    assert_eq!(later, Err(AccessError::Gone { iova: 0 }));
    assert!(!table.is_intact());
}

#[test]
fn a_region_of_a_truncated_file_reads_as_zeros_and_is_torn() {
    let fd = unsealed();
    let file = FileOffset::new(fd.try_clone().unwrap().into(), PAGE);
    let size = usize::try_from(4 * PAGE).unwrap();
    let region = GuardedRegion::map(file, size, GuestAddress(0x8000), ()).unwrap();
    let second = MemoryRegionAddress(PAGE);
    region.write_slice(b"before", second).unwrap();
    truncate(&fd, 2);

    let intact = !region.is_torn();
    let mut read = [0xaa; 6];
    region.read_slice(&mut read, second).unwrap();
    region.write_slice(b"after", second).unwrap();

    assert!(intact);
    assert_eq!(read, [0; 6]);
    assert!(region.is_torn());
}

#[test]
fn a_torn_file_has_no_window_any_more() {
    let fd = unsealed();
    let table = lend(&fd);
    let (first, window) = table.window(0, Read).unwrap();
    truncate(&fd, 0);

    let mut read = [0xaa_u8; 16];
    let n = window.subslice(0x8000, 16).unwrap().copy_to(&mut read[..]);

    assert_eq!((first, n, read), (0, 16, [0; 16]));
    assert!(table.window(0, Read).is_none());
}

#[test]
fn a_prefetch_changes_nothing_and_survives_lost_pages() {
    let fd = unsealed();
    let table = lend(&fd);
    table.write(0x8000, b"before").unwrap();
    let (_, window) = table.window(0, ReadWrite).unwrap();

    prefetch_for_write(&window);
    prefetch_for_read(&window);
    let mut read = [0; 6];
    table.read(0x8000, &mut read).unwrap();
    truncate(&fd, 0);
    prefetch_for_write(&window);
    prefetch_for_read(&window);

    assert_eq!(&read, b"before");
    assert!(table.is_intact());
}

#[test]
fn a_write_over_many_lost_pages_ends_as_gone() {
    let fd = unsealed();
    let table = lend(&fd);
    truncate(&fd, 0);

    let result = table.write(0x7f8, &[1; 0x8000]);

    assert_eq!(result, Err(AccessError::Gone { iova: 0x7f8 }));
}

#[test]
fn a_descriptor_write_back_to_a_lost_page_ends_as_gone() {
    let fd = unsealed();
    let table = lend(&fd);
    truncate(&fd, 0);

    let result = table.write_back(0x100, 1, 2);

    assert_eq!(result, Err(AccessError::Gone { iova: 0x100 }));
}

#[test]
fn a_file_lent_for_reading_only_is_survived_too() {
    let on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.as_file().set_len(PAGE).unwrap();
    let fd = std::fs::File::open(on_disk.path()).unwrap().into();
    let mut table = IovaTable::default();
    table
        .map(0, PAGE, Read, Backing::File { fd, offset: 0 })
        .unwrap();
    on_disk.as_file().set_len(0).unwrap();

    let result = table.read(0, &mut [0; 64]);

    assert_eq!(result, Err(AccessError::Gone { iova: 0 }));
}

#[test]
fn a_copy_through_a_scatter_list_shows_in_is_intact() {
    let fd = unsealed();
    let bystander = lend(&unsealed());
    let table = lend(&fd);
    let slices: Vec<_> = table.slices(0x3000, 0x800, Read).unwrap().collect();
    truncate(&fd, 0);

    let before = table.is_intact();
    slices[0].copy_to(&mut [0; 0x800][..]);
    let after = table.is_intact();

    assert!(before);
    assert!(!after);
    assert!(bystander.is_intact());
}

#[test]
fn a_system_call_on_a_lost_page_fails_with_efault() {
    let fd = unsealed();
    let table = lend(&fd);
    let slices: Vec<_> = table.slices(0x3000, 0x800, Read).unwrap().collect();
    let (_read_end, write_end) = nix::unistd::pipe().unwrap();
    truncate(&fd, 0);

    let result = write_vectored(&write_end, &[], &slices);

    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EFAULT));
}

#[test]
fn a_torn_file_that_is_unmapped_and_mapped_again_works_again() {
    let fd = unsealed();
    let mut table = lend(&fd);
    truncate(&fd, 0);
    table.read(0, &mut [0]).unwrap_err();
    truncate(&fd, PAGES);

    table.unmap(0, PAGES * PAGE).unwrap();
    map(&mut table, 0, &fd);
    let write = table.write(0, b"again");

    assert_eq!(write, Ok(()));
    assert!(table.is_intact());
}

#[test]
fn a_torn_file_is_mapped_afresh_for_a_range_elsewhere() {
    let fd = unsealed();
    let mut table = lend(&fd);
    truncate(&fd, 0);
    table.read(0, &mut [0]).unwrap_err();
    truncate(&fd, PAGES);

    map(&mut table, 0x10_0000, &fd);

    assert_eq!(table.read(0, &mut [0]), Err(AccessError::Gone { iova: 0 }));
    assert_eq!(table.read(0x10_0000, &mut [0]), Ok(()));
}

/// What a thread saw that wrote a file while it was truncated, and what it saw in the end.
type Verdicts = (Result<(), AccessError>, Result<(), AccessError>);

fn write_then_read_until_it_fails(fd: &OwnedFd, start: &Barrier) -> Verdicts {
    let table = lend(fd);
    start.wait();
    let during = table.write(0, &[1; 0x1_0000]);
    let after = loop {
        let read = table.read(0, &mut [0; 0x1_0000]);
        if read.is_err() {
            break read;
        }
    };
    (during, after)
}

fn truncate_under_threads() -> Vec<Verdicts> {
    const THREADS: usize = 4;
    let fd = unsealed();
    let start = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        let work = || write_then_read_until_it_fails(&fd, &start);
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        start.wait();
        truncate(&fd, 0);
        let verdicts = workers.into_iter().map(|worker| worker.join().unwrap());
        verdicts.collect()
    })
}

#[test]
fn threads_that_race_into_a_truncated_file_all_see_gone() {
    let verdicts: Vec<_> = (0..50).flat_map(|_| truncate_under_threads()).collect();

    let gone = Err(AccessError::Gone { iova: 0 });
    assert_eq!(verdicts.len(), 200);
    assert!(
        verdicts
            .iter()
            .all(|(during, _)| *during == Ok(()) || *during == gone)
    );
    assert!(verdicts.iter().all(|(_, after)| *after == gone));
}

/// Runs `act` in a process of its own, because it ends its process: the test named `test`, which is the caller, is
/// started again, and gets here again.
fn alone(test: &str, act: fn()) -> ExitStatus {
    const CHILD: &str = "GUEST_MEMORY_TEST_ALONE";
    if env::var_os(CHILD).is_some() {
        // No core file.
        prctl::set_dumpable(false).unwrap();
        act();
        exit(0);
    }
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, "1")
        .stdout(Stdio::null())
        .status()
        .unwrap()
}

/// Lends memory, loses it, survives: the handler is installed and works.
fn survive_a_truncation() {
    let fd = unsealed();
    let table = lend(&fd);
    truncate(&fd, 0);
    table.read(0, &mut [0]).unwrap_err();
}

fn fault_in_a_mapping_of_ones_own() {
    let fd = unsealed();
    let len = std::num::NonZeroUsize::new(0x1000).unwrap();
    // SAFETY: a new mapping at an address that the kernel picks, read below as volatile, never unmapped.
    let start = unsafe {
        mmap(
            None,
            len,
            ProtFlags::PROT_READ,
            MapFlags::MAP_SHARED,
            &fd,
            0,
        )
    };
    truncate(&fd, 0);
    // SAFETY: the byte is mapped; that its file lost it raises SIGBUS, which is what the test is about.
    unsafe { start.unwrap().cast::<u8>().read_volatile() };
}

extern "C" fn exit_with_42(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: `_exit` is async-signal-safe.
    unsafe { libc::_exit(42) }
}

fn set_action(handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handlers used here are the default and one that only calls `_exit`.
    unsafe { sigaction(Signal::SIGBUS, &action) }.unwrap();
}

#[test]
fn a_foreign_sigbus_still_kills() {
    let status = alone("a_foreign_sigbus_still_kills", || {
        survive_a_truncation();
        fault_in_a_mapping_of_ones_own();
    });

    assert_eq!(status.signal(), Some(libc::SIGBUS));
}

#[test]
fn a_foreign_sigbus_reaches_the_previous_handler() {
    let status = alone("a_foreign_sigbus_reaches_the_previous_handler", || {
        set_action(SigHandler::SigAction(exit_with_42));
        survive_a_truncation();
        fault_in_a_mapping_of_ones_own();
    });

    assert_eq!(status.code(), Some(42));
}

#[test]
fn a_sigbus_that_somebody_sends_kills_where_it_killed_before() {
    let status = alone(
        "a_sigbus_that_somebody_sends_kills_where_it_killed_before",
        || {
            set_action(SigHandler::SigDfl);
            survive_a_truncation();
            raise(Signal::SIGBUS).unwrap();
        },
    );

    assert_eq!(status.signal(), Some(libc::SIGBUS));
}
