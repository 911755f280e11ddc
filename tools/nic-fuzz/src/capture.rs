//! Capture files: pcap and pcapng.

use std::path::Path;

use wire::file::{MAX_FRAME, Reader};

/// Reads the input as a capture file, to its end or to what is wrong with it.
///
/// # Panics
/// If a frame comes out that no file may hold, or more bytes than went in.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input, Path::new("input"));
    let mut read = 0_usize;
    loop {
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.bytes.len() <= MAX_FRAME);
                    read += frame.bytes.len();
                    assert!(read <= input.len());
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return;
                }
            }
        }
        match reader.fill() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        }
    }
}
