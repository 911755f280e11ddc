//! The kernel's packet generator, which fills the transmit ring faster than anything else.

use std::thread;

use anyhow::{Result, bail, ensure};
use etherparse::{IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, PacketBuilder};
use guest_tests::{
    World,
    cable::Cable,
    frames::{Mac, PEER, same},
    linux_world::INTERFACE,
    server::ControlCable,
    world::{Counter, Setup},
};

use super::machine::{LIMIT, Machine, Test};

pub const TESTS: &[Test] = tests![every_frame_of_the_packet_generator_is_right];

/// Frames; several times the ring's descriptors.
const FRAMES: usize = 3000;
/// Bytes of a frame without FCS.
const LEN: usize = 300;
/// Bytes of Ethernet, IPv4 and UDP header.
const HEADERS: usize = 42;

/// What the generator sends: its header (a mark, the number of the frame, a time that it leaves 0 here), then zeros.
fn frame(from: Mac, number: usize) -> Result<Vec<u8>> {
    const MARK: u32 = 0xBE9B_E955;
    let mut payload = [MARK.to_be_bytes(), u32::try_from(number)?.to_be_bytes()].concat();
    payload.resize(LEN - HEADERS, 0);
    let mut ip = Ipv4Header::new(0, 32, IpNumber::UDP, [192, 0, 2, 1], [192, 0, 2, 2])?;
    ip.dont_fragment = false;
    ip.identification = u16::try_from(number - 1)?;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from, PEER)
        .ip(IpHeaders::Ipv4(ip, Ipv4Extensions::default()))
        .udp(1000, 9)
        .write(&mut frame, &payload)?;
    Ok(frame)
}

/// The frames from the cable, until there are all or no more come. Who watches it must not lag behind.
fn watch(cable: &mut ControlCable) -> Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    while frames.len() < FRAMES {
        let more = cable.take(LIMIT)?;
        ensure!(!more.is_empty(), "no more after {} frames", frames.len());
        frames.extend(more);
    }
    Ok(frames)
}

fn every_frame_of_the_packet_generator_is_right(machine: &mut Machine) -> Result<()> {
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let to = PEER.map(|byte| format!("{byte:02x}")).join(":");
    // The card computes the checksums.
    let generate = format!(
        "modprobe pktgen; cd /proc/net/pktgen
         say() {{ echo \"$2\" >$1 || exit 1; }}
         say kpktgend_0 'rem_device_all'
         say kpktgend_0 'add_device {INTERFACE}'
         for option in 'count {FRAMES}' 'clone_skb 0' 'pkt_size {LEN}' 'delay 0' \
             'flag UDPCSUM' 'flag NO_TIMESTAMP' 'dst_mac {to}' 'src_min 192.0.2.1' 'src_max 192.0.2.1' \
             'dst_min 192.0.2.2' 'dst_max 192.0.2.2' 'udp_src_min 1000' 'udp_src_max 1000' \
             'udp_dst_min 9' 'udp_dst_max 9'; do
             say {INTERFACE} \"$option\"
         done
         say pgctrl start
         grep -q '^Result: OK' {INTERFACE}; result=$?; cat {INTERFACE}; say kpktgend_0 'rem_device_all'
         exit $result"
    );
    let (guest, cable) = world.guest_and_cable();
    let (generated, frames) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(cable));
        (guest.sh(&generate), watching.join())
    });
    generated?;
    let Ok(frames) = frames else {
        bail!("the watcher of the cable panicked");
    };
    let expected: Result<Vec<_>> = (1..=FRAMES).map(|number| frame(mac, number)).collect();
    same(&frames?, &expected?)?;
    let counted = machine.world()?.counter(Counter::SentFrames)?;
    ensure!(counted == FRAMES as u64, "{counted} frames are counted");
    machine.sh("rmmod pktgen")?;
    Ok(())
}
