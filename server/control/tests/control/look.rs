//! Looking on, over the socket: a port that receives, and what is told of it.

use std::collections::BTreeSet;

use control::{
    AccountAction, ClientError, ControlError, Direction, EventKind, Outcome, TraceFilter,
};
use nic_model::testing::{BUFFERS, RING};
use serde_json::{Value, json};
use wire::{Damage, Fcs};
use zlink_idl::Interface;

use crate::{raw::Raw, worker::Running};

/// A frame to the port.
fn frame() -> Vec<u8> {
    let mut frame = vec![0x5A; 64];
    frame[..6].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    frame[12..14].copy_from_slice(&[0x88, 0xB5]);
    frame
}

#[test]
fn an_account_of_copies_says_that_a_received_frame_is_copied_once() {
    let running = Running::start();
    let mut client = running.client();

    let before = client.copies(None).unwrap();
    client.copies(Some(AccountAction::Start)).unwrap();
    client
        .judge(&[frame(), frame()], Damage::default())
        .unwrap();
    let account = client.copies(Some(AccountAction::Stop)).unwrap();
    let after = client.copies(None).unwrap();

    assert!(!before.running && !after.running);
    let [queue] = account.queues.as_slice() else {
        panic!("{account:?}");
    };
    assert_eq!((queue.direction, queue.queue), (Direction::Receive, 0));
    assert_eq!((queue.frames, queue.frame_bytes), (2, 128));
    assert_eq!((queue.moved, queue.copied, queue.refused), (128, 0, 0));
    assert_eq!(queue.copies_per_byte(), Some(1.0));
    assert_eq!(account.interrupts, 1, "the pin stays active");
}

#[test]
fn activity_is_added_up_from_the_first_look_on() {
    let running = Running::start();
    let mut client = running.client();
    client.judge(&[frame()], Damage::default()).unwrap();

    let before = client.activity().unwrap();
    let mut astray = frame();
    astray[0] = 2;
    client
        .judge(&[frame(), frame(), astray], Damage::default())
        .unwrap();
    let after = client.activity().unwrap();

    assert_eq!((before.queues.len(), before.dma_written.bytes), (0, 0));
    let [queue] = after.queues.as_slice() else {
        panic!("{after:?}");
    };
    assert_eq!((queue.direction, queue.queue), (Direction::Receive, 0));
    assert_eq!(
        (queue.frames, queue.frame_bytes, queue.dropped),
        (2, 128, 0)
    );
    assert_eq!(after.drops[0].reason, "address-filter");
    assert_eq!((after.drops.len(), after.drops[0].frames), (1, 1));
    // Two frames and two descriptors.
    assert_eq!(after.dma_written.bytes, 2 * 64 + 2 * 16);
    assert_eq!(after.dma_written.accesses, 4);
    // The first frame had made the pin active already.
    assert_eq!(after.interrupts, []);
    let timed: u64 = after.to_memory.iter().map(|bucket| bucket.count).sum();
    assert_eq!(timed, 2);
}

#[test]
fn activity_begins_anew_when_all_who_have_looked_are_gone() {
    let running = Running::start();
    let activity = json!({"method": "io.vfio-user-ixgbe.Control1.Activity"});
    let mut first = Raw::connect(&running);
    let mut second = Raw::connect(&running);
    first.call(&activity);
    second.call(&activity);
    running
        .client()
        .judge(&[frame()], Damage::default())
        .unwrap();

    first.finish();
    first.rest();
    let one_is_left = second.call(&activity);
    second.finish();
    second.rest();
    let anew = running.client().activity().unwrap();

    assert_eq!(one_is_left["parameters"]["queues"][0]["frames"], 1);
    assert_eq!(anew.queues, []);
}

