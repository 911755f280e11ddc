//! The life of a NIC under Linux: from the driver's first touch to the death of its machine.

use std::{thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use guest_tests::{
    cable::Cable,
    frames::{BROADCAST, Checked, numbered, tagged},
    linux_world::INTERFACE,
};

use super::machine::{self, BOOT_LIMIT, Machine, Test};

/// Tests that come before the scenarios.
pub const FIRST: &[Test] = tests![
    the_driver_binds_with_msix_and_without_a_warning,
    the_link_is_10000_full,
    the_offloads_are_on,
    the_module_in_the_cage_is_read,
    the_counters_are_there,
];

/// Tests that come after them.
pub const THEN: &[Test] = tests![
    an_address_comes_by_dhcp,
    ping_works_over_ipv4_and_ipv6,
    a_tcp_stream_comes_back_as_it_was,
    a_tcp_stream_arrives_in_large_receives,
    a_tcp_stream_leaves_in_frames_that_are_right,
    jumbo_packets_come_back,
    a_vlan_interface_sends_and_receives,
    frames_raise_the_interrupts_of_their_queues,
    the_self_test_passes,
    the_driver_is_loaded_anew_fifty_times,
    a_reboot_of_the_guest_brings_the_nic_back,
    a_reset_of_the_machine_brings_the_nic_back,
    after_qemu_was_killed_the_next_guest_has_the_nic,
];

/// The embedded host.
pub const HOST: &str = "10.0.2.2";
const HOST6: &str = "fd00:8259::2";

/// Lines of the form `NAME: VALUE`.
pub fn field<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().split_once(':'))
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| value.trim())
        .with_context(|| format!("no {name} in\n{text}"))
}

fn the_driver_binds_with_msix_and_without_a_warning(machine: &mut Machine) -> Result<()> {
    // The driver was loaded before the test began.
    machine.sh(&format!("ip link set {INTERFACE} down; rmmod ixgbe"))?;
    machine.mark("loading the driver again")?;
    machine::load(machine.world()?)?;
    let card = machine.sh("lspci -nn -s 01:00.0")?;
    ensure!(card.contains("[8086:10fb]"), "lspci says {card}");
    let info = machine.sh(&format!("ethtool -i {INTERFACE}"))?;
    ensure!(field(&info, "driver")? == "ixgbe", "{info}");
    ensure!(field(&info, "bus-info")? == "0000:01:00.0", "{info}");
    ensure!(
        field(&info, "firmware-version")?.starts_with("0x"),
        "{info}"
    );
    let vectors = machine.sh("ls /sys/bus/pci/devices/0000:01:00.0/msi_irqs | wc -l")?;
    // One for each of the two processors, one for the rest.
    ensure!(vectors.trim() == "3", "{} interrupts", vectors.trim());
    Ok(())
}

fn the_link_is_10000_full(machine: &mut Machine) -> Result<()> {
    let settings = machine.sh(&format!("ethtool {INTERFACE}"))?;
    ensure!(field(&settings, "Speed")? == "10000Mb/s", "{settings}");
    ensure!(field(&settings, "Duplex")? == "Full", "{settings}");
    ensure!(field(&settings, "Link detected")? == "yes", "{settings}");
    Ok(())
}

fn the_offloads_are_on(machine: &mut Machine) -> Result<()> {
    let features = machine.sh(&format!("ethtool -k {INTERFACE}"))?;
    for name in [
        "rx-checksumming",
        "tx-checksumming",
        "scatter-gather",
        "tcp-segmentation-offload",
        "tx-tcp-segmentation",
        "tx-tcp6-segmentation",
        "receive-hashing",
        "rx-vlan-offload",
        "tx-vlan-offload",
    ] {
        let state = field(&features, name)?;
        ensure!(state.starts_with("on"), "{name} is {state}");
    }
    Ok(())
}

fn the_module_in_the_cage_is_read(machine: &mut Machine) -> Result<()> {
    let module = machine.sh(&format!("ethtool -m {INTERFACE}"))?;
    let identifier = field(&module, "Identifier")?;
    ensure!(identifier == "0x03 (SFP)", "identifier {identifier}");
    let connector = field(&module, "Connector")?;
    ensure!(connector.starts_with("0x"), "connector {connector}");
    let kind = field(&module, "Transceiver type")?;
    ensure!(kind.contains("10G"), "transceiver {kind}");
    Ok(())
}

fn the_counters_are_there(machine: &mut Machine) -> Result<()> {
    let statistics = machine.world()?.statistics()?;
    for name in [
        "rx_pkts_nic",
        "tx_pkts_nic",
        "rx_missed_errors",
        "tx_queue_0_packets",
    ] {
        ensure!(statistics.contains_key(name), "no counter {name}");
    }
    let errors: Vec<_> = statistics
        .iter()
        .filter(|(name, value)| name.contains("error") && **value != 0)
        .collect();
    ensure!(errors.is_empty(), "errors are counted: {errors:?}");
    Ok(())
}

