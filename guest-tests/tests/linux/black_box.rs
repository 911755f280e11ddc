//! The trials of `driver-test`, as whoever tests a driver of theirs runs them.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Result, ensure};
use driver_test::{Trial, Wish};
use guest_tests::{
    black_box::{self, GUEST},
    linux_world::INTERFACE,
};

use super::{
    faults::HANG,
    machine::{Machine, Test},
};

pub const TESTS: &[Test] = tests![the_driver_passes_the_black_box_test];

/// The machine itself looks at what the driver checker tells of a test; the trial takes what was told before it, too.
fn is_wanted(trial: &Trial) -> bool {
    trial.chapter != "contract"
}

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
    let outcome = black_box::passes(&control, &wish, is_wanted, &[]);
    let warnings = machine.warnings();
    let as_before = as_before(machine);
    outcome?;
    as_before?;
    let warnings = warnings?;
    // After the ECC errors, and after the queues that stood still.
    let resets = warnings
        .iter()
        .filter(|line| line.contains("Reset adapter"));
    let is_of_faults = |line: &String| HANG.iter().any(|text| line.contains(text));
    ensure!(
        resets.count() >= 3 && warnings.iter().all(is_of_faults),
        "what the kernel warned of: {warnings:#?}"
    );
    Ok(())
}

/// Leaves the machine to the next test as it was, also when a trial failed.
fn as_before(machine: &mut Machine) -> Result<()> {
    machine.mark("after the errors")?;
    machine.forgive()?;
    machine.sh(&format!(
        "kill $(cat /tmp/echo); killall nc; ip link delete vlan5
         ip addr flush dev {INTERFACE}; ip neigh flush dev {INTERFACE}"
    ))?;
    machine.wait_for_link()
}
