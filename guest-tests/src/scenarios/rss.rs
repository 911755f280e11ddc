use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use ixgbe_spec::descriptor::rx::RssType;
use nic_driver::Config;

use crate::{
    card_world::{CardWorld, RSS_KEY},
    frames::{BROADCAST, Flow, PEER, numbered},
    rss,
    scenario::{Scenario, scenarios},
    world::{Setup, Spread, World},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    Anywhere tcp_flows_are_spread_as_toeplitz_says,
    OnCard the_descriptor_has_the_hash_and_its_type,
];

const FLOWS: u16 = 64;

pub(super) fn flows() -> Vec<Flow> {
    let v4 = (0..FLOWS / 2).map(|number| Flow {
        source: (Ipv4Addr::new(10, 1, 0, 1).into(), 1024 + number * 7),
        destination: (Ipv4Addr::new(10, 2, 0, 2).into(), 80 + number),
    });
    let v6 = (0..FLOWS / 2).map(|number| Flow {
        source: (
            IpAddr::from(Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, number)),
            5001,
        ),
        destination: (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(), 443),
    });
    v4.chain(v6).collect()
}

fn tcp_flows_are_spread_as_toeplitz_says(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup {
        spread: Spread::Rss,
        ..Setup::default()
    })?;
    let mac = world.mac()?;
    let spread = world.rss()?;
    let mut expected = vec![0; world.received_by_queue()?.len()];
    ensure!(expected.len() > 1, "one queue only");
    let mut frames = Vec::new();
    for flow in flows() {
        let hash = rss::hash(&spread.key, &flow);
        let queue = spread.table[(hash & 127) as usize];
        expected[queue] += 1;
        frames.push(flow.tcp(PEER, mac, b"payload")?);
    }
    ensure!(
        expected.iter().all(|count| *count > 0),
        "these flows leave a queue out: {expected:?}"
    );
    // No hash: to queue 0.
    frames.push(numbered(BROADCAST, 1, 60));
    expected[0] += 1;
    let received = world.arrive(&frames)?;
    ensure!(received.len() == frames.len(), "{} came", received.len());
    let by_queue = world.received_by_queue()?;
    ensure!(
        by_queue == expected,
        "by queue {by_queue:?} instead of {expected:?}"
    );
    Ok(())
}

fn the_descriptor_has_the_hash_and_its_type(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        rx_queues: 16,
        rss: Some(nic_driver::Rss {
            key: RSS_KEY,
            fields: 1 | 1 << 5,
        }),
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    for flow in flows() {
        let frame = flow.tcp(PEER, mac, b"payload")?;
        let received = world.exchange(&[frame])?;
        let expected = match flow.source.0 {
            IpAddr::V4(_) => RssType::TcpIpv4,
            IpAddr::V6(_) => RssType::TcpIpv6,
        };
        let hash = rss::hash(&RSS_KEY, &flow);
        ensure!(
            received[0].hash == hash && received[0].info.rss_type() == expected,
            "{flow:?}: {:?} instead of {hash:#010x}",
            received[0]
        );
        ensure!(received[0].queue == (hash & 15) as usize, "{received:?}");
    }
    let udp = flows()[0].udp(PEER, mac, b"payload")?;
    let received = world.exchange(&[udp])?;
    ensure!(
        received[0].hash == 0 && received[0].info.rss_type() == RssType::None,
        "a hash of what was not asked for: {received:?}"
    );
    Ok(())
}
