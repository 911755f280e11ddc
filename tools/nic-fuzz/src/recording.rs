//! Recordings: files that a replay is asked to do again.
//!
//! The first byte of an input: bit 0, the input is a whole file; else it is calls that a server has sent, which become a file
//! as `ixgbectl record` makes one, so that a fuzzer gets past the header and the block's sum. Bit 1, the file is cut by a byte.

use std::io::Cursor;

use recording::{Blocks, Header, PortHeader, Replay, Step, Until};

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

/// A file with this content in its only block, and without a last word.
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
    let mut file = Vec::new();
    let mut blocks = Blocks::new(&mut file, &header).expect("memory takes all");
    blocks
        .calls(content)
        .expect("an input is no longer than a block");
    file
}
