//! Network interfaces by name and number, as `ioctl` on a socket tells of them.
#![expect(unsafe_code, reason = "ioctl is outside what the compiler can check")]

use std::os::fd::{AsFd, AsRawFd};

use nix::{
    errno::Errno,
    libc::{
        self, IFF_RUNNING, IFF_UP, IFNAMSIZ, SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFMTU,
        SIOCGIFNAME, c_char, c_int, ifreq,
    },
};

/// The name of an interface as the kernel takes it.
pub(crate) type RawName = [c_char; IFNAMSIZ];

/// The number of a request as the `libc` crate declares it, which for musl is not what its `ioctl` takes.
type Request = libc::c_ulong;

/// The number as `ioctl` takes it. Those that come here are below 0x9000.
fn number(request: impl TryInto<libc::Ioctl>) -> Result<libc::Ioctl, Errno> {
    request.try_into().map_err(|_| Errno::EINVAL)
}

/// What an interface is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// Up, and it has a carrier.
    Running,
    /// Down, or without a carrier.
    Down,
    /// There is no such interface (any more).
    Gone,
}

/// The name as the kernel takes it, or nothing if it cannot be one.
pub(crate) fn raw_name(name: &str) -> Option<RawName> {
    let fits = (1..IFNAMSIZ).contains(&name.len());
    let clean = name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte));
    if !(fits && clean) {
        return None;
    }
    let mut out = [0; IFNAMSIZ];
    for (to, from) in out.iter_mut().zip(name.bytes()) {
        // Graphic ASCII is the same number, signed or not.
        *to = c_char::from_ne_bytes([from]);
    }
    Some(out)
}

/// A request that names no interface yet.
pub(crate) fn empty_request() -> ifreq {
    // SAFETY: `ifreq` is made of integers, of unions of them and of a pointer, which may all be zero.
    // Test: `a_packet_socket_carries_a_frame_with_its_header_both_ways`.
    unsafe { std::mem::zeroed() }
}

/// The number of the interface `name` in the network namespace of `socket`.
pub(crate) fn index(socket: impl AsFd, name: RawName) -> Result<c_int, Errno> {
    let answer = ask(socket, SIOCGIFINDEX, name)?;
    // SAFETY: SIOCGIFINDEX fills this field, and any bytes are an integer.
    // Test: `a_packet_socket_carries_a_frame_with_its_header_both_ways`.
    Ok(unsafe { answer.ifr_ifru.ifru_ifindex })
}

/// The MTU of the interface `name`.
pub(crate) fn mtu(socket: impl AsFd, name: RawName) -> Result<c_int, Errno> {
    let answer = ask(socket, SIOCGIFMTU, name)?;
    // SAFETY: SIOCGIFMTU fills this field, and any bytes are an integer.
    // Test: `a_packet_socket_carries_a_frame_with_its_header_both_ways`.
    Ok(unsafe { answer.ifr_ifru.ifru_mtu })
}

/// What kind of hardware address the interface `name` has: `ARPHRD_ETHER` and others.
pub(crate) fn hardware(socket: impl AsFd, name: RawName) -> Result<u16, Errno> {
    let answer = ask(socket, SIOCGIFHWADDR, name)?;
    // SAFETY: SIOCGIFHWADDR fills this field, and any bytes are a `sockaddr`.
    // Test: `an_interface_without_ethernet_frames_is_refused`.
    Ok(unsafe { answer.ifr_ifru.ifru_hwaddr.sa_family })
}

/// What the interface with this number is doing, in the network namespace of `socket`.
pub(crate) fn state(socket: impl AsFd, index: c_int) -> InterfaceState {
    let mut request = empty_request();
    request.ifr_ifru.ifru_ifindex = index;
    let flags = ioctl(&socket, SIOCGIFNAME, request)
        .and_then(|named| ask(&socket, SIOCGIFFLAGS, named.ifr_name))
        .map(|answer| {
            // SAFETY: SIOCGIFFLAGS fills this field, and any bytes are an integer.
            // Test: `the_state_of_the_interface_is_seen`.
            c_int::from(unsafe { answer.ifr_ifru.ifru_flags })
        });
    match flags {
        Ok(flags) if flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING => {
            InterfaceState::Running
        }
        Ok(_) => InterfaceState::Down,
        Err(_) => InterfaceState::Gone,
    }
}

fn ask(socket: impl AsFd, request: Request, name: RawName) -> Result<ifreq, Errno> {
    let mut question = empty_request();
    question.ifr_name = name;
    ioctl(&socket, request, question)
}

fn ioctl(socket: &impl AsFd, request: Request, mut question: ifreq) -> Result<ifreq, Errno> {
    let request = number(request)?;
    // SAFETY:
    // 1. The requests that come here (SIOCGIFINDEX, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFNAME, SIOCGIFFLAGS) read and
    //    write one `ifreq`, borrowed for the call.
    // 2. A name in it ends with a zero: at most IFNAMSIZ - 1 bytes of it are set.
    // Test: `the_state_of_the_interface_is_seen`.
    Errno::result(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), request, &raw mut question) })?;
    Ok(question)
}
