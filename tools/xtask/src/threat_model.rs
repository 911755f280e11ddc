//! docs/threat-model.md names the tests that show what it says.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use crate::{binaries, coverage};

    /// Acts of `server/tests/sandbox` have a test each, whose name is made from theirs.
    const ACT: &str = "a_server_cannot_";

    /// Text between backticks in the last column of a table's lines.
    fn named(page: &str) -> BTreeSet<&str> {
        page.lines()
            .filter_map(|line| line.strip_suffix(" |")?.rsplit_once(" | "))
            .flat_map(|(_, last)| last.split('`').skip(1).step_by(2))
            .collect()
    }

    #[test]
    fn every_test_that_the_threat_model_names_is_there() {
        let root = binaries::workspace();
        let page = fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
        let code = coverage::text_of_tests(&root).unwrap();

        let named = named(&page);
        let is_there = |name: &str| match name.strip_prefix(ACT) {
            Some(act) => code.contains(&format!("(\"{}\", |", act.replace('_', " "))),
            None => code.contains(&format!("fn {name}(")),
        };
        let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();

        assert!(named.len() > 50, "{}", named.len());
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn only_the_last_column_names_tests() {
        let page = "| `--flag` | `wire` | `a_test`, `b_test` |\n| a | b | Shown by |\n`text`\n";

        assert_eq!(named(page), BTreeSet::from(["a_test", "b_test"]));
    }
}