fn an_address_comes_by_dhcp(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "ip link set {INTERFACE} down
         ethtool -K {INTERFACE} rx-vlan-filter on gro on
         ethtool -L {INTERFACE} combined 2
         echo 8 >/proc/sys/net/core/gro_normal_batch
         for v in /sys/class/net/{INTERFACE}.*; do [ ! -e $v ] || ip link del ${{v##*/}}; done
         ip link set {INTERFACE} mtu 1500 promisc off
         echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
         echo 0 >/proc/sys/net/ipv6/conf/{INTERFACE}/disable_ipv6
         echo 0 >/proc/sys/net/ipv6/conf/{INTERFACE}/accept_dad"
    ))?;
    machine::load(machine.world()?)?;
    get_address(machine)?;
    let address = machine.sh(&format!("cat /run/dhcp.{INTERFACE}"))?;
    ensure!(address.trim() == "10.0.2.15/24", "the address is {address}");
    Ok(())
}

fn get_address(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "udhcpc -i {INTERFACE} -f -n -q -t 8 -T 1 -s /etc/udhcpc/default.script 2>&1"
    ))?;
    Ok(())
}

fn ping(machine: &mut Machine, to: &str, size: usize) -> Result<()> {
    let text = machine.sh(&format!("ping -c 3 -i 0.1 -W 20 -s {size} {to}"))?;
    ensure!(
        text.contains("3 packets received, 0% packet loss"),
        "{text}"
    );
    Ok(())
}

fn ping_works_over_ipv4_and_ipv6(machine: &mut Machine) -> Result<()> {
    ping(machine, HOST, 56)?;
    ping(machine, HOST, 1472)?;
    machine.sh(&format!(
        "until ip -6 address show dev {INTERFACE} scope global | grep -q fd00:8259:; do usleep 50000; done"
    ))?;
    ping(machine, HOST6, 56)?;
    ping(machine, HOST6, 1452)
}

fn a_tcp_stream_comes_back_as_it_was(machine: &mut Machine) -> Result<()> {
    for host in [HOST, HOST6] {
        let text = machine.sh(&format!(
            "dd if=/dev/urandom of=/tmp/there bs=1M count=4 2>/dev/null
             nc {host} 7 </tmp/there >/tmp/back; cmp /tmp/there /tmp/back && ls -l /tmp/back"
        ))?;
        ensure!(text.contains("4194304"), "over {host}: {text}");
    }
    Ok(())
}

fn a_tcp_stream_arrives_in_large_receives(machine: &mut Machine) -> Result<()> {
    get_address(machine)?;
    large_receive(machine, "on")?;
    let before = coalesced(machine)?;
    take_characters(machine)?;
    let after = coalesced(machine)?;
    let (segments, packets) = (after.0 - before.0, after.1 - before.1);
    // Some 2900 segments, those with PSH apart.
    ensure!(
        packets > 0 && segments > 1000 && segments > 2 * packets,
        "{segments} segments came in {packets} large receives"
    );

    large_receive(machine, "off")?;
    let before = coalesced(machine)?;
    take_characters(machine)?;
    ensure!(coalesced(machine)? == before, "turned off, it goes on");
    Ok(())
}

/// Turns large receive offload on or off, which resets the card.
///
/// While it is on, the driver must not take the whole first buffer of a packet for headers (legacy-rx), and the kernel
/// must not coalesce by itself (GRO): ixgbe tells the kernel of segments of size 0 otherwise, or of none at all, which
/// the kernel then calls a suspect driver in its log.
pub fn large_receive(machine: &mut Machine, state: &str) -> Result<()> {
    let gro = if state == "on" { "off" } else { "on" };
    machine.sh(&format!(
        "ethtool --set-priv-flags {INTERFACE} legacy-rx {state}
         ethtool -K {INTERFACE} gro {gro} lro {state}"
    ))?;
    let features = machine.sh(&format!("ethtool -k {INTERFACE}"))?;
    let found = field(&features, "large-receive-offload")?;
    ensure!(found == state, "large receive offload is {found}");
    machine::load(machine.world()?)
}

