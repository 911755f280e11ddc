//! The filter table of the Flow Director: buckets of chained filters (7.1.2.7).

use super::hash::Tuple;

/// No entry.
const NIL: u16 = u16::MAX;

/// A filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter {
    /// Signature, or the software index of a perfect match filter (FDIRHASH 31:16).
    pub(crate) id: u16,
    /// FDIRCMD as it was when the filter was programmed: what to do with a frame that matches.
    pub(crate) command: u32,
    /// What a perfect match filter compares, masked.
    pub(crate) tuple: Tuple,
    /// A second filter with the same bucket and id and another action was refused.
    pub(crate) collision: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    filter: Filter,
    next: u16,
}

/// What became of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addition {
    /// A new filter, or an old one overwritten.
    Done,
    /// There is one with the same bucket and id and another action; it stays.
    Collision,
    /// No entry is free.
    Full,
}

/// Filters in buckets. Memory grows with the filters that are there, up to the capacity.
#[derive(Debug, Default)]
pub(crate) struct Table {
    heads: Vec<u16>,
    entries: Vec<Entry>,
    free: Vec<u16>,
    capacity: u16,
    collisions: u16,
}

impl Table {
    /// An empty table of `buckets` buckets (a power of two) for `capacity` filters.
    pub(crate) fn new(buckets: usize, capacity: u16) -> Self {
        Self {
            heads: vec![NIL; buckets],
            entries: Vec::new(),
            free: Vec::new(),
            capacity,
            collisions: 0,
        }
    }

    /// Takes all filters out.
    pub(crate) fn clear(&mut self) {
        self.heads.fill(NIL);
        self.entries.clear();
        self.free.clear();
        self.collisions = 0;
    }

    /// The bucket that a hash leads to.
    pub(crate) fn bucket(&self, hash: u16) -> u16 {
        let mask = self.heads.len().wrapping_sub(1) & 0x7FFF;
        hash & u16::try_from(mask).unwrap_or(0)
    }

    /// Entries that no filter uses.
    pub(crate) fn free(&self) -> u16 {
        let used = self.entries.len() - self.free.len();
        self.capacity - u16::try_from(used).unwrap_or(self.capacity)
    }

