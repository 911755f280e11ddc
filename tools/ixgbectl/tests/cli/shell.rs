//! Completions and manual pages.

use std::{fs, path::Path};

use crate::{ixgbectl, stdout};

/// A path at which nobody listens: no server is asked.
const NOBODY: &str = "/nonexistent.control";

#[test]
fn completions_of_each_shell_know_the_commands() {
    let text = |shell: &str| {
        let output = ixgbectl(Path::new(NOBODY), &["completions", shell])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        stdout(&output).to_owned()
    };

    let texts = ["bash", "zsh", "fish"].map(text);

    let knows = |text: &String| {
        ["inject", "expect", "capture", "fault", "top"]
            .iter()
            .all(|name| text.contains(name))
    };
    assert!(texts.iter().all(knows));
    assert!(texts[0].contains("complete -F _ixgbectl"));
    assert!(texts[1].starts_with("#compdef ixgbectl"));
    assert!(texts[2].contains("complete -c ixgbectl"));
}

#[test]
fn there_is_a_manual_page_for_each_command_with_its_flags() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("man1");

    let output = ixgbectl(Path::new(NOBODY), &["man", folder.to_str().unwrap()])
        .output()
        .unwrap();

    assert!(
        stdout(&output).ends_with(&format!("pages written to {}\n", folder.display())),
        "{output:?}"
    );
    let page = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(page("ixgbectl.1").contains(".TH ixgbectl 1"));
    assert!(page("ixgbectl.1").contains("EXIT CODE"));
    assert!(page("ixgbectl-inject.1").contains("\\-\\-rate"));
    assert!(page("ixgbectl-capture.1").contains("tcpdump"));
    assert!(page("ixgbectl-top.1").contains("\\-\\-iterations"));
}
