//! `docs/datasheet-coverage.md`: each register, what becomes of it here, and the tests that use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ixgbe_spec::descriptor::field::{FIELDS, Field, Format, State};
use ixgbe_spec::register::{Access, Block, Chapter, Coverage, Gap, Reg};

/// The page, from the project's root.
pub const PAGE: &str = "docs/datasheet-coverage.md";

/// Most tests that are named for one register.
const NAMED: usize = 3;

/// Folders with the project's code.
const CODE: [&str; 4] = ["nic-model", "server", "tools", "guest-tests"];

/// Writes the page.
pub fn write(root: &Path) -> Result<()> {
    let path = root.join(PAGE);
    fs::write(&path, page(&Tests::find(root)?)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The page's text.
fn page(tests: &Tests) -> Result<String> {
    let mut chapters: BTreeMap<Chapter, Vec<Reg>> = BTreeMap::new();
    for reg in Reg::ALL {
        chapters.entry(reg.row().chapter).or_default().push(*reg);
    }
    let [works, stored, missing] = count(Reg::ALL);
    let mut page = format!(
        "# What of the datasheet is there\n\n\
         Made by `cargo xtask coverage` from the register table; the tests check that it is fresh.\n\n\
         - *works*: it does what the datasheet says. The last column names files of tests that use the register; \
         scenarios, qtest and the guests' drivers use more without naming them.\n\
         - *stored*: it holds what is written, and that is all that a driver can notice; why.\n\
         - *missing*: it holds what is written; on the card more would follow.\n\n\
         Of {} registers {works} work, {stored} are stored, {missing} are missing. Descriptor fields are at the end.\n\n\
         `vfio-user-ixgbe --log debug` tells of each register that a driver touches and that does not work, once.\n",
        Reg::ALL.len()
    );
    for (chapter, regs) in chapters {
        let [works, stored, missing] = count(&regs);
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "\n## {chapter:?}\n\n{works} work, {stored} stored, {missing} missing.\n\n\
             | Register | Offset | Access | State | Why, or tests |\n|---|---|---|---|---|\n"
        );
        for reg in regs {
            page.push_str(&line(reg, tests.by_register.get(reg.row().name)));
        }
    }
    page.push_str(
        "\n## Fields of descriptors\n\n\
         Bits count from the lowest of 128. A field that works is named with the test that shows it.\n",
    );
    let mut format = None;
    for field in FIELDS {
        if format.replace(field.format) != Some(field.format) {
            let _ = write!(
                page,
                "\n### {}\n\n| Field | Bits | State | Why, or test |\n|---|---|---|---|\n",
                title(field.format)
            );
        }
        page.push_str(&field_line(field, tests)?);
    }
    Ok(page)
}

fn title(format: Format) -> &'static str {
    match format {
        Format::LegacyReceive => "Legacy receive (7.1.5)",
        Format::AdvancedReceiveRead => "Advanced receive, read (7.1.6.1)",
        Format::AdvancedReceiveWriteBack => "Advanced receive, written back (7.1.6.2)",
        Format::LegacyTransmit => "Legacy transmit (7.2.3.2.2)",
        Format::TransmitContext => "Advanced transmit context (7.2.3.2.3)",
        Format::TransmitData => "Advanced transmit data (7.2.3.2.4)",
    }
}

fn field_line(field: &Field, tests: &Tests) -> Result<String> {
    let (state, why) = match field.state {
        State::Works(test) => {
            let file = tests.by_name.get(test);
            let file = file
                .with_context(|| format!("there is no test {test}, which {} names", field.name))?;
            ("works", format!("`{test}` in `{file}`"))
        }
        State::Not(Gap::Enough(why)) => ("stored", why.to_owned()),
        State::Not(Gap::Missing(what)) => ("missing", what.to_owned()),
    };
    let bits = if field.first == field.last {
        field.first.to_string()
    } else {
        format!("{}:{}", field.last, field.first)
    };
    Ok(format!("| {} | {bits} | {state} | {why} |\n", field.name))
}

/// How many work, are stored, are missing.
fn count(regs: &[Reg]) -> [usize; 3] {
    let mut count = [0; 3];
    for reg in regs {
        let place = match reg.gap() {
            None => 0,
            Some(Gap::Enough(_)) => 1,
            Some(Gap::Missing(_)) => 2,
        };
        count[place] += 1;
    }
    count
}

