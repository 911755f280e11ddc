//! The interface's description, as an independent parser of varlink's language reads it, against what the server does.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use zlink_idl::Interface;

use crate::{raw::Raw, worker::Running};

#[test]
fn get_info_lists_both_interfaces() {
    let running = Running::start();

    let reply = Raw::connect(&running).call(&json!({"method": "org.varlink.service.GetInfo"}));

    assert_eq!(
        reply["parameters"]["interfaces"],
        json!(["org.varlink.service", "io.vfio-user-ixgbe.Control1"])
    );
    assert_eq!(reply["parameters"]["product"], "vfio-user-ixgbe");
}

#[test]
fn the_description_of_an_interface_is_that_of_the_repository() {
    let running = Running::start();

    let reply = Raw::connect(&running).call(&json!({
        "method": "org.varlink.service.GetInterfaceDescription",
        "parameters": {"interface": "io.vfio-user-ixgbe.Control1"},
    }));

    assert_eq!(reply["parameters"]["description"], control::DESCRIPTION);
}

/// Keys of the reply's parameters.
fn keys(reply: &Value) -> BTreeSet<&str> {
    let parameters = reply["parameters"].as_object().unwrap();
    parameters.keys().map(String::as_str).collect()
}

/// Names of a method's outputs.
fn outputs<'a>(interface: &'a Interface<'_>, method: &str) -> BTreeSet<&'a str> {
    let method = interface
        .methods()
        .find(|described| described.name().as_str() == method)
        .unwrap();
    method
        .outputs()
        .map(|field| field.name().as_str())
        .collect()
}

/// Names of a type's fields.
fn fields<'a>(interface: &'a Interface<'_>, name: &str) -> BTreeSet<&'a str> {
    let described = interface
        .custom_types()
        .find(|described| described.name().as_str() == name)
        .unwrap();
    described
        .as_object()
        .unwrap()
        .fields()
        .map(|field| field.name().as_str())
        .collect()
}

#[test]
fn replies_have_the_fields_that_the_description_names() {
    let running = Running::start();
    let interface = Interface::try_from(control::DESCRIPTION).unwrap();
    let mut raw = Raw::connect(&running);
    let mut call = |method: &str, parameters: Value| {
        raw.call(&json!({"method": format!("{}.{method}", control::INTERFACE), "parameters": parameters}))
    };

    let info = call("Info", json!({}));
    let stats = call("Stats", json!({}));
    let leds = call("Leds", json!({}));
    let checked = call("Check", json!({}));
    let injected = call(
        "Inject",
        json!({"frames": [], "badFcs": true, "runts": false}),
    );
    let set = call("SetLink", json!({"state": "up"}));
    let plugged = call("SetModule", json!({"module": "lr"}));
    let unknown = call("SetModule", json!({"module": "xfp"}));
    let broken = call("InjectError", json!({"error": "ecrc"}));
    let no_error = call("InjectError", json!({"error": "gremlin"}));
    let refused = call("Inject", json!({"frames": ["AA=="]}));
    let no_port = call("Stats", json!({"port": 1}));

    assert_eq!(interface.name().as_str(), control::INTERFACE);
    assert_eq!(keys(&info), outputs(&interface, "Info"));
    assert_eq!(keys(&stats), outputs(&interface, "Stats"));
    assert_eq!(keys(&leds), outputs(&interface, "Leds"));
    assert_eq!(keys(&checked), outputs(&interface, "Check"));
    assert_eq!(keys(&injected), outputs(&interface, "Inject"));
    assert_eq!(keys(&set), outputs(&interface, "SetLink"));
    assert_eq!(keys(&plugged), outputs(&interface, "SetModule"));
    assert_eq!(keys(&broken), outputs(&interface, "InjectError"));
    let counter: &Map<String, Value> = stats["parameters"]["counters"][0].as_object().unwrap();
    assert_eq!(
        counter.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        fields(&interface, "Counter")
    );
    let led = leds["parameters"]["leds"][3].as_object().unwrap();
    assert_eq!(
        led.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        fields(&interface, "Led")
    );
    let finding = checked["parameters"]["findings"][0].as_object().unwrap();
    assert_eq!(
        finding.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        fields(&interface, "Finding")
    );
    for (reply, name) in [
        (refused, "FrameLength"),
        (unknown, "UnknownModule"),
        (no_error, "UnknownError"),
        (no_port, "NoSuchPort"),
    ] {
        let error = interface
            .errors()
            .find(|error| error.name().as_str() == name)
            .unwrap();
        assert_eq!(
            reply["error"],
            format!("io.vfio-user-ixgbe.Control1.{name}")
        );
        assert_eq!(
            keys(&reply),
            error.fields().map(|field| field.name().as_str()).collect()
        );
    }
}

