//! `VERSION`: what a server answers to each kind of proposal.

use vfio_user::Errno;
use vfio_user::message::{Capabilities, Command};
use vfio_user::server::SessionError;

use crate::raw::{Payload, Raw, payload};

/// What QEMU 11.1 sends.
const QEMU: &str = "{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, \
    \"max_dma_maps\": 65535, \"max_data_xfer_size\": 1048576, \
    \"migration\": {\"max_bitmap_size\": 268435456, \"pgsize\": 4096}, \
    \"write_multiple\": true}}\0";

fn version(major: u16, minor: u16, data: &str) -> Payload {
    payload()
        .bytes(&major.to_le_bytes())
        .bytes(&minor.to_le_bytes())
        .bytes(data.as_bytes())
}

/// The version and the JSON text of the answer.
fn answer(major: u16, minor: u16, data: &str) -> (Vec<u8>, String) {
    let mut raw = Raw::unnegotiated();
    let reply = raw.reply(Command::VERSION, &version(major, minor, data));
    assert_eq!(reply.header.failure(), None);
    raw.assert_in_step();
    let (version, text) = reply.payload.split_at(4);
    (version.to_vec(), String::from_utf8(text.to_vec()).unwrap())
}

/// The end of a negotiation that cannot succeed.
fn failure(major: u16, minor: u16, data: &str) -> SessionError {
    let mut raw = Raw::unnegotiated();
    let reply = raw.reply(Command::VERSION, &version(major, minor, data));
    assert_eq!(reply.header.failure(), Some(Errno::INVAL));
    raw.assert_closed()
}

#[test]
fn qemus_proposal_gets_all_capabilities_within_its_own_length() {
    let (version, text) = answer(0, 0, QEMU);

    assert_eq!(version, [0; 4]);
    assert_eq!(
        text,
        "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\
         \"max_dma_maps\":65535,\"pgsizes\":4096,\"write_multiple\":true}}\0"
    );
    assert!(text.len() <= QEMU.len());
}

#[test]
fn the_answered_minor_version_is_never_above_zero() {
    let (version, _) = answer(0, 1, QEMU);
    assert_eq!(version, [0; 4]);
    let (version, _) = answer(0, u16::MAX, QEMU);
    assert_eq!(version, [0; 4]);
}

#[test]
fn write_multiple_is_granted_only_where_it_is_proposed() {
    let (_, unasked) = answer(0, 0, "{\"capabilities\":{\"max_msg_fds\":16}}\0");
    let (_, refused) = answer(0, 0, "{\"capabilities\":{\"write_multiple\":false}}\0");
    assert!(!unasked.contains("write_multiple"));
    assert!(!refused.contains("write_multiple"));
}

#[test]
fn twin_sockets_and_the_first_version_of_migration_are_never_granted() {
    let (_, text) = answer(
        0,
        0,
        "{\"capabilities\":{\"twin_socket\":{\"supported\":true},\
         \"migration\":{\"pgsize\":4096},\"max_msg_fds\":16,\"pgsizes\":4096,\
         \"max_dma_maps\":65535,\"write_multiple\":true}}\0",
    );
    assert!(!text.contains("twin_socket"));
    assert!(!text.contains("migration"));
}

#[test]
fn a_short_proposal_gets_an_answer_without_the_defaults() {
    // 60 bytes: the full answer does not fit, the one without defaults does.
    let proposal = format!("{:60}\0", "{\"capabilities\":{\"max_msg_fds\":8}}");

    let (_, text) = answer(0, 0, &proposal);

    assert_eq!(text, "{\"capabilities\":{\"max_msg_fds\":16}}\0");
}

#[test]
fn a_proposal_that_leaves_no_room_gets_the_full_answer() {
    let (_, none) = answer(0, 0, "");
    let (_, empty) = answer(0, 0, "{}\0");
    let full = Capabilities {
        max_msg_fds: Some(16),
        max_data_xfer_size: Some(1 << 20),
        max_dma_maps: Some(65_535),
        pgsizes: Some(4096),
        ..Capabilities::default()
    };
    assert_eq!(none.as_bytes(), full.to_version_data());
    assert_eq!(empty, none);
}

#[test]
fn another_major_version_ends_the_connection() {
    assert!(matches!(failure(1, 0, QEMU), SessionError::Negotiation(_)));
    assert!(matches!(
        failure(999, 0, QEMU),
        SessionError::Negotiation(_)
    ));
}

#[test]
fn broken_capabilities_end_the_connection() {
    assert!(matches!(failure(0, 0, "{}"), SessionError::Negotiation(_)));
    assert!(matches!(failure(0, 0, "\0"), SessionError::Negotiation(_)));
    assert!(matches!(
        failure(0, 0, "{\"a\0"),
        SessionError::Negotiation(_)
    ));
    assert!(matches!(
        failure(0, 0, "{\"capabilities\":{\"max_msg_fds\":\"1\"}}\0"),
        SessionError::Negotiation(_)
    ));
    assert!(matches!(
        failure(0, 0, "{\"capabilities\":{\"migration\":{\"pgsize\":-1}}}\0"),
        SessionError::Negotiation(_)
    ));
}

#[test]
fn a_version_without_its_numbers_ends_the_connection() {
    let mut raw = Raw::unnegotiated();
    let reply = raw.reply(Command::VERSION, &payload().bytes(&[0; 3]));
    assert_eq!(reply.header.failure(), Some(Errno::INVAL));
    assert!(matches!(raw.assert_closed(), SessionError::Negotiation(_)));
}
