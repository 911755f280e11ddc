//! Where packets lie: in testpmd's own packet buffers, as the NIC's account and DPDK's list of its memory say.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use control::Direction;
use guest_tests::{
    account::{Account, Moved, outside},
    cable::Cable,
    card_world::MAC,
    frames::{numbered, same},
};

use super::{
    Test,
    forwarding::take,
    machine::{KernelDriver, Machine},
    testpmd::Testpmd,
};

pub const TESTS: &[Test] = tests![
    packets_move_between_the_wire_and_mbufs_at_physical_addresses,
    packets_move_between_the_wire_and_mbufs_behind_an_iommu,
];

fn packets_move_between_the_wire_and_mbufs_at_physical_addresses(
    machine: &mut Machine,
) -> Result<()> {
    pass(machine, KernelDriver::UioPciGeneric)
}

fn packets_move_between_the_wire_and_mbufs_behind_an_iommu(machine: &mut Machine) -> Result<()> {
    pass(machine, KernelDriver::VfioPci)
}

/// Lets frames pass, and compares what was moved with the memory of the pool of packet buffers.
fn pass(machine: &mut Machine, driver: KernelDriver) -> Result<()> {
    let control = machine.server()?.control();
    let (mut testpmd, mut cable) = machine.testpmd(driver, "", "")?;
    let pool = pool(&mut testpmd)?;
    testpmd.commands(["set fwd io", "start"])?;
    let frames: Vec<_> = (0..240)
        .map(|number| numbered(MAC, number, 60 + 6 * number))
        .collect();
    let received = Account::begin(&control, Direction::Receive)?;
    let sent = Account::begin(&control, Direction::Transmit)?;
    cable.put(&frames)?;
    same(&take(&mut cable, frames.len())?, &frames)?;
    let (received, sent) = (received.end()?, sent.end()?);
    let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
    for (way, moved) in [("received", received), ("sent", sent)] {
        let len: u64 = moved.iter().map(|moved| moved.len).sum();
        ensure!(
            len == bytes,
            "{len} bytes were moved of {bytes} that were {way}"
        );
        let outside: Vec<Moved> = outside(&moved, &pool);
        ensure!(
            outside.is_empty(),
            "{way} outside of the pool {pool:x?}: {outside:x?}"
        );
    }
    Ok(())
}

/// The IOVAs of the pool of packet buffers.
fn pool(testpmd: &mut Testpmd<'_>) -> Result<Vec<Range<u64>>> {
    let said = testpmd.command("dump_memzone")?;
    let mut pool = Vec::new();
    let mut is_pool = false;
    for line in said.lines() {
        if line.contains("name:<") {
            is_pool = line.contains("name:<MP_mb_pool");
        }
        if is_pool && let Some((_, rest)) = line.split_once("iova: 0x") {
            let (iova, rest) = rest.split_once(' ').context(said.clone())?;
            let (_, len) = rest.split_once("len: 0x").context(said.clone())?;
            let len = len.split(' ').next().unwrap_or(len);
            let begin = u64::from_str_radix(iova, 16)?;
            pool.push(begin..begin + u64::from_str_radix(len, 16)?);
        }
    }
    ensure!(!pool.is_empty(), "no pool in {said}");
    Ok(pool)
}
