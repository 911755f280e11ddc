use anyhow::{Context, Result, ensure};
use etherparse::TcpHeader;
use ixgbe_spec::register::Reg;
use nic_driver::{Config, Received};

use super::checksums::flow_v4;
use crate::{
    card_world::CardWorld,
    frames::{Checked, Flow, PEER, numbered},
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard tcp_segments_that_follow_one_another_become_one_packet,
    OnCard each_of_several_connections_is_coalesced_by_itself,
    OnCard segments_that_are_missing_doubled_or_pushed_are_kept_apart,
    OnCard coalescing_does_not_change_what_is_counted,
];

/// Coalescing with intervals as long as there are, so that a burst falls into few of them.
fn config() -> Config {
    Config {
        interrupts: Some(1000),
        large_receive: true,
        ring_len: 128,
        ..Config::default()
    }
}

/// One direction of a connection.
struct Stream {
    flow: Flow,
    header: TcpHeader,
    mac: [u8; 6],
}

impl Stream {
    fn new(mac: [u8; 6], port: u16) -> Self {
        let mut flow = flow_v4();
        flow.source.1 = port;
        let mut header = TcpHeader::new(0, 0, u32::MAX - 5000, 0x2000);
        header.ack = true;
        Self { flow, header, mac }
    }

    /// The next `len` bytes.
    fn segment(&mut self, len: usize) -> Result<Vec<u8>> {
        let payload: Vec<u8> = (u64::from(self.header.sequence_number)..)
            .map(|at| ((at * 167) >> 3).to_le_bytes()[0])
            .take(len)
            .collect();
        let frame = self
            .flow
            .tcp_with(PEER, self.mac, self.header.clone(), &payload)?;
        let next = self
            .header
            .sequence_number
            .wrapping_add(u32::try_from(len)?);
        self.header.sequence_number = next;
        Ok(frame)
    }
}

/// The bytes of a connection in the order in which they came, and the packets in which they did. Each packet has to be
/// right by itself.
fn stream_of(received: &[Received], port: u16) -> Result<(Vec<(u32, u8)>, usize)> {
    let mut bytes = Vec::new();
    let mut packets = 0;
    for packet in received {
        let Ok(checked) = Checked::new(&packet.bytes) else {
            ensure!(
                packet.coalesced == 0,
                "a large receive is wrong: {packet:02x?}"
            );
            continue;
        };
        let tcp = checked.tcp()?;
        if tcp.source_port == port {
            packets += 1;
            for (at, byte) in checked.payload.iter().enumerate() {
                let place = tcp.sequence_number.wrapping_add(u32::try_from(at)?);
                bytes.push((place, *byte));
            }
        }
    }
    Ok((bytes, packets))
}

/// What [`stream_of`] would give if each frame were delivered as it is.
fn stream_on_cable(frames: &[Vec<u8>], port: u16) -> Result<Vec<(u32, u8)>> {
    let mut bytes = Vec::new();
    for frame in frames {
        let checked = Checked::new(frame)?;
        let tcp = checked.tcp()?;
        if tcp.source_port == port {
            for (at, byte) in checked.payload.iter().enumerate() {
                let place = tcp.sequence_number.wrapping_add(u32::try_from(at)?);
                bytes.push((place, *byte));
            }
        }
    }
    Ok(bytes)
}

/// Lets frames arrive, and one more, by which the end is seen.
fn arrive(world: &mut CardWorld, frames: &[Vec<u8>]) -> Result<Vec<Received>> {
    let mac = world.driver()?.mac();
    // What is coalesced comes when an interval is over, the last frame at once.
    world.cable().put(frames)?;
    let mut received = Vec::new();
    let mut left = frames.len();
    while left > 0 {
        let packet = world.receive()?;
        left = left
            .checked_sub(packet.coalesced.max(1))
            .context("more packets than frames")?;
        received.push(packet);
    }
    let last = numbered(mac, 1, 60);
    let more = world.exchange(std::slice::from_ref(&last))?;
    ensure!(more.len() == 1, "{} more packets", more.len() - 1);
    Ok(received)
}

fn tcp_segments_that_follow_one_another_become_one_packet(world: &mut CardWorld) -> Result<()> {
    let mac = world.bring_up(&config())?.mac();
    let mut stream = Stream::new(mac, 80);
    let frames: Vec<_> = (0..20)
        .map(|number| stream.segment(1000 + number))
        .collect::<Result<_>>()?;

    let received = arrive(world, &frames)?;

    let (bytes, packets) = stream_of(&received, 80)?;
    ensure!(
        bytes == stream_on_cable(&frames, 80)?,
        "the stream is another"
    );
    ensure!(packets <= 10, "20 segments came as {packets} packets");
    let several = received.iter().any(|packet| packet.descriptors > 1);
    ensure!(several, "no packet has more than one descriptor");
    Ok(())
}

fn each_of_several_connections_is_coalesced_by_itself(world: &mut CardWorld) -> Result<()> {
    let mac = world.bring_up(&config())?.mac();
    let ports = [80, 81, 82];
    let mut streams = ports.map(|port| Stream::new(mac, port));
    let mut frames = Vec::new();
    for number in 0..10 {
        for stream in &mut streams {
            frames.push(stream.segment(700 + number)?);
        }
    }

    let received = arrive(world, &frames)?;

    for port in ports {
        let (bytes, packets) = stream_of(&received, port)?;
        ensure!(
            bytes == stream_on_cable(&frames, port)?,
            "the stream from port {port} is another"
        );
        ensure!(packets <= 5, "10 segments came as {packets} packets");
    }
    Ok(())
}

fn segments_that_are_missing_doubled_or_pushed_are_kept_apart(world: &mut CardWorld) -> Result<()> {
    let mac = world.bring_up(&config())?.mac();
    let mut stream = Stream::new(mac, 80);
    let first = stream.segment(500)?;
    stream.segment(500)?;
    let third = stream.segment(500)?;
    stream.header.psh = true;
    let pushed = stream.segment(500)?;
    let frames = [first, third.clone(), third, pushed];

    let received = arrive(world, &frames)?;

    let as_they_were: Vec<_> = received.into_iter().map(|packet| packet.bytes).collect();
    crate::frames::same(&as_they_were, &frames)
}

fn coalescing_does_not_change_what_is_counted(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&config())?;
    let mac = driver.mac();
    let before = driver.statistics()?.total(Reg::QPRC, 0);
    let mut stream = Stream::new(mac, 80);
    let frames: Vec<_> = (0..20)
        .map(|_| stream.segment(1000))
        .collect::<Result<_>>()?;

    arrive(world, &frames)?;

    let after = world.driver()?.statistics()?.total(Reg::QPRC, 0);
    // And the frame that marks the end.
    let counted = after - before;
    ensure!(counted == 21, "{counted} packets are counted instead of 21");
    Ok(())
}
