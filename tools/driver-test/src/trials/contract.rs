//! What the server's driver checker has found in all of it.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use control::Severity;

use crate::{Outcome, Station, Wish};

pub(super) fn findings(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let Some(findings) = station.cable.findings()? else {
        return Ok(Outcome::Skipped(
            "the server has no checker; start it with --check report".to_owned(),
        ));
    };
    let (errors, warnings): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|finding| finding.severity == Severity::Error);
    if !errors.is_empty() {
        let reports: Vec<&str> = errors.iter().map(|finding| &*finding.report).collect();
        bail!("{} breaches\n{}", errors.len(), reports.join("\n"));
    }
    let rules: BTreeSet<&str> = warnings.iter().map(|finding| &*finding.rule).collect();
    Ok(Outcome::Passed(if rules.is_empty() {
        "no breach".to_owned()
    } else {
        format!(
            "no breach; warnings: {}",
            rules.into_iter().collect::<Vec<_>>().join(", ")
        )
    }))
}