fn line(reg: Reg, tests: Option<&BTreeSet<String>>) -> String {
    let row = reg.row();
    let places: Vec<String> = row.at.iter().map(place).collect();
    let (state, why) = match (row.coverage, reg.gap()) {
        (Coverage::Works, _) | (_, None) => ("works", shown_by(tests)),
        (_, Some(Gap::Enough(why))) => ("stored", why.to_owned()),
        (_, Some(Gap::Missing(what))) => ("missing", what.to_owned()),
    };
    format!(
        "| {} | {} | {} | {state} | {why} |\n",
        row.name,
        places.join(", "),
        access(row.access)
    )
}

fn place(block: &Block) -> String {
    let Block {
        offset,
        stride,
        count,
    } = *block;
    match count {
        1 => format!("{offset:#07x}"),
        _ => format!("{offset:#07x} + {stride:#x} × {count}"),
    }
}

fn access(access: Access) -> &'static str {
    match access {
        Access::ReadWrite => "RW",
        Access::ReadOnly => "RO",
        Access::ReadClear => "RC",
        Access::WriteOneToClear => "RW1C",
        Access::WriteOneToSet => "RW1S",
        Access::Effect => "by its chapter",
    }
}

fn shown_by(tests: Option<&BTreeSet<String>>) -> String {
    let Some(tests) = tests else {
        return String::new();
    };
    let mut named: Vec<String> = tests
        .iter()
        .take(NAMED)
        .map(|path| format!("`{path}`"))
        .collect();
    if tests.len() > NAMED {
        // Not how many: the page would be stale after each new test.
        named.push("more".to_owned());
    }
    named.join(", ")
}

/// The project's tests.
#[derive(Debug, Default)]
struct Tests {
    /// For each register's name the files in which tests use it.
    by_register: BTreeMap<String, BTreeSet<String>>,
    /// For each test's name its file.
    by_name: BTreeMap<String, String>,
}

impl Tests {
    fn find(root: &Path) -> Result<Self> {
        let mut found = Self::default();
        for folder in CODE {
            for path in rust_files(&root.join(folder))? {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path);
                let text = tests_in(path, &text);
                let path = path.display().to_string();
                for name in registers_in(text) {
                    let files = found.by_register.entry(name.to_owned()).or_default();
                    files.insert(path.clone());
                }
                for name in names_in(text) {
                    found.by_name.insert(name.to_owned(), path.clone());
                }
            }
        }
        Ok(found)
    }
}

/// All code that is tests.
#[cfg(test)]
pub fn text_of_tests(root: &Path) -> Result<String> {
    let mut all = String::new();
    for folder in CODE {
        for path in rust_files(&root.join(folder))? {
            let text = fs::read_to_string(&path)?;
            all.push_str(tests_in(path.strip_prefix(root).unwrap_or(&path), &text));
        }
    }
    Ok(all)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// The part of a file that is tests.
fn tests_in<'t>(path: &Path, text: &'t str) -> &'t str {
    let is_tests = path.components().any(|part| {
        let part = part.as_os_str();
        part == "tests" || part == "tests.rs" || part == "guest-tests"
    });
    if is_tests {
        text
    } else {
        text.find("#[cfg(test)]\nmod tests {")
            .and_then(|start| text.get(start..))
            .unwrap_or_default()
    }
}

/// Names of the functions in `text` that are tests.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]").skip(1).filter_map(|rest| {
        let (_, rest) = rest.split_once("fn ")?;
        Some(rest.split_once('(')?.0)
    })
}

/// What follows `Reg::` in `text`.
fn registers_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("Reg::").skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().unwrap();

        let written = fs::read_to_string(root.join(PAGE)).unwrap();

        let made = page(&Tests::find(&root).unwrap()).unwrap();
        assert!(written == made, "{PAGE} is stale: run cargo xtask coverage");
    }

    #[test]
    fn names_of_registers_end_where_rust_names_end() {
        let text = "let a = Reg::EITR.offset(1); Reg::FDIRHKEY, [Reg::CTRL]";
        let names: Vec<&str> = registers_in(text).collect();
        assert_eq!(names, ["EITR", "FDIRHKEY", "CTRL"]);
    }

    #[test]
    fn code_that_is_no_test_shows_nothing() {
        let text = "Reg::CTRL\n#[cfg(test)]\nmod tests {\nReg::STATUS\n}";
        let names: Vec<&str> = registers_in(tests_in(Path::new("a/b.rs"), text)).collect();
        assert_eq!(names, ["STATUS"]);
    }
}
