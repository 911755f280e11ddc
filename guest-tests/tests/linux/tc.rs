//! What `tc` leaves to the card: rules of `cls_u32`, which become Flow Director filters (7.1.2.7), and the traffic
//! classes of `mqprio`. The rules are `skip_sw`: what the kernel is not to do itself, the card has to.

use std::{net::Ipv4Addr, time::Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{
    World,
    cable::Cable,
    frames::{Flow, Mac, PEER},
    linux_world::INTERFACE,
    world::Setup,
};

use super::machine::{self, LIMIT, Machine, Test};

pub const TESTS: &[Test] = tests![
    the_card_drops_and_redirects_what_tc_tells_it_to,
    the_card_looks_at_ports_behind_the_ip_header_for_tc,
];

/// The macvlan device to which frames are redirected, and the two queues of its pool.
const OTHER: &str = "mv1";
const QUEUES_OF_OTHER: [usize; 2] = [2, 3];

/// A rule of the table at the root of u32, or of the one behind the IP header.
fn rule(handle: &str, table: &str, matches: &str, action: &str) -> String {
    format!(
        "tc filter add dev {INTERFACE} parent ffff: protocol ip prio 1 handle {handle} \
         u32 ht {table} match {matches} skip_sw action {action}"
    )
}

/// A datagram or segment to the guest from the host of this number.
fn flow(host: u8, source_port: u16) -> Flow {
    Flow {
        source: (Ipv4Addr::new(10, 1, 0, host).into(), source_port),
        destination: (Ipv4Addr::new(10, 2, 0, 2).into(), 9),
    }
}

/// Frames that came: in the queues of the interface's own pool, in those of the other device, to the other device as
/// the kernel counts, and by Flow Director filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    own: u64,
    other: u64,
    other_device: u64,
    matched: u64,
}

impl Seen {
    fn of(machine: &mut Machine) -> Result<Self> {
        let device = machine.sh(&format!(
            "cat /sys/class/net/{OTHER}/statistics/rx_packets || echo 0"
        ))?;
        let counters = machine.world()?.statistics()?;
        let of = |name: &str| {
            let value = counters.get(name).copied();
            value.with_context(|| format!("no counter {name}"))
        };
        let queues = |numbers: [usize; 2]| {
            let counts = numbers.map(|queue| of(&format!("rx_queue_{queue}_packets")));
            counts.into_iter().sum::<Result<u64>>()
        };
        Ok(Self {
            own: queues([0, 1])?,
            other: queues(QUEUES_OF_OTHER)?,
            other_device: device.trim().parse()?,
            matched: of("fdir_match")?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            own: self.own - before.own,
            other: self.other - before.other,
            other_device: self.other_device - before.other_device,
            matched: self.matched - before.matched,
        }
    }
}

/// Lets the frames arrive, and waits until this is what was seen of them.
fn arrive(machine: &mut Machine, frames: &[Vec<u8>], expected: Seen) -> Result<()> {
    let before = Seen::of(machine)?;
    machine.world()?.cable().put(frames)?;
    let begun = Instant::now();
    loop {
        let seen = Seen::of(machine)?.since(before);
        if seen == expected {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < LIMIT,
            "{seen:?} instead of {expected:?} of {} frames",
            frames.len()
        );
        machine.sh("usleep 50000")?;
    }
}

/// Runs a test while the card takes rules of `tc`, with another device to redirect frames to.
fn with_offload(
    machine: &mut Machine,
    run: impl FnOnce(&mut Machine, Mac) -> Result<()>,
) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    let mac = machine.world()?.mac()?;
    machine.sh(&format!(
        "set -e; modprobe -a macvlan sch_ingress cls_u32 act_gact act_mirred
         ip link set {INTERFACE} down; ethtool -L {INTERFACE} combined 2
         ethtool -K {INTERFACE} hw-tc-offload on l2-fwd-offload on"
    ))?;
    machine::load(machine.world()?)?;
    machine.sh(&format!(
        "set -e
         ip link add link {INTERFACE} name {OTHER} type macvlan mode vepa; ip link set {OTHER} up
         tc qdisc add dev {INTERFACE} handle ffff: ingress"
    ))?;
    machine.wait_for_link()?;
    let outcome = run(machine, mac);
    let removed = machine.sh(&format!(
        "tc qdisc del dev {INTERFACE} ingress; ip link del {OTHER}; ip link set {INTERFACE} down
         ethtool -K {INTERFACE} hw-tc-offload off l2-fwd-offload off"
    ));
    outcome?;
    removed?;
    machine::load(machine.world()?)
}

