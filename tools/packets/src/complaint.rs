//! What is wrong with a text, and where.

use std::{fmt, ops::Range};

/// A text that is not understood: it is shown with a caret below the place, what is wrong, and what is known there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    text: String,
    /// Bytes of the text.
    place: Range<usize>,
    message: String,
}

impl Complaint {
    /// About these bytes of `text`.
    pub(crate) fn new(text: &str, place: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            place,
            message: message.into(),
        }
    }

    /// The same where the text is a part of a longer one, which has `before` before it.
    #[must_use]
    pub fn within(mut self, before: &str) -> Self {
        self.text.insert_str(0, before);
        self.place.start += before.len();
        self.place.end += before.len();
        self
    }

    /// What is wrong, without the text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = |bytes: &Range<usize>| {
            let taken = self.text.get(bytes.clone()).unwrap_or_default();
            taken.chars().count()
        };
        // A text of several lines would move the caret.
        let text: String = self
            .text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        writeln!(f, "{text}")?;
        write!(
            f,
            "{}{} {}",
            " ".repeat(columns(&(0..self.place.start))),
            "^".repeat(columns(&self.place).max(1)),
            self.message
        )
    }
}

impl std::error::Error for Complaint {}

/// `a, b, c`, for messages that tell what is known.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
