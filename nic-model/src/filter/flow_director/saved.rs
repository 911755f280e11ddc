//! The saved form of the Flow Director: its filters. What memory they have, and how it is hashed, follows from registers.

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
        for (nth, entry) in filters.into_iter().enumerate() {
            let Entry {
                bucket,
                id,
                command,
                tuple,
                collision,
            } = entry;
            let refused = |problem| StateError::new(format!("filters.{nth}"), problem);
            if table.get(bucket, id).is_some() {
                return Err(refused("there are two with this bucket and id"));
            }
            let filter = Filter {
                id,
                command,
                tuple,
                collision,
            };
            if table.add(bucket, filter, false) != Addition::Done {
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
