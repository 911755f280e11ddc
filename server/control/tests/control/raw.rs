//! A client that writes what it likes.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::Value;

use crate::worker::Running;

/// Bytes and JSON on a control socket.
pub struct Raw(UnixStream);

impl Raw {
    pub fn connect(running: &Running) -> Self {
        let stream = UnixStream::connect(running.path()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The server may close before it has read everything.
        let _ = self.0.write_all(bytes);
    }

    pub fn call(&mut self, call: &Value) -> Value {
        self.send(format!("{call}\0").as_bytes());
        self.reply()
    }

    pub fn reply(&mut self) -> Value {
        let mut message = Vec::new();
        let mut byte = [0];
        loop {
            self.0.read_exact(&mut byte).unwrap();
            if byte == [0] {
                return serde_json::from_slice(&message).unwrap();
            }
            message.push(byte[0]);
        }
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            // The server closed before it had read everything.
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        rest
    }

    /// Closes our side.
    pub fn finish(&self) {
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
    }
}