#[test]
fn a_delivered_frame_is_judged_with_queue_addresses_and_interrupt() {
    let running = Running::start();
    let mut client = running.client();

    let fates = client.judge(&[frame()], Damage::default()).unwrap();

    let [fate] = fates.as_slice() else {
        panic!("{fates:?}");
    };
    assert_eq!(fate.outcome, Outcome::Delivered);
    assert_eq!(fate.filter.as_deref(), Some("rar[0]"));
    let find = |kind, what: &str| {
        let mut events = fate.events.iter();
        events
            .rfind(|event| event.kind == kind && event.what == what)
            .unwrap()
    };
    assert_eq!(find(EventKind::Packet, "steered").queue, Some(0));
    let written = fate
        .events
        .iter()
        .find(|event| event.purpose.as_deref() == Some("packet"))
        .unwrap();
    assert_eq!(written.iova.as_deref(), Some(&*format!("{BUFFERS:#x}")));
    assert_eq!(written.length, Some(64));
    assert_eq!(find(EventKind::Descriptor, "written-back").index, Some(0));
    let signal = find(EventKind::Interrupt, "signal");
    assert_eq!(signal.signal.as_deref(), Some("intx"));
}

#[test]
fn a_dropped_frame_is_judged_with_the_stage_that_drops_it() {
    let running = Running::start();
    let mut client = running.client();
    let mut other = frame();
    other[5] = 0x57;
    let bad = Damage {
        fcs: Fcs::Bad,
        ..Damage::default()
    };

    let address = client.judge(&[other], Damage::default()).unwrap();
    let fcs = client.judge(&[frame()], bad).unwrap();

    assert_eq!(address[0].outcome, Outcome::Dropped);
    assert_eq!(address[0].reason.as_deref(), Some("address-filter"));
    assert_eq!(address[0].filter, None);
    assert_eq!(fcs[0].reason.as_deref(), Some("mac"));
}

#[test]
fn more_frames_than_there_are_descriptors_wait() {
    let running = Running::start();
    let mut client = running.client();

    let fates = client.judge(&vec![frame(); 8], Damage::default()).unwrap();

    let outcomes: Vec<_> = fates.iter().map(|fate| fate.outcome).collect();
    assert_eq!(outcomes[..7], [Outcome::Delivered; 7]);
    assert_eq!(outcomes[7], Outcome::Buffered);
}

#[test]
fn a_trace_tells_events_as_they_happen_until_its_client_ends() {
    let running = Running::start();
    let filter = TraceFilter {
        kinds: Some(vec![EventKind::Packet]),
        ..TraceFilter::default()
    };
    let mut tracing = running.client().trace(&filter).unwrap();
    assert_eq!(tracing.next_reply().unwrap().unwrap().events, []);

    let mut other = running.client();
    other.judge(&[frame()], Damage::default()).unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        let traced = tracing.next_reply().unwrap().unwrap();
        assert_eq!(traced.lost, 0);
        told.extend(traced.events.into_iter().map(|event| event.what));
    }
    tracing.finish().unwrap();
    while tracing.next_reply().unwrap().is_some() {}

    assert_eq!(told, ["arrived", "steered", "received"]);
}

#[test]
fn a_trace_of_a_register_that_there_is_not_is_refused() {
    let running = Running::start();
    let filter = TraceFilter {
        registers: Some(vec!["NONE".to_owned()]),
        ..TraceFilter::default()
    };

    let refused = running.client().trace(&filter).unwrap_err();

    let name = "NONE".to_owned();
    assert!(matches!(
        refused,
        ClientError::Refused(ControlError::UnknownRegister { name: told }) if told == name
    ));
}

#[test]
fn registers_are_read_by_name_and_nothing_is_cleared() {
    let running = Running::start();
    let mut client = running.client();
    client.judge(&[frame()], Damage::default()).unwrap();

    let first = client.registers(&["EICR", "RDT"]).unwrap();
    let second = client.registers(&["EICR", "RDT"]).unwrap();
    let unknown = client.registers(&["RDX"]).unwrap_err();

    assert_eq!(first, second);
    assert_eq!((first[0].offset, first[0].value), (0x800, 1));
    assert_eq!((first[1].name.as_str(), first[1].value), ("RDT", 7));
    assert_eq!(first.len(), 1 + 128);
    assert!(matches!(
        unknown,
        ClientError::Refused(ControlError::UnknownRegister { .. })
    ));
}

