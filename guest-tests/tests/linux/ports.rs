//! Two cards with two ports each, of one server, in one guest: 05.0 and 05.1 with a cable between them, 06.0 and 06.1
//! with a host at each.

use std::{ffi::OsString, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use control::{Client, Direction, Link};
use guest_tests::{kernel_log, server::program};
use guest_vm::{Guest, Kernel, Lab, NicServer, Spawner};
use serde_json::json;

use super::{machine::BOOT_LIMIT, tap};

pub const TESTS: &[tap::Test] = tests![two_ports_of_a_card_are_cabled_bonded_and_bridged];

/// How long a command in the guest may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// The functions in the guest; their interfaces are eth0 to eth3.
const FUNCTIONS: [&str; 4] = ["5.0", "5.1", "6.0", "6.1"];

fn two_ports_of_a_card_are_cabled_bonded_and_bridged(kernel: Kernel) -> Result<()> {
    let lab = Lab::open(kernel)?;
    let folder = tempfile::tempdir()?;
    let sockets = [1, 2, 3].map(|port| folder.path().join(format!("nic{port}")));
    let further = sockets.iter().zip(["pair:a", "host", "host"]);
    let further = further.flat_map(|(socket, wire)| {
        let port = format!("socket={},wire={wire}", socket.display());
        ["--port".to_owned(), port]
    });
    let server = NicServer::start(
        &program()?,
        "pair:a",
        &further.collect::<Vec<_>>(),
        &Spawner::own(),
        &folder.path().join("server.log"),
    )?;
    let first = server.socket();
    let sockets = std::iter::once(&first).chain(&sockets);
    let devices = sockets.zip(FUNCTIONS).flat_map(|(socket, function)| {
        let device = json!({
            "driver": "vfio-user-pci",
            "addr": function,
            "multifunction": function.ends_with('0'),
            "socket": { "type": "unix", "path": socket },
        });
        [OsString::from("-device"), device.to_string().into()]
    });
    let config = lab
        .guest(&format!("test-ports-{}", kernel.name()))?
        .with_boot_limit(BOOT_LIMIT)
        .with_arguments(devices);
    let mut guest = lab.boot(&config)?;
    let mut control = Client::connect(&server.control())?;
    kernel_log::mark(&mut guest, "loading the driver")?;

    both_functions_are_found(&mut guest)?;
    the_cable_carries_traffic_between_two_namespaces(&mut guest)?;
    a_bond_goes_on_when_the_link_of_one_port_is_lost(&mut guest, &mut control)?;
    a_bridge_forwards_from_port_to_port(&mut guest, &mut control, &server.control())?;

    let warnings = kernel_log::warnings(&mut guest)?;
    ensure!(warnings.is_empty(), "{}", warnings.join("\n"));
    Ok(())
}

fn both_functions_are_found(guest: &mut Guest) -> Result<()> {
    guest.sh("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; modprobe ixgbe")?;
    let cards = guest.sh("lspci -nn")?;
    let drivers = guest.sh(
        "for nic in eth0 eth1 eth2 eth3; do basename $(readlink /sys/class/net/$nic/device); done",
    )?;
    for function in ["00:05.0", "00:05.1", "00:06.0", "00:06.1"] {
        let shown = |line: &str| line.starts_with(function) && line.contains("[8086:10fb]");
        ensure!(cards.lines().any(shown), "{function} is not in\n{cards}");
        ensure!(drivers.contains(function), "no driver has {function}");
    }
    Ok(())
}

fn the_cable_carries_traffic_between_two_namespaces(guest: &mut Guest) -> Result<()> {
    guest.sh("for port in 0 1; do
             ip netns add ns$port
             ip link set eth$port netns ns$port
             ip -n ns$port addr add 192.0.2.$((port + 1))/24 dev eth$port
             ip -n ns$port link set eth$port up
         done
         for port in 0 1; do
             until [ \"$(ip netns exec ns$port cat /sys/class/net/eth$port/carrier)\" = 1 ]; do usleep 20000; done
         done")?;
    let ping = guest.run(
        "ip netns exec ns0 ping -c 5 -i 0.1 -W 20 192.0.2.2",
        PATIENCE,
    )?;
    ensure!(ping.stdout.contains("5 packets received"), "{ping:?}");
    // An end of its own input would make the listening nc end its side at once, and that the sending one.
    let stream = "head -c 20000000 /dev/urandom >/tmp/sent; mkfifo /tmp/quiet
         ip netns exec ns1 nc -l -p 5201 0<>/tmp/quiet >/tmp/received & server=$!
         until ip netns exec ns1 ss -Hltn | grep -q :5201; do usleep 20000; done
         ip netns exec ns0 nc 192.0.2.2 5201 </tmp/sent
         wait $server
         cmp /tmp/sent /tmp/received && echo same; rm /tmp/sent /tmp/received /tmp/quiet";
    let stream = guest.run(stream, PATIENCE)?;
    ensure!(stream.stdout.contains("same"), "the stream: {stream:?}");
    Ok(())
}

fn a_bond_goes_on_when_the_link_of_one_port_is_lost(
    guest: &mut Guest,
    control: &mut Client,
) -> Result<()> {
    guest.sh("modprobe bonding
         [ -e /sys/class/net/bond0 ] || echo +bond0 >/sys/class/net/bonding_masters
         ip link set bond0 down
         echo active-backup >/sys/class/net/bond0/bonding/mode
         echo 50 >/sys/class/net/bond0/bonding/miimon
         for nic in eth2 eth3; do ip link set $nic down; ip link set $nic master bond0; done
         ip addr add 10.0.2.15/24 dev bond0; ip link set bond0 up")?;
    let active = |guest: &mut Guest, nic: &str| {
        let file = "/sys/class/net/bond0/bonding/active_slave";
        guest.sh(&format!(
            "until [ \"$(cat {file})\" = {nic} ]; do usleep 20000; done"
        ))
    };
    let ping = "ping -c 3 -i 0.2 -W 20 10.0.2.2";
    active(guest, "eth2")?;
    let before = guest.run(ping, PATIENCE)?.stdout;
    control.select(Some(2));
    control.set_link(Link::Down)?;
    active(guest, "eth3")?;
    // The other host has to learn first who pings; Linux knows the address already and does not ask.
    guest.run("until ping -c 1 -W 1 10.0.2.2; do :; done", PATIENCE)?;
    let after = guest.run(ping, PATIENCE)?.stdout;
    control.set_link(Link::Up)?;
    ensure!(before.contains("3 packets received"), "before: {before}");
    ensure!(after.contains("3 packets received"), "after: {after}");
    guest.sh("ip link set bond0 down; echo -bond0 >/sys/class/net/bonding_masters")?;
    Ok(())
}

fn a_bridge_forwards_from_port_to_port(
    guest: &mut Guest,
    control: &mut Client,
    path: &Path,
) -> Result<()> {
    // Forwarding is 3. A port that never gets there ends the command by its time limit.
    let bridge = "set -e; modprobe bridge; ip link add br0 type bridge
         for nic in eth2 eth3; do ip link set $nic master br0; ip link set $nic up; done
         ip link set br0 up
         for nic in eth2 eth3; do
             until [ \"$(cat /sys/class/net/$nic/brport/state)\" = 3 ]; do usleep 20000; done
         done";
    guest.sh(bridge)?;
    let mut frame = vec![0x02, 0, 0, 0, 0, 0x99, 0x02, 0, 0, 0, 0, 0x98, 0x88, 0xb5];
    frame.resize(1514, 0x5A);
    let mut watcher = Client::connect(path)?;
    watcher.select(Some(3));
    let mut capturing = watcher.capture(None)?;
    control.select(Some(2));
    control.inject(std::slice::from_ref(&frame))?;
    while let Some(captured) = capturing.next_reply()? {
        let forwarded = captured
            .frames
            .iter()
            .any(|seen| seen.direction == Direction::Transmit && seen.data == frame);
        if forwarded {
            return Ok(());
        }
    }
    None.context("the capture ended before the frame was forwarded")
}