/// Receives 4 MiB of the character generator (RFC 864), and looks at each.
fn take_characters(machine: &mut Machine) -> Result<()> {
    const LEN: usize = 4 << 20;
    // Lines of 72 characters, each beginning with the next of 95.
    const PERIOD: usize = 95 * 74;
    let ring = (b' '..=b'~').cycle();
    let lines = (0..95).flat_map(|first| {
        let line = ring.clone().skip(first).take(72);
        line.chain(*b"\r\n")
    });
    let lines = String::from_utf8(lines.collect())?;
    machine
        .world()?
        .guest()
        .write_file("/tmp/lines", lines.as_bytes())?;
    let shifted = LEN - PERIOD;
    machine.sh(&format!(
        "mkfifo /tmp/quiet; nc {HOST} 19 0<>/tmp/quiet | head -c {LEN} >/tmp/back; rm /tmp/quiet
         head -c {PERIOD} /tmp/back | cmp - /tmp/lines || exit 1
         tail -c {shifted} /tmp/back >/tmp/shifted
         head -c {shifted} /tmp/back | cmp - /tmp/shifted"
    ))?;
    Ok(())
}

/// Segments that were coalesced, and the packets that they have become.
fn coalesced(machine: &mut Machine) -> Result<(u64, u64)> {
    let statistics = machine.world()?.statistics()?;
    let of = |name: &str| {
        let value = statistics.get(name).copied();
        value.with_context(|| format!("no counter {name}"))
    };
    Ok((of("hw_rsc_aggregated")?, of("hw_rsc_flushed")?))
}

fn a_tcp_stream_leaves_in_frames_that_are_right(machine: &mut Machine) -> Result<()> {
    const LEN: usize = 1 << 20;
    for host in [HOST, HOST6] {
        let mut cable = machine.world()?.server().cable()?;
        let watching = thread::spawn(move || -> Result<Vec<Vec<u8>>> {
            let mut frames: Vec<Vec<u8>> = Vec::new();
            // Until the guest ends the connection.
            while !frames.iter().any(|frame| ends(frame)) {
                let more = cable.take(machine::LIMIT)?;
                ensure!(!more.is_empty(), "no more frames after {}", frames.len());
                frames.extend(more);
            }
            Ok(frames)
        });
        machine.sh(&format!(
            "yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c {LEN} >/tmp/there
             nc {host} 9 </tmp/there"
        ))?;
        let Ok(frames) = watching.join() else {
            bail!("the watcher of the cable panicked");
        };
        let frames = frames?;
        let line = b"0123456789abcdefghijklmnopqrstuvwxyz\n";
        let expected: Vec<u8> = line.iter().copied().cycle().take(LEN).collect();
        let mut whole = vec![None; LEN];
        let mut first = None;
        let mut most = 0;
        for frame in frames.iter().filter(|frame| port(frame) == Some(9)) {
            let checked = Checked::new(frame)?;
            let tcp = checked.tcp()?;
            if tcp.syn {
                first = Some(tcp.sequence_number.wrapping_add(1));
            }
            let first = first.context("data before the connection")?;
            let start = usize::try_from(tcp.sequence_number.wrapping_sub(first))?;
            most = most.max(checked.payload.len());
            for (at, byte) in (start..).zip(&checked.payload) {
                let place = whole.get_mut(at).context("more than was sent")?;
                *place = Some(*byte);
            }
        }
        let whole: Option<Vec<u8>> = whole.into_iter().collect();
        ensure!(
            whole.as_deref() == Some(&expected),
            "over {host} the frames make another stream"
        );
        ensure!(
            (1000..=1460).contains(&most),
            "the largest payload over {host} has {most} bytes"
        );
        let segmented = machine.world()?.grown("tx_packets")?;
        ensure!(segmented > 0, "no packet is counted");
    }
    Ok(())
}

/// Destination port of a TCP frame.
fn port(frame: &[u8]) -> Option<u16> {
    Some(Checked::new(frame).ok()?.tcp().ok()?.destination_port)
}

fn ends(frame: &[u8]) -> bool {
    let checked = Checked::new(frame);
    checked.is_ok_and(|checked| {
        checked
            .tcp()
            .is_ok_and(|tcp| tcp.fin && tcp.destination_port == 9)
    })
}

fn jumbo_packets_come_back(machine: &mut Machine) -> Result<()> {
    for mtu in [9000, 9710] {
        machine.sh(&format!("ip link set {INTERFACE} mtu {mtu}"))?;
        machine::load(machine.world()?)?;
        // Less the headers of IP and ICMP.
        ping(machine, HOST, mtu - 28)?;
        let text = machine.sh(&format!(
            "nc {HOST} 7 </tmp/there >/tmp/back; cmp /tmp/there /tmp/back && ls -l /tmp/back"
        ))?;
        ensure!(text.contains("/tmp/back"), "{text}");
    }
    machine.sh(&format!("ip link set {INTERFACE} mtu 1500"))?;
    machine::load(machine.world()?)
}

