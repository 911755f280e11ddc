//! Framing: a message is JSON that ends with a zero byte.

use std::io::{self, BufRead, Write};

/// Largest message that is taken, its end included: the state of a port with a full packet buffer and a flash.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Why no message was read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error("the control connection failed")]
    Io(#[from] io::Error),
    /// The peer closed in the middle of a message.
    #[error("the control connection ended in the middle of a message")]
    Truncated,
    /// The message is too long.
    #[error("a control message is longer than {MAX_MESSAGE} bytes")]
    TooLong,
}

/// Reads a message into `message`, without its end; false if the peer has closed.
pub(crate) fn read(from: &mut impl BufRead, message: &mut Vec<u8>) -> Result<bool, FrameError> {
    message.clear();
    loop {
        let available = match from.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if available.is_empty() {
            return if message.is_empty() {
                Ok(false)
            } else {
                Err(FrameError::Truncated)
            };
        }
        let end = available.iter().position(|&byte| byte == 0);
        let piece = end
            .and_then(|end| available.get(..end))
            .unwrap_or(available);
        if message.len() + piece.len() >= MAX_MESSAGE {
            return Err(FrameError::TooLong);
        }
        message.extend_from_slice(piece);
        let used = piece.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Writes `message` and its end in one piece.
pub(crate) fn write(to: &mut impl Write, mut message: Vec<u8>) -> io::Result<()> {
    message.push(0);
    to.write_all(&message)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn messages(bytes: &[u8], chunk: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
        let mut reader = BufReader::with_capacity(chunk, bytes);
        let mut messages = Vec::new();
        let mut message = Vec::new();
        loop {
            match read(&mut reader, &mut message) {
                Ok(true) => messages.push(message.clone()),
                Ok(false) => return (messages, None),
                Err(error) => return (messages, Some(error)),
            }
        }
    }

    #[test]
    fn a_message_without_end_is_an_error() {
        let (read, error) = messages(b"{}\0{\"a", 8);

        assert_eq!(read, [b"{}"]);
        assert!(matches!(error, Some(FrameError::Truncated)));
    }

    #[test]
    fn a_message_that_never_ends_is_given_up() {
        let (_, error) = messages(&vec![b'x'; MAX_MESSAGE + 1], 4096);

        assert!(matches!(error, Some(FrameError::TooLong)));
    }

    #[test]
    fn the_longest_message_is_read() {
        let mut bytes = vec![b'x'; MAX_MESSAGE - 1];
        bytes.push(0);

        assert_eq!(messages(&bytes, 4096).0[0].len(), MAX_MESSAGE - 1);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_whatever_the_reads(
            sent in prop::collection::vec(prop::collection::vec(1..=255_u8, 0..100), 0..10),
            chunk in 1_usize..50,
        ) {
            let mut bytes = Vec::new();
            for message in &sent {
                write(&mut bytes, message.clone()).unwrap();
            }

            let (read, error) = messages(&bytes, chunk);

            prop_assert_eq!(read, sent);
            prop_assert!(error.is_none());
        }
    }
}
