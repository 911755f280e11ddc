//! A guest whose doorbells are memory: QEMU maps the pages of the ring tails into it, and waits for every other write.

use anyhow::{Result, ensure};
use guest_tests::{
    LinuxWorld, World,
    card_world::MAC,
    kernel_log,
    linux_world::INTERFACE,
    server::{Far, Server},
    world::Setup,
};
use guest_vm::{Kernel, Lab};

use super::machine::{self, BOOT_LIMIT, LIMIT};

/// A test with a machine of its own.
type Test = (&'static str, fn(Kernel) -> Result<()>);

pub const TESTS: &[Test] = tests![a_guest_with_mapped_doorbells_loses_nothing];

fn a_guest_with_mapped_doorbells_loses_nothing(kernel: Kernel) -> Result<()> {
    let server = Server::start_with(MAC, Far::Host, &["--doorbells", "mapped"])?;
    let lab = Lab::open(kernel)?;
    let config = lab
        .guest(&format!("test-doorbells-{}", kernel.name()))?
        .with_cpus(2)
        .with_boot_limit(BOOT_LIMIT)
        .with_vfio_user(0, &server.socket());
    let mut world = LinuxWorld::new(lab.boot(&config)?, server)?;
    kernel_log::mark(world.guest(), "loading the driver")?;
    machine::load(&mut world)?;
    world.set_up(&Setup::default())?;
    machine::fifty_frames_each_way(&mut world)?;
    // The driver takes its rings down and up: with the whole card, and each by itself.
    for change in [
        "ip link set INTERFACE down && ip link set INTERFACE up",
        "ethtool -G INTERFACE rx 256 tx 256",
        "ethtool -r INTERFACE",
    ] {
        let command = change.replace("INTERFACE", INTERFACE);
        world.guest().sh(&format!(
            "{command}
             until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 20000; done"
        ))?;
        machine::fifty_frames_each_way(&mut world)?;
    }
    world
        .guest()
        .sh(&format!("ip address add 10.0.2.15/24 dev {INTERFACE}"))?;
    let pings = world
        .guest()
        .run("ping -c 20 -i 0.05 -W 2 10.0.2.2", LIMIT)?;
    ensure!(
        pings.stdout.contains("20 packets received"),
        "{}",
        pings.stdout
    );
    let self_test = world
        .guest()
        .run(&format!("ethtool -t {INTERFACE} online"), LIMIT)?;
    ensure!(self_test.stdout.contains("PASS"), "{}", self_test.stdout);
    let warnings = kernel_log::warnings(world.guest())?;
    ensure!(warnings.is_empty(), "{}", warnings.join("\n"));
    world.server().nic().check()?;
    Ok(())
}
