//! `--check`: a driver that breaks a rule, and what its owner sees.

mod support;

use ixgbe_spec::register::Reg;
use nix::sys::signal::Signal;
use support::Server;
use vfio_user::client::Client;

/// Writes a register that only the card writes, and waits until the server has taken the write.
fn break_a_rule(client: &mut Client) -> Result<(), vfio_user::client::ClientError> {
    let status = Reg::STATUS.offset(0).into();
    client.region_write(0, status, &1_u32.to_le_bytes())?;
    client.region_read(0, status, &mut [0; 4])?;
    Ok(())
}

#[test]
fn a_breach_is_logged_once_and_the_server_goes_on() {
    let mut server = Server::start_with(&["--wire", "null", "--check", "report"]);
    let mut client = server.client();

    break_a_rule(&mut client).unwrap();
    break_a_rule(&mut client).unwrap();
    let line = server.wait_for_log("driver check: ");
    server.signal(Signal::SIGTERM);

    assert!(
        line.contains("read-only-written: warning: STATUS: 0x1 is written"),
        "{line}"
    );
    assert!(server.wait().success());
    let rest = server.rest_of_log();
    assert!(
        rest.iter()
            .any(|line| line.contains("write STATUS = 0x00000001")),
        "{rest:#?}"
    );
    assert!(
        !rest.iter().any(|line| line.contains("driver check: ")),
        "{rest:#?}"
    );
}

#[test]
fn in_strict_mode_the_first_breach_ends_the_server_with_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.sock");
    let port = format!("socket={}", other.display());
    let mut server = Server::start_with(&["--check", "strict", "--port", &port]);
    let mut client = server.client();

    // Whether the read is still answered does not matter.
    let _ = break_a_rule(&mut client);

    assert_eq!(server.wait().code(), Some(1));
    let log = server.rest_of_log();
    let has = |text: &str| log.iter().any(|line| line.contains(text));
    assert!(has("driver check: read-only-written"), "{log:#?}");
    assert!(
        has("the driver breaks the rule read-only-written"),
        "{log:#?}"
    );
    assert!(!server.socket().exists() && !other.exists());
}

#[test]
fn without_a_check_nothing_is_told() {
    let mut server = Server::start_with(&["--wire", "null"]);
    let mut client = server.client();

    break_a_rule(&mut client).unwrap();
    server.signal(Signal::SIGTERM);

    assert!(server.wait().success());
    let log = server.rest_of_log();
    assert!(
        !log.iter().any(|line| line.contains("driver check")),
        "{log:#?}"
    );
}
