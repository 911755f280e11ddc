//! The trials of `driver-test`, as whoever tests a driver of theirs runs them.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Result, ensure};
use driver_test::Wish;
use guest_tests::{
    black_box::{self, GUEST},
    linux_world::INTERFACE,
};

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![the_driver_passes_the_black_box_test];

/// This server runs without the driver checker.
const NO_CHECKER: &str = "the driver keeps the datasheet's rules";

fn the_driver_passes_the_black_box_test(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "set -e; ip addr replace {GUEST}/24 dev {INTERFACE}
         modprobe 8021q; ip link add link {INTERFACE} name vlan5 type vlan id 5
         ip addr add 198.51.100.2/24 dev vlan5; ip link set vlan5 up
         (while true; do nc -l -p 7 -e cat; done) >/dev/null 2>&1 </dev/null &
         echo $! >/tmp/echo"
    ))?;
    machine.wait_for_link()?;
    let wish = Wish {
        echo_port: Some(7),
        vlan: Some((5, Ipv4Addr::new(198, 51, 100, 2))),
        boot: Duration::from_secs(60),
        recovery: Duration::from_secs(120),
    };
    let control = machine.world()?.server().control();
    let outcome = black_box::passes(&control, &wish, |_| true, &[NO_CHECKER]);
    let warnings = machine.warnings();
    let as_before = as_before(machine);
    outcome?;
    as_before?;
    let warnings = warnings?;
    ensure!(
        warnings.iter().all(|line| line.contains("Reset adapter")) && !warnings.is_empty(),
        "what the kernel warned of: {warnings:?}"
    );
    Ok(())
}

/// Leaves the machine to the next test as it was, also when a trial failed.
fn as_before(machine: &mut Machine) -> Result<()> {
    machine.mark("after the ECC errors")?;
    machine.sh(&format!(
        "kill $(cat /tmp/echo); killall nc; ip link delete vlan5
         ip addr flush dev {INTERFACE}; ip neigh flush dev {INTERFACE}"
    ))?;
    machine.wait_for_link()
}