#[test]
fn client_memory_is_read_where_it_is_mapped() {
    let running = Running::start();
    let mut client = running.client();

    let mappings = client.memory().unwrap();
    let descriptor = client.read_memory(RING + 16, 8).unwrap();
    let outside = client.read_memory(RING + 0xFFF8, 16).unwrap_err();

    assert_eq!((mappings.total, mappings.mappings[0].iova), (1, RING));
    assert_eq!(descriptor, (BUFFERS + 2048).to_le_bytes());
    assert!(matches!(
        outside,
        ClientError::Refused(ControlError::NotMapped { .. })
    ));
}

#[test]
fn the_nvm_is_shown_with_its_checksum() {
    let running = Running::start();

    let nvm = running.client().nvm().unwrap();

    assert_eq!(nvm.data.len(), 16 << 10);
    assert!(nvm.checksum_right);
}

/// Names of a type's fields.
fn fields<'a>(interface: &'a Interface<'_>, name: &str) -> BTreeSet<&'a str> {
    let described = interface
        .custom_types()
        .find(|described| described.name().as_str() == name)
        .unwrap();
    let fields = described.as_object().unwrap().fields();
    fields.map(|field| field.name().as_str()).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().unwrap();
    object.keys().map(String::as_str).collect()
}

#[test]
fn what_is_told_has_fields_that_the_description_names() {
    let running = Running::start();
    let interface = Interface::try_from(control::DESCRIPTION).unwrap();
    let mut raw = Raw::connect(&running);
    let mut call = |method: &str, parameters: Value| {
        let method = format!("{}.{method}", control::INTERFACE);
        raw.call(&json!({"method": method, "parameters": parameters}))["parameters"].take()
    };
    call("Copies", json!({"action": "start"}));
    let fates = call(
        "Judge",
        json!({"frames": ["UlQAEjRWWlpaWlpaiLVaWlpaWlpaWlpaWlpaWlpa"]}),
    );
    let copies = call("Copies", json!({}));
    call("Activity", json!({}));
    call(
        "Judge",
        json!({"frames": ["UlQAEjRWWlpaWlpaiLVaWlpaWlpaWlpaWlpaWlpa", "AlQAEjRWWlpaWlpaiLVaWlpaWlpaWlpaWlpaWlpa"]}),
    );
    let activity = call("Activity", json!({}));
    let registers = call("Registers", json!({"names": ["CTRL"]}));
    let memory = call("Memory", json!({}));

    let fate = &fates["fates"][0];
    assert!(keys(fate).is_subset(&fields(&interface, "Fate")));
    let events = fate["events"].as_array().unwrap();
    let told: BTreeSet<&str> = events.iter().flat_map(keys).collect();
    assert!(told.len() > 15, "{told:?}");
    assert!(told.is_subset(&fields(&interface, "TraceEvent")));
    assert_eq!(
        keys(&copies["queues"][0]),
        fields(&interface, "QueueCopies")
    );
    let method = interface.methods();
    let described = method
        .filter(|method| method.name().as_str() == "Activity")
        .flat_map(|method| method.outputs().map(|field| field.name().as_str()));
    assert_eq!(keys(&activity), described.collect());
    for (value, name) in [
        (&activity["queues"][0], "QueueActivity"),
        (&activity["drops"][0], "DropActivity"),
        (&activity["dmaRead"], "DmaActivity"),
        (&activity["toMemory"][0], "LatencyBucket"),
    ] {
        assert_eq!(keys(value), fields(&interface, name));
    }
    assert_eq!(
        keys(&registers["registers"][0]),
        fields(&interface, "RegisterValue")
    );
    assert_eq!(keys(&memory["mappings"][0]), fields(&interface, "Mapping"));
}

#[test]
fn a_port_at_rest_is_recorded_again_when_its_recording_has_ended() {
    let running = Running::start();
    let record = || running.client().record().unwrap();

    let mut first = record();
    let again = running.client().record().err();
    first.finish().unwrap();
    while first.next_reply().unwrap().is_some() {}
    let mut second = record();
    second.next_reply().unwrap();
    let begun = second.next_reply().unwrap().unwrap();

    let refused = Some(ClientError::Refused(ControlError::NotRecordable {
        why: "it is recorded already".to_owned(),
    }));
    assert_eq!(format!("{again:?}"), format!("{refused:?}"));
    let header = begun.header.unwrap();
    assert!(format!("{header:?}").contains("52:54:00:12:34:56"));
}
