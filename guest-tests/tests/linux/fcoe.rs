//! Linux's `FCoE` initiator on the NIC: it finds a fabric that the test speaks for, and logs in (FC-BB-5, FC-LS-2).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{
    World,
    cable::Cable,
    fc::{END_SEQUENCE, EOF_T, EXCHANGE_CONTEXT, Fc, LAST_SEQUENCE, SEQUENCE_INITIATIVE, SOF_I3},
    frames::Mac,
    linux_world::INTERFACE,
    world::Setup,
};

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![
    fcoe_offloads_are_offered,
    an_initiator_logs_in_to_a_fabric_with_the_nics_fc_crc,
];

/// The test's end of the fabric.
const FORWARDER: Mac = [0x02, 0x82, 0x59, 0xFC, 0x00, 0x01];
/// Where hosts look for forwarders.
const ALL_FORWARDERS: Mac = [0x01, 0x10, 0x18, 0x01, 0x00, 0x02];
/// The address that the fabric gives: FC-MAP and FC id.
const GIVEN: Mac = [0x0E, 0xFC, 0x00, 0x01, 0x00, 0x01];
const FC_MAP: [u8; 3] = [0x0E, 0xFC, 0x00];
const FC_ID: [u8; 3] = [0x01, 0x00, 0x01];
const FABRIC_LOGIN: [u8; 3] = [0xFF, 0xFF, 0xFE];
const NAME_SERVER: [u8; 3] = [0xFF, 0xFF, 0xFC];
const NAME: [u8; 8] = [0x20, 0, 0, 0, 0, 0, 0, 1];

/// Ethertype of FIP.
const FIP: [u8; 2] = [0x89, 0x14];
/// FIP operations and subcodes.
const SOLICITATION: [u8; 2] = [1, 1];
const ADVERTISEMENT: [u8; 2] = [1, 2];
const LINK_SERVICE_REQUEST: [u8; 2] = [2, 1];
const LINK_SERVICE_REPLY: [u8; 2] = [2, 2];
/// FIP flags: addresses by the fabric, available, solicited, from a forwarder.
const FPMA: u16 = 0x8000;
const FORWARDER_IS_READY: u16 = FPMA | 4 | 2 | 1;

/// How long the initiator may take; it waits 2 s for forwarders by itself.
const PATIENCE: Duration = Duration::from_secs(90);

fn fcoe_offloads_are_offered(machine: &mut Machine) -> Result<()> {
    let text = machine.sh(&format!("ethtool -k {INTERFACE}"))?;
    for feature in ["tx-fcoe-segmentation", "tx-checksum-fcoe-crc"] {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(feature));
        ensure!(
            line.is_some_and(|line| line.starts_with(": on")),
            "{feature}{line:?}"
        );
    }
    Ok(())
}

fn an_initiator_logs_in_to_a_fabric_with_the_nics_fc_crc(machine: &mut Machine) -> Result<()> {
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    machine.sh(&format!(
        "modprobe fcoe; echo {INTERFACE} >/sys/bus/fcoe/ctlr_create
         echo 1 >$(echo /sys/bus/fcoe/devices/ctlr_*)/enabled"
    ))?;

    let solicitation = wait_for(machine, |frame| {
        fip(frame, SOLICITATION).then(|| frame.to_vec())
    })
    .context("no solicitation")?;
    ensure!(
        solicitation.get(..6) == Some(&ALL_FORWARDERS),
        "{solicitation:02x?}"
    );
    let cable = machine.world()?.cable();
    cable.put(&[advertisement(mac)])?;
    let login = wait_for(machine, |frame| {
        fip(frame, LINK_SERVICE_REQUEST).then(|| frame.to_vec())
    })
    .context("no fabric login")?;
    // OX_ID of the FC header behind the headers of Ethernet, FIP and descriptor.
    let exchange = login.get(44..46).context("no exchange id")?;
    let exchange = [exchange[0], exchange[1]];
    let cable = machine.world()?.cable();
    cable.put(&[login_accepted(mac, exchange)])?;

    // From here on the initiator speaks FC; the CRC of its frames is the NIC's work.
    let frame = wait_for(machine, |frame| {
        (frame.get(12..14) == Some(&guest_tests::fc::FCOE)).then(|| frame.to_vec())
    })
    .context("no FC frame")?;
    let login = Fc::parse(&frame)?;
    ensure!(
        (login.addresses, login.ids) == ([FORWARDER, GIVEN], [NAME_SERVER, FC_ID])
            && (login.sof, login.eof) == (SOF_I3, EOF_T)
            && login.payload.first() == Some(&PORT_LOGIN),
        "{login:02x?}"
    );
    let before = machine.world()?.statistics()?;
    let cable = machine.world()?.cable();
    cable.put(&[rejected(&login).bytes()])?;
    let count =
        |name: &str| format!("$(ethtool -S {INTERFACE} | awk '$1 == \"{name}:\" {{ print $2 }}')");
    let seen = before.get("rx_fcoe_packets").copied().unwrap_or(0) + 1;
    machine.sh(&format!(
        "until [ {} -ge {seen} ]; do usleep 50000; done; [ {} -ge 1 ] && [ {} -ge {LOGIN_DWORDS} ] && [ {} -eq 0 ]",
        count("rx_fcoe_packets"),
        count("tx_fcoe_packets"),
        count("tx_fcoe_dwords"),
        count("fcoe_bad_fccrc"),
    ))?;

    // The rejected login is tried again after two seconds. An initiator that goes before, and its module with it, has
    // been seen to leave that work behind, and the kernel to fall over it.
    machine.sh(&format!(
        "echo 0 >$(echo /sys/bus/fcoe/devices/ctlr_*)/enabled
         sleep 3
         echo {INTERFACE} >/sys/bus/fcoe/ctlr_destroy"
    ))?;
    machine.wait_for_link()
}

