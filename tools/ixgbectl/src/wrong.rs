//! What is wrong with a command line, where clap cannot tell.

use std::fmt;

/// A wrong command line: exit code 2. The text may have several lines, of which a caret may point into the one before.
#[derive(Debug)]
pub(crate) struct Wrong(pub(crate) String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// A text that stands behind `before` on the command line is wrong.
pub(crate) fn at(before: &str, complaint: packets::Complaint) -> Wrong {
    Wrong(complaint.within(&format!("{before} ")).to_string())
}
