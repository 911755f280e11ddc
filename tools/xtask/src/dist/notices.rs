//! The licences of what is linked into the programs, in their authors' words: most of them ask for that.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::supply::sbom::Component;

/// What files with a licence or a notice are called, in capitals.
const NAMES: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "NOTICE",
    "COPYRIGHT",
    "UNLICENSE",
];

/// One text: who is under which licence, then each text that a crate comes with, once.
///
/// # Errors
/// The source of a crate cannot be read.
pub fn of(components: &[Component]) -> Result<String> {
    let mut text = "The programs of this package contain or were made with:\n\n".to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let foreign = components
        .iter()
        .filter(|component| component.checksum.is_some());
    for component in foreign {
        let name = format!("{} {}", component.name, component.version);
        writeln!(text, "  {name}: {}", component.license)?;
        for licence in texts_in(&component.folder)? {
            texts.entry(licence).or_default().push(name.clone());
        }
    }
    for (licence, names) in texts {
        write!(
            text,
            "\n{}\n{}\n\n{licence}\n",
            "=".repeat(78),
            names.join(", ")
        )?;
    }
    Ok(text)
}

fn texts_in(folder: &Path) -> Result<Vec<String>> {
    let failed = || format!("cannot read {}", folder.display());
    let mut texts = Vec::new();
    let mut entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.path().is_file() && NAMES.iter().any(|known| name.starts_with(known)) {
            let text = fs::read(entry.path()).with_context(failed)?;
            texts.push(String::from_utf8_lossy(&text).trim().to_owned());
        }
    }
    Ok(texts)
}
