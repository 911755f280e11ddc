//! The scripts in `examples/`, as a person runs them.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use guest_tests::linux_world::INTERFACE;
use guest_vm::TestSetting;

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![
    a_guest_answers_arp,
    a_guest_answers_pings_of_every_size,
    a_guest_answers_in_its_vlan_only,
    a_guest_drops_what_has_a_bad_checksum,
    a_guest_takes_jumbo_frames_up_to_its_mtu,
    a_guest_hears_its_groups_only,
    a_guest_puts_fragments_together,
];

fn a_guest_answers_arp(machine: &mut Machine) -> Result<()> {
    run(machine, "arp.sh", "", "")
}

fn a_guest_answers_pings_of_every_size(machine: &mut Machine) -> Result<()> {
    run(machine, "ping.sh", "", "")
}

fn a_guest_answers_in_its_vlan_only(machine: &mut Machine) -> Result<()> {
    let before = format!(
        "modprobe 8021q; ip link add link {INTERFACE} name vlan5 type vlan id 5
         ip addr add 198.51.100.2/24 dev vlan5; ip link set vlan5 up"
    );
    run(machine, "vlan.sh", &before, "ip link delete vlan5")
}

fn a_guest_drops_what_has_a_bad_checksum(machine: &mut Machine) -> Result<()> {
    run(machine, "checksum.sh", "", "")
}

fn a_guest_takes_jumbo_frames_up_to_its_mtu(machine: &mut Machine) -> Result<()> {
    let mtu = |bytes: u32| format!("ip link set {INTERFACE} mtu {bytes}");
    run(machine, "jumbo.sh", &mtu(9000), &mtu(1500))
}

fn a_guest_hears_its_groups_only(machine: &mut Machine) -> Result<()> {
    let ignore =
        |value: u32| format!("echo {value} >/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts");
    run(machine, "multicast.sh", &ignore(0), &ignore(1))
}

fn a_guest_puts_fragments_together(machine: &mut Machine) -> Result<()> {
    run(machine, "fragments.sh", "", "")
}

/// Runs a script, with commands for the guest before and after it.
fn run(machine: &mut Machine, script: &str, before: &str, after: &str) -> Result<()> {
    machine.sh(&format!(
        "set -e; ip addr replace 192.0.2.2/24 dev {INTERFACE}; {before}"
    ))?;
    machine.wait_for_link()?;
    let control = machine.world()?.server().control();
    let outcome = on_host(script, &control);
    machine.sh(&format!(
        "{after}
         ip addr flush dev {INTERFACE}; ip neigh flush dev {INTERFACE}"
    ))?;
    machine.wait_for_link()?;
    outcome
}

fn on_host(script: &str, control: &Path) -> Result<()> {
    let ixgbectl = TestSetting::from_env()
        .context("no setting of cargo xtask test")?
        .ixgbectl;
    let folder = ixgbectl.parent().context("ixgbectl is in no folder")?;
    let paths = env::var_os("PATH").unwrap_or_default();
    let paths = [folder.to_owned()]
        .into_iter()
        .chain(env::split_paths(&paths));
    let output = Command::new(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../examples")
            .join(script),
    )
    .env("PATH", env::join_paths(paths)?)
    .env("IXGBE_CONTROL", control)
    .stdin(Stdio::null())
    .output()
    .with_context(|| format!("cannot run {script}"))?;
    ensure!(
        output.status.success(),
        "{script}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
