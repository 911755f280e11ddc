//! Reading hex dumps.

/// What is wrong with a hex dump.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// There is no byte in it.
    #[error("there is no hex digit in it")]
    Empty,
    /// A character that no hex dump has.
    #[error("line {line}: {text:?} is not hexadecimal")]
    NotHex {
        /// From 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A byte has two digits.
    #[error("line {line}: an odd number of hex digits")]
    OddDigits {
        /// From 1.
        line: usize,
    },
    /// An offset does not continue the frame.
    #[error(
        "line {line}: offset {offset:#x} follows {len} bytes; a dump needs all its lines (hexdump -v) and at most 16 bytes \
         on each"
    )]
    Offset {
        /// From 1.
        line: usize,
        /// What stands there.
        offset: usize,
        /// Bytes of the frame so far.
        len: usize,
    },
}

/// Bytes on a line of a dump with offsets.
const DUMP_LINE: usize = 16;
/// Blanks that separate the bytes from their text.
const TEXT_GAP: &str = "   ";

pub(super) fn parse(text: &str) -> Result<Vec<Vec<u8>>, HexError> {
    let mut frames = Vec::new();
    let mut frame = Vec::new();
    let mut end_frame = |frame: &mut Vec<u8>| {
        if !frame.is_empty() {
            frames.push(std::mem::take(frame));
        }
    };
    let is_dump = text
        .lines()
        .any(|line| matches!(offset(line.trim(), 0), Some((0, _))));
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let content = line.trim();
        if content.starts_with('#') {
            continue;
        }
        if content.is_empty() {
            // In a dump only an offset 0 starts a frame.
            if !is_dump {
                end_frame(&mut frame);
            }
            continue;
        }
        match offset(content, frame.len()).filter(|_| is_dump) {
            Some((offset, bytes)) => {
                if offset == 0 {
                    end_frame(&mut frame);
                } else if offset != frame.len() {
                    return Err(HexError::Offset {
                        line: number,
                        offset,
                        len: frame.len(),
                    });
                }
                dump_line(bytes, &mut frame);
            }
            // What `tcpdump` says about a packet, or the end of `od`.
            None if is_dump => {}
            None => plain_line(content, number, &mut frame)?,
        }
    }
    end_frame(&mut frame);
    if frames.is_empty() {
        return Err(HexError::Empty);
    }
    Ok(frames)
}

/// The offset at the start of a line of a dump, and the rest of the line.
///
/// With a colon after it there is no doubt; without one it must be the offset that is due, and two-digit bytes must
/// follow, or it is plain hex.
fn offset(line: &str, due: usize) -> Option<(usize, &str)> {
    let (first, rest) = line.split_once(char::is_whitespace)?;
    let (digits, sure) = match first.strip_suffix(':') {
        Some(digits) => (digits, true),
        None => (first, false),
    };
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    if !(4..=8).contains(&digits.len()) {
        return None;
    }
    let offset = usize::from_str_radix(digits, 16).ok()?;
    let bytes_follow = rest
        .split_whitespace()
        .next()
        .is_some_and(|token| token.len() == 2 && hex_bytes(token).is_some());
    (sure || (bytes_follow && (offset == 0 || offset == due))).then_some((offset, rest))
}

/// Adds the bytes of a line after its offset; the text beside them is left out.
fn dump_line(line: &str, frame: &mut Vec<u8>) {
    let line = line.trim_start();
    let bytes = line.split_once(TEXT_GAP).map_or(line, |(bytes, _)| bytes);
    let mut left = DUMP_LINE;
    for token in bytes.split_whitespace() {
        match hex_bytes(token) {
            Some(bytes) if bytes.len() <= left => {
                left -= bytes.len();
                frame.extend(bytes);
            }
            _ => break,
        }
    }
}

