//! Clients that do not keep to the protocol.

use proptest::prelude::*;
use serde_json::json;

use crate::{raw::Raw, worker::Running};

#[test]
fn unknown_methods_interfaces_and_parameters_are_told_by_name() {
    let running = Running::start();
    let mut raw = Raw::connect(&running);

    let method = raw.call(&json!({"method": "io.vfio-user-ixgbe.Control1.Explode"}));
    let interface = raw.call(&json!({"method": "com.example.Explode"}));
    let nothing = raw.call(&json!({"method": ""}));
    let parameter = raw.call(&json!({
        "method": "io.vfio-user-ixgbe.Control1.SetLink", "parameters": {"state": "sideways"},
    }));
    let missing = raw.call(&json!({"method": "io.vfio-user-ixgbe.Control1.SetLink"}));
    let base64 = raw.call(&json!({
        "method": "io.vfio-user-ixgbe.Control1.Inject", "parameters": {"frames": ["!"]},
    }));
    let more = raw.call(&json!({"method": "io.vfio-user-ixgbe.Control1.Capture"}));

    assert_eq!(method["error"], "org.varlink.service.MethodNotFound");
    assert_eq!(interface["error"], "org.varlink.service.InterfaceNotFound");
    assert_eq!(interface["parameters"]["interface"], "com.example");
    assert_eq!(nothing["error"], "org.varlink.service.InterfaceNotFound");
    assert_eq!(parameter["error"], "org.varlink.service.InvalidParameter");
    assert_eq!(missing["error"], "org.varlink.service.InvalidParameter");
    assert_eq!(base64["error"], "org.varlink.service.InvalidParameter");
    assert_eq!(more["error"], "org.varlink.service.ExpectedMore");
}

#[test]
fn a_oneway_call_is_done_and_not_answered() {
    let running = Running::start();
    let mut raw = Raw::connect(&running);

    raw.send(b"{\"method\":\"io.vfio-user-ixgbe.Control1.SetLink\",\"parameters\":{\"state\":\"down\"},\"oneway\":true}\0");
    let next = raw.call(&json!({"method": "io.vfio-user-ixgbe.Control1.Info"}));

    assert_eq!(next["parameters"]["cable"], "down");
}

#[test]
fn calls_sent_at_once_are_answered_in_order() {
    let running = Running::start();
    let mut raw = Raw::connect(&running);

    raw.send(b"{\"method\":\"io.vfio-user-ixgbe.Control1.Stats\"}\0{\"method\":\"io.vfio-user-ixgbe.Control1.Info\"}\0");

    assert!(raw.reply()["parameters"]["counters"].is_array());
    assert!(raw.reply()["parameters"]["wire"].is_string());
}

#[test]
fn a_message_without_end_closes_the_connection_and_the_server_goes_on() {
    let running = Running::start();
    let mut raw = Raw::connect(&running);

    raw.send(&vec![b'['; control::MAX_MESSAGE + 1]);

    assert!(raw.rest().is_empty());
    assert!(running.client().info().is_ok());
}

#[test]
fn deeply_nested_json_closes_the_connection_and_the_server_goes_on() {
    let running = Running::start();
    let mut raw = Raw::connect(&running);
    let mut message = b"{\"method\":\"x.y\",\"parameters\":".to_vec();
    message.extend(vec![b'['; 100_000]);
    message.push(0);

    raw.send(&message);

    assert!(raw.rest().is_empty());
    assert!(running.client().info().is_ok());
}

#[test]
fn clients_beyond_the_limit_are_turned_away_and_room_comes_back() {
    let running = Running::start();
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let mut client = running.client();
            client.info().unwrap();
            client
        })
        .collect();

    let turned_away = Raw::connect(&running).rest();
    drop(clients);
    let served = (0..10_000).any(|_| running.client().info().is_ok());

    assert!(turned_away.is_empty());
    assert!(served);
}

#[test]
fn a_client_that_never_reads_its_capture_does_not_stop_others() {
    let running = Running::start();
    let mut raw = Raw::connect(&running);
    raw.send(b"{\"method\":\"io.vfio-user-ixgbe.Control1.Capture\",\"more\":true}\0");
    raw.reply();

    for _ in 0..20 {
        running.send_many(&[1; 1500], 1000);
    }
    let received = running.wait_for_received(20_000);

    assert_eq!(received.len(), 20_000);
    assert!(running.client().info().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_leave_the_server_serving(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let running = Running::start();
        let mut raw = Raw::connect(&running);
        raw.send(&bytes);
        raw.finish();
        raw.rest();

        prop_assert!(running.client().info().is_ok());
    }
}
