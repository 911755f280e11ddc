//! One system call straight out of, or into, client pages.
#![expect(
    unsafe_code,
    reason = "iovecs that point at client memory cannot be made from Rust slices"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, iovec};
use smallvec::SmallVec;
use vm_memory::VolatileSlice;

/// Entries kept on the stack: a header and the pieces of a usual frame.
type Iovecs = SmallVec<[iovec; 32]>;

/// Writes `head`, then `slices`, to `fd` with one `writev`, and returns how many bytes went out.
///
/// For a device that takes whole packets (tap, packet sockets) that is one packet. Client memory is not copied here;
/// a client that changes it meanwhile changes what goes out.
///
/// # Errors
/// As `writev`, except that an interrupted call is made again. `EFAULT`: the client truncated the file behind a
/// slice. `EINVAL`: more than 1024 pieces.
pub fn write_vectored(
    fd: impl AsFd,
    head: &[u8],
    slices: &[VolatileSlice<'_>],
) -> io::Result<usize> {
    let head = iovec {
        iov_base: head.as_ptr().cast_mut().cast(),
        iov_len: head.len(),
    };
    let iovecs = collect(head, slices)?;
    let fd = fd.as_fd().as_raw_fd();
    retry(|| {
        // SAFETY:
        // 1. Each entry is a live range: `head` is borrowed, and a volatile slice is valid for its lifetime.
        // 2. `writev` only reads from them. Other processes may write to client memory meanwhile; no Rust reference
        //    to it exists.
        // 3. A page that its file lost makes the call fail with EFAULT and raises no signal.
        // 4. The count is that of the entries.
        // Test: `a_frame_goes_out_of_client_pages_in_one_write`.
        unsafe { libc::writev(fd, iovecs.entries.as_ptr(), iovecs.count) }
    })
}

/// Reads from `fd` into `head`, then into `slices`, with one `readv`, and returns how many bytes came.
///
/// A packet longer than all of them is cut; a last slice of one's own memory shows whether that happened.
///
/// # Errors
/// As `readv`, except that an interrupted call is made again. `EFAULT`: the client truncated the file behind a
/// slice, or the slice may not be written. `EINVAL`: more than 1024 pieces.
pub fn read_vectored(
    fd: impl AsFd,
    head: &mut [u8],
    slices: &[VolatileSlice<'_>],
) -> io::Result<usize> {
    let head = iovec {
        iov_base: head.as_mut_ptr().cast(),
        iov_len: head.len(),
    };
    let iovecs = collect(head, slices)?;
    let fd = fd.as_fd().as_raw_fd();
    retry(|| {
        // SAFETY:
        // 1. Each entry is a live range: `head` is borrowed mutably, and a volatile slice is valid for its lifetime.
        // 2. The kernel writes to client memory as its owner may at any time; no Rust reference to it exists. Where
        //    the mapping is read-only, the kernel refuses with EFAULT.
        // 3. A page that its file lost makes the call fail with EFAULT and raises no signal.
        // 4. The count is that of the entries.
        // Test: `a_frame_comes_into_client_pages_in_one_read`.
        unsafe { libc::readv(fd, iovecs.entries.as_ptr(), iovecs.count) }
    })
}

struct Collected {
    entries: Iovecs,
    count: c_int,
}

fn collect(head: iovec, slices: &[VolatileSlice<'_>]) -> io::Result<Collected> {
    let mut entries = Iovecs::new();
    if head.iov_len > 0 {
        entries.push(head);
    }
    entries.extend(slices.iter().map(|slice| iovec {
        iov_base: slice.ptr_guard_mut().as_ptr().cast(),
        iov_len: slice.len(),
    }));
    let count = c_int::try_from(entries.len()).map_err(|_| Errno::EINVAL)?;
    Ok(Collected { entries, count })
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match Errno::result(call()) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(count) => return usize::try_from(count).map_err(|_| Errno::EINVAL.into()),
        }
    }
}
