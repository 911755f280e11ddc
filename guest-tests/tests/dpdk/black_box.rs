//! The trials of `driver-test` against testpmd's answers to ARP and ICMP.

use std::time::Duration;

use anyhow::Result;
use driver_test::{Trial, Wish};
use guest_tests::black_box;

use super::{
    Test,
    machine::{KernelDriver, Machine},
};

pub const TESTS: &[Test] = tests![the_pmd_passes_the_black_box_test];

/// What a driver that polls gives no occasion for.
const POLLS: [&str; 1] = ["lost interrupts are made up for"];

/// testpmd answers for every address, looks at no checksum of a packet, takes tags for what they are, and puts no
/// fragments together: that is not the driver's affair.
fn is_of_the_driver(trial: &Trial) -> bool {
    const OF_THE_STACK: [&str; 5] = [
        "ARP for another address is not",
        "a tag of a foreign VLAN is not answered",
        "the guest's VLAN is answered with its tag",
        "a bad IP checksum is not answered",
        "a bad ICMP checksum is not answered",
    ];
    // Nor does the PMD look after a transmit queue that stands still: that is left to the application.
    const OF_THE_APPLICATION: [&str; 2] = [
        "a transmit hang is noticed and ended",
        "a refused DMA read is got over",
    ];
    !OF_THE_STACK.contains(&trial.name)
        && !OF_THE_APPLICATION.contains(&trial.name)
        && !["fragments", "bulk", "contract"].contains(&trial.chapter)
}

fn the_pmd_passes_the_black_box_test(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, _cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    testpmd.commands(["set fwd icmpecho", "set promisc 0 off", "start"])?;
    let wish = Wish {
        echo_port: None,
        vlan: None,
        boot: Duration::from_secs(60),
        recovery: Duration::from_secs(120),
    };
    let control = machine.server()?.control();
    black_box::passes(&control, &wish, is_of_the_driver, &POLLS)
}
