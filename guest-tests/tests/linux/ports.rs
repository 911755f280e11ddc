//! Three cards with two ports each, of one server, in one guest: 05.0 and 05.1 with a cable between them, 06.0 and 06.1
//! with a host at each, 07.0 and 07.1 with a NIC of QEMU's own at each: 08.0 by a stream, 09.0 by datagrams.

use std::{
    ffi::OsString,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use control::{Client, Link};
use guest_tests::{
    cable::Cable,
    evidence,
    frames::{BROADCAST, numbered, same},
    kernel_log,
    server::{ControlCable, program},
};
use guest_vm::{Guest, Kernel, Lab, NicServer, Spawner};
use serde_json::json;

use super::{
    machine::BOOT_LIMIT,
    tap,
    xdp_program::{self, Verdict},
};

pub const TESTS: &[tap::Test] = tests![two_ports_of_a_card_are_cabled_bonded_and_bridged];

/// How long a command in the guest may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// The functions in the guest; their interfaces are eth0 to eth5.
const FUNCTIONS: [&str; 6] = ["5.0", "5.1", "6.0", "6.1", "7.0", "7.1"];
/// What a person reads about QEMU's own NICs at the other end of a wire.
const PAGE: &str = include_str!("../../../docs/lab.md");
/// Wires, what QEMU is told for the other end of each, and where it puts the NIC.
const FOREIGN: [(&str, &str, &str); 2] = [
    (
        "stream:unix:$XDG_RUNTIME_DIR/stream,server",
        "stream,id=stream,server=off,addr.type=unix,addr.path=$XDG_RUNTIME_DIR/stream,reconnect-ms=1000",
        "e1000e,netdev=stream",
    ),
    (
        "dgram:unix:$XDG_RUNTIME_DIR/ours,$XDG_RUNTIME_DIR/qemus",
        "dgram,id=dgram,local.type=unix,local.path=$XDG_RUNTIME_DIR/qemus,remote.type=unix,remote.path=$XDG_RUNTIME_DIR/ours",
        "e1000e,netdev=dgram",
    ),
];

fn two_ports_of_a_card_are_cabled_bonded_and_bridged(kernel: Kernel) -> Result<()> {
    let lab = Lab::open(kernel)?;
    let folder = tempfile::tempdir()?;
    let here = |text: &str| text.replace("$XDG_RUNTIME_DIR", &folder.path().display().to_string());
    let sockets = [1, 2, 3, 4, 5].map(|port| folder.path().join(format!("nic{port}")));
    let [by_stream, by_datagrams] = FOREIGN.map(|(wire, ..)| here(wire));
    let wires = ["pair:a", "host", "host", &by_stream, &by_datagrams];
    let further = sockets.iter().zip(wires);
    let further = further.flat_map(|(socket, wire)| {
        let port = format!("socket={},wire={wire}", socket.display());
        ["--port".to_owned(), port]
    });
    let mut server = NicServer::start(
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
    let foreign = FOREIGN.iter().zip(["8.0", "9.0"]);
    let foreign = foreign.flat_map(|((_, netdev, device), address)| {
        let device = format!("{device},addr={address},romfile=");
        [
            "-netdev".to_owned(),
            here(netdev),
            "-device".to_owned(),
            device,
        ]
    });
    let config = lab
        .guest(&format!("test-ports-{}", kernel.name()))?
        .with_boot_limit(BOOT_LIMIT)
        .with_arguments(devices)
        .with_arguments(foreign);
    let mut guest = lab.boot(&config)?;
    kernel_log::begin(&mut guest, "loading the driver")?;

    let outcome = one_after_the_other(&mut guest, &server.control());
    let outcome = outcome.and_then(|()| {
        server.check()?;
        kernel_log::no_warnings(&mut guest)
    });
    evidence::with(outcome, &mut guest, server.log())
}

fn one_after_the_other(guest: &mut Guest, control: &Path) -> Result<()> {
    both_functions_are_found(guest)?;
    the_cable_carries_traffic_between(guest, "eth0", "eth1", 20_000_000)?;
    a_bond_goes_on_when_the_link_of_one_port_is_lost(guest, &mut Client::connect(control)?)?;
    let of_port = |port| ControlCable::of_port(control, Some(port));
    let mut cables = [of_port(2)?, of_port(3)?];
    a_program_redirects_frames_to_the_other_port(guest, &mut cables)?;
    a_bridge_forwards_from_port_to_port(guest, &mut cables)?;
    qemus_own_nics_are_reached(guest).context("QEMU's own NICs")
}

fn both_functions_are_found(guest: &mut Guest) -> Result<()> {
    guest.sh("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; modprobe ixgbe")?;
    let cards = guest.sh("lspci -nn")?;
    let drivers = guest.sh(
        "for nic in eth0 eth1 eth2 eth3 eth4 eth5; do basename $(readlink /sys/class/net/$nic/device); done",
    )?;
    for function in [
        "00:05.0", "00:05.1", "00:06.0", "00:06.1", "00:07.0", "00:07.1",
    ] {
        let shown = |line: &str| line.starts_with(function) && line.contains("[8086:10fb]");
        ensure!(cards.lines().any(shown), "{function} is not in\n{cards}");
        ensure!(drivers.contains(function), "no driver has {function}");
    }
    Ok(())
}

/// Two interfaces, each in a network namespace of its own: `one` in that of its name and -1, `other` in -2.
fn the_cable_carries_pings_between(guest: &mut Guest, one: &str, other: &str) -> Result<()> {
    guest.sh(&format!(
        "n=1; for nic in {one} {other}; do
             ip netns add {one}-$n
             ip link set $nic netns {one}-$n
             ip -n {one}-$n addr add 192.0.2.$n/24 dev $nic
             ip -n {one}-$n link set $nic up
             n=2
         done
         n=1; for nic in {one} {other}; do
             until [ \"$(ip netns exec {one}-$n cat /sys/class/net/$nic/carrier)\" = 1 ]; do usleep 20000; done
             n=2
         done"
    ))?;
    let ping = format!("ip netns exec {one}-1 ping -c 5 -i 0.1 -W 20 -s 1400 192.0.2.2");
    let ping = guest.run(&ping, PATIENCE)?;
    ensure!(ping.stdout.contains("5 packets received"), "{ping:?}");
    Ok(())
}

/// The same, and then so many bytes of a TCP connection from `one` to `other`.
fn the_cable_carries_traffic_between(
    guest: &mut Guest,
    one: &str,
    other: &str,
    bytes: u32,
) -> Result<()> {
    the_cable_carries_pings_between(guest, one, other)?;
    // An end of its own input would make the listening nc end its side at once, and that the sending one.
    let stream = format!(
        "head -c {bytes} /dev/urandom >/tmp/sent; mkfifo /tmp/quiet
         ip netns exec {one}-2 nc -l -p 5201 0<>/tmp/quiet >/tmp/received & server=$!
         until ip netns exec {one}-2 ss -Hltn | grep -q :5201; do usleep 20000; done
         ip netns exec {one}-1 nc 192.0.2.2 5201 </tmp/sent
         wait $server
         cmp /tmp/sent /tmp/received && echo same; rm /tmp/sent /tmp/received /tmp/quiet"
    );
    let stream = guest.run(&stream, PATIENCE)?;
    ensure!(stream.stdout.contains("same"), "the stream: {stream:?}");
    Ok(())
}

fn qemus_own_nics_are_reached(guest: &mut Guest) -> Result<()> {
    for (wire, netdev, device) in FOREIGN {
        for words in [wire, netdev, device] {
            ensure!(PAGE.contains(words), "docs/lab.md does not have {words}");
        }
    }
    guest.sh("modprobe e1000e")?;
    // It has whatever name was free when the probing, which goes on beside modprobe, came to it.
    let name_of = |guest: &mut Guest, address: &str| -> Result<String> {
        let folder = format!("/sys/bus/pci/devices/0000:00:{address}/net");
        let name = guest.sh(&format!("until ls {folder}; do usleep 20000; done"))?;
        Ok(name.trim().to_owned())
    };
    let other = name_of(guest, "08.0")?;
    the_cable_carries_traffic_between(guest, "eth4", &other, 20_000_000).context("by a stream")?;
    let other = name_of(guest, "09.0")?;
    // QEMU reads one of them in each turn of its main loop.
    the_cable_carries_traffic_between(guest, "eth5", &other, 500_000).context("by datagrams")
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

/// XDP: the program sees the frames of one port and sends them by the other, which has to have a program too.
fn a_program_redirects_frames_to_the_other_port(
    guest: &mut Guest,
    [first, second]: &mut [ControlCable; 2],
) -> Result<()> {
    let index = guest.sh("cat /sys/class/net/eth3/ifindex")?;
    let object = xdp_program::object_file(index.trim().parse()?)?;
    guest.write_file("/tmp/xdp.o", &object)?;
    guest.sh(&format!(
        "set -e
         for nic in eth2 eth3; do
             ip link set $nic up
             ip link set dev $nic xdpdrv obj /tmp/xdp.o sec {}
             until [ \"$(cat /sys/class/net/$nic/carrier)\" = 1 ]; do usleep 20000; done
         done",
        xdp_program::SECTION
    ))?;
    let frames: Vec<_> = (1..=100)
        .map(|count| numbered(BROADCAST, Verdict::Redirect.number(count), 60 + count))
        .collect();
    // What the bond has sent.
    while !second.take(Duration::from_millis(500))?.is_empty() {}
    first.put(&frames)?;
    same(&taken(second, frames.len())?, &frames)?;
    guest.sh(
        "for nic in eth2 eth3; do ip link set dev $nic xdpdrv off; ip link set $nic down; done",
    )?;
    Ok(())
}

/// This many frames that the port has sent.
fn taken(cable: &mut ControlCable, count: usize) -> Result<Vec<Vec<u8>>> {
    let begun = Instant::now();
    let mut frames = Vec::new();
    while frames.len() < count && begun.elapsed() < PATIENCE {
        frames.extend(cable.take(Duration::from_millis(200))?);
    }
    Ok(frames)
}

fn a_bridge_forwards_from_port_to_port(
    guest: &mut Guest,
    [first, second]: &mut [ControlCable; 2],
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
    first.put(std::slice::from_ref(&frame))?;
    let begun = Instant::now();
    while !second.take(Duration::from_millis(200))?.contains(&frame) {
        ensure!(begun.elapsed() < PATIENCE, "the frame is not forwarded");
    }
    Ok(())
}
