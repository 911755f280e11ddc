//! Two servers, their wires joined.

use std::net::TcpListener;

use anyhow::Result;
use guest_tests::{
    frames::{self, Mac},
    server::{Far, Server},
};

use super::station::{Station, meet, numbered, pass};

const FIRST: Mac = [0x02, 0x82, 0x59, 0x00, 0x00, 0x01];
const SECOND: Mac = [0x02, 0x82, 0x59, 0x00, 0x00, 0x02];

fn start(mac: Mac, wire: &str) -> Result<Server> {
    Server::start_as(mac, Far::Wire(wire))
}

/// Our driver, which waits for the link, on the server's card.
fn station(server: &Server) -> Result<Station> {
    Station::at(&server.socket(), &server.control())
}

/// An address that was free a moment ago.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Every frame arrives, in order and as it was, in both directions.
fn frames_pass(first: &str, second: &str) -> Result<()> {
    let servers = [start(FIRST, first)?, start(SECOND, second)?];
    let (mut one, mut two) = (station(&servers[0])?, station(&servers[1])?);
    meet(&mut one, &mut two)?;
    meet(&mut two, &mut one)?;
    let there = numbered(FIRST, SECOND, (0..300).map(|n| 60 + n * 29));
    let back = numbered(SECOND, FIRST, (0..300).map(|n| 9014 - n * 29));

    let arrived = pass(&mut one, &mut two, &there)?;
    let returned = pass(&mut two, &mut one, &back)?;

    frames::same(&arrived, &there)?;
    frames::same(&returned, &back)
}

pub fn frames_pass_between_servers_that_a_tcp_stream_joins() -> Result<()> {
    let address = free_address()?;
    frames_pass(
        &format!("stream:tcp:{address},server"),
        &format!("stream:tcp:{address}"),
    )
}

pub fn frames_pass_between_servers_that_unix_datagrams_join() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name).display().to_string());
    frames_pass(
        &format!("dgram:unix:{one},{two}"),
        &format!("dgram:unix:{two},{one}"),
    )
}

pub fn the_link_goes_with_the_other_server_and_comes_back_with_its_successor() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("wire").display().to_string();
    let listens = format!("stream:unix:{path},server");
    let first = start(FIRST, &format!("stream:unix:{path}"))?;
    let second = start(SECOND, &listens)?;
    let mut one = station(&first)?;

    drop(second);
    one.wait_for_link(false)?;
    let second = start(SECOND, &listens)?;
    one.wait_for_link(true)?;
    let mut two = station(&second)?;
    meet(&mut one, &mut two)?;

    let sent = numbered(FIRST, SECOND, [60, 1514]);
    let arrived = pass(&mut one, &mut two, &sent)?;
    frames::same(&arrived, &sent)
}
