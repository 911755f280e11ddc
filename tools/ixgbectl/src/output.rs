//! What goes to standard output, for people or for programs.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text.
    Human,
    /// One JSON value.
    Json,
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints `value` for a program, or the text that `human` makes for a person.
    pub(crate) fn print<T: Serialize>(
        &mut self,
        value: &T,
        human: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Human => human(),
            Format::Json => serde_json::to_string_pretty(value)?,
        };
        match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    pub(crate) const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }
}

/// Prints what is wrong with a command line, in as many lines as it has.
pub(crate) fn wrong(format: Format, error: &anyhow::Error) {
    match format {
        Format::Human => eprintln!("ixgbectl: wrong command line\n{error}"),
        Format::Json => eprintln!("{}", serde_json::json!({ "error": error.to_string() })),
    }
}

/// Prints an error with its causes, in one line, to standard error.
pub(crate) fn error(format: Format, error: &anyhow::Error) {
    let text = format!("{error:#}").replace('\n', " ");
    match format {
        Format::Human => eprintln!("ixgbectl: {text}"),
        Format::Json => eprintln!("{}", serde_json::json!({ "error": text })),
    }
}
