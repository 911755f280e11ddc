//! The pages of docs/, as tests follow them: the commands that stand there, and what they are said to show.

use anyhow::{Context, Result, bail};

/// A line of a [`Shown`] that stands for any number of lines.
const ANYTHING: &str = "…";

/// Before and behind a block.
const FENCE: &str = "```";

/// A page, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    name: &'static str,
    text: &'static str,
}

/// Commands that a person types on one of several hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where: what follows `# on` in the block's first line.
    pub host: String,
    /// One command a line.
    pub commands: Vec<String>,
}

/// A step of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command of which the page does not say what it shows (a line of a block `sh`).
    Command(String),
    /// One of which it does (a line with `$` in a block `console`, and what follows).
    Shown(Shown),
}

/// What a person types, and what is on the screen then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The command.
    pub command: String,
    /// Lines; one of `…` stands for any number of them.
    pub screen: Vec<String>,
}

/// A block of a page between fences.
struct Fenced {
    /// What stands behind the opening fence.
    language: &'static str,
    lines: Vec<&'static str>,
}

impl Page {
    /// A page with this path and text.
    #[must_use]
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text }
    }

    /// Its text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.text
    }

    /// Calls of a program that the text names between the blocks.
    #[must_use]
    pub fn named(self, program: &str) -> Vec<String> {
        let mut in_block = false;
        let lines = self.text.lines().filter(|line| {
            let is_fence = line.trim_start().starts_with(FENCE);
            in_block ^= is_fence;
            !in_block && !is_fence
        });
        let text = lines.collect::<Vec<_>>().join(" ");
        let spans = text.split('`').skip(1).step_by(2);
        let calls =
            spans.filter(|span| span.split(' ').next() == Some(program) && *span != program);
        calls.map(str::to_owned).collect()
    }

    /// The part between a heading and the next one, whatever its level.
    ///
    /// # Errors
    /// The page has no such heading.
    pub fn below(self, heading: &str) -> Result<Self> {
        let name = self.name;
        let mut at = 0;
        let mut start = None;
        for line in self.text.split_inclusive('\n') {
            if line.starts_with("##") {
                if let Some(start) = start {
                    let text = self.text.get(start..at).unwrap_or_default();
                    return Ok(Self { name, text });
                }
                if line.trim_start_matches('#').trim() == heading {
                    start = Some(at + line.len());
                }
            }
            at += line.len();
        }
        let start = start.with_context(|| format!("{name} has no heading '{heading}'"))?;
        let text = self.text.get(start..).unwrap_or_default();
        Ok(Self { name, text })
    }

    /// The blocks `sh`, each of which tells by `# on` in its first line on which host it is typed.
    ///
    /// # Errors
    /// There is none, or one does not tell.
    pub fn blocks(self) -> Result<Vec<Block>> {
        let fenced = self.fenced().into_iter();
        let blocks = fenced.filter(|block| block.language == "sh").map(|block| {
            let (first, commands) = block.lines.split_first().unwrap_or((&"", &[]));
            let host = first.strip_prefix("# on ");
            let host =
                host.with_context(|| format!("a block of {} does not tell where", self.name))?;
            Ok(Block {
                host: host.to_owned(),
                commands: commands.iter().copied().map(str::to_owned).collect(),
            })
        });
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        if blocks.is_empty() {
            bail!("no commands in this part of {}: {}", self.name, self.text);
        }
        Ok(blocks)
    }

    /// The commands of the blocks `sh` and `console`, from top to bottom. What stands behind `  #` is for people.
    ///
    /// # Errors
    /// There is none, or a block `console` does not begin with a command.
    pub fn steps(self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for block in self.fenced() {
            match block.language {
                "sh" => {
                    let lines = block.lines.iter().map(|line| without_remark(line));
                    steps.extend(lines.map(|line| Step::Command(line.to_owned())));
                }
                "console" => steps.extend(shown(&block)?.into_iter().map(Step::Shown)),
                _ => {}
            }
        }
        if steps.is_empty() {
            bail!("no commands in this part of {}: {}", self.name, self.text);
        }
        Ok(steps)
    }

    /// The blocks, without the blanks by which all of a block is indented.
    fn fenced(self) -> Vec<Fenced> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix(FENCE) else {
                continue;
            };
            let indent = line.len() - line.trim_start().len();
            let inside = lines.by_ref().take_while(|line| line.trim() != FENCE);
            let inside = inside.map(|line| line.get(indent..).unwrap_or_default());
            blocks.push(Fenced {
                language,
                lines: inside.collect(),
            });
        }
        blocks
    }
}

fn without_remark(line: &str) -> &str {
    line.split_once("  #")
        .map_or(line, |(command, _)| command)
        .trim_end()
}

fn shown(block: &Fenced) -> Result<Vec<Shown>> {
    let mut all: Vec<Shown> = Vec::new();
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.to_owned();
            let screen = Vec::new();
            all.push(Shown { command, screen });
        } else {
            let last = all.last_mut();
            let last = last.with_context(|| format!("'{line}' stands behind no command"))?;
            last.screen.push((*line).to_owned());
        }
    }
    Ok(all)
}

