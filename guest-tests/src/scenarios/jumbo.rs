use anyhow::{Context, Result, ensure};
use nic_driver::{Config, Packet};

use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, ETHERNET, from, numbered, same, tagged},
    scenario::{Scenario, scenarios},
    world::{Counter, Setup, World},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    Anywhere jumbo_frames_pass_both_ways,
    Anywhere frames_longer_than_the_limit_are_dropped_and_counted,
    OnCard a_packet_takes_as_many_receive_descriptors_as_it_needs,
    OnCard a_packet_is_sent_from_as_many_descriptors_as_it_has,
];

fn jumbo_frames_pass_both_ways(world: &mut dyn World) -> Result<()> {
    for mtu in [9000, 9710] {
        world.set_up(&Setup {
            mtu,
            ..Setup::default()
        })?;
        let mac = world.mac()?;
        let longest = usize::from(mtu) + ETHERNET;
        let arriving = [
            numbered(mac, 1, longest),
            numbered(mac, 2, 2048),
            numbered(mac, 3, 2049),
            tagged(&numbered(mac, 4, longest), 5),
            numbered(mac, 5, 60),
        ];
        let received = world.arrive(&arriving)?;
        same(&received, &arriving).with_context(|| format!("with MTU {mtu}"))?;
        let leaving = [
            from(mac, BROADCAST, 6, longest),
            from(mac, BROADCAST, 7, 4096),
            from(mac, BROADCAST, 8, 60),
        ];
        let sent = world.send(&leaving)?;
        same(&sent, &leaving).with_context(|| format!("with MTU {mtu}"))?;
    }
    Ok(())
}

fn frames_longer_than_the_limit_are_dropped_and_counted(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let frames = [
        numbered(mac, 1, 1514),
        numbered(mac, 2, 1515),
        tagged(&numbered(mac, 3, 1514), 5),
        tagged(&numbered(mac, 4, 1515), 5),
        numbered(mac, 5, 9000),
        numbered(mac, 6, 60),
    ];
    let received = world.arrive(&frames)?;
    let expected = [frames[0].clone(), frames[2].clone(), frames[5].clone()];
    same(&received, &expected)?;
    let too_long = world.counter(Counter::TooLong)?;
    ensure!(too_long == 3, "{too_long} counted as too long instead of 3");
    Ok(())
}

fn a_packet_takes_as_many_receive_descriptors_as_it_needs(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        rx_buffer: 1024,
        max_frame: 9728,
        ring_len: 16,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    for (number, len) in [60, 1023, 1024, 1025, 2048, 9000, 9724]
        .into_iter()
        .enumerate()
    {
        let frame = numbered(mac, number, len);
        let received = world.exchange(std::slice::from_ref(&frame))?;
        ensure!(
            received[0].bytes == frame,
            "a frame of {len} bytes is another"
        );
        ensure!(
            received[0].descriptors == len.div_ceil(1024),
            "a frame of {len} bytes took {} descriptors",
            received[0].descriptors
        );
    }
    Ok(())
}

fn a_packet_is_sent_from_as_many_descriptors_as_it_has(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        tx_buffer: 100,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let frames: Vec<_> = [60, 100, 101, 1000, 1514]
        .into_iter()
        .enumerate()
        .map(|(number, len)| from(mac, BROADCAST, number, len))
        .collect();
    for _ in 0..20 {
        for frame in &frames {
            world.send_packet(0, &Packet::plain(frame))?;
        }
        let sent = world.sent(frames.len())?;
        same(&sent, &frames)?;
    }
    Ok(())
}