#[test]
fn faults_have_the_fields_that_the_description_names() {
    let running = Running::start();
    let interface = Interface::try_from(control::DESCRIPTION).unwrap();
    let mut raw = Raw::connect(&running);
    let mut call = |method: &str, parameters: Value| {
        raw.call(&json!({"method": format!("{}.{method}", control::INTERFACE), "parameters": parameters}))
    };

    let aimed = json!({
        "fault": "interrupt-late", "direction": "receive", "queue": 3, "vector": 4, "probability": 0.5, "nth": 2,
        "count": 9, "seed": 5, "forNanos": 1_000_000_000_000_u64, "delayNanos": 7, "everyNanos": 8,
    });
    let added = call("AddFault", aimed);
    let shown = call("Faults", json!({}));
    let unknown = call("AddFault", json!({"fault": "gremlin"}));
    let bad = call("AddFault", json!({"fault": "drop", "queue": 1}));
    let none = call("ClearFaults", json!({"id": 99}));
    let cleared = call("ClearFaults", json!({}));
    for _ in 0..64 {
        call("AddFault", json!({"fault": "crc"}));
    }
    let too_many = call("AddFault", json!({"fault": "crc"}));

    assert_eq!(keys(&added), outputs(&interface, "AddFault"));
    assert_eq!(keys(&shown), outputs(&interface, "Faults"));
    assert_eq!(keys(&cleared), outputs(&interface, "ClearFaults"));
    let fault = shown["parameters"]["faults"][0].as_object().unwrap();
    assert_eq!(
        fault.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        fields(&interface, "Fault")
    );
    for (reply, name) in [
        (unknown, "UnknownFault"),
        (bad, "BadFault"),
        (none, "NoSuchFault"),
        (too_many, "TooManyFaults"),
    ] {
        let error = interface
            .errors()
            .find(|error| error.name().as_str() == name)
            .unwrap();
        assert_eq!(
            reply["error"],
            format!("io.vfio-user-ixgbe.Control1.{name}")
        );
        let parameters = reply["parameters"].as_object();
        assert_eq!(
            parameters
                .into_iter()
                .flat_map(|parameters| parameters.keys().map(String::as_str))
                .collect::<BTreeSet<_>>(),
            error.fields().map(|field| field.name().as_str()).collect()
        );
    }
}

#[test]
fn captured_frames_have_the_fields_that_the_description_names() {
    let running = Running::start();
    let interface = Interface::try_from(control::DESCRIPTION).unwrap();
    let mut raw = Raw::connect(&running);

    let started = raw.call(&json!({
        "method": "io.vfio-user-ixgbe.Control1.Capture", "parameters": {"snapLength": 4}, "more": true,
    }));
    running.send(&[7; 60]);
    let captured = raw.reply();

    assert_eq!(started["continues"], true);
    assert_eq!(keys(&captured), outputs(&interface, "Capture"));
    let frame = captured["parameters"]["frames"][0].as_object().unwrap();
    // Without a port nobody knows these.
    let unknown = ["hash", "note", "queue"];
    let known = frame.keys().map(String::as_str);
    assert_eq!(
        known.chain(unknown).collect::<BTreeSet<_>>(),
        fields(&interface, "CapturedFrame")
    );
    assert_eq!(
        (frame["data"].as_str(), frame["length"].as_u64()),
        (Some("BwcHBw=="), Some(60))
    );
}

#[test]
fn every_method_of_the_description_is_known_to_the_server() {
    let running = Running::start();
    let interface = Interface::try_from(control::DESCRIPTION).unwrap();

    let unknown: Vec<_> = interface
        .methods()
        .map(|method| method.name().as_str())
        .filter(|method| {
            let call = json!({"method": format!("{}.{method}", control::INTERFACE)});
            Raw::connect(&running).call(&call)["error"] == "org.varlink.service.MethodNotFound"
        })
        .collect();

    assert_eq!(unknown, Vec::<&str>::new());
}
