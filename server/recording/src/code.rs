//! Numbers and bytes of a recording, and what is wrong with them.
//!
//! A number is written as in LEB128: seven bits a byte, the low ones first, the high bit set in all bytes but the last. Bytes
//! follow their length. It is done by hand, so that an error names the field and its place in the file.

use thiserror::Error;

/// Something in a recording is not what it should be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field} at byte {offset}: {what}")]
pub struct Broken {
    /// Which field.
    pub field: &'static str,
    /// Its place in the file.
    pub offset: u64,
    /// What is wrong.
    pub what: Wrong,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Wrong {
    /// It begins or goes on behind the end.
    #[error("there is nothing, or not all of it")]
    Ends,
    /// It is larger than it can be.
    #[error("{0} is too large")]
    TooLarge(u64),
    /// It is none of the values that there are.
    #[error("{0} means nothing")]
    Unknown(u64),
}

/// Adds a number.
pub(crate) fn put(to: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            to.push(low & 0x7F);
            return;
        }
        to.push(low | 0x80);
    }
}

/// Adds a number of bytes, or an index.
pub(crate) fn put_size(to: &mut Vec<u8>, number: usize) {
    put(to, number as u64);
}

/// Adds bytes behind their number.
pub(crate) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_size(to, bytes.len());
    to.extend_from_slice(bytes);
}

/// Takes fields out of bytes that lie somewhere in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the first of the bytes lies in the file.
    base: u64,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8], at: usize, base: u64) -> Self {
        Self { bytes, at, base }
    }

    /// How far they have been taken.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The same as a place in the file.
    pub(crate) const fn offset(&self) -> u64 {
        self.base.saturating_add(self.at as u64)
    }

    /// The next byte, which stays.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    const fn broken(field: &'static str, offset: u64, what: Wrong) -> Broken {
        Broken {
            field,
            offset,
            what,
        }
    }

    /// A field holds a number that means nothing.
    pub(crate) const fn unknown(field: &'static str, offset: u64, number: u64) -> Broken {
        Self::broken(field, offset, Wrong::Unknown(number))
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, Broken> {
        let byte = self.peek();
        let byte = byte.ok_or(Self::broken(field, self.offset(), Wrong::Ends))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn number(&mut self, field: &'static str) -> Result<u64, Broken> {
        let start = self.offset();
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Self::broken(field, start, Wrong::TooLarge(u64::MAX)))
    }

    /// A number that fits a narrower type.
    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self, field: &'static str) -> Result<T, Broken> {
        let start = self.offset();
        let number = self.number(field)?;
        T::try_from(number).map_err(|_| Self::broken(field, start, Wrong::TooLarge(number)))
    }

    /// A byte that chooses one of several.
    pub(crate) fn choice<T>(
        &mut self,
        field: &'static str,
        choose: impl FnOnce(u8) -> Option<T>,
    ) -> Result<T, Broken> {
        let start = self.offset();
        let byte = self.byte(field)?;
        choose(byte).ok_or(Self::broken(field, start, Wrong::Unknown(byte.into())))
    }

    /// Bytes behind their number.
    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], Broken> {
        let len = self.narrow(field)?;
        self.exactly(len, field)
    }

    /// So many bytes.
    pub(crate) fn exactly(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Broken> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let bytes = rest.get(..len);
        let bytes = bytes.ok_or(Self::broken(field, self.offset(), Wrong::Ends))?;
        self.at += len;
        Ok(bytes)
    }

    /// A number that is at most `limit`, for what is allocated from it.
    pub(crate) fn at_most(&mut self, limit: usize, field: &'static str) -> Result<usize, Broken> {
        let start = self.offset();
        let number = self.number(field)?;
        match usize::try_from(number) {
            Ok(small) if small <= limit => Ok(small),
            _ => Err(Self::broken(field, start, Wrong::TooLarge(number))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_that_was_put_is_taken(number: u64, before in 0_u64..1000) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);

            let mut fields = Fields::new(&bytes, 0, before);

            prop_assert_eq!(fields.number("n"), Ok(number));
            prop_assert_eq!(fields.offset(), before + bytes.len() as u64);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_field_and_its_place() {
        let too_long = [0xFF; 11];
        let text = |bytes: &[u8]| {
            let mut fields = Fields::new(bytes, 0, 100);
            fields.narrow::<u16>("offset").unwrap_err().to_string()
        };

        assert_eq!(
            text(&[0x80]),
            "offset at byte 101: there is nothing, or not all of it"
        );
        assert_eq!(
            text(&[0x80, 0x80, 4]),
            "offset at byte 100: 65536 is too large"
        );
        assert!(text(&too_long).contains("too large"));
    }
}
