//! ESP that Linux leaves to the card, against a host that does it in software (7.12).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, PacketHeaders, TransportHeader};
use guest_tests::{
    World,
    cable::Cable,
    frames::PEER,
    ipsec::{Association, Kind},
    linux_world::INTERFACE,
    world::Setup,
};

use super::{
    esp_peer::{ECHO, EspPeer},
    machine::{LIMIT, Machine, Test},
};

pub const TESTS: &[Test] = tests![
    pings_and_datagrams_go_through_esp_of_the_card,
    what_is_broken_repeated_or_unprotected_is_not_delivered,
    tcp_in_esp_is_cut_into_segments_by_the_card,
    after_a_reset_the_card_has_its_associations_again,
    the_driver_refuses_what_the_card_cannot_do,
];

/// Once the guest has spoken IPv6 it is sent router advertisements, for which other tests have no room.
pub const OVER_IPV6: &[Test] = tests![
    pings_and_datagrams_over_ipv6_go_through_esp_of_the_card,
    what_is_broken_repeated_or_unprotected_is_not_delivered_over_ipv6,
    tcp_over_ipv6_in_esp_is_cut_into_segments_by_the_card,
];

/// The addresses of guest and peer, in one subnet.
#[derive(Clone, Copy)]
struct Hosts {
    guest: IpAddr,
    far: IpAddr,
}

const V4: Hosts = Hosts {
    guest: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    far: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)),
};
const V6: Hosts = Hosts {
    guest: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    far: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
};

impl Hosts {
    /// The commands that give the guest its address. Nobody else may answer for it, nor is anybody asked.
    fn address(self) -> String {
        match self.guest {
            IpAddr::V4(guest) => format!("ip address add {guest}/24 dev {INTERFACE}"),
            IpAddr::V6(guest) => format!(
                "for i in all {INTERFACE}; do echo 0 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done
                 ip address add {guest}/64 dev {INTERFACE} nodad"
            ),
        }
    }

    /// A ping of the peer's.
    fn request(self, number: u16) -> Result<Vec<u8>> {
        const PAYLOAD: &[u8] = b"is anybody there?";
        const ID: u16 = 0x8259;
        let mut packet = Vec::new();
        match (self.far, self.guest) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                PacketBuilder::ipv4(from.octets(), to.octets(), 64)
                    .icmpv4_echo_request(ID, number)
                    .write(&mut packet, PAYLOAD)?;
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                PacketBuilder::ipv6(from.octets(), to.octets(), 64)
                    .icmpv6_echo_request(ID, number)
                    .write(&mut packet, PAYLOAD)?;
            }
            _ => bail!("hosts of two IP versions"),
        }
        Ok(packet)
    }
}
const FROM_GUEST: Association = Association {
    kind: Kind::Esp,
    spi: 0x8259_9001,
    key: *b"the guest's key!",
    salt: *b"salt",
};
const TO_GUEST: Association = Association {
    kind: Kind::Esp,
    spi: 0x8259_9002,
    key: *b"the peer's key!!",
    salt: *b"SALT",
};
/// What the driver counts: packets that it has left to the card, and packets that the card has opened.
const SENT: &str = "tx_ipsec";
const RECEIVED: &str = "rx_ipsec";
/// What the kernel would load by itself if it had a place to call for it; what `drbg` tests itself with comes before it.
const MODULES: &str = "xfrm_user esp4 esp4_offload esp6 esp6_offload ctr gcm ghash_generic jitterentropy_rng \
                       sha512_generic drbg seqiv";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The command that adds a state with this mode, algorithm and key.
fn add_state(from: IpAddr, to: IpAddr, spi: u32, how: &str, dir: &str) -> String {
    let window = if dir == "in" { 32 } else { 0 };
    format!(
        "ip xfrm state add src {from} dst {to} proto esp spi {spi:#x} reqid 1 \
         replay-window {window} {how} offload dev {INTERFACE} dir {dir}"
    )
}

