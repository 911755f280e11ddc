//! Calls of ixgbectl that stand in the text of pages.

use anyhow::{Result, ensure};
use guest_tests::page::Page;

use super::{desk::Desk, dma_bug, driver_test, packet_lost, reproduce};

/// The driver checker's page has no task of its own.
const CHECKER: Page = Page::new(
    "docs/driver-checker.md",
    include_str!("../../../docs/driver-checker.md"),
);

pub fn calls_that_the_text_names_are_understood(desk: &mut Desk) -> Result<()> {
    let pages = [
        CHECKER,
        dma_bug::PAGE,
        driver_test::PAGE,
        packet_lost::PAGE,
        reproduce::PAGE,
    ];
    let calls = pages.iter().flat_map(|page| page.named("ixgbectl"));
    let calls: Vec<String> = calls.collect();

    for call in &calls {
        // What is wrong in the words before it is told first.
        desk.done(&format!("{call} --help"))?;
    }

    ensure!(calls.len() > 5, "{calls:?}");
    Ok(())
}
