//! Packets of the kernel's own generator, as they lie on the cable.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{
    World,
    cable::Cable,
    frames::{Checked, PEER},
    linux_world::INTERFACE,
    world::Setup,
};

use super::machine::{LIMIT, Machine, Test};

pub const TESTS: &[Test] = tests![packets_of_pktgen_leave_as_they_were_made];

/// What begins the payload of the generator's packets; their number and the time follow.
const MAGIC: [u8; 4] = [0xBE, 0x9B, 0xE9, 0x55];
const COUNT: usize = 100;

/// Lets the generator send with these settings, and returns what was on the cable.
fn generate(machine: &mut Machine, settings: &[String]) -> Result<Vec<Vec<u8>>> {
    let mac = PEER.map(|byte| format!("{byte:02x}")).join(":");
    let device = format!("/proc/net/pktgen/{INTERFACE}");
    let mut script = format!(
        "set -e
         echo rem_device_all >/proc/net/pktgen/kpktgend_0
         echo 'add_device {INTERFACE}' >/proc/net/pktgen/kpktgend_0
         echo 'count {COUNT}' >{device}
         echo 'dst_mac {mac}' >{device}
         echo 'dst 10.2.0.2' >{device}
         echo 'src_min 10.1.0.1' >{device}
         echo 'src_max 10.1.0.1' >{device}\n"
    );
    for setting in settings {
        script += &format!("echo '{setting}' >{device}\n");
    }
    script += "echo start >/proc/net/pktgen/pgctrl\n";
    script += "echo rem_device_all >/proc/net/pktgen/kpktgend_0\n";
    machine.sh(&script)?;
    let cable = machine.world()?.cable();
    let begun = Instant::now();
    let mut sent = Vec::new();
    while sent.len() < COUNT {
        sent.extend(cable.take(Duration::from_millis(100))?);
        ensure!(begun.elapsed() < LIMIT, "{} frames only", sent.len());
    }
    Ok(sent)
}

fn packets_of_pktgen_leave_as_they_were_made(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    let mac = machine.world()?.mac()?;
    machine.sh("modprobe pktgen")?;
    for (size, frags, tag) in [
        (60, 0, None),
        (61, 0, None),
        (1514, 4, None),
        (1000, 7, None),
        (700, 3, Some(0x6005)),
    ] {
        let mut settings = vec![
            format!("pkt_size {size}"),
            format!("frags {frags}"),
            // The card inserts the checksum.
            "flag UDPCSUM".to_owned(),
        ];
        let mut headers = 42;
        if tag.is_some() {
            settings.extend(["vlan_id 5".to_owned(), "vlan_p 3".to_owned()]);
            headers += 4;
        }
        let sent = generate(machine, &settings)?;
        ensure!(sent.len() == COUNT, "{} frames", sent.len());
        // They are numbered from 1 on.
        for (number, frame) in (1_u32..).zip(&sent) {
            let what = || format!("packet {number} of {settings:?}: {frame:02x?}");
            let packet = Checked::new(frame).with_context(what)?;
            let ends = (packet.ethernet.source, packet.ethernet.destination);
            ensure!(
                frame.len() == size && ends == (mac, PEER) && packet.vlan == tag,
                what()
            );
            let payload = &packet.payload;
            ensure!(
                payload.len() == size - headers
                    && payload[..4] == MAGIC
                    && payload[4..8] == number.to_be_bytes()
                    && payload[16..].iter().all(|byte| *byte == 0),
                what()
            );
        }
    }
    Ok(())
}
