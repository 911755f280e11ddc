//! The whole machine sleeps, and the NIC works as before when it is awake again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_tests::{
    LinuxWorld, World,
    cable::Cable,
    frames::{BROADCAST, numbered},
    kernel_log,
    linux_world::INTERFACE,
    server::{Far, Server},
    world::Setup,
};
use guest_vm::{Kernel, KernelBoot, Lab};

use super::{
    life::field,
    machine::{self, BOOT_LIMIT},
};

/// A test with a machine of its own.
type Test = (&'static str, fn(Kernel) -> Result<()>);

pub const TESTS: &[Test] = tests![a_suspend_to_ram_and_back_leaves_the_nic_as_it_was];

/// Going to sleep and waking up take some seconds on a machine that others use.
const LIMIT: Duration = Duration::from_secs(180);

/// Sets what the card wakes the machine for, as letters of `ethtool`'s, and looks whether it is shown.
fn set_wake_up(world: &mut LinuxWorld, letters: &str) -> Result<()> {
    let settings = world.guest().sh(&format!(
        "ethtool -s {INTERFACE} wol {letters}; ethtool {INTERFACE}"
    ))?;
    let supported = field(&settings, "Supports Wake-on")?;
    ensure!(supported == "umbg", "{settings}");
    ensure!(field(&settings, "Wake-on")? == letters, "{settings}");
    Ok(())
}

/// Frames that the sleeping card sees: a magic packet for somebody else (six times FFh, then 16 times an address), and
/// one that nobody waits for.
fn while_asleep() -> Vec<Vec<u8>> {
    let stranger = [0x02, 0x77, 0, 0, 0, 1];
    let mut magic = [&BROADCAST[..], &stranger, &[0x08, 0x42], &[0xFF; 6]].concat();
    magic.extend(stranger.repeat(16));
    vec![magic, numbered(BROADCAST, 900, 60)]
}

fn a_suspend_to_ram_and_back_leaves_the_nic_as_it_was(kernel: Kernel) -> Result<()> {
    let server = Server::start(Far::Host)?;
    let lab = Lab::open(kernel)?;
    let config = lab
        .guest(&format!("test-suspend-{}", kernel.name()))?
        .with_cpus(2)
        .with_kernel_boot(KernelBoot::ByFirmware)
        .with_boot_limit(BOOT_LIMIT)
        // A board for which the driver offers wake-up.
        .with_arguments(["-global", "vfio-user-pci.x-pci-sub-device-id=0x11a9"])
        .with_vfio_user(0, &server.socket());
    let mut world = LinuxWorld::new(lab.boot(&config)?, server)?;
    kernel_log::begin(world.guest(), "loading the driver")?;
    world.watch(suspended_and_awake)
}

fn suspended_and_awake(world: &mut LinuxWorld) -> Result<()> {
    machine::load(world)?;
    world.set_up(&Setup::default())?;
    world
        .guest()
        .sh(&format!("ip address add 10.0.2.15/24 dev {INTERFACE}"))?;
    machine::fifty_frames_each_way(world)?;
    for wake_up in ["d", "u", "m", "b", "umbg", "g"] {
        set_wake_up(world, wake_up)?;
    }
    world.guest().suspend(LIMIT)?;
    world.cable().put(&while_asleep())?;
    world.guest().wake_up(LIMIT)?;
    world.guest().sh(&format!(
        "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 20000; done"
    ))?;
    machine::fifty_frames_each_way(world).context("after the sleep")?;
    let ping = "ping -c 3 -i 0.1 -W 20 10.0.2.2";
    let pings = world.guest().sh(ping)?;
    ensure!(pings.contains("3 packets received"), "{pings}");
    Ok(())
}
