//! The commands of docs/lab.md, which are run as they stand there.

use anyhow::{Context, Result};

const PAGE: &str = include_str!("../../../docs/lab.md");

/// Commands that a person types on one of the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where: what follows `# on` in the block's first line.
    pub host: String,
    /// One command a line.
    pub commands: Vec<String>,
}

/// The blocks between a heading and the next one.
pub fn blocks(heading: &str) -> Result<Vec<Block>> {
    let mut lines = PAGE.lines();
    lines
        .find(|line| line.trim_start_matches('#').trim() == heading && line.starts_with("##"))
        .with_context(|| format!("docs/lab.md has no heading '{heading}'"))?;
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("##") {
            break;
        }
        if line != "```sh" {
            continue;
        }
        let mut inside = lines.by_ref().take_while(|line| *line != "```");
        let host = inside.next().and_then(|line| line.strip_prefix("# on "));
        blocks.push(Block {
            host: host
                .with_context(|| format!("a block below '{heading}' does not tell where"))?
                .to_owned(),
            commands: inside.map(str::to_owned).collect(),
        });
    }
    Ok(blocks)
}
