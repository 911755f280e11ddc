//! Transmit queues and the traffic classes that they belong to (7.2.1.2.1).

use ixgbe_spec::register::bits::mtqc;

/// Number of traffic classes.
pub(super) const CLASSES: usize = 8;

/// First queue of each class, and what follows the last: four classes without pools.
const FOUR: [u32; 5] = [0, 64, 96, 112, 128];
/// The same for eight.
const EIGHT: [u32; 9] = [0, 32, 64, 80, 96, 104, 112, 120, 128];
/// Every fourth queue, from the first.
const EVERY_FOURTH: u128 = u128::MAX / 0xF;
/// Every eighth queue, from the first.
const EVERY_EIGHTH: u128 = u128::MAX / 0xFF;

/// The queues of each traffic class, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Classes([u128; CLASSES]);

impl Default for Classes {
    /// All queues in the first class.
    fn default() -> Self {
        Self::of(0)
    }
}

impl Classes {
    /// The classes that MTQC asks for. Without DCB, and in combinations that the datasheet reserves, there is one.
    pub(super) fn of(control: u32) -> Self {
        let mut classes = [0; CLASSES];
        let pools = control & mtqc::VT_ENA != 0;
        match control >> mtqc::QUEUES_SHIFT & 3 {
            _ if control & mtqc::RT_ENA == 0 => classes[0] = u128::MAX,
            2 if pools => fill(&mut classes[..4], |class| EVERY_FOURTH << class),
            3 if pools => fill(&mut classes, |class| EVERY_EIGHTH << class),
            2 => fill(&mut classes[..4], |class| range(&FOUR, class)),
            3 => fill(&mut classes, |class| range(&EIGHT, class)),
            _ => classes[0] = u128::MAX,
        }
        Self(classes)
    }

    /// The queues of the classes with a bit in `classes`.
    pub(super) fn queues(&self, classes: u32) -> u128 {
        let each = self.0.iter().enumerate();
        each.filter(|(class, _)| classes >> class & 1 == 1)
            .fold(0, |all, (_, queues)| all | queues)
    }
}

fn fill(classes: &mut [u128], queues: impl Fn(usize) -> u128) {
    for (class, place) in classes.iter_mut().enumerate() {
        *place = queues(class);
    }
}

/// The queues from that of `class` up to that of the next.
fn range(first: &[u32], class: usize) -> u128 {
    let below = |queue: u32| 1_u128.checked_shl(queue).map_or(u128::MAX, |bit| bit - 1);
    match first.get(class..) {
        Some([from, to, ..]) => below(*to) & !below(*from),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first queue of each class, as Linux takes them to be.
    fn firsts(mtqc: u32) -> Vec<u32> {
        let classes = Classes::of(mtqc);
        let queues = classes.0.iter().filter(|queues| **queues != 0);
        queues.map(|queues| queues.trailing_zeros()).collect()
    }

    #[test]
    fn classes_begin_where_drivers_take_them_to_begin() {
        // IXGBE_MTQC_RT_ENA with 4 and 8 classes, and with IXGBE_MTQC_VT_ENA.
        assert_eq!(firsts(0x1 | 0x8), [0, 64, 96, 112]);
        assert_eq!(firsts(0x1 | 0xC), [0, 32, 64, 80, 96, 104, 112, 120]);
        assert_eq!(firsts(0x1 | 0x2 | 0x8), [0, 1, 2, 3]);
        assert_eq!(firsts(0x1 | 0x2 | 0xC), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn every_queue_has_one_class() {
        for mtqc in 0..16 {
            let Classes(classes) = Classes::of(mtqc);
            assert_eq!(
                classes.iter().fold(0, |all, queues| all ^ queues),
                u128::MAX
            );
            let count: u32 = classes.iter().map(|queues| queues.count_ones()).sum();
            assert_eq!(count, 128);
        }
    }

    #[test]
    fn with_pools_the_class_is_the_place_in_the_pool() {
        let has = |mtqc: u32, queue: u32, class: u32| {
            Classes::of(mtqc).queues(1 << class) >> queue & 1 == 1
        };
        assert!(has(0xB, 4 * 31 + 2, 2));
        assert!(has(0xF, 8 * 15 + 7, 7));
        assert!(has(0x6, 127, 0), "pools alone");
    }
}
