//! Captures that are replayed and made.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use guest_tests::{
    frames::{self, PEER},
    server::{Far, Server},
    world::World,
};
use nic_driver::Packet;
use wire::{
    Direction,
    file::{self, PcapNg},
};

use super::station::{Station, numbered};

const CARD: frames::Mac = [0x02, 0x82, 0x59, 0x00, 0x00, 0x03];
/// How long a file may take to be complete.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a capture has so many frames.
fn captured(path: &Path, count: usize) -> Result<Vec<Vec<u8>>> {
    let begun = Instant::now();
    loop {
        // It may end within a frame as long as the server writes.
        let frames = file::read(path).map_or_else(|_| Vec::new(), |read| read.frames);
        if frames.len() >= count {
            return Ok(frames);
        }
        ensure!(begun.elapsed() < PATIENCE, "{} frames only", frames.len());
    }
}

pub fn a_driver_gets_every_frame_of_a_replay_and_what_it_sends_is_captured() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [input, output, all] = ["in", "out", "all"].map(|name| folder.path().join(name));
    let replayed = numbered(PEER, CARD, (0..300).map(|n| 60 + n * 29));
    let mut writer = PcapNg::new(File::create(&input)?, "test")?;
    for (frame, n) in replayed.iter().zip(0..) {
        let time = Duration::from_micros(n * 50);
        writer.frame(Direction::Receive, time, frame, frame.len())?;
    }
    writer.finish(Duration::ZERO, 0)?;
    let wire = format!(
        "pcap:{},{},speed=2x+latency=20us+rate=line+capture={}",
        input.display(),
        output.display(),
        all.display()
    );

    let server = Server::start_as(CARD, Far::Wire(&wire))?;
    let mut station = Station::at(&server.socket(), &server.control())?;
    let mut arrived = Vec::new();
    while arrived.len() < replayed.len() {
        arrived.push(station.0.receive()?.bytes);
    }
    let sent = numbered(station.0.mac()?, PEER, (0..300).map(|n| 9014 - n * 29));
    for frame in &sent {
        station.0.send_packet(0, &Packet::plain(frame))?;
    }

    frames::same(&arrived, &replayed)?;
    frames::same(&captured(&output, sent.len())?, &sent)?;
    let both = [replayed, sent].concat();
    frames::same(&captured(&all, both.len())?, &both)
}