/// How many rules `tc` says the card has.
fn rules_of_the_card(machine: &mut Machine) -> Result<usize> {
    let listing = machine.sh(&format!("tc filter show dev {INTERFACE} ingress"))?;
    Ok(listing.matches("skip_sw in_hw").count())
}

fn the_card_drops_and_redirects_what_tc_tells_it_to(machine: &mut Machine) -> Result<()> {
    with_offload(machine, |machine, mac| {
        let to_other = format!("mirred egress redirect dev {OTHER}");
        machine.sh(&rule("800:0:1", "800:", "ip src 10.1.0.1/32", "drop"))?;
        machine.sh(&rule("800:0:2", "800:", "ip src 10.1.0.2/32", &to_other))?;
        let rules = rules_of_the_card(machine)?;
        ensure!(rules == 2, "the card has {rules} rules");
        let of_host = |host| flow(host, 5000).udp(PEER, mac, b"a datagram");
        let mut frames = vec![of_host(1)?; 7];
        frames.extend(vec![of_host(2)?; 11]);
        frames.extend(vec![of_host(3)?; 13]);

        let expected = Seen {
            own: 13,
            other: 11,
            other_device: 11,
            matched: 18,
        };
        arrive(machine, &frames, expected)?;

        machine.sh(&format!(
            "tc filter del dev {INTERFACE} parent ffff: protocol ip prio 1 handle 800:0:2 u32"
        ))?;
        let expected = Seen {
            own: 24,
            other: 0,
            other_device: 0,
            matched: 7,
        };
        arrive(machine, &frames, expected).context("without the second rule")?;

        // The driver writes the other one again after a reset.
        let place = machine.place()?;
        machine.sh(&format!("ethtool -r {INTERFACE}"))?;
        machine.wait_until_said(&place, "NIC Link is Up")?;
        machine.wait_for_link()?;
        arrive(machine, &frames, expected).context("after a reset")
    })
}

fn the_card_looks_at_ports_behind_the_ip_header_for_tc(machine: &mut Machine) -> Result<()> {
    with_offload(machine, |machine, mac| {
        // A table for what is behind the IP header, if that is TCP: 6.
        machine.sh(&format!(
            "set -e
             tc filter add dev {INTERFACE} parent ffff: protocol ip prio 1 handle 1: u32 divisor 1
             tc filter add dev {INTERFACE} parent ffff: protocol ip prio 1 handle 800:0:1 \
             u32 ht 800: link 1: offset at 0 mask 0f00 shift 6 plus 0 eat \
             match ip protocol 6 ff match ip src 10.1.0.1/32"
        ))?;
        machine.sh(&rule("1:0:2", "1:", "tcp src 80 ffff", "drop"))?;
        let rules = rules_of_the_card(machine)?;
        ensure!(rules == 1, "the card has {rules} rules");
        let mut frames = vec![flow(1, 80).tcp(PEER, mac, b"dropped")?; 3];
        frames.extend(vec![flow(1, 81).tcp(PEER, mac, b"another port")?; 5]);
        frames.extend(vec![flow(1, 80).udp(PEER, mac, b"no TCP")?; 7]);
        frames.extend(vec![flow(2, 80).tcp(PEER, mac, b"another host")?; 11]);

        let expected = Seen {
            own: 23,
            other: 0,
            other_device: 0,
            matched: 3,
        };
        arrive(machine, &frames, expected)
    })
}