/// DWords of a port login from its FC header to its FC CRC.
const LOGIN_DWORDS: usize = (24 + 116 + 4) / 4;
/// ELS codes.
const PORT_LOGIN: u8 = 3;
const REJECT: u8 = 1;
const ACCEPT: u8 = 2;
/// R_CTL and type of the answer to an ELS.
const ELS_REPLY: u8 = 0x23;
const ELS: u8 = 1;
const ANSWER: u32 = EXCHANGE_CONTEXT | LAST_SEQUENCE | END_SEQUENCE | SEQUENCE_INITIATIVE;

/// The first frame on the cable of which `wanted` makes something.
fn wait_for<T>(machine: &mut Machine, wanted: impl Fn(&[u8]) -> Option<T>) -> Result<T> {
    let begun = Instant::now();
    let cable = machine.world()?.cable();
    loop {
        let frames = cable.take(Duration::from_millis(100))?;
        if let Some(found) = frames.iter().find_map(|frame| wanted(frame)) {
            return Ok(found);
        }
        ensure!(begun.elapsed() < PATIENCE, "it does not come");
    }
}

/// Whether a frame is one of FIP with this operation and subcode.
fn fip(frame: &[u8], [operation, subcode]: [u8; 2]) -> bool {
    frame.get(12..14) == Some(&FIP)
        && frame.get(17) == Some(&operation)
        && frame.get(19) == Some(&subcode)
}

fn fip_frame(to: Mac, [operation, subcode]: [u8; 2], flags: u16, descriptors: &[u8]) -> Vec<u8> {
    let words = u16::try_from(descriptors.len() / 4).unwrap_or(0);
    let mut frame = [&to[..], &FORWARDER, &FIP].concat();
    frame.extend([0x10, 0, 0, operation, 0, subcode]);
    frame.extend([words, flags].map(u16::to_be_bytes).concat());
    frame.extend(descriptors);
    frame
}

fn advertisement(to: Mac) -> Vec<u8> {
    let priority = [1, 1, 0, 128];
    let mac = [&[2, 2][..], &FORWARDER].concat();
    let name = [&[4, 3, 0, 0][..], &NAME].concat();
    let fabric = [&[5, 4, 0, 0, 0][..], &FC_MAP, &NAME].concat();
    // The host need not say that it is still there.
    let keep_alive = [12, 2, 0, 1, 0, 0, 0x1F, 0x40];
    let descriptors = [&priority[..], &mac, &name, &fabric, &keep_alive].concat();
    fip_frame(to, ADVERTISEMENT, FORWARDER_IS_READY, &descriptors)
}

/// The answer to a fabric login, with the address that it gives.
fn login_accepted(to: Mac, exchange: [u8; 2]) -> Vec<u8> {
    let mut header = vec![ELS_REPLY];
    header.extend(FC_ID);
    header.push(0);
    header.extend(FABRIC_LOGIN);
    header.push(ELS);
    header.extend(&ANSWER.to_be_bytes()[1..]);
    header.extend([1, 0, 0, 0]);
    header.extend(exchange);
    header.extend([0, 1, 0, 0, 0, 0]);
    let mut payload = vec![ACCEPT, 0, 0, 0];
    // Version, credit, an F_Port, 2112 bytes in a frame, R_A_TOV 10 s, E_D_TOV 2 s.
    payload.extend([0x20, 0x20, 0, 10, 0x10, 0, 0x08, 0x40]);
    payload.extend([10_000_u32, 2_000].map(u32::to_be_bytes).concat());
    payload.extend(NAME);
    payload.extend(NAME);
    let mut classes = [0; 64];
    // Class 3, in sequence.
    classes[32..34].copy_from_slice(&[0x88, 0]);
    payload.extend(classes);
    payload.extend([0; 16]);
    let descriptor = [&[7, 36, 0, 0][..], &header, &payload].concat();
    let mac = [&[2, 2][..], &GIVEN].concat();
    fip_frame(to, LINK_SERVICE_REPLY, FPMA, &[descriptor, mac].concat())
}

/// The answer that ends a port login.
fn rejected(login: &Fc) -> Fc {
    let [to, from] = login.addresses;
    let [d_id, s_id] = login.ids;
    let [ox_id, _] = login.exchange;
    Fc {
        addresses: [from, to],
        r_ctl: ELS_REPLY,
        ids: [s_id, d_id],
        f_ctl: ANSWER,
        exchange: [ox_id, 2],
        // Unable to perform the command now.
        payload: vec![REJECT, 0, 0, 0, 0, 9, 0, 0],
        ..login.clone()
    }
}
