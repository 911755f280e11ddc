//! `cargo xtask bench`: measurements, ours beside others, in turns.

pub mod guest;
pub mod instructions;
mod report;
pub mod wire;
pub mod zero_copy;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::binaries;

/// All of it has to be done after this, the building of the programs apart.
const LIMIT: Duration = Duration::from_mins(13);

/// Measures the NIC alone, prints the table, writes `bench/wire.json` and `bench/wire.html` in the target folder.
pub fn wire(options: &wire::Options) -> Result<ExitCode> {
    let section = wire::measure(options, &binaries::build()?, &binaries::nic_bench()?)?;
    report::write(&[section], "wire")?;
    Ok(ExitCode::SUCCESS)
}

/// Measures the host stack, without guests and with, prints the tables, writes `bench/zero-copy.json`,
/// `bench/zero-copy-guest.json` and `bench/zero-copy.html` in the target folder.
pub fn zero_copy(
    options: &zero_copy::Options,
    guests: &zero_copy::GuestOptions,
) -> Result<ExitCode> {
    let binaries = binaries::build()?;
    let without = zero_copy::measure(options, &binaries, &binaries::nic_bench()?)?;
    let (with, failure) = match zero_copy::guests(guests, &binaries) {
        Ok(with) => (with, None),
        // What was measured without them is not lost.
        Err(error) if without.is_some() => (None, Some(error)),
        Err(error) => return Err(error),
    };
    report::write(&zero_copy::some([without, with])?, "zero-copy")?;
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Measures what an IOMMU costs, prints the table, writes `bench/iommu.json` and `bench/iommu.html` in the target folder.
pub fn iommu(options: &zero_copy::GuestOptions) -> Result<ExitCode> {
    let section = zero_copy::iommu(options, &binaries::build()?)?;
    report::write(&zero_copy::some([section, None])?, "iommu")?;
    Ok(ExitCode::SUCCESS)
}

/// Measures guests, prints the table, writes `bench/guest.json` and `bench/guest.html` in the target folder.
pub fn guest(options: &guest::Options) -> Result<ExitCode> {
    let outcome = guest::measure(options, &binaries::build()?)?;
    report::write(&[outcome.section], "guest")?;
    Ok(code(outcome.failures))
}

/// Measures the NIC alone, the host stack without guests, instructions, then guests with our NIC and others, and writes a page
/// of that, `bench/index.html`. What takes a guest for each way to the cable, [`zero_copy()`] and [`iommu()`], is not in it.
pub fn all(
    wire: &wire::Options,
    zero_copy: &zero_copy::Options,
    guest: guest::Options,
) -> Result<ExitCode> {
    let binaries = binaries::build()?;
    let nic_bench = binaries::nic_bench()?;
    let begun = Instant::now();
    let guest = guest::Options {
        until: Some(begun + LIMIT),
        ..guest
    };
    let mut sections = Vec::new();
    let outcome = (|| {
        sections.push(wire::measure(wire, &binaries, &nic_bench)?);
        sections.extend(zero_copy::measure(zero_copy, &binaries, &nic_bench)?);
        sections.push(instructions::measure()?);
        let outcome = guest::measure(&guest, &binaries)?;
        sections.push(outcome.section);
        Ok(code(outcome.failures))
    })();
    // What was measured before a part failed is not lost.
    if !sections.is_empty() {
        report::write(&sections, "index")?;
    }
    println!("{:.0} s in all", begun.elapsed().as_secs_f32());
    outcome
}

fn code(failures: u32) -> ExitCode {
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
