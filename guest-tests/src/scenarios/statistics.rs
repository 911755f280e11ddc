use anyhow::{Result, ensure};
use ixgbe_spec::register::Reg;
use nic_driver::Config;

use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, FCS, Mac, from, numbered, same, tagged},
    scenario::{Scenario, scenarios},
    world::{Counter, Setup, World},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    Anywhere statistics_of_received_frames_add_up_to_the_packet,
    Anywhere statistics_of_sent_frames_add_up_to_the_packet,
    OnCard sizes_are_counted_in_their_buckets,
    OnCard a_read_clears_a_counter,
];

const MULTICAST: Mac = [0x01, 0x00, 0x5E, 0x00, 0x00, 0x42];

fn bytes(frames: &[Vec<u8>]) -> u64 {
    frames.iter().map(|frame| (frame.len() + FCS) as u64).sum()
}

fn expect(world: &mut dyn World, counter: Counter, expected: u64) -> Result<()> {
    let value = world.counter(counter)?;
    ensure!(
        value == expected,
        "{counter:?} is {value} instead of {expected}"
    );
    Ok(())
}

fn statistics_of_received_frames_add_up_to_the_packet(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup {
        multicast: vec![MULTICAST],
        ..Setup::default()
    })?;
    let mac = world.mac()?;
    let stranger = [0x02, 0x77, 0, 0, 0, 1];
    let mut frames: Vec<_> = (0..200)
        .map(|number| match number % 10 {
            0 => numbered(BROADCAST, number, 60),
            1 | 2 => numbered(MULTICAST, number, 100 + number),
            3 => tagged(&numbered(mac, number, 300), 5),
            _ => numbered(mac, number, 60 + number * 7),
        })
        .collect();
    let wanted = frames.clone();
    frames.insert(100, numbered(stranger, 500, 60));
    frames.insert(50, numbered(mac, 501, 2000));
    let received = world.arrive(&frames)?;
    same(&received, &wanted)?;
    expect(world, Counter::ReceivedFrames, 200)?;
    expect(world, Counter::ReceivedBytes, bytes(&wanted))?;
    expect(world, Counter::ReceivedBroadcasts, 20)?;
    expect(world, Counter::ReceivedMulticasts, 40)?;
    expect(world, Counter::TooLong, 1)?;
    expect(world, Counter::BadChecksums, 0)?;
    expect(world, Counter::SentFrames, 0)
}

fn statistics_of_sent_frames_add_up_to_the_packet(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let frames: Vec<_> = (0..150)
        .map(|number| match number % 3 {
            0 => from(mac, BROADCAST, number, 60 + number),
            1 => tagged(&from(mac, MULTICAST, number, 400), 9),
            _ => from(mac, MULTICAST, number, 1514),
        })
        .collect();
    let sent = world.send(&frames)?;
    same(&sent, &frames)?;
    expect(world, Counter::SentFrames, 150)?;
    expect(world, Counter::SentBytes, bytes(&frames))?;
    expect(world, Counter::ReceivedFrames, 0)
}

fn sizes_are_counted_in_their_buckets(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        max_frame: 9728,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    // With FCS: 64; 65 and 127; 128 and 255; 256 and 511; 512 and 1023; 1024, 1522 and 9000.
    let lens = [64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1522, 9000];
    let lens = lens.map(|len| len - FCS);
    let arriving = lens.map(|len| numbered(mac, len, len));
    world.exchange(&arriving)?;
    let leaving = lens.map(|len| from(mac, BROADCAST, len, len));
    world.send(&leaving)?;
    let statistics = world.driver()?.statistics()?;
    let buckets = |regs: [Reg; 6]| regs.map(|reg| statistics.total(reg, 0));
    let received = buckets([
        Reg::PRC64,
        Reg::PRC127,
        Reg::PRC255,
        Reg::PRC511,
        Reg::PRC1023,
        Reg::PRC1522,
    ]);
    let sent = buckets([
        Reg::PTC64,
        Reg::PTC127,
        Reg::PTC255,
        Reg::PTC511,
        Reg::PTC1023,
        Reg::PTC1522,
    ]);
    ensure!(received == [1, 2, 2, 2, 2, 3], "received {received:?}");
    ensure!(sent == [1, 2, 2, 2, 2, 3], "sent {sent:?}");
    Ok(())
}

fn a_read_clears_a_counter(world: &mut CardWorld) -> Result<()> {
    let mac = world.bring_up(&Config::default())?.mac();
    world.exchange(&[numbered(mac, 1, 60), numbered(mac, 2, 60)])?;
    let driver = world.driver()?;
    let reads = [
        driver.register(Reg::GPRC, 0)?,
        driver.register(Reg::GPRC, 0)?,
    ];
    ensure!(reads == [2, 0], "two reads of GPRC say {reads:?}");
    Ok(())
}
