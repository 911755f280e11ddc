//! Where the instructions of a packet stand: callgrind's costs, added up by source file. Inlined code counts for the
//! file that it was written in, so a line tells of a chapter of the model whatever the compiler made of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Files that are named; the rest is one line.
const NAMED: usize = 12;

/// Instructions per packet by source file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    files: BTreeMap<String, f64>,
}

impl Profile {
    /// Reads callgrind's output in the folder of a benchmark that moved so many packets.
    pub fn read(folder: &Path, packets: f64) -> Result<Self> {
        let list = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
        let mut files = BTreeMap::new();
        for entry in list {
            let path = entry
                .with_context(|| format!("no {}", folder.display()))?
                .path();
            if path.extension().is_some_and(|extension| extension == "out") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                add(&text, &mut files);
            }
        }
        files.values_mut().for_each(|count| *count /= packets);
        Ok(Self { files })
    }

    /// A line for the figure, and one for each file that takes much of it.
    pub fn text(&self, figure: &str, per_packet: f64) -> String {
        let mut files: Vec<(&str, f64)> = self
            .files
            .iter()
            .map(|(name, count)| (short(name), *count))
            .collect();
        files.sort_by(|a, b| f64::total_cmp(&b.1, &a.1));
        let rest: f64 = files.iter().skip(NAMED).map(|(_, count)| count).sum();
        let mut text = format!("{figure}: {per_packet:.0} instructions a packet");
        let others = [("everything else", rest)];
        for (name, count) in files.iter().take(NAMED).chain(&others) {
            let percent = 100.0 * count / per_packet;
            text.push_str(&format!("\n  {count:>8.1} {percent:>5.1} %  {name}"));
        }
        text
    }
}

/// The last parts of a path: what comes before tells where somebody keeps sources.
fn short(path: &str) -> &str {
    const ROOMS: [&str; 4] = ["/nic-model/", "/server/", "/tools/", "/library/"];
    let start = ROOMS
        .iter()
        .filter_map(|room| path.rfind(room))
        .max()
        .map(|at| at + 1)
        .or_else(|| {
            path.rfind("/src/")
                .and_then(|at| path[..at].rfind('/'))
                .map(|at| at + 1)
        });
    start.and_then(|at| path.get(at..)).unwrap_or(path)
}

/// Adds the instructions of callgrind's output by file. A cost line is a position and counts, instructions first; the one
/// after `calls=` is what a callee took, which stands in the callee's own lines.
fn add(text: &str, files: &mut BTreeMap<String, f64>) {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut file = String::new();
    let mut of_callee = false;
    for line in text.lines() {
        if line.starts_with("calls=") {
            of_callee = true;
        } else if let Some(name) = ["fl=", "fi=", "fe="]
            .iter()
            .find_map(|key| line.strip_prefix(key))
        {
            file = resolve(name, &mut names);
        } else if let Some(name) = line
            .strip_prefix("cfi=")
            .or_else(|| line.strip_prefix("cfl="))
        {
            // A name is written out where it comes first, which may be here.
            resolve(name, &mut names);
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            let count = line
                .split(' ')
                .nth(1)
                .and_then(|word| word.parse::<f64>().ok());
            if let Some(count) = count.filter(|_| !of_callee) {
                *files.entry(file.clone()).or_default() += count;
            }
            of_callee = false;
        }
    }
}

/// A name, or the name of a number: `(3) name`, later `(3)`.
fn resolve(text: &str, names: &mut BTreeMap<String, String>) -> String {
    let Some((number, name)) = text.split_once(')') else {
        return text.to_owned();
    };
    let name = name.trim();
    if name.is_empty() {
        return names.get(number).cloned().unwrap_or_default();
    }
    names.insert(number.to_owned(), name.to_owned());
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_added_by_the_file_they_were_written_in() {
        let text = "events: Ir Dr\nfl=(1) /a/nic-model/src/rx/mod.rs\nfn=(1) receive\n10 5 1\n+1 6\nfi=(2) /b/nic-model/src/rx/ring.rs\n\
                    * 7 2\nfe=(1)\n12 1\ncfi=(3) /c/x.rs\ncfn=(4) x\ncalls=1 1\n13 900\n14 2\nfl=(3)\nfn=(4)\n1 900\n";
        let mut files = BTreeMap::new();

        add(text, &mut files);

        assert_eq!(
            files,
            [
                ("/a/nic-model/src/rx/mod.rs".to_owned(), 14.0),
                ("/b/nic-model/src/rx/ring.rs".to_owned(), 7.0),
                ("/c/x.rs".to_owned(), 900.0),
            ]
            .into()
        );
    }

    #[test]
    fn a_profile_tells_the_files_that_take_most_first() {
        let files = [
            ("/x/nic-model/src/a.rs".to_owned(), 1.0),
            ("/y/libc.c".to_owned(), 3.0),
        ];
        let profile = Profile {
            files: files.into(),
        };

        let text = profile.text("rx_60", 4.0);

        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("75.0 %  /y/libc.c"), "{text}");
        assert!(lines[2].ends_with("25.0 %  nic-model/src/a.rs"), "{text}");
    }
}
