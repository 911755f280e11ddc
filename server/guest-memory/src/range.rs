//! A range of I/O virtual addresses, checked once.

use std::ops::RangeInclusive;

use crate::error::MapError;
use crate::table::PAGE_SIZE;

/// A range of whole pages, not empty. Its last address is inside, so that a range may end at 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IovaRange {
    first: u64,
    last: u64,
}

impl IovaRange {
    pub(crate) fn new(iova: u64, size: u64) -> Result<Self, MapError> {
        let last = size.checked_sub(1).and_then(|n| iova.checked_add(n));
        match last {
            Some(last) if iova.is_multiple_of(PAGE_SIZE) && size.is_multiple_of(PAGE_SIZE) => {
                Ok(Self { first: iova, last })
            }
            _ => Err(MapError::BadRange { iova, size }),
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn addresses(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_end_at_two_to_the_64() {
        let range = IovaRange::new(0xfef0_0000, 0xffff_ffff_0110_0000).unwrap();

        assert_eq!(range.last(), u64::MAX);
    }

    #[test]
    fn a_range_that_passes_two_to_the_64_is_refused() {
        let range = IovaRange::new(0xfef0_1000, 0xffff_ffff_0110_0000);

        assert_eq!(range.unwrap_err().errno(), nix::errno::Errno::EINVAL);
    }

    #[test]
    fn an_empty_range_is_refused() {
        assert!(IovaRange::new(0x1000, 0).is_err());
    }

    #[test]
    fn a_range_of_broken_pages_is_refused() {
        assert!(IovaRange::new(0x1001, 0x1000).is_err());
        assert!(IovaRange::new(0x1000, 0x1001).is_err());
    }
}