impl Shown {
    /// Whether this is what the page shows, but for numbers, addresses and the width of columns.
    ///
    /// # Errors
    /// It is something else; the error has both.
    pub fn compare(&self, screen: &str) -> Result<()> {
        let shapes =
            |lines: &mut dyn Iterator<Item = &str>| -> Vec<String> { lines.map(shape).collect() };
        let page = shapes(&mut self.screen.iter().map(String::as_str));
        let real = shapes(&mut screen.lines());
        if is_like(&page, &real) {
            return Ok(());
        }
        bail!(
            "the page shows for `{}`\n{}\nbut it is\n{screen}",
            self.command,
            self.screen.join("\n")
        )
    }
}

fn is_like(page: &[String], real: &[String]) -> bool {
    match page.split_first() {
        None => real.is_empty(),
        Some((line, rest)) if line.trim() == ANYTHING => {
            (0..=real.len()).any(|skipped| is_like(rest, real.get(skipped..).unwrap_or_default()))
        }
        Some((line, rest)) => real
            .split_first()
            .is_some_and(|(first, others)| first == line && is_like(rest, others)),
    }
}

/// A line without what differs from run to run.
fn shape(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let words = line.split_whitespace().map(without_numbers);
    " ".repeat(indent) + &words.collect::<Vec<_>>().join(" ")
}

/// Each number of a word becomes `#`: digits with points between them, `0x` and hex digits, a MAC address. Digits behind a
/// letter belong to a name.
fn without_numbers(word: &str) -> String {
    let is_pair =
        |part: &str| part.len() == 2 && part.chars().all(|digit| digit.is_ascii_hexdigit());
    let bare = word.trim_end_matches(',');
    if bare.split(':').count() == 6 && bare.split(':').all(is_pair) {
        return format!("#{}", word.get(bare.len()..).unwrap_or_default());
    }
    let mut shape = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let is_name = shape.ends_with(|last: char| last.is_ascii_alphanumeric());
        let len = if !first.is_ascii_digit() || is_name {
            shape.push(first);
            // What follows in a name stays, too.
            first.len_utf8()
        } else {
            shape.push('#');
            number(rest)
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    shape
}

/// How long the number is that a text begins with.
fn number(text: &str) -> usize {
    let end = |text: &str, is_in: fn(char) -> bool| {
        text.find(|character| !is_in(character))
            .unwrap_or(text.len())
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return 2 + end(digits, |digit| digit.is_ascii_hexdigit());
    }
    let len = end(text, |digit| digit.is_ascii_digit() || digit == '.');
    text.get(..len)
        .unwrap_or_default()
        .trim_end_matches('.')
        .len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Page = Page::new(
        "docs/page.md",
        "# A page\n\n## One\n\n- a point\n\n  ```console\n  $ count sheep\n  sheep 1: 12.5 kg\n    at 0x1f\n  $ true\n  ```\n\n\
         ```text\nnothing\n```\n\n### Two\n\n```sh\n# on a host\ndo it  # at once\n```\n",
    );

    fn sheep(screen: &[&str]) -> Shown {
        Shown {
            command: "count sheep".to_owned(),
            screen: screen.iter().copied().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn a_part_has_its_commands_with_what_they_show() {
        let steps = PAGE.below("One").unwrap().steps().unwrap();

        let truth = Shown {
            command: "true".to_owned(),
            screen: Vec::new(),
        };
        let counted = sheep(&["sheep 1: 12.5 kg", "  at 0x1f"]);
        assert_eq!(steps, [Step::Shown(counted), Step::Shown(truth)]);
    }

    #[test]
    fn a_block_tells_where_it_is_typed() {
        let blocks = PAGE.below("Two").unwrap().blocks().unwrap();

        let block = Block {
            host: "a host".to_owned(),
            commands: vec!["do it  # at once".to_owned()],
        };
        assert_eq!(blocks, [block]);
    }

    #[test]
    fn a_remark_is_not_typed() {
        assert_eq!(without_remark("do it  # at once"), "do it");
    }

    #[test]
    fn a_call_that_the_text_names_is_found_and_one_in_a_block_is_not() {
        let page = Page::new(
            "docs/page.md",
            "`count` and `count\nsheep`:\n```sh\n`count goats`\n```\n",
        );

        assert_eq!(page.named("count"), ["count sheep"]);
    }

    #[test]
    fn a_heading_that_is_not_there_and_a_part_without_commands_are_errors() {
        assert!(PAGE.below("Three").is_err());
        assert!(Page::new("docs/page.md", "nothing").steps().is_err());
    }

    #[test]
    fn numbers_addresses_and_columns_may_differ() {
        let page = sheep(&["sheep  1: 12.5 kg at 0x1f", "of 02:82:59:3f:d1:61, ok"]);

        page.compare("sheep 17: 9 kg at 0xffe0\nof 52:54:00:12:34:56, ok\n")
            .unwrap();
    }

    #[test]
    fn words_names_and_missing_lines_may_not() {
        let page = sheep(&["rar0: 1 sheep", "done"]);

        assert!(page.compare("rar0: 1 goat\ndone\n").is_err());
        assert!(page.compare("rar1: 1 sheep\ndone\n").is_err());
        assert!(page.compare("rar0: 1 sheep\n").is_err());
        assert!(page.compare("rar0: 1 sheep\ndone\nand more\n").is_err());
        assert!(page.compare("rar0: sheep\ndone\n").is_err());
    }

    #[test]
    fn dots_stand_for_any_number_of_lines() {
        let page = sheep(&["one", "…", "end"]);

        page.compare("one\nend\n").unwrap();
        page.compare("one\na\nb\nend\n").unwrap();
        assert!(page.compare("one\na\n").is_err());
        assert!(page.compare("a\none\nend\n").is_err());
    }
}
