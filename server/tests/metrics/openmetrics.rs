//! A strict reader of OpenMetrics text, by the specification's grammar (openmetrics.io, version 1.0.0): what it does not
//! know it refuses.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of a sample, by name.
pub type Labels = BTreeMap<String, String>;

/// A family of metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// counter, gauge or info.
    pub kind: String,
    /// Its unit, or nothing.
    pub unit: String,
    /// Whether it has a line of help.
    pub has_help: bool,
    /// Value of each sample by its labels.
    pub samples: BTreeMap<Labels, u64>,
}

/// All families by name, or the first line that is wrong and why.
pub fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let body = text
        .strip_suffix("# EOF\n")
        .ok_or("the text does not end with # EOF")?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.split_terminator('\n') {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let value = words.next().ok_or_else(|| wrong("no value"))?;
            if !is_name(name, true) {
                return Err(wrong("no name of a metric"));
            }
            if name != current {
                if families.contains_key(name) {
                    return Err(wrong("a family in two places"));
                }
                name.clone_into(&mut current);
            }
            let family = families.entry(name.to_owned()).or_default();
            if !family.samples.is_empty() {
                return Err(wrong("a description behind samples"));
            }
            match keyword {
                "HELP" if !family.has_help => family.has_help = true,
                "TYPE" if family.kind.is_empty() => match value {
                    "counter" | "gauge" | "info" => value.clone_into(&mut family.kind),
                    _ => return Err(wrong("no type")),
                },
                "UNIT" if family.unit.is_empty() => {
                    if !name.ends_with(&format!("_{value}")) {
                        return Err(wrong("a unit that the name does not end with"));
                    }
                    value.clone_into(&mut family.unit);
                }
                _ => return Err(wrong("a descriptor that is unknown or there twice")),
            }
            continue;
        }
        let (name, labels, value) = sample(line).map_err(|why| wrong(&why))?;
        let family = families
            .get_mut(&current)
            .ok_or_else(|| wrong("a sample without a family"))?;
        let suffix = match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            "gauge" => "",
            _ => return Err(wrong("a sample without a type")),
        };
        if name != format!("{current}{suffix}") {
            return Err(wrong("a sample of another family"));
        }
        if family.kind == "info" && value != 1 {
            return Err(wrong("an info that is not 1"));
        }
        if family.samples.insert(labels, value).is_some() {
            return Err(wrong("a sample that is there twice"));
        }
    }
    clashes(&families)?;
    Ok(families)
}

/// No family may have the name that a sample of another has.
fn clashes(families: &BTreeMap<String, Family>) -> Result<(), String> {
    let names: BTreeSet<String> = families
        .keys()
        .flat_map(|name| ["_total", "_info", "_created"].map(|suffix| format!("{name}{suffix}")))
        .collect();
    match families.keys().find(|name| names.contains(*name)) {
        Some(name) => Err(format!("two meanings of {name}")),
        None => Ok(()),
    }
}

/// Name, labels and value of a sample.
fn sample(line: &str) -> Result<(String, Labels, u64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err("no name".to_owned());
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or("no blank before the value")?;
    let value = value.parse().map_err(|_| "no whole number")?;
    Ok((name.to_owned(), labels, value))
}

/// Labels up to the closing brace, and what is behind it.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        let (name, behind) = rest.split_once("=\"").ok_or("no value of a label")?;
        if !is_name(name, false) {
            return Err(format!("no name of a label: {name}"));
        }
        let mut value = String::new();
        let mut letters = behind.chars();
        loop {
            match letters.next().ok_or("a label without end")? {
                '"' => break,
                '\\' => value.push(match letters.next() {
                    Some('\\') => '\\',
                    Some('"') => '"',
                    Some('n') => '\n',
                    _ => return Err("an unknown escape".to_owned()),
                }),
                letter => value.push(letter),
            }
        }
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} twice"));
        }
        rest = letters.as_str();
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok((labels, behind));
        }
        rest = rest.strip_prefix(',').ok_or("no comma between labels")?;
    }
}

fn is_name(name: &str, colons: bool) -> bool {
    let first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let may = |letter: char| first(letter) || letter.is_ascii_digit() || colons && letter == ':';
    name.starts_with(|letter| first(letter) || colons && letter == ':') && name.chars().all(may)
}