    /// Whether there is no filter at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == self.free.len()
    }

    /// The filters of a bucket in order.
    pub(crate) fn chain(&self, bucket: u16) -> impl Iterator<Item = &Filter> {
        self.places(bucket)
            .filter_map(|place| self.entries.get(usize::from(place)))
            .map(|entry| &entry.filter)
    }

    fn places(&self, bucket: u16) -> impl Iterator<Item = u16> {
        let head = self.heads.get(usize::from(bucket)).copied().unwrap_or(NIL);
        let present = |place: u16| (place != NIL).then_some(place);
        std::iter::successors(present(head), move |place| {
            present(self.entries.get(usize::from(*place))?.next)
        })
    }

    fn find(&self, bucket: u16, id: u16) -> Option<u16> {
        self.places(bucket)
            .find(|place| self.entries[usize::from(*place)].filter.id == id)
    }

    /// The filter with this bucket and id.
    pub(crate) fn get(&self, bucket: u16, id: u16) -> Option<&Filter> {
        let place = self.find(bucket, id)?;
        self.entries
            .get(usize::from(place))
            .map(|entry| &entry.filter)
    }

    /// Adds a filter. One with the same bucket and id is overwritten if `update` says so or nothing differs.
    pub(crate) fn add(&mut self, bucket: u16, filter: Filter, update: bool) -> Addition {
        if let Some(place) = self.find(bucket, filter.id) {
            let old = &mut self.entries[usize::from(place)].filter;
            if update {
                self.collisions -= u16::from(old.collision);
                *old = filter;
            } else if old.command != filter.command {
                self.collisions += u16::from(!old.collision);
                old.collision = true;
                return Addition::Collision;
            }
            return Addition::Done;
        }
        self.insert(bucket, filter)
    }

    /// Adds a filter whose bucket and id no other has; never a collision.
    pub(crate) fn insert(&mut self, bucket: u16, filter: Filter) -> Addition {
        let Some(head) = self.heads.get_mut(usize::from(bucket)) else {
            return Addition::Full;
        };
        let entry = Entry {
            filter,
            next: *head,
        };
        *head = if let Some(place) = self.free.pop() {
            self.entries[usize::from(place)] = entry;
            place
        } else {
            let place = u16::try_from(self.entries.len()).unwrap_or(NIL);
            if place >= self.capacity {
                return Addition::Full;
            }
            self.entries.push(entry);
            place
        };
        Addition::Done
    }

    /// Takes the filter with this bucket and id out; whether there was one.
    pub(crate) fn remove(&mut self, bucket: u16, id: u16) -> bool {
        let Some(place) = self.find(bucket, id) else {
            return false;
        };
        let Entry { filter, next } = self.entries[usize::from(place)];
        self.collisions -= u16::from(filter.collision);
        let before = self
            .places(bucket)
            .find(|before| self.entries[usize::from(*before)].next == place);
        match before {
            Some(before) => self.entries[usize::from(before)].next = next,
            None => self.heads[usize::from(bucket)] = next,
        }
        self.free.push(place);
        true
    }

    /// The numbers of all buckets.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = u16> {
        let buckets = self.heads.len();
        (0..u16::MAX).take(buckets)
    }

    /// Counts the filters with a collision anew, after such were added.
    pub(crate) fn count_collisions(&mut self) {
        let colliding = self.entries.iter().filter(|entry| entry.filter.collision);
        self.collisions = u16::try_from(colliding.count()).unwrap_or(u16::MAX);
    }

    /// Number of filters with a collision.
    pub(crate) fn collisions(&self) -> u16 {
        self.collisions
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn filter(id: u16, command: u32) -> Filter {
        Filter {
            id,
            command,
            tuple: Tuple::default(),
            collision: false,
        }
    }

    #[test]
    fn a_full_table_takes_no_more_until_one_is_removed() {
        let mut table = Table::new(4, 2);
        assert_eq!(table.add(1, filter(1, 0), false), Addition::Done);
        assert_eq!(table.add(1, filter(2, 0), false), Addition::Done);
        assert_eq!(table.add(2, filter(3, 0), false), Addition::Full);
        assert_eq!(table.free(), 0);

        assert!(table.remove(1, 1));

        assert_eq!(table.add(2, filter(3, 0), false), Addition::Done);
        assert!(table.get(1, 1).is_none());
        assert!(table.get(1, 2).is_some());
        assert!(table.get(2, 3).is_some());
    }

    #[test]
    fn a_second_action_for_a_filter_is_a_collision_unless_it_is_an_update() {
        let mut table = Table::new(4, 2);
        table.add(0, filter(7, 0x10), false);

        assert_eq!(table.add(0, filter(7, 0x10), false), Addition::Done);
        assert_eq!(table.add(0, filter(7, 0x20), false), Addition::Collision);
        assert_eq!(table.get(0, 7).unwrap().command, 0x10);
        assert_eq!(table.collisions(), 1);
        assert_eq!(table.add(0, filter(7, 0x20), true), Addition::Done);
        assert_eq!(table.get(0, 7).unwrap().command, 0x20);
        assert_eq!(table.collisions(), 0);
        assert_eq!(table.free(), 1);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Add(u16, u16, u32),
        Remove(u16, u16),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0u16..4, 0u16..6, 0u32..3).prop_map(|(bucket, id, c)| Act::Add(bucket, id, c)),
            (0u16..4, 0u16..6).prop_map(|(bucket, id)| Act::Remove(bucket, id)),
        ]
    }

    proptest! {
        #[test]
        fn the_table_holds_what_a_map_holds(acts in proptest::collection::vec(act(), 0..200)) {
            let mut table = Table::new(4, 9);
            let mut map = HashMap::new();

            for act in acts {
                match act {
                    Act::Add(bucket, id, command) => {
                        let full = map.len() == 9 && !map.contains_key(&(bucket, id));
                        let done = table.add(bucket, filter(id, command), true);
                        prop_assert_eq!(done == Addition::Full, full);
                        if !full {
                            map.insert((bucket, id), command);
                        }
                    }
                    Act::Remove(bucket, id) => {
                        let removed = table.remove(bucket, id);
                        prop_assert_eq!(removed, map.remove(&(bucket, id)).is_some());
                    }
                }
                prop_assert_eq!(usize::from(table.free()), 9 - map.len());
                let mut held: Vec<_> = (0..4)
                    .flat_map(|bucket| table.chain(bucket).map(move |f| ((bucket, f.id), f.command)))
                    .collect();
                held.sort_unstable();
                let mut expected: Vec<_> = map.iter().map(|(key, c)| (*key, *c)).collect();
                expected.sort_unstable();
                prop_assert_eq!(held, expected);
            }
        }
    }
}
