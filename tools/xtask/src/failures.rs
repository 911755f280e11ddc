//! What of the tests' output tells why tests failed, to be said again at the end.

/// Most lines that are kept of one failure: a message can hold whole packets.
const LINES: usize = 60;
/// Most characters that are kept of one line.
const WIDTH: usize = 400;

/// A test that failed, and what it said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub name: String,
    /// What it said, line by line.
    pub lines: Vec<String>,
}

impl Failure {
    /// What it said, without the middle of what is long.
    fn shortened(&self) -> Vec<String> {
        let cut = |line: &String| match line.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{} [...]", line.get(..end).unwrap_or_default()),
            None => line.clone(),
        };
        let lines: Vec<String> = self.lines.iter().map(cut).collect();
        let left_out = lines.len().saturating_sub(LINES);
        if left_out == 0 {
            return lines;
        }
        let head = lines.get(..LINES / 2).unwrap_or_default();
        let tail = lines.get(LINES / 2 + left_out..).unwrap_or_default();
        [head, &[format!("[{left_out} lines]")], tail].concat()
    }

    /// Prints it.
    pub fn print(&self) {
        println!("\n---- {} ----", self.name);
        for line in self.shortened() {
            println!("{line}");
        }
    }
}

/// Reads what test programs print, line by line, and keeps what they say of failures: after a line `failures:` a block
/// for each test, which begins with `---- NAME ----` or `---- NAME stdout ----`; then `failures:` again and a list of
/// names; then the result.
#[derive(Debug, Default)]
pub struct Reader {
    inside: Inside,
    failures: Vec<Failure>,
}

/// Where in a program's output the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    /// Before the failures.
    #[default]
    Tests,
    /// After the word, before a block.
    Failures,
    /// In the block that was begun last. What a test repeats of a run of its own looks like another section.
    Block,
}

impl Reader {
    /// The next line.
    pub fn line(&mut self, line: &str) {
        let block = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" ----"));
        if line.starts_with("test result: ") {
            self.inside = Inside::Tests;
        } else if line == "failures:" {
            self.inside = Inside::Failures;
        } else if self.inside == Inside::Tests {
            // Nothing to keep.
        } else if let Some(name) = block {
            self.inside = Inside::Block;
            let name = name.strip_suffix(" stdout").unwrap_or(name).to_owned();
            let lines = Vec::new();
            self.failures.push(Failure { name, lines });
        } else if self.inside == Inside::Block
            && let Some(failure) = self.failures.last_mut()
        {
            failure.lines.push(line.to_owned());
        }
    }

    /// All failures so far.
    pub fn into_failures(mut self) -> Vec<Failure> {
        for failure in &mut self.failures {
            while failure.lines.last().is_some_and(String::is_empty) {
                failure.lines.pop();
            }
        }
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Failure> {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.into_failures()
    }

    fn failure(name: &str, lines: &[&str]) -> Failure {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        let name = name.to_owned();
        Failure { name, lines }
    }

    #[test]
    fn messages_of_both_kinds_of_test_programs_are_read() {
        let text = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nthread 'a' panicked\n\nmore\n\n\n\
                    failures:\n    a\n\ntest result: FAILED. 0 passed; 1 failed;\n\n\
                    failures:\n\n---- b::c ----\nbecause\n\n---- d ----\nwhy\n\n\nfailures:\n    b::c\n    d\n\n\
                    test result: FAILED. 0 passed; 2 failed;\n";

        let expected = [
            failure("a", &["thread 'a' panicked", "", "more"]),
            failure("b::c", &["because"]),
            failure("d", &["why"]),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn of_a_long_message_beginning_and_end_are_kept() {
        let lines: Vec<String> = (0..100).map(|line| format!("{line}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();

        let shortened = failure("a", &lines).shortened();

        assert_eq!(shortened.len(), LINES + 1);
        assert_eq!(shortened.get(29..32).unwrap(), ["29", "[40 lines]", "70"]);
        assert_eq!(shortened.last().unwrap(), "99");
    }

    #[test]
    fn a_long_line_is_cut() {
        let shortened = failure("a", &[&"ä".repeat(WIDTH + 1)]).shortened();

        assert_eq!(shortened, [format!("{} [...]", "ä".repeat(WIDTH))]);
    }
}
