//! `ixgbectl completions` and `ixgbectl man`: what shells and `man` read, from the command line's own description.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, ensure};
use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;

use crate::{cli::Arguments, output::Output};

/// Name of the program.
const NAME: &str = "ixgbectl";

#[derive(Serialize)]
struct Written {
    pages: Vec<String>,
}

/// Writes the completions for a shell to standard output.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut text);
    io::stdout()
        .write_all(&text)
        .context("cannot write the completions")
}

/// Writes a page for the program and one for each command.
pub(crate) fn man(directory: &Path, output: &mut Output) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the folder {}", directory.display()))?;
    clap_mangen::generate_to(Arguments::command(), directory)
        .with_context(|| format!("cannot write pages to {}", directory.display()))?;
    let mut pages = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(NAME) && name.ends_with(".1") {
            pages.push(name);
        }
    }
    pages.sort();
    ensure!(!pages.is_empty(), "no page was written");
    output.print(
        &Written {
            pages: pages.clone(),
        },
        || format!("{} pages written to {}", pages.len(), directory.display()),
    )
}