fn plain_line(line: &str, number: usize, frame: &mut Vec<u8>) -> Result<(), HexError> {
    let mut digits = String::with_capacity(line.len());
    for token in line.split([' ', '\t', ':', '-', ',']) {
        digits.push_str(token.strip_prefix("0x").unwrap_or(token));
    }
    if let Some(at) = digits.find(|c: char| !c.is_ascii_hexdigit()) {
        return Err(HexError::NotHex {
            line: number,
            text: digits[at..].chars().take(20).collect(),
        });
    }
    let bytes = hex_bytes(&digits).ok_or(HexError::OddDigits { line: number })?;
    frame.extend(bytes);
    Ok(())
}

/// The bytes of an even number of hex digits.
fn hex_bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |c: &u8| {
        char::from(*c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(&pair[0])? << 4 | digit(&pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 20] = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99abcdefghij";

    #[test]
    fn plain_digits_are_a_frame() {
        assert_eq!(parse("0011aAFf"), Ok(vec![vec![0, 0x11, 0xaa, 0xff]]));
    }

    #[test]
    fn separators_and_prefixes_do_not_matter() {
        assert_eq!(
            parse("00:11-22 33,0x44, 0x55\n66"),
            Ok(vec![vec![0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66]])
        );
    }

    #[test]
    fn an_empty_line_separates_frames_and_a_comment_does_not() {
        assert_eq!(
            parse("00\n# more\n11\n\n22\n"),
            Ok(vec![vec![0, 0x11], vec![0x22]])
        );
    }

    #[test]
    fn a_dump_of_xxd_is_read() {
        let dump = "00000000: 0011 2233 4455 6677 8899 6162 6364 6566  ..\"3DUfw..abcdef\n\
                    00000010: 6768 696a                                ghij\n";

        assert_eq!(parse(dump), Ok(vec![FRAME.to_vec()]));
    }

    #[test]
    fn a_dump_of_hexdump_is_read() {
        let dump = "00000000  00 11 22 33 44 55 66 77  88 99 61 62 63 64 65 66  |..\"3DUfw..abcdef|\n\
                    00000010  67 68 69 6a                                       |ghij|\n\
                    00000014\n";

        assert_eq!(parse(dump), Ok(vec![FRAME.to_vec()]));
    }

    #[test]
    fn a_dump_of_tcpdump_is_read_packet_by_packet() {
        let dump = "12:00:00.000000 IP 10.0.0.1 > 10.0.0.2: ICMP echo request\n\
                    \t0x0000:  0011 2233 4455 6677 8899 6162 6364 6566\n\
                    \t0x0010:  6768 696a\n\
                    12:00:00.100000 IP 10.0.0.2 > 10.0.0.1: ICMP echo reply\n\
                    \t0x0000:  ffff\n";

        assert_eq!(parse(dump), Ok(vec![FRAME.to_vec(), vec![0xff, 0xff]]));
    }

    #[test]
    fn a_dump_of_wireshark_with_text_is_read() {
        let dump = "0000   00 11 22 33 44 55 66 77 88 99 61 62 63 64 65 66   ..\"3DUfw..abcdef\n\
                    0010   67 68 69 6a                                       ghij\n";

        assert_eq!(parse(dump), Ok(vec![FRAME.to_vec()]));
    }

    #[test]
    fn plain_hex_that_looks_like_an_offset_is_plain() {
        assert_eq!(parse("0011 2233"), Ok(vec![vec![0, 0x11, 0x22, 0x33]]));
        assert_eq!(parse("0000 11aa"), Ok(vec![vec![0, 0, 0x11, 0xaa]]));
    }

    #[test]
    fn a_missing_line_of_a_dump_is_an_error() {
        let dump = "00000000: 0011\n00000010: 2233\n";

        assert_eq!(
            parse(dump),
            Err(HexError::Offset {
                line: 2,
                offset: 16,
                len: 2
            })
        );
    }

    #[test]
    fn words_are_refused_with_their_line() {
        let error = parse("00\nhello").unwrap_err();

        assert_eq!(error.to_string(), "line 2: \"hello\" is not hexadecimal");
    }

    #[test]
    fn an_odd_number_of_digits_is_refused() {
        assert_eq!(parse("001"), Err(HexError::OddDigits { line: 1 }));
    }

    #[test]
    fn a_text_without_digits_is_refused() {
        assert_eq!(parse("\n# nothing\n"), Err(HexError::Empty));
    }
}
