//! What is told of samples: tables, JSON, and a page with plots.

mod goal;
mod host;
mod page;
mod summary;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use self::goal::Reach;
pub use self::goal::{Goal, OURS};
pub use self::host::{Host, cores, load};
pub use self::summary::Sample;
use self::summary::{Summary, summarise};
use crate::binaries;

/// The samples of one benchmark.
#[derive(Debug)]
pub struct Section {
    /// Name of its JSON file.
    pub name: &'static str,
    /// Of whom goals are set, and whose bars stand out.
    pub ours: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What makes these figures.
    pub command: String,
    /// The samples.
    pub samples: Vec<Sample>,
    /// What a figure is to reach, by name; all of it, and all of the same bound.
    pub goals: fn(&str) -> Vec<Goal>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

impl Section {
    fn summaries(&self) -> Vec<Summary> {
        let mut summaries = summarise(&self.samples);
        let before = summaries.clone();
        for summary in summaries.iter_mut().filter(|s| s.subject == self.ours) {
            let row: Vec<&Summary> = before
                .iter()
                .filter(|s| s.figure == summary.figure)
                .collect();
            summary.reach = Reach::of(&(self.goals)(&summary.figure), self.ours, &row);
        }
        summaries
    }
}

/// Prints the tables; writes `bench/SECTION.json` for each, and the page `bench/PAGE.html`, in the target folder.
pub fn write(sections: &[Section], page: &str) -> Result<()> {
    let folder = binaries::target_folder()?.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for section in sections {
        let summaries = section.summaries();
        println!("\n== {}\n{}", section.title, table::table(&summaries));
        for note in &section.notes {
            println!("{note}");
        }
        let path = folder.join(format!("{}.json", section.name));
        save(&path, &serde_json::to_string_pretty(&summaries)?)?;
    }
    println!(
        "\nMedian (least-greatest). `reach`: what ours is to reach, its median as a multiple of that, and whether it \
         does. After the\nvalues of others: how many times as much ours has."
    );
    let path = folder.join(format!("{page}.html"));
    save(&path, &page::page(&Host::look(), sections)?)?;
    println!("{} and the JSON beside it", path.display());
    Ok(())
}

fn save(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
