//! System calls, by seccomp.
//!
//! The filter is a list of what is allowed; everything else fails with EPERM. Where a call can do what the server never
//! does, its arguments are looked at: memory is never made executable, a new thread is one of this process, `prctl` only
//! names threads, signals go to this process, and new sockets are of the families that the wires need.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is,
    SeccompCondition as Condition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::Needs;

/// What every server calls, with any arguments.
const ALWAYS: &[c_long] = &[
    // The client's messages, frames, the control socket, captures, the log.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    // Paths: to see whether a socket is still ours, and to remove it. Landlock says where.
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_getcwd,
    libc::SYS_unlinkat,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Memory: the heap, the client's pages, and pages for it.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_memfd_create,
    libc::SYS_getrandom,
    libc::SYS_mincore,
    // Threads and signals.
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Says "no" by its number alone, see `no_clone3`.
    libc::SYS_clone3,
];

/// The same, where the architecture has the old call as well.
#[cfg(target_arch = "x86_64")]
const ALWAYS_HERE: &[c_long] = &[
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_unlink,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_HERE: &[c_long] = &[];

/// What a server that keeps an NVM calls besides.
const KEEPING: &[c_long] = &[
    libc::SYS_openat,
    // So musl opens a file.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
];

/// Rules of the calls; an empty list allows a call whatever its arguments.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Leaves the system calls that the server needs.
pub(super) fn give_up(needs: &Needs) -> Result<(), Error> {
    let allowed = filter(
        rules(needs)?,
        SeccompAction::Errno(errno(libc::EPERM)),
        SeccompAction::Allow,
    )?;
    // Of several filters the kernel takes the strictest answer. The list comes last: after it there is no further one.
    apply_filter(&no_clone3()?)?;
    apply_filter(&allowed)
}

/// The C library starts threads by `clone3`, whose flags no filter can see, and by `clone` where the kernel does not have
/// it.
fn no_clone3() -> Result<BpfProgram, Error> {
    filter(
        Rules::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno(libc::ENOSYS)),
    )
}

fn filter(
    rules: Rules,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, arch)?;
    Ok(BpfProgram::try_from(filter)?)
}

fn errno(number: i32) -> u32 {
    number.unsigned_abs()
}

fn rules(needs: &Needs) -> Result<Rules, Error> {
    let any = ALWAYS.iter().chain(ALWAYS_HERE);
    let mut rules: Rules = any.map(|call| (*call, Vec::new())).collect();
    if !needs.kept.is_empty() {
        rules.extend(KEEPING.iter().map(|call| (*call, Vec::new())));
    }
    let executable = unsigned(libc::PROT_EXEC);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(2, Is::MaskedEq(executable), 0)?]);
    }
    let thread = unsigned(libc::CLONE_VM | libc::CLONE_THREAD);
    rules.insert(
        libc::SYS_clone,
        vec![rule(0, Is::MaskedEq(thread), thread)?],
    );
    let name = unsigned(libc::PR_SET_NAME);
    rules.insert(libc::SYS_prctl, vec![rule(0, Is::Eq, name)?]);
    // A program that gives up raises SIGABRT in itself.
    rules.insert(
        libc::SYS_tgkill,
        vec![rule(0, Is::Eq, u64::from(std::process::id()))?],
    );
    // A socket that does not block, what a wire asks of its interface, and the carrier of a tap.
    let mut ioctls = vec![request(libc::FIONBIO)];
    if needs.interfaces {
        ioctls.extend([
            request(libc::SIOCGIFINDEX),
            request(libc::SIOCGIFNAME),
            request(libc::SIOCGIFFLAGS),
            request(libc::SIOCGIFHWADDR),
            request(libc::SIOCGIFMTU),
        ]);
    }
    if needs.tap_carriers {
        ioctls.push(request(libc::TUNSETCARRIER));
    }
    let ioctls = ioctls.into_iter().map(|number| rule(1, Is::Eq, number));
    rules.insert(libc::SYS_ioctl, ioctls.collect::<Result<_, _>>()?);
    let mut families: Vec<SeccompRule> = families(needs)
        .into_iter()
        .map(|family| rule(0, Is::Eq, unsigned(family)))
        .collect::<Result<_, _>>()?;
    if !needs.tcp_ports.is_empty() {
        families.push(tcp(libc::AF_INET)?);
        families.push(tcp(libc::AF_INET6)?);
    }
    if !families.is_empty() {
        rules.insert(libc::SYS_socket, families);
    }
    if needs.unix_peers || !needs.tcp_ports.is_empty() {
        rules.insert(libc::SYS_connect, Vec::new());
    }
    if needs.interfaces {
        rules.insert(libc::SYS_bind, Vec::new());
    }
    if needs.xdp_sockets {
        rules.insert(libc::SYS_bpf, Vec::new());
    }
    Ok(rules)
}

/// TCP alone of a family: landlock's rules for ports know neither datagrams nor MPTCP.
fn tcp(family: i32) -> Result<SeccompRule, Error> {
    let argument = |index, is, value| Condition::new(index, Width::Dword, is, value);
    Ok(SeccompRule::new(vec![
        argument(0, Is::Eq, unsigned(family))?,
        argument(1, Is::MaskedEq(0xF), unsigned(libc::SOCK_STREAM))?,
        argument(2, Is::Eq, 0)?,
    ])?)
}

/// Families of the sockets that are opened after the start, of any type.
fn families(needs: &Needs) -> Vec<i32> {
    [
        // An AF_XDP socket answers no questions about its interface.
        (needs.unix_peers || needs.xdp_sockets, libc::AF_UNIX),
        (needs.interfaces, libc::AF_NETLINK),
        (needs.packet_sockets, libc::AF_PACKET),
        (needs.xdp_sockets, libc::AF_XDP),
    ]
    .into_iter()
    .filter_map(|(needed, family)| needed.then_some(family))
    .collect()
}

/// A call is allowed when its argument of this index is so.
fn rule(argument: u8, is: Is, value: u64) -> Result<SeccompRule, Error> {
    let condition = Condition::new(argument, Width::Dword, is, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// The number of a request of `ioctl`; its type depends on the C library.
fn request(number: impl TryInto<u64>) -> u64 {
    number
        .try_into()
        .ok()
        .expect("requests have positive numbers")
}

/// A flag or number of the C library, which has them signed.
fn unsigned(value: i32) -> u64 {
    u64::from(value.unsigned_abs())
}
