//! The L2 ethertype filters (7.1.2.3).

use ixgbe_spec::{
    descriptor::rx::PacketType,
    register::{
        Reg,
        bits::{
            etqf::{ETYPE, FCOE, FILTER_EN, IEEE_1588, POOL_EN, POOL_SHIFT, UP_EN, UP_SHIFT},
            etqs::{LLI, QUEUE_EN, QUEUE_SHIFT},
        },
    },
};

use super::five_tuple::Route;
use crate::{regs::RegisterFile, rx::header::Headers};

/// Whether any of the filters is enabled.
pub(crate) fn is_on(regs: &RegisterFile) -> bool {
    let filters = regs.all(Reg::ETQF);
    filters.iter().any(|filter| filter & FILTER_EN != 0)
}

/// The filter that matches a frame: the packet type that it gives, and the queue, if it chooses one.
#[inline]
pub(crate) fn filter(
    headers: &Headers,
    regs: &RegisterFile,
) -> Option<(PacketType, Option<Route>)> {
    let n = matching(headers, regs)?;
    let action = regs.get(Reg::ETQS, n);
    let index = PacketType::from_bits_retain(u16::try_from(n).unwrap_or(0) & 7);
    let route = (action & QUEUE_EN != 0).then_some(Route {
        queue: (action >> QUEUE_SHIFT & 0x7F) as u8,
        immediate: action & LLI != 0,
    });
    Some((PacketType::L2 | index, route))
}

/// Whether the filter that matches a frame says that it is one of IEEE 1588.
pub(crate) fn is_1588(headers: &Headers, regs: &RegisterFile) -> bool {
    matching(headers, regs).is_some_and(|n| regs.get(Reg::ETQF, n) & IEEE_1588 != 0)
}

/// Whether the filter that matches a frame says that it is one of `FCoE`.
pub(crate) fn is_fcoe(headers: &Headers, regs: &RegisterFile) -> bool {
    matching(headers, regs).is_some_and(|n| regs.get(Reg::ETQF, n) & FCOE != 0)
}

/// The pool that a matching filter chooses, along with the queue (7.10.3.3).
pub(crate) fn pool(headers: &Headers, regs: &RegisterFile) -> Option<u8> {
    let n = matching(headers, regs)?;
    let filter = regs.get(Reg::ETQF, n);
    let chooses = filter & POOL_EN != 0 && regs.get(Reg::ETQS, n) & QUEUE_EN != 0;
    chooses.then_some((filter >> POOL_SHIFT & 0x3F) as u8)
}

/// The first filter that matches.
#[inline]
fn matching(headers: &Headers, regs: &RegisterFile) -> Option<usize> {
    (0..Reg::ETQF.count()).find(|n| matches(regs.get(Reg::ETQF, *n), headers))
}

#[inline]
fn matches(filter: u32, headers: &Headers) -> bool {
    filter & FILTER_EN != 0
        && headers.length.is_none()
        && filter & ETYPE == u32::from(headers.ethertype)
        && (filter & UP_EN == 0
            || headers.tag.map(|tag| u32::from(tag.priority())) == Some(filter >> UP_SHIFT & 7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rx::header::Tag;

    fn headers(ethertype: u16) -> Headers {
        Headers {
            ethertype,
            ..Headers::default()
        }
    }

    #[test]
    fn a_matching_filter_gives_type_and_queue() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::ETQF, 3, FILTER_EN | 0x88F7);
        regs.set(Reg::ETQS, 3, QUEUE_EN | LLI | 9 << 16);

        let route = Route {
            queue: 9,
            immediate: true,
        };
        assert_eq!(
            filter(&headers(0x88F7), &regs),
            Some((PacketType::from_bits_retain(0x803), Some(route)))
        );
        assert_eq!(filter(&headers(0x88F8), &regs), None);
    }

    #[test]
    fn a_filter_without_a_queue_still_gives_the_type() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::ETQF, 0, FILTER_EN | 0x8906);
        regs.set(Reg::ETQS, 0, 9 << 16);

        assert_eq!(
            filter(&headers(0x8906), &regs),
            Some((PacketType::L2, None))
        );
    }

    #[test]
    fn a_filter_with_priority_wants_a_tag_with_it() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::ETQF, 0, FILTER_EN | UP_EN | 5 << 16 | 0x8906);
        let tagged = |tci| Headers {
            tag: Tag::new(12, tci),
            ..headers(0x8906)
        };

        assert_eq!(filter(&headers(0x8906), &regs), None);
        assert_eq!(filter(&tagged(4 << 13), &regs), None);
        assert!(filter(&tagged(5 << 13), &regs).is_some());
    }
}
