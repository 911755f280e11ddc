//! The saved form of the Flow Director: its filters. What memory they have, and how it is hashed, follows from registers.

use std::collections::BTreeSet;

use ixgbe_spec::register::{Reg, bits::fdirctrl as control};
use serde::{Deserialize, Serialize};

use super::{
    Enabled, FlowDirector,
    hash::Tuple,
    hasher, size,
    table::{Addition, Filter, Table},
};
use crate::{regs::RegisterFile, state::StateError};

/// The filters, those of a bucket behind one another, the oldest first.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    filters: Vec<Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bucket: u16,
    id: u16,
    command: u32,
    tuple: Tuple,
    collision: bool,
}

impl FlowDirector {
    /// The saved form.
    pub(crate) fn save(&self) -> Saved {
        let Self { enabled } = self;
        let Some(Enabled {
            table,
            hasher: _,
            perfect: _,
        }) = enabled
        else {
            return Saved {
                filters: Vec::new(),
            };
        };
        let mut filters = Vec::new();
        for bucket in table.buckets() {
            let first = filters.len();
            filters.extend(table.chain(bucket).map(|filter| {
                let Filter {
                    id,
                    command,
                    tuple,
                    collision,
                } = *filter;
                Entry {
                    bucket,
                    id,
                    command,
                    tuple,
                    collision,
                }
            }));
            // The newest is the first of its bucket.
            if let Some(chain) = filters.get_mut(first..) {
                chain.reverse();
            }
        }
        Saved { filters }
    }

    /// Of the saved form.
    pub(crate) fn restore(saved: Saved, regs: &RegisterFile) -> Result<Self, StateError> {
        let Saved { filters } = saved;
        let settings = regs.get(Reg::FDIRCTRL, 0);
        let allocation = settings & control::PBALLOC;
        if allocation == 0 {
            let none = filters.is_empty();
            StateError::unless(none, "filters", "FDIRCTRL has no memory for them")?;
            return Ok(Self { enabled: None });
        }
        let perfect = settings & control::PERFECT_MATCH != 0;
        let (buckets, capacity) = size(allocation, perfect);
        let mut table = Table::new(buckets, capacity);
        // All filters may be in one bucket: looking each up there would take half a billion steps.
        let mut known = BTreeSet::new();
        for (nth, entry) in filters.into_iter().enumerate() {
            let Entry {
                bucket,
                id,
                command,
                tuple,
                collision,
            } = entry;
            let refused = |problem| StateError::new(format!("filters.{nth}"), problem);
            if !known.insert((bucket, id)) {
                return Err(refused("there are two with this bucket and id"));
            }
            let filter = Filter {
                id,
                command,
                tuple,
                collision,
            };
            if table.insert(bucket, filter) != Addition::Done {
                return Err(refused("there is no such bucket, or no room"));
            }
        }
        table.count_collisions();
        Ok(Self {
            enabled: Some(Enabled {
                table,
                hasher: hasher(regs),
                perfect,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filters with these buckets and ids, and memory for 8191 of them.
    fn restored(filters: impl Iterator<Item = (u16, u16)>) -> Result<FlowDirector, StateError> {
        let mut regs = RegisterFile::default();
        regs.set(Reg::FDIRCTRL, 0, 1);
        let filters = filters.map(|(bucket, id)| Entry {
            bucket,
            id,
            command: u32::from(id),
            tuple: Tuple::default(),
            collision: false,
        });
        let saved = Saved {
            filters: filters.collect(),
        };
        FlowDirector::restore(saved, &regs)
    }

    #[test]
    fn a_bucket_with_all_filters_is_restored_in_its_order() {
        let ids: Vec<u16> = (0..8191).rev().collect();

        let director = restored(ids.iter().map(|id| (7, *id))).unwrap();

        let saved = director.save().filters.into_iter();
        let saved = saved.map(|entry| (entry.bucket, entry.id, entry.command));
        assert!(saved.eq(ids.iter().map(|id| (7, *id, u32::from(*id)))));
        let newest = director.enabled.unwrap().table.chain(7).next().unwrap().id;
        assert_eq!(newest, 0);
    }

    #[test]
    fn filters_that_are_there_twice_or_have_no_place_are_refused_with_their_number() {
        let error = |filters: &[(u16, u16)]| {
            let refused = restored(filters.iter().copied()).unwrap_err();
            refused.to_string()
        };

        let twice = error(&[(1, 5), (2, 5), (1, 6), (1, 5)]);
        let nowhere = error(&[(1, 5), (8192, 5)]);
        let many = restored((0..8192).map(|id| (0, id))).unwrap_err();

        assert!(twice.contains("filters.3: there are two"), "{twice}");
        assert!(nowhere.contains("filters.1: there is no"), "{nowhere}");
        assert!(many.to_string().contains("filters.8191: "), "{many}");
    }
}
