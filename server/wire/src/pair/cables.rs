//! The cables of a process, by name.

use std::collections::BTreeMap;

use super::Pair;
use crate::OpenError;

/// The cables between ports of this process. The first who asks for a name gets one end, the second the other.
#[derive(Debug, Default)]
pub struct Cables(BTreeMap<String, Option<Pair>>);

impl Cables {
    /// No cable.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// An end of the cable `name`.
    ///
    /// # Errors
    /// [`OpenError::CableInUse`] if both ends are taken, [`OpenError::Cable`] if there are no descriptors left.
    pub fn end(&mut self, name: &str) -> Result<Pair, OpenError> {
        match self.0.get_mut(name) {
            Some(end) => end
                .take()
                .ok_or_else(|| OpenError::CableInUse(name.to_owned())),
            None => {
                let [first, second] = Pair::new(name).map_err(OpenError::Cable)?;
                self.0.insert(name.to_owned(), Some(second));
                Ok(first)
            }
        }
    }
}
