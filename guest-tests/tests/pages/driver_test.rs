//! docs/driver-test.md. The options of `cargo xtask driver-test`, which boots machines, are looked at in xtask.

use anyhow::{Context, Result, ensure};
use guest_tests::page::{Page, Step};

use super::{desk::Desk, guest::Guest};

pub const PAGE: Page = Page::new(
    "docs/driver-test.md",
    include_str!("../../../docs/driver-test.md"),
);
/// What the page begins the calls with that boot a machine.
const XTASK: &str = "cargo xtask driver-test";

pub fn the_tests_are_those_of_the_page(desk: &mut Desk) -> Result<()> {
    let steps = PAGE.below("With a guest of yours")?.steps()?;
    let shown = steps.iter().find_map(|step| match step {
        Step::Shown(shown) if shown.command == XTASK => Some(&shown.screen),
        _ => None,
    });
    let (last, told) = shown
        .and_then(|screen| screen.split_last())
        .context("the page does not show how it goes")?;

    let list = desk.run("driver-test --list")?;

    ensure!(list.lines().count() == told.len(), "{list}");
    for (told, test) in told.iter().zip(list.lines()) {
        let test = format!("  ok    {}", test.trim_end());
        let detail = told.strip_prefix(&test);
        let detail = detail.with_context(|| format!("the page shows '{told}' for '{test}'"))?;
        ensure!(detail.is_empty() || detail.starts_with("  "), "'{told}'");
    }
    ensure!(
        last.starts_with(&format!("{} passed, 0 failed, 0 skipped in ", told.len())),
        "{last}"
    );
    Ok(())
}

pub fn what_is_passed_on_to_the_program_is_understood(desk: &mut Desk) -> Result<()> {
    let calls = PAGE.text().lines().filter(|line| line.contains(XTASK));
    let passed: Vec<&str> = calls
        .filter_map(|line| Some(line.split_once(" -- ")?.1))
        .collect();

    for words in &passed {
        desk.done(&format!("driver-test {words} --list"))?;
    }

    ensure!(passed.len() > 2, "{passed:?}");
    Ok(())
}

pub fn a_guest_that_runs_is_tested(desk: &mut Desk) -> Result<()> {
    desk.follow(PAGE.below("With a VM that runs")?)?;
    let guest = Guest::boot(&desk.socket(), &desk.control(), false)?;

    desk.follow(PAGE.below("In CI")?)?;

    guest.shut_down()?;
    desk.stop_server()
}
