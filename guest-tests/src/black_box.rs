//! The trials of `driver-test` against a guest of these tests.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Result, ensure};
use driver_test::{Addresses, Outcome, Station, TRIALS, Trial, Wish, cable::Running, run};

/// The guest's address on the NIC.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// That of the other end of the cable.
pub const STATION: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Runs the trials that are wanted against the guest of the server with this control socket. None may fail, and none but
/// these may be skipped.
///
/// # Errors
/// One fails or is skipped, or the server does not answer.
pub fn passes(
    control: &Path,
    wish: &Wish,
    is_wanted: impl Fn(&Trial) -> bool,
    may_skip: &[&str],
) -> Result<()> {
    let mut cable = Running::connect(control, 0)?;
    let addresses = Addresses {
        guest: GUEST,
        station: STATION,
        mac: [2, 0, 0, 0, 0, 1],
    };
    // A busy host may take its time.
    let mut station = Station::new(&mut cable, addresses, 1500, Duration::from_secs(20));
    let trials: Vec<&Trial> = TRIALS.iter().filter(|trial| is_wanted(trial)).collect();
    let report = run(&trials, &mut station, wish, &mut ());
    let lines: Vec<String> = report
        .results
        .iter()
        .map(driver_test::Result::line)
        .collect();
    let skipped = |result: &driver_test::Result| matches!(result.outcome, Ok(Outcome::Skipped(_)));
    ensure!(
        report.is_good()
            && report
                .results
                .iter()
                .all(|result| !skipped(result) || may_skip.contains(&result.name)),
        "{}\n{}",
        lines.join("\n"),
        report.summary()
    );
    Ok(())
}
