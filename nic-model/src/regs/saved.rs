//! The saved form of the register file: by the names of the datasheet, those that have not their reset values.

use std::collections::BTreeMap;

use ixgbe_spec::register::Reg;
use serde::{Deserialize, Serialize};

use super::RegisterFile;
use crate::state::StateError;

/// What registers hold, and what left those that a read clears.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    values: BTreeMap<String, Vec<u32>>,
    left: BTreeMap<String, Vec<u64>>,
}

impl RegisterFile {
    /// The saved form.
    pub(crate) fn save(&self) -> Saved {
        let Self { values, left } = self;
        Saved {
            values: all_but(&values[..], |reg| reg.row().reset),
            left: all_but(&left[..], |_| 0),
        }
    }

    /// Of the saved form.
    pub(crate) fn restore(saved: Saved) -> Result<Self, StateError> {
        let mut file = Self::default();
        let Saved { values, left } = saved;
        put(values, &mut file.values[..]).map_err(|error| error.within("values"))?;
        file.left.fill(0);
        put(left, &mut file.left[..]).map_err(|error| error.within("left"))?;
        Ok(file)
    }
}

/// The registers of which an element is not as after a reset.
fn all_but<T: Copy + PartialEq>(slots: &[T], reset: impl Fn(Reg) -> T) -> BTreeMap<String, Vec<T>> {
    let elements = |reg: Reg| slots.get(reg.first_slot()..reg.first_slot() + reg.count());
    let changed = |reg: &Reg| {
        let elements = elements(*reg)?;
        let usual = reset(*reg);
        let differs = elements.iter().any(|value| *value != usual);
        differs.then(|| (reg.row().name.to_owned(), elements.to_vec()))
    };
    Reg::ALL.iter().filter_map(changed).collect()
}

/// Puts the elements of registers into their slots.
fn put<T: Copy>(saved: BTreeMap<String, Vec<T>>, slots: &mut [T]) -> Result<(), StateError> {
    for (name, values) in saved {
        let reg = Reg::ALL.iter().find(|reg| reg.row().name == name);
        let reg = reg.ok_or_else(|| StateError::new(&name, "there is no such register"))?;
        let first = reg.first_slot();
        let place = slots
            .get_mut(first..first + reg.count())
            .filter(|place| place.len() == values.len())
            .ok_or_else(|| {
                let (is, has) = (reg.count(), values.len());
                StateError::new(&name, format!("it has {is} elements, not {has}"))
            })?;
        place.copy_from_slice(&values);
    }
    Ok(())
}
