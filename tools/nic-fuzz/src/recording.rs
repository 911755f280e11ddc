//! Recordings: files that a replay is asked to do again.
//!
//! The first byte of an input: bit 0, the input is a whole file; else it is the content of a block, and the header and the
//! block's sum are made around it, so that a fuzzer gets past them. Bit 1, the file is cut by a byte.

use std::io::Cursor;

use recording::{Header, MARK, PortHeader, Replay, Step, Until, VERSION};

/// Replays the input, to its end or to what is wrong with it.
///
/// # Panics
/// If the replay goes on for ever, or an error says nothing.
pub fn run(input: &[u8]) {
    let (how, rest) = input.split_first().unwrap_or((&0, &[]));
    let mut file = if how & 1 == 0 {
        around(rest)
    } else {
        rest.to_vec()
    };
    if how & 2 != 0 {
        file.pop();
    }
    let len = file.len() as u64;
    let mut replay = match Replay::new(Cursor::new(file)) {
        Ok(replay) => replay,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    match replay.run(Until::End) {
        Ok(Step::Differs(difference)) => {
            assert!(difference.offset <= len, "{difference}");
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // Each call takes a byte at least.
    assert!(replay.calls() <= len);
}

/// A file with this content in its only block.
fn around(content: &[u8]) -> Vec<u8> {
    let header = Header {
        program: String::new(),
        ports: vec![PortHeader {
            mac: "02:00:00:00:00:01".to_owned(),
            module: "sr".to_owned(),
            second: false,
            nvm: None,
            wire: String::new(),
        }],
    };
    let json = serde_json::to_vec(&header).expect("a header has string keys");
    let word = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    [
        MARK.as_slice(),
        &VERSION.to_le_bytes(),
        &word(json.len()),
        &json,
        &word(content.len()),
        &crc32fast::hash(content).to_le_bytes(),
        content,
    ]
    .concat()
}
