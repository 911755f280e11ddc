//! Rings that are enabled before features are acknowledged.
//!
//! QEMU enables the rings of a network back-end before it acknowledges features, waits for the answer, and does not
//! enable them again. The crate `vhost` takes that for a mistake and gives no answer. So this one message is taken and
//! answered here, until features are acknowledged.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
};

use rustix::net::{RecvFlags, recv};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout,
    little_endian::{U32, U64},
};

/// `VHOST_USER_SET_VRING_ENABLE`.
const SET_VRING_ENABLE: u32 = 18;
/// Version 1, and an answer.
const REPLY: u32 = 1 | 1 << 2;
/// An answer is waited for.
const NEED_REPLY: u32 = 1 << 3;
/// Bytes of the message's payload: a ring, and whether.
const PAYLOAD: u32 = 8;

/// The header of a message of vhost-user, and a payload of 8 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Message {
    request: U32,
    flags: U32,
    size: U32,
    payload: [u8; 8],
}

/// If the next message enables a ring or disables it, takes and answers it, and tells which ring and whether. All of it has
/// to be there, or else it is for others.
///
/// # Errors
/// The connection failed, or has ended.
pub fn answer(mut socket: &UnixStream) -> io::Result<Option<(u32, bool)>> {
    let mut head = [0; size_of::<Message>()];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (count, _) = recv(socket, &mut head, flags)?;
    let size = PAYLOAD.to_le_bytes();
    if count < head.len() || head[..4] != SET_VRING_ENABLE.to_le_bytes() || head[8..12] != size {
        return Ok(None);
    }
    let mut message = Message {
        request: U32::ZERO,
        flags: U32::ZERO,
        size: U32::ZERO,
        payload: [0; 8],
    };
    socket.read_exact(message.as_mut_bytes())?;
    let [a, b, c, d, enable @ ..] = message.payload;
    let asked = (u32::from_le_bytes([a, b, c, d]), enable == [1, 0, 0, 0]);
    if message.flags.get() & NEED_REPLY != 0 {
        message.flags = U32::new(REPLY);
        message.payload = U64::ZERO.to_bytes();
        socket.write_all(message.as_bytes())?;
    }
    Ok(Some(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enable(flags: u32) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[0] = 18;
        bytes[4..8].copy_from_slice(&flags.to_le_bytes());
        bytes[8] = 8;
        bytes[12] = 3;
        bytes[16] = 1;
        bytes
    }

    #[test]
    fn a_ring_that_is_enabled_early_is_answered_if_an_answer_is_wanted() {
        let (mut qemu, ours) = UnixStream::pair().unwrap();
        qemu.write_all(&enable(1 | NEED_REPLY)).unwrap();

        assert_eq!(answer(&ours).unwrap(), Some((3, true)));

        let mut reply = [0xFF; 20];
        qemu.read_exact(&mut reply).unwrap();
        let mut expected = [0; 20];
        (expected[0], expected[4], expected[8]) = (18, 5, 8);
        assert_eq!(reply, expected);
    }

    #[test]
    fn another_message_stays_where_it_is() {
        let (mut qemu, mut ours) = UnixStream::pair().unwrap();
        let mut other = enable(1);
        other[0] = 1;
        qemu.write_all(&other).unwrap();

        assert_eq!(answer(&ours).unwrap(), None);

        let mut left = [0; 20];
        ours.read_exact(&mut left).unwrap();
        assert_eq!(left, other);
    }
}
