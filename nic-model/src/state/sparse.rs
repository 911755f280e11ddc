//! Tables of which most entries are as after a reset: only the others are saved, by their number.

use std::collections::BTreeMap;

use super::StateError;

/// Entries by their number.
pub(crate) type Sparse<T> = BTreeMap<u16, T>;

/// The entries that `save` makes something of.
pub(crate) fn save<T, S>(
    table: impl IntoIterator<Item = T>,
    save: impl Fn(T) -> Option<S>,
) -> Sparse<S> {
    let entries = (0..).zip(table);
    entries
        .filter_map(|(index, entry)| Some((index, save(entry)?)))
        .collect()
}

/// The entries that differ from the default.
pub(crate) fn changed<T: Clone + Default + PartialEq>(table: &[T]) -> Sparse<T> {
    let usual = T::default();
    save(table, |entry| (*entry != usual).then(|| entry.clone()))
}

/// Puts entries into their places in `table`.
///
/// # Errors
/// One has no place there, or `restore` refuses it.
pub(crate) fn restore<T, S>(
    entries: Sparse<S>,
    table: &mut [T],
    restore: impl Fn(S, &mut T) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let len = table.len();
    for (index, entry) in entries {
        let place = table
            .get_mut(usize::from(index))
            .ok_or_else(|| StateError::new(index, format!("there are {len} of them")))?;
        restore(entry, place).map_err(|error| error.within(index))?;
    }
    Ok(())
}

/// As [`restore`] for entries that are taken as they are.
pub(crate) fn fill<T>(entries: Sparse<T>, table: &mut [T]) -> Result<(), StateError> {
    restore(entries, table, |entry, place| {
        *place = entry;
        Ok(())
    })
}
