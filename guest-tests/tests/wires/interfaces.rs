//! Two servers whose wires are the two ends of a veth pair.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use etherparse::TcpHeader;
use guest_tests::{
    frames::{self, Checked, Flow, Mac},
    offload,
    runner::CannotRun,
    server::{Far, Server},
};
use guest_vm::{Cache, Namespace, Userland};

use super::station::{Station, meet, numbered, pass};

const FIRST: Mac = [0x02, 0x82, 0x59, 0x00, 0x00, 0x01];
const SECOND: Mac = [0x02, 0x82, 0x59, 0x00, 0x00, 0x02];
/// Payload of the segments that a large one is cut into.
const MSS: u16 = 1448;

/// A namespace with the interfaces veth0 and veth1, which are each other's peer, up.
fn pair(mtu: &str) -> Result<Namespace> {
    let cache = Cache::open()?;
    let namespace = Namespace::new(&Userland::prepare(&cache)?)?;
    let ends = "link add veth0 type veth peer name veth1";
    namespace
        .ip(&ends.split(' ').collect::<Vec<_>>())
        .map_err(|error| CannotRun(format!("{error:#}")))?;
    for end in ["veth0", "veth1"] {
        namespace.ip(&["link", "set", end, "addrgenmode", "none", "mtu", mtu, "up"])?;
    }
    Ok(namespace)
}

fn station(server: &Server) -> Result<Station> {
    Station::at(&server.socket(), &server.control())
}

pub fn frames_of_two_drivers_cross_a_veth_pair_by_packet_sockets() -> Result<()> {
    let namespace = pair("9000")?;
    let first = Server::start_as(FIRST, Far::WireIn(&namespace, "af_packet:veth0"))?;
    let second = Server::start_as(SECOND, Far::WireIn(&namespace, "af_packet:veth1"))?;
    let (mut one, mut two) = (station(&first)?, station(&second)?);
    meet(&mut one, &mut two)?;
    meet(&mut two, &mut one)?;
    let there = numbered(FIRST, SECOND, (0..300).map(|n| 60 + n * 29));
    let back = numbered(SECOND, FIRST, (0..300).map(|n| 9014 - n * 29));

    let arrived = pass(&mut one, &mut two, &there)?;
    let returned = pass(&mut two, &mut one, &back)?;

    frames::same(&arrived, &there)?;
    frames::same(&returned, &back)?;
    a_large_segment_arrives(&mut one, &mut two)
}

/// The card leaves the cutting to its wire, the kernel passes it on to the other wire, and that cuts.
fn a_large_segment_arrives(one: &mut Station, two: &mut Station) -> Result<()> {
    let flow = Flow {
        source: (Ipv4Addr::new(10, 0, 0, 1).into(), 4000),
        destination: (Ipv4Addr::new(10, 0, 0, 2).into(), 5001),
    };
    let payload: Vec<u8> = (0..60_000_u32).map(|n| (n / 3).to_le_bytes()[0]).collect();
    let small = flow.tcp_with(FIRST, SECOND, TcpHeader::new(0, 0, 1, 0x4000), &[])?;
    let large = offload::segmentation(&small, &payload, MSS)?;

    one.0.send_packet(0, &large.packet())?;

    let mut whole = Vec::new();
    while whole.len() < payload.len() {
        let received = two.0.receive().context("in the large segment")?;
        let segment = Checked::new(&received.bytes)?;
        ensure!(
            segment.payload.len() <= usize::from(MSS),
            "a segment of {} bytes",
            segment.payload.len()
        );
        whole.extend(segment.payload);
    }
    ensure!(whole == payload, "the segments make other bytes");
    Ok(())
}

pub fn frames_of_two_drivers_cross_a_veth_pair_by_af_xdp() -> Result<()> {
    let namespace = pair("1500")?;
    let first = Server::start_as(FIRST, Far::WireIn(&namespace, "af_xdp:veth0"));
    let first = first.map_err(|error| match format!("{error:#}") {
        refused if refused.contains("CAP_BPF") => CannotRun(refused).into(),
        _ => error,
    })?;
    let second = Server::start_as(SECOND, Far::WireIn(&namespace, "af_xdp:veth1"))?;
    let (mut one, mut two) = (station(&first)?, station(&second)?);
    meet(&mut one, &mut two)?;
    meet(&mut two, &mut one)?;
    let there = numbered(FIRST, SECOND, (0..300).map(|n| 60 + n * 4));
    let back = numbered(SECOND, FIRST, (0..300).map(|n| 1514 - n * 4));

    let arrived = pass(&mut one, &mut two, &there)?;
    let returned = pass(&mut two, &mut one, &back)?;

    frames::same(&arrived, &there)?;
    frames::same(&returned, &back)
}

pub fn the_link_goes_with_the_interface_and_comes_back_with_another() -> Result<()> {
    let namespace = pair("1500")?;
    let first = Server::start_as(FIRST, Far::WireIn(&namespace, "af_packet:veth0"))?;
    let mut one = station(&first)?;
    one.wait_for_link(true)?;

    namespace.ip(&["link", "set", "veth1", "down"])?;
    one.wait_for_link(false)?;
    namespace.ip(&["link", "set", "veth1", "up"])?;
    one.wait_for_link(true)?;
    namespace.ip(&["link", "delete", "veth0"])?;
    one.wait_for_link(false)?;
    let again = "link add veth0 type veth peer name veth1";
    namespace.ip(&again.split(' ').collect::<Vec<_>>())?;
    namespace.ip(&["link", "set", "veth0", "up"])?;
    namespace.ip(&["link", "set", "veth1", "up"])?;
    one.wait_for_link(true)
}
