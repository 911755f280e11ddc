//! The program that hands the frames of queues to AF_XDP sockets, and the map that it finds the sockets in.
#![expect(unsafe_code, reason = "bpf is a system call that no safe crate has")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, SYS_bpf, c_int, c_long};

const BPF_MAP_CREATE: c_int = 0;
const BPF_MAP_UPDATE_ELEM: c_int = 2;
const BPF_PROG_LOAD: c_int = 5;
const BPF_LINK_CREATE: c_int = 28;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 2;
const XDP_FLAGS_DRV_MODE: u32 = 4;

/// What `BPF_MAP_CREATE` reads.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// What `BPF_MAP_UPDATE_ELEM` reads.
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// What `BPF_PROG_LOAD` reads.
#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// What `BPF_LINK_CREATE` reads.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunBy {
    /// The interface's driver, and nobody if it cannot. Only there a socket can be without a copy.
    Driver,
    /// The driver where it can, otherwise the kernel.
    Anyone,
}

/// A program on an interface, which leaves it when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Program {
    _link: OwnedFd,
    _map: OwnedFd,
}

impl Program {
    /// Puts the program on the interface with the number `interface`: it hands what comes in at a queue to the queue's
    /// socket, and the rest to the kernel. The sockets are AF_XDP's; they may be bound before or after.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub fn attach(
        interface: u32,
        sockets: &[(u32, BorrowedFd<'_>)],
        run_by: RunBy,
    ) -> Result<Self, (&'static str, Errno)> {
        let last = sockets.iter().map(|(queue, _)| *queue).max();
        let map = bpf(
            BPF_MAP_CREATE,
            &MapCreate {
                map_type: BPF_MAP_TYPE_XSKMAP,
                key_size: 4,
                value_size: 4,
                max_entries: last.unwrap_or(0).saturating_add(1),
            },
        )
        .and_then(descriptor)
        .map_err(|errno| ("BPF_MAP_CREATE", errno))?;
        for (queue, socket) in sockets {
            let value = number(*socket);
            bpf(
                BPF_MAP_UPDATE_ELEM,
                &MapUpdate {
                    map_fd: number(map.as_fd()),
                    padding: 0,
                    key: address(queue),
                    value: address(&value),
                    flags: 0,
                },
            )
            .map_err(|errno| ("BPF_MAP_UPDATE_ELEM", errno))?;
        }
        let program = load(&map).map_err(|errno| ("BPF_PROG_LOAD", errno))?;
        let link = |flags| {
            bpf(
                BPF_LINK_CREATE,
                &LinkCreate {
                    prog_fd: number(program.as_fd()),
                    target_ifindex: interface,
                    attach_type: BPF_XDP,
                    flags,
                },
            )
            .and_then(descriptor)
        };
        let link = match run_by {
            RunBy::Driver => link(XDP_FLAGS_DRV_MODE),
            RunBy::Anyone => link(0).or_else(|errno| match errno {
                Errno::EBUSY | Errno::EEXIST | Errno::EPERM => Err(errno),
                // A driver that could, but not with this MTU or these features.
                _ => link(XDP_FLAGS_SKB_MODE),
            }),
        };
        Ok(Self {
            _link: link.map_err(|errno| ("BPF_LINK_CREATE", errno))?,
            _map: map,
        })
    }
}

/// `return bpf_redirect_map(&map, ctx->rx_queue_index, XDP_PASS)` in the instruction set of RFC 9669.
fn load(map: &OwnedFd) -> Result<OwnedFd, Errno> {
    let [a, b, c, d] = number(map.as_fd()).to_ne_bytes();
    let instructions: [[u8; 8]; 6] = [
        // r2 = rx_queue_index, which is at byte 16 of the context in r1.
        [0x61, 0x12, 16, 0, 0, 0, 0, 0],
        // r1 = the map with this descriptor, in two parts.
        [0x18, 0x11, 0, 0, a, b, c, d],
        [0; 8],
        // r3 = XDP_PASS, for a queue without a socket.
        [0xb7, 0x03, 0, 0, 2, 0, 0, 0],
        // The kernel's function bpf_redirect_map.
        [0x85, 0, 0, 0, 51, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    let license = c"Dual BSD/GPL";
    let mut prog_name = [0; 16];
    prog_name[..14].copy_from_slice(b"vfio_user_wire");
    bpf(
        BPF_PROG_LOAD,
        &ProgramLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: 6,
            insns: address(&instructions),
            license: license.as_ptr().addr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: 0,
            prog_name,
            prog_ifindex: 0,
            expected_attach_type: BPF_XDP,
        },
    )
    .and_then(descriptor)
}

/// The system call. `T` is one of the structures above, for the command that reads it.
fn bpf<T>(command: c_int, attributes: &T) -> Result<c_long, Errno> {
    // SAFETY:
    // 1. The kernel reads the given length of the attributes, which are borrowed for the call, and takes what they
    //    leave out as zero.
    // 2. The addresses in them are those of values that live until the call returns, and as long as the kernel reads.
    // Test: `frames_cross_both_ways` (wire).
    Errno::result(unsafe {
        libc::syscall(
            SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    })
}

/// The descriptor that a command made.
fn descriptor(number: c_long) -> Result<OwnedFd, Errno> {
    let number = c_int::try_from(number).map_err(|_| Errno::EBADF)?;
    // SAFETY: the commands that come here return a new descriptor, which is nobody else's.
    // Test: `frames_cross_both_ways` (wire).
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

fn address<T>(value: &T) -> u64 {
    std::ptr::from_ref(value).addr() as u64
}
