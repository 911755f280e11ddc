//! Words and signs.

use std::ops::Range;

use crate::complaint::Complaint;

/// More than this is no filter that a person has written; it also bounds how deep evaluation goes.
const MAX_TOKENS: usize = 2048;
/// The longer ones first.
const SIGNS: [&str; 22] = [
    "&&", "||", "<=", ">=", "==", "!=", "<<", ">>", "(", ")", "[", "]", ":", "!", "=", "<", ">",
    "+", "-", "*", "&", "|",
];
const MORE_SIGNS: [&str; 3] = ["/", "%", "^"];

/// A word or sign, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) place: Range<usize>,
    pub(super) is_word: bool,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Complaint> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let (mut at, mut brackets) = (0, 0_usize);
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let len = word(rest, brackets > 0);
        let (len, is_word) = match len {
            0 => {
                let sign = SIGNS
                    .iter()
                    .chain(&MORE_SIGNS)
                    .find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or_else(|| {
                    Complaint::new(
                        text,
                        at..at + c.len_utf8(),
                        "this sign means nothing in a filter",
                    )
                })?;
                match *sign {
                    "[" => brackets += 1,
                    "]" => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
                (sign.len(), false)
            }
            len => (len, true),
        };
        let place = at..at + len;
        if tokens.len() == MAX_TOKENS {
            return Err(Complaint::new(
                text,
                place,
                "the filter is too long from here on",
            ));
        }
        tokens.push(Token {
            text: &rest[..len],
            place,
            is_word,
        });
        at += len;
    }
    Ok(tokens)
}

/// Bytes of the word at the start of `text`. Addresses, networks and ranges are words, but between brackets a colon
/// stands before a size.
fn word(text: &str, in_brackets: bool) -> usize {
    let mut len = 0;
    let starts_with_letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    for c in text.chars() {
        let next = text[len + c.len_utf8()..].chars().next();
        let goes_on = match c {
            '_' => true,
            c if c.is_alphanumeric() => true,
            '.' => len > 0 && !in_brackets,
            // `::1`, `02:00:…`
            ':' => !in_brackets && (len > 0 || next == Some(':')),
            // `tcp-syn`, `1000-2000`
            '-' if starts_with_letter => next.is_some_and(char::is_alphabetic),
            '-' => len > 0 && !in_brackets && next.is_some_and(|c| c.is_ascii_digit()),
            // `10.0.0.0/8`
            '/' => {
                len > 0
                    && text[..len].contains(['.', ':'])
                    && next.is_some_and(|c| c.is_ascii_digit())
            }
            _ => false,
        };
        if !goes_on {
            break;
        }
        len += c.len_utf8();
    }
    len
}
