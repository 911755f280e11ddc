//! `ixgbectl regs`.

mod fields;

use std::{collections::BTreeMap, fmt::Write, fs, thread, time::Duration};

use anyhow::{Context, bail};
use control::{Client, RegisterValue};
use ixgbe_spec::register::{Chapter, Reg};
use serde::{Deserialize, Serialize};

use crate::{cli::RegsArguments, output::Output};

/// Registers of one question: more would not fit a message.
const AT_ONCE: usize = 4096;

/// What is shown of a register.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    value: RegisterValue,
    chapter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u32>,
    fields: Vec<ShownField>,
}

#[derive(Serialize)]
struct ShownField {
    name: String,
    bits: String,
    value: u32,
}

#[derive(Serialize)]
struct AllShown {
    registers: Vec<Shown>,
}

/// What is kept of a look for the next one.
#[derive(Default, Deserialize, Serialize)]
struct Look {
    values: BTreeMap<u32, u32>,
}

pub(crate) fn run(
    client: &mut Client,
    arguments: &RegsArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let chosen = choice(&arguments.names, arguments.chapter.as_deref())?;
    let mut before = match &arguments.since {
        Some(path) if path.exists() => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let look: Look = serde_json::from_str(&text)
                .with_context(|| format!("{} was not written by --since", path.display()))?;
            Some(look)
        }
        _ => None,
    };
    let mut rounds = arguments.rounds.unwrap_or(u32::MAX);
    loop {
        let values = values(client, &chosen)?;
        let look = Look {
            values: values
                .iter()
                .map(|register| (register.offset, register.value))
                .collect(),
        };
        let shown = shown(values, before.as_ref(), arguments.nonzero);
        let first = before.is_none() || arguments.watch.is_none();
        if first || !shown.is_empty() {
            let all = AllShown { registers: shown };
            output.print(&all, || table(&all.registers))?;
        }
        if let Some(path) = &arguments.since {
            fs::write(path, serde_json::to_string(&look)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let Some(apart) = arguments.watch else {
            return Ok(());
        };
        before = Some(look);
        rounds = rounds.saturating_sub(1);
        if rounds == 0 {
            return Ok(());
        }
        thread::sleep(apart.clamp(Duration::from_millis(10), Duration::from_secs(86_400)));
    }
}

/// The values of registers, as they stand.
pub(crate) fn values(client: &mut Client, registers: &[Reg]) -> anyhow::Result<Vec<RegisterValue>> {
    let mut all = Vec::new();
    let mut names = Vec::new();
    let mut elements = 0;
    for reg in registers {
        if elements + reg.count() > AT_ONCE && !names.is_empty() {
            all.extend(client.registers(&names)?);
            names.clear();
            elements = 0;
        }
        names.push(reg.row().name);
        elements += reg.count();
    }
    if !names.is_empty() {
        all.extend(client.registers(&names)?);
    }
    Ok(all)
}

/// The registers that patterns and a chapter choose; without both, all of them.
pub(crate) fn choice(patterns: &[String], chapter: Option<&str>) -> anyhow::Result<Vec<Reg>> {
    let all = Reg::ALL.iter().copied();
    let by_chapter: Vec<Reg> = match chapter {
        None => all.collect(),
        Some(name) => all
            .filter(|reg| chapter_name(reg.row().chapter).eq_ignore_ascii_case(name))
            .collect(),
    };
    if by_chapter.is_empty() {
        let mut names: Vec<String> = Reg::ALL
            .iter()
            .map(|reg| chapter_name(reg.row().chapter))
            .collect();
        names.sort();
        names.dedup();
        bail!(
            "there is no chapter {}; there are {}",
            chapter.unwrap_or(""),
            names.join(", ")
        );
    }
    for pattern in patterns {
        if !by_chapter
            .iter()
            .any(|reg| matches(pattern, reg.row().name))
        {
            bail!(
                "no register is called {pattern}; `ixgbectl regs` lists them, and * stands for anything"
            );
        }
    }
    Ok(by_chapter
        .into_iter()
        .filter(|reg| {
            let name = reg.row().name;
            patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name))
        })
        .collect())
}

fn chapter_name(chapter: Chapter) -> String {
    format!("{chapter:?}").to_lowercase()
}

/// Whether a name fits a pattern in which `*` stands for any text and `?` for any character. Case does not matter.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows a star does not fit.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                n += 1;
            }
            Some(byte) if byte.eq_ignore_ascii_case(&name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((after, at)) => {
                    star = Some((after, at + 1));
                    p = after;
                    n = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn shown(values: Vec<RegisterValue>, before: Option<&Look>, nonzero: bool) -> Vec<Shown> {
    values
        .into_iter()
        .filter_map(|value| {
            let old = before
                .and_then(|look| look.values.get(&value.offset))
                .copied();
            let changed = old != Some(value.value);
            if before.is_some() && !changed || nonzero && value.value == 0 {
                return None;
            }
            let (reg, _) = Reg::decode(value.offset)?;
            let row = reg.row();
            let fields = fields::of(row.doc)
                .into_iter()
                .map(|field| ShownField {
                    value: field.of(value.value),
                    bits: field.place(),
                    name: field.name,
                })
                .collect();
            Some(Shown {
                chapter: chapter_name(row.chapter),
                before: old,
                fields,
                value,
            })
        })
        .collect()
}

fn table(registers: &[Shown]) -> String {
    let mut text = String::new();
    let mut chapter = "";
    for shown in registers {
        if shown.chapter != chapter {
            chapter = &shown.chapter;
            // Writing to a string does not fail.
            let _ = writeln!(text, "{chapter}");
        }
        let RegisterValue {
            name,
            index,
            offset,
            value,
        } = &shown.value;
        let several = Reg::decode(*offset).is_some_and(|(reg, _)| reg.count() > 1);
        let name = if several {
            format!("{name}[{index}]")
        } else {
            name.clone()
        };
        let change = shown
            .before
            .map_or_else(String::new, |old| format!("  was {old:#010x}"));
        let fields: Vec<String> = shown
            .fields
            .iter()
            .filter(|field| field.value != 0)
            .map(|field| format!("{} = {:#x}", field.name, field.value))
            .collect();
        let fields = if fields.is_empty() {
            String::new()
        } else {
            format!("  {}", fields.join(", "))
        };
        let _ = writeln!(
            text,
            "  {offset:#07x}  {name:<16}  {value:#010x}{change}{fields}"
        );
    }
    if text.is_empty() {
        text.push_str("nothing to show\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("RD*", "RDBAL"));
        assert!(matches("*dt", "RDT"));
        assert!(matches("R?T", "RDT"));
        assert!(matches("*D*L", "RXDCTL"));
        assert!(!matches("RD", "RDT"));
        assert!(!matches("*X", "RDT"));
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_told() {
        let error = choice(&["RDQ".to_owned()], None).unwrap_err();

        assert!(error.to_string().starts_with("no register is called RDQ"));
    }

    #[test]
    fn only_what_has_changed_is_shown_after_the_first_look() {
        let value = |offset, value| RegisterValue {
            name: "CTRL".to_owned(),
            index: 0,
            offset,
            value,
        };
        let look = Look {
            values: [(0, 4), (8, 0x80)].into(),
        };

        let shown = shown(vec![value(0, 4), value(8, 0)], Some(&look), false);

        assert_eq!(shown.len(), 1);
        assert_eq!((shown[0].value.offset, shown[0].before), (8, Some(0x80)));
    }
}