/// What an association does, as [`add_state`] wants it.
fn how(association: &Association) -> String {
    let key = hex(&[&association.key[..], &association.salt].concat());
    format!("mode transport aead 'rfc4106(gcm(aes))' 0x{key} 128")
}

/// Runs a test in which guest and peer may only speak ESP with each other.
fn protected(
    machine: &mut Machine,
    hosts: Hosts,
    run: impl FnOnce(&mut Machine, &mut EspPeer) -> Result<()>,
) -> Result<()> {
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    let Hosts { guest, far } = hosts;
    let mut peer = EspPeer::new(far, world.mac()?, [FROM_GUEST, TO_GUEST])?;
    let far_mac = PEER.map(|byte| format!("{byte:02x}")).join(":");
    let policy = |from, to, dir| {
        format!(
            "ip xfrm policy add src {from} dst {to} dir {dir} \
             tmpl src {from} dst {to} proto esp reqid 1 mode transport"
        )
    };
    let script = [
        "set -e".to_owned(),
        format!("modprobe -a {MODULES}"),
        // Before 6.11 that a card has decrypted a packet is known to GRO alone.
        format!("ethtool -K {INTERFACE} gro on"),
        add_state(guest, far, FROM_GUEST.spi, &how(&FROM_GUEST), "out"),
        add_state(far, guest, TO_GUEST.spi, &how(&TO_GUEST), "in"),
        policy(guest, far, "out"),
        policy(far, guest, "in"),
        hosts.address(),
        format!("ip neigh replace {far} lladdr {far_mac} nud permanent dev {INTERFACE}"),
    ];
    let result = machine
        .sh(&script.join("\n"))
        .and_then(|_| run(machine, &mut peer));
    let removed = machine.sh(&format!(
        "ip address flush dev {INTERFACE}; ip neigh flush dev {INTERFACE} nud permanent
         echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
         ip xfrm policy flush; ip xfrm state flush; [ -z \"$(ip xfrm state)\" ]"
    ));
    result?;
    removed?;
    Ok(())
}

/// Runs a command in the guest while the peer answers.
fn while_the_peer_answers(
    machine: &mut Machine,
    peer: &mut EspPeer,
    command: &str,
) -> Result<String> {
    let (guest, cable) = machine.world()?.guest_and_cable();
    let done = AtomicBool::new(false);
    let (output, answered) = thread::scope(|scope| {
        let answering = scope.spawn(|| -> Result<()> {
            // What is still under way when the command ends is answered too.
            while !done.load(Ordering::Relaxed)
                || !peer.turn(cable, Duration::from_millis(200))?.is_empty()
            {
                peer.turn(cable, Duration::from_millis(2))?;
            }
            Ok(())
        });
        let output = guest.run(command, LIMIT);
        done.store(true, Ordering::Relaxed);
        (output, answering.join())
    });
    let Ok(answered) = answered else {
        bail!("the peer panicked");
    };
    answered?;
    let output = output?;
    ensure!(
        output.status == 0,
        "`{command}`: status {}:\n{}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    Ok(output.stdout)
}

/// Waits until the driver has counted this many packets of IPsec that were sent, or received.
fn counted(machine: &mut Machine, name: &str, packets: u32) -> Result<()> {
    let begun = Instant::now();
    loop {
        let count = machine.world()?.grown(name)?;
        if count == u64::from(packets) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < LIMIT,
            "{name} is {count} instead of {packets}"
        );
        machine.sh("usleep 50000")?;
    }
}

fn pings_and_datagrams_go_through_esp_of_the_card(machine: &mut Machine) -> Result<()> {
    pings_and_datagrams(machine, V4)
}

fn pings_and_datagrams_over_ipv6_go_through_esp_of_the_card(machine: &mut Machine) -> Result<()> {
    pings_and_datagrams(machine, V6)
}

fn pings_and_datagrams(machine: &mut Machine, hosts: Hosts) -> Result<()> {
    let far = hosts.far;
    protected(machine, hosts, |machine, peer| {
        let states = machine.sh("ip xfrm state")?;
        for dir in ["out", "in"] {
            let offload = format!("crypto offload parameters: dev {INTERFACE} dir {dir}");
            ensure!(states.contains(&offload), "{states}");
        }

        // The driver tells the card of everything in ESP that it is TCP: datagrams bring their checksums along.
        while_the_peer_answers(
            machine,
            peer,
            &format!(
                "set -e
                 ethtool -K {INTERFACE} tx-checksum-ip-generic off
                 for len in 56 57 58 59 1300; do ping -c 1 -W 60 -s $len {far}; done
                 seq 1000 1199 | tr -d '\\n' >/tmp/datagram
                 bash -c 'exec 3<>/dev/udp/{far}/{ECHO}; dd if=/tmp/datagram bs=800 >&3
                          timeout 60 head -c 800 <&3 >/tmp/answer'
                 cmp /tmp/datagram /tmp/answer
                 ethtool -K {INTERFACE} tx-checksum-ip-generic on tx-tcp-segmentation on \
                     tx-tcp6-segmentation on"
            ),
        )?;

        ensure!((peer.received, peer.sent) == (6, 6), "not all went by ESP");
        counted(machine, SENT, 6)?;
        counted(machine, RECEIVED, 6)
    })
}

fn what_is_broken_repeated_or_unprotected_is_not_delivered(machine: &mut Machine) -> Result<()> {
    only_the_authentic_is_delivered(machine, V4)
}

fn what_is_broken_repeated_or_unprotected_is_not_delivered_over_ipv6(
    machine: &mut Machine,
) -> Result<()> {
    only_the_authentic_is_delivered(machine, V6)
}

fn only_the_authentic_is_delivered(machine: &mut Machine, hosts: Hosts) -> Result<()> {
    protected(machine, hosts, |machine, peer| {
        let first = peer.seal(&hosts.request(1)?)?;
        let mut broken = peer.seal(&hosts.request(2)?)?;
        if let Some(last) = broken.last_mut() {
            *last ^= 1;
        }
        let unprotected = peer.frame(&hosts.request(3)?);
        let last = peer.seal(&hosts.request(4)?)?;
        let errors = xfrm_errors(machine)?;
        let cable = machine.world()?.cable();
        cable.put(&[first.clone(), broken, first, unprotected, last])?;

        let mut answered = Vec::new();
        let begun = Instant::now();
        while answered.last() != Some(&4) {
            for packet in peer.turn(cable, Duration::from_millis(100))? {
                answered.extend(echo_reply(&packet)?);
            }
            ensure!(begun.elapsed() < LIMIT, "answered: {answered:?}");
        }

        ensure!(answered == [1, 4], "answered: {answered:?}");
        // The broken one gets no further than to the driver. The repeated one is authentic: the kernel refuses it.
        counted(machine, SENT, 2)?;
        counted(machine, RECEIVED, 3)?;
        let now = xfrm_errors(machine)?;
        for (name, grown) in [
            ("XfrmInStateSeqError", 1),
            ("XfrmInTmplMismatch", 1),
            ("XfrmInStateProtoError", 0),
        ] {
            let count = |of: &BTreeMap<String, u64>| of.get(name).copied().unwrap_or(0);
            let counted = count(&now) - count(&errors);
            ensure!(counted == grown, "{name}: {counted}");
        }
        Ok(())
    })
}

/// What the kernel has counted of IPsec that went wrong.
fn xfrm_errors(machine: &mut Machine) -> Result<BTreeMap<String, u64>> {
    let text = machine.sh("cat /proc/net/xfrm_stat")?;
    let lines = text.lines().filter_map(|line| {
        let (name, count) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    });
    Ok(lines.collect())
}

/// The number of an answer to a ping.
fn echo_reply(packet: &[u8]) -> Result<Option<u16>> {
    let headers = PacketHeaders::from_ip_slice(packet)?;
    Ok(match headers.transport {
        Some(TransportHeader::Icmpv4(icmp)) => match icmp.icmp_type {
            Icmpv4Type::EchoReply(echo) => Some(echo.seq),
            _ => None,
        },
        Some(TransportHeader::Icmpv6(icmp)) => match icmp.icmp_type {
            Icmpv6Type::EchoReply(echo) => Some(echo.seq),
            _ => None,
        },
        _ => None,
    })
}

fn tcp_in_esp_is_cut_into_segments_by_the_card(machine: &mut Machine) -> Result<()> {
    tcp_in_segments(machine, V4)
}

fn tcp_over_ipv6_in_esp_is_cut_into_segments_by_the_card(machine: &mut Machine) -> Result<()> {
    tcp_in_segments(machine, V6)
}

fn tcp_in_segments(machine: &mut Machine, hosts: Hosts) -> Result<()> {
    let far = hosts.far;
    protected(machine, hosts, |machine, peer| {
        while_the_peer_answers(
            machine,
            peer,
            &format!(
                "set -e
                 head -c 400000 /dev/urandom >/tmp/data
                 timeout 100 nc {far} {ECHO} </tmp/data >/tmp/echo
                 cmp /tmp/data /tmp/echo; rm /tmp/data /tmp/echo"
            ),
        )?;

        counted(machine, RECEIVED, peer.sent)?;
        let sent = machine.world()?.grown(SENT)?;
        ensure!(
            0 < sent && sent < u64::from(peer.received),
            "{sent} packets of the driver became {} on the cable",
            peer.received
        );
        Ok(())
    })
}

/// The driver clears the card's tables and writes them anew.
fn after_a_reset_the_card_has_its_associations_again(machine: &mut Machine) -> Result<()> {
    protected(machine, V4, |machine, peer| {
        let ping = format!("ping -c 1 -W 60 {}", V4.far);
        while_the_peer_answers(machine, peer, &ping)?;

        let place = machine.place()?;
        machine.sh(&format!("ethtool -r {INTERFACE}"))?;
        machine.wait_until_said(&place, "NIC Link is Up")?;
        machine.wait_for_link()?;

        while_the_peer_answers(machine, peer, &ping)?;
        ensure!((peer.received, peer.sent) == (2, 2), "not all went by ESP");
        counted(machine, SENT, 2)?;
        counted(machine, RECEIVED, 2)
    })
}

fn the_driver_refuses_what_the_card_cannot_do(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    machine.sh(&format!("modprobe -a {MODULES}"))?;
    let key = |len: usize| "5a".repeat(len);
    for (how, complaint) in [
        (
            format!("mode transport aead 'rfc4106(gcm(aes))' 0x{} 128", key(36)),
            "only supports keys up to 128 bits with a 32 bit salt",
        ),
        (
            format!("mode transport aead 'rfc4106(gcm(aes))' 0x{} 96", key(20)),
            "requires 128 bit authentication",
        ),
        (
            format!("mode transport aead 'rfc4543(gcm(aes))' 0x{} 128", key(20)),
            "please use rfc4106(gcm(aes))",
        ),
        (
            format!("mode tunnel aead 'rfc4106(gcm(aes))' 0x{} 128", key(20)),
            "Unsupported mode for ipsec offload",
        ),
    ] {
        for dir in ["in", "out"] {
            machine.mark("an offload that is refused")?;
            let add = add_state(V4.guest, V4.far, FROM_GUEST.spi, &how, dir);
            let output = machine.world()?.guest().run(&add, LIMIT)?;
            let warnings = machine.warnings()?;
            machine.mark("it was refused")?;
            ensure!(output.status != 0, "`{add}` succeeds");
            // The driver tells the kernel's log or who has asked, by its version.
            let said = format!("{}{}", output.stderr, warnings.join("\n"));
            ensure!(said.contains(complaint), "`{add}`: {said}");
        }
    }
    let states = machine.sh("ip xfrm state")?;
    ensure!(states.is_empty(), "{states}");
    Ok(())
}
