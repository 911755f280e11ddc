//! VM pools with traffic classes, as the PMD sets them up: by address and VLAN (VMDq with DCB).

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use guest_tests::{
    cable::Cable,
    card_world::MAC,
    frames::{numbered, tagged},
};

use super::{
    Test,
    machine::{KernelDriver, Machine},
    testpmd::PATIENCE,
};

pub const TESTS: &[Test] = tests![in_the_vlan_of_its_pool_a_frame_goes_to_the_queue_of_its_class];

/// One thread for each traffic class, or testpmd refuses; the guest has two processors.
pub const FIVE_CORES: &str = "--lcores 0@0,1@1,2@1,3@1,4@1";
/// With pools or traffic classes the PMD wants all queues, at first those that it has without; each needs buffers.
pub const ALL_QUEUES: &str =
    "--nb-cores=4 --rxq=128 --txq=64 --rxd=64 --txd=64 --total-num-mbufs=16000";

fn in_the_vlan_of_its_pool_a_frame_goes_to_the_queue_of_its_class(
    machine: &mut Machine,
) -> Result<()> {
    let (mut testpmd, mut cable) =
        machine.testpmd(KernelDriver::UioPciGeneric, FIVE_CORES, ALL_QUEUES)?;
    testpmd.commands([
        "port stop 0",
        // Four traffic classes make 32 pools. testpmd gives VLAN n to pool n, and priority n to class n modulo 4; the
        // card's own address stays with pool 0.
        "port config 0 dcb vt on 4 pfc off",
        "port start 0",
        "set fwd rxonly",
        "set verbose 1",
        "start",
    ])?;
    let of = |vlan: u16, priority: u16, len: usize| {
        tagged(&numbered(MAC, len, len - 4), priority << 13 | vlan)
    };
    let frames = [
        of(0, 0, 101),
        of(0, 2, 102),
        of(0, 3, 103),
        of(0, 5, 104),
        // In the VLAN of another pool than the address, in a VLAN of no pool, and without VLAN; there is no default pool.
        of(17, 0, 105),
        of(32, 0, 106),
        numbered(MAC, 7, 107),
        of(0, 6, 108),
    ];
    cable.put(&frames)?;
    // The card has them before the threads, which share a processor, have come past all queues.
    let begun = Instant::now();
    while testpmd.packets()?.len() < 5 && begun.elapsed() < PATIENCE {}
    testpmd.command("stop")?;
    let packets = testpmd.packets()?;
    let queue = |len: usize| {
        let packet = packets.get(&len);
        let packet = packet.with_context(|| format!("no packet of {len} bytes in {packets:?}"));
        packet.map(|packet| packet.queue)
    };
    let queues = [101, 102, 103, 104, 108].map(queue);
    let queues: Vec<usize> = queues.into_iter().collect::<Result<_>>()?;
    let expected = [0, 2, 3, 1, 2];
    ensure!(queues == expected, "{queues:?} instead of {expected:?}");
    ensure!(packets.len() == 5, "{packets:?}");
    Ok(())
}
