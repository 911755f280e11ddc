//! Why a saved state is refused.

use std::fmt::Display;

/// A saved state is none, or of another port: which field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saved state cannot be used: {field}: {problem}")]
pub struct StateError {
    /// The field's path from the top, as `receive.queues.3.fetched`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl StateError {
    /// An error in `field`.
    pub(crate) fn new(field: impl Display, problem: impl Display) -> Self {
        Self {
            field: field.to_string(),
            problem: problem.to_string(),
        }
    }

    /// The same, the field being one of `part`.
    pub(crate) fn within(self, part: impl Display) -> Self {
        Self {
            field: format!("{part}.{}", self.field),
            ..self
        }
    }

    /// Refuses `field` unless `holds`.
    pub(crate) fn unless(
        holds: bool,
        field: impl Display,
        problem: impl Display,
    ) -> Result<(), Self> {
        if holds {
            Ok(())
        } else {
            Err(Self::new(field, problem))
        }
    }
}
