use anyhow::{Result, ensure};
use nic_driver::{Config, Packet};

use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, from, numbered, same, tagged},
    scenario::{Scenario, scenarios},
    world::{Setup, World},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    Anywhere frames_of_vlans_that_are_filtered_out_are_not_received,
    Anywhere without_a_vlan_filter_every_tag_is_received,
    Anywhere a_tagged_frame_is_sent_as_it_is,
    OnCard a_removed_tag_is_in_the_descriptor,
    OnCard without_stripping_the_tag_stays_in_the_frame,
    OnCard the_card_inserts_a_tag_on_request,
];

const PRIORITY_5: u16 = 5 << 13;

fn frames_of_vlans_that_are_filtered_out_are_not_received(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup {
        vlans: Some(vec![5, 4094]),
        ..Setup::default()
    })?;
    let mac = world.mac()?;
    let frames = [
        tagged(&numbered(mac, 1, 100), 5),
        tagged(&numbered(mac, 2, 100), 6),
        tagged(&numbered(mac, 3, 100), 37),
        tagged(&numbered(mac, 4, 1514), PRIORITY_5 | 4094),
        numbered(mac, 5, 100),
    ];
    let received = world.arrive(&frames)?;
    let expected = [frames[0].clone(), frames[3].clone(), frames[4].clone()];
    same(&received, &expected)?;
    Ok(())
}

fn without_a_vlan_filter_every_tag_is_received(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let frames = [
        tagged(&numbered(mac, 1, 60), 1),
        tagged(&numbered(BROADCAST, 2, 1514), PRIORITY_5 | 100),
        tagged(&numbered(mac, 3, 100), 4095),
        numbered(mac, 4, 60),
    ];
    let received = world.arrive(&frames)?;
    same(&received, &frames)?;
    Ok(())
}

fn a_tagged_frame_is_sent_as_it_is(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let frames = [
        tagged(&from(mac, BROADCAST, 1, 60), 7),
        tagged(&from(mac, BROADCAST, 2, 1514), PRIORITY_5 | 8),
    ];
    let sent = world.send(&frames)?;
    same(&sent, &frames)?;
    Ok(())
}

fn a_removed_tag_is_in_the_descriptor(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        vlan_strip: true,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let frame = numbered(mac, 1, 100);
    let received = world.exchange(&[tagged(&frame, PRIORITY_5 | 9)])?;
    ensure!(received[0].vlan == Some(PRIORITY_5 | 9), "{received:?}");
    ensure!(received[0].bytes == frame, "{received:?}");
    Ok(())
}

fn without_stripping_the_tag_stays_in_the_frame(world: &mut CardWorld) -> Result<()> {
    let mac = world.bring_up(&Config::default())?.mac();
    let frame = tagged(&numbered(mac, 1, 100), 9);
    let received = world.exchange(std::slice::from_ref(&frame))?;
    ensure!(received[0].bytes == frame, "{received:?}");
    Ok(())
}

fn the_card_inserts_a_tag_on_request(world: &mut CardWorld) -> Result<()> {
    let mac = world.bring_up(&Config::default())?.mac();
    let frame = from(mac, BROADCAST, 1, 100);
    let packet = Packet {
        vlan: Some(PRIORITY_5 | 10),
        mac_len: 14,
        ..Packet::plain(&frame)
    };
    world.send_packet(0, &packet)?;
    world.send_packet(0, &Packet::plain(&frame))?;
    let sent = world.sent(2)?;
    same(&sent, &[tagged(&frame, PRIORITY_5 | 10), frame])?;
    Ok(())
}