fn a_vlan_interface_sends_and_receives(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "modprobe 8021q && ip link add link {INTERFACE} name vlan5 type vlan id 5
         ip address add 192.168.5.1/24 dev vlan5 && ip link set vlan5 up"
    ))?;
    // A change of the MTU has taken it down.
    machine.wait_for_link()?;
    let world = machine.world()?;
    let mut cable = world.server().cable()?;
    let command = "ping -c 1 -W 1 192.168.5.2; cat /sys/class/net/vlan5/statistics/rx_packets";
    let before: u64 = last_number(&world.guest().run(command, machine::LIMIT)?.stdout)?;
    // ARP behind tag 5. Other frames of the new interface may come first.
    let asks = |frame: &Vec<u8>| frame.get(12..18) == Some(&[0x81, 0, 0, 5, 8, 6]);
    let mut frames = Vec::new();
    while !frames.iter().any(asks) {
        let more = cable.take(Duration::from_secs(20))?;
        ensure!(
            !more.is_empty(),
            "no tagged ARP on the cable: {frames:02x?}"
        );
        frames.extend(more);
    }

    let arriving: Vec<_> = (0..10)
        .map(|number| tagged(&numbered(BROADCAST, number, 100), 5))
        .collect();
    cable.put(&arriving)?;
    let wanted = before + 10;
    let text = machine.sh(&format!(
        "for i in $(seq 2000); do n=$(cat /sys/class/net/vlan5/statistics/rx_packets); [ $n -lt {wanted} ] || break;
         usleep 10000; done; echo $n; ip link del vlan5"
    ))?;
    let after = last_number(&text)?;
    ensure!(
        after == wanted,
        "{} of 10 frames reach vlan5",
        after - before
    );
    Ok(())
}

fn last_number(text: &str) -> Result<u64> {
    let line = text.lines().last().unwrap_or_default();
    line.trim()
        .parse()
        .with_context(|| format!("no number in {text:?}"))
}

fn frames_raise_the_interrupts_of_their_queues(machine: &mut Machine) -> Result<()> {
    let count = "grep TxRx /proc/interrupts | awk '{ sum += $2 + $3 } END { print sum }'";
    let before = last_number(&machine.sh(count)?)?;
    ping(machine, HOST, 56)?;
    let after = last_number(&machine.sh(count)?)?;
    ensure!(
        after >= before + 3,
        "{before} interrupts before, {after} after"
    );
    Ok(())
}

fn the_self_test_passes(machine: &mut Machine) -> Result<()> {
    let output = machine
        .world()?
        .guest()
        .run(&format!("ethtool -t {INTERFACE} offline"), machine::LIMIT)?;
    ensure!(
        output.status == 0 && output.stdout.contains("PASS"),
        "status {}: {}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    let failed: Vec<&str> = output
        .stdout
        .lines()
        .filter(|line| line.contains("(offline)") || line.contains("(on/offline)"))
        .filter(|line| line.split_whitespace().last() != Some("0"))
        .collect();
    ensure!(failed.is_empty(), "{failed:?}");
    machine.forgive()?;
    machine::load(machine.world()?)?;
    get_address(machine)?;
    ping(machine, HOST, 56)
}

fn the_driver_is_loaded_anew_fifty_times(machine: &mut Machine) -> Result<()> {
    let text = machine.sh_within(
        &format!(
            "for i in $(seq 50); do
                rmmod ixgbe || exit 1
                [ ! -e /sys/class/net/{INTERFACE} ] || exit 2
                modprobe ixgbe || exit 3
                ip link set {INTERFACE} up || exit 4
                echo loaded
             done"
        ),
        Duration::from_secs(600),
    )?;
    let loads = text.lines().filter(|line| *line == "loaded").count();
    ensure!(loads == 50, "{loads} loads");
    machine::load(machine.world()?)?;
    get_address(machine)?;
    ping(machine, HOST, 1472)
}

/// The driver in a guest that has just booted.
fn fresh(machine: &mut Machine) -> Result<()> {
    machine.mark("loading the driver")?;
    machine::load(machine.world()?)?;
    get_address(machine)?;
    ping(machine, HOST, 1472)
}

fn a_reboot_of_the_guest_brings_the_nic_back(machine: &mut Machine) -> Result<()> {
    machine.world()?.guest().reboot(BOOT_LIMIT)?;
    fresh(machine)
}

fn a_reset_of_the_machine_brings_the_nic_back(machine: &mut Machine) -> Result<()> {
    machine.world()?.guest().system_reset(BOOT_LIMIT)?;
    fresh(machine)
}

fn after_qemu_was_killed_the_next_guest_has_the_nic(machine: &mut Machine) -> Result<()> {
    machine.kill_and_boot()?;
    get_address(machine)?;
    ping(machine, HOST, 1472)
}
