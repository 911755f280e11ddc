//! Whether the front-end's next message is there as a whole: the loop waits for no part of one.

use std::os::unix::net::UnixStream;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionread},
    net::{RecvFlags, recv},
};

/// Bytes of a message's header: request, flags, bytes that follow.
const HEADER: usize = 12;
/// Bytes that follow a header at most. Of a message that has more, nothing but the header is read.
const LONGEST: u32 = 4096;

/// What of a message is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// All of it; or no more of it will come, and to read it is to learn that.
    Whole,
    /// A part.
    Part,
}

/// Looks at what has come from the front-end, without taking it.
#[must_use]
pub fn arrival(socket: &UnixStream) -> Arrival {
    let mut header = [0; HEADER];
    let seen = match recv(socket, &mut header, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((seen, _)) => seen,
        Err(Errno::AGAIN | Errno::INTR) => return Arrival::Part,
        Err(_) => return Arrival::Whole,
    };
    let [.., a, b, c, d] = header;
    let body = u32::from_le_bytes([a, b, c, d]);
    let there = ioctl_fionread(socket).unwrap_or(0);
    let whole = seen == HEADER && (body > LONGEST || there >= HEADER as u64 + u64::from(body));
    if seen == 0 || whole || has_ended(socket) {
        Arrival::Whole
    } else {
        Arrival::Part
    }
}

/// Whether the front-end has closed its end.
fn has_ended(socket: &UnixStream) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// `VHOST_USER_SET_VRING_NUM`: a header, and a body of eight bytes.
    const MESSAGE: [u8; 20] = [8, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];

    #[test]
    fn a_message_is_whole_with_its_last_byte() {
        let (mut qemu, ours) = UnixStream::pair().unwrap();

        let arrivals = MESSAGE.map(|byte| {
            qemu.write_all(&[byte]).unwrap();
            arrival(&ours)
        });

        assert_eq!(arrivals[..19], [Arrival::Part; 19]);
        assert_eq!(arrivals[19], Arrival::Whole);
    }

    #[test]
    fn no_more_is_waited_for_from_a_front_end_that_has_gone() {
        let (mut qemu, ours) = UnixStream::pair().unwrap();
        qemu.write_all(&MESSAGE[..5]).unwrap();
        drop(qemu);

        assert_eq!(arrival(&ours), Arrival::Whole);
    }

    #[test]
    fn a_body_longer_than_any_is_not_waited_for() {
        let (mut qemu, ours) = UnixStream::pair().unwrap();
        qemu.write_all(&[8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1])
            .unwrap();

        assert_eq!(arrival(&ours), Arrival::Whole);
    }
}
