//! The control server over its socket, with a worker on a loopback wire.
#![expect(clippy::unwrap_used, reason = "a test stops where a step fails")]

mod description;
mod hostile;
mod look;
mod raw;
mod worker;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    time::Duration,
};

use control::{
    BindError, Client, ClientError, ControlError, Direction, Group, Link, Module, Server,
};
use nic_model::fault::{Fault, FaultKind, Target, Trigger};
use worker::Running;

fn frame(byte: u8) -> Vec<u8> {
    vec![byte; 64]
}

#[test]
fn info_tells_the_wire_and_its_state() {
    let running = Running::start();

    let info = running.client().info().unwrap();

    assert_eq!(info.wire, "loopback");
    assert_eq!(info.cable, Link::Up);
    assert!(info.carrier);
    assert_eq!(info.pid, std::process::id());
}

#[test]
fn stats_hold_the_ports_counters_and_the_cables() {
    let running = Running::start();
    let mut client = running.client();
    client.inject(&[frame(1)]).unwrap();
    running.wait_for_received(1);

    let stats = client.stats().unwrap();

    let value = |group, name: &str| {
        stats
            .counters
            .iter()
            .find(|counter| counter.group == group && counter.name == name)
            .map(|counter| counter.value)
    };
    assert_eq!(value(Group::Hardware, "gprc"), Some(42));
    assert_eq!(value(Group::Model, "huge"), Some(i64::MAX.cast_unsigned()));
    assert_eq!(value(Group::Wire, "injected"), Some(1));
    assert_eq!(value(Group::Wire, "tx_frames"), Some(0));
}

#[test]
fn injected_frames_arrive_in_order() {
    let running = Running::start();

    let accepted = running
        .client()
        .inject(&[frame(1), frame(2), frame(3)])
        .unwrap();

    assert_eq!(accepted, 3);
    assert_eq!(running.wait_for_received(3), [frame(1), frame(2), frame(3)]);
}

#[test]
fn a_runt_arrives_as_short_as_it_is_if_asked_for() {
    let running = Running::start();
    let damage = wire::Damage {
        fcs: wire::Fcs::Bad,
        short: wire::Short::Runt,
    };

    running
        .client()
        .inject_damaged(&[vec![7; 20]], damage)
        .unwrap();

    assert_eq!(running.wait_for_received(1), [[7; 20]]);
}

#[test]
fn a_short_frame_arrives_padded() {
    let running = Running::start();

    running.client().inject(&[vec![7; 20]]).unwrap();

    let received = running.wait_for_received(1);
    assert_eq!(received[0], [vec![7; 20], vec![0; 40]].concat());
}

#[test]
fn a_frame_of_a_wrong_length_is_refused_and_none_arrives() {
    let running = Running::start();
    let mut client = running.client();

    let error = client.inject(&[frame(1), vec![0; 13]]).unwrap_err();

    assert!(matches!(
        error,
        ClientError::Refused(ControlError::FrameLength {
            index: 1,
            length: 13
        })
    ));
    client.inject(&[frame(2)]).unwrap();
    assert_eq!(running.wait_for_received(1), [frame(2)]);
}

#[test]
fn frames_beyond_the_queue_are_not_accepted() {
    let running = Running::start_paused();
    let mut client = running.client();
    let frames = vec![frame(1); 3000];

    let first = client.inject(&frames).unwrap();
    let second = client.inject(&frames).unwrap();

    assert_eq!((first, second), (3000, 1096));
}

#[test]
fn a_pulled_cable_takes_no_injected_frames_until_it_is_back() {
    let running = Running::start();
    let mut client = running.client();

    client.set_link(Link::Down).unwrap();
    let down = client.info().unwrap();
    let refused = client.inject(&[frame(1)]).unwrap_err();
    client.set_link(Link::Up).unwrap();
    let accepted = client.inject(&[frame(1)]).unwrap();

    assert_eq!((down.cable, down.carrier), (Link::Down, false));
    assert!(matches!(
        refused,
        ClientError::Refused(ControlError::LinkDown)
    ));
    assert_eq!(accepted, 1);
}

#[test]
fn a_call_is_for_the_port_that_it_names_and_for_the_first_without_a_name() {
    let running = Running::start_two_ports();
    let mut client = running.client();
    let unnamed = client.info().unwrap();
    client.select(Some(1));

    let named = client.info().unwrap();
    client.set_link(Link::Down).unwrap();
    let refused = client.inject(&[frame(1)]).unwrap_err();
    client.select(Some(0));
    let accepted = client.inject(&[frame(2)]).unwrap();

    assert_eq!((unnamed.port, named.port, named.ports), (0, 1, 2));
    assert_eq!((unnamed.module, named.module), (Module::Sr, Module::Lr));
    assert!(matches!(
        refused,
        ClientError::Refused(ControlError::LinkDown)
    ));
    assert_eq!(accepted, 1);
    assert_eq!(running.wait_for_received(1), [frame(2)]);
}

#[test]
fn a_port_that_is_not_there_is_refused_with_the_number_of_those_that_are() {
    let running = Running::start_two_ports();
    let mut client = running.client();
    client.select(Some(2));

    let errors = [
        client.info().unwrap_err(),
        client.stats().unwrap_err(),
        client.set_link(Link::Up).unwrap_err(),
    ];

    for error in errors {
        let error = error.to_string();
        assert_eq!(error, "the server has no port 2; it has 2, counted from 0");
    }
}

#[test]
fn a_worker_that_has_ended_leaves_the_other_ports_to_be_asked() {
    let running = Running::start_two_ports();
    let mut client = running.client();

    running.stop_worker();

    assert!(client.info().is_err());
    client.select(Some(1));
    assert_eq!(client.info().unwrap().module, Module::Lr);
    assert_eq!(client.inject(&[frame(3)]).unwrap(), 1);
    assert_eq!(running.wait_for_received_at(1, 1), [frame(3)]);
}

#[test]
fn a_capture_shows_both_directions_and_ends_with_the_rest() {
    let running = Running::start();
    let mut capturing = running.client().capture(None).unwrap();
    let started = capturing.next_reply().unwrap().unwrap();

    running.send(&frame(9));
    let received = running.wait_for_received(1);
    capturing.finish().unwrap();
    let mut frames = Vec::new();
    while let Some(captured) = capturing.next_reply().unwrap() {
        frames.extend(captured.frames);
    }

    assert_eq!(started.frames, []);
    assert_eq!(received, [frame(9)]);
    let seen: Vec<_> = frames
        .iter()
        .map(|f| (f.direction, f.data.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            (Direction::Transmit, frame(9)),
            (Direction::Receive, frame(9))
        ]
    );
    assert!(frames[0].time > 1_600_000_000_000_000_000);
    assert!(frames[0].time <= frames[1].time);
}

#[test]
fn a_capture_that_nobody_reads_loses_frames_and_says_how_many() {
    let running = Running::start();
    let mut capturing = running.client().capture(None).unwrap();
    // What a socket buffers is far less.
    let count = 40_000;

    for _ in 0..count / 1000 {
        running.send_many(&vec![5; 1000], 1000);
    }
    running.wait_for_received(count);
    capturing.finish().unwrap();
    let (mut frames, mut lost) = (0, 0);
    while let Some(captured) = capturing.next_reply().unwrap() {
        frames += captured.frames.len() as u64;
        lost = captured.lost;
    }

    assert!(lost > 0);
    assert_eq!(frames + lost, 2 * count as u64);
}

#[test]
fn a_capture_ends_when_the_server_ends() {
    let running = Running::start();
    let mut capturing = running.client().capture(None).unwrap();
    capturing.next_reply().unwrap();

    running.stop_worker();

    let last = capturing.next_reply().unwrap();
    assert!(last.is_some());
    assert!(capturing.next_reply().unwrap().is_none());
}

#[test]
fn captures_that_have_ended_make_room_though_no_frame_passes() {
    let running = Running::start();
    let ended: Vec<_> = (0..16)
        .map(|_| running.client().capture(None).unwrap())
        .collect();
    for mut capturing in ended {
        capturing.finish().unwrap();
        while capturing.next_reply().unwrap().is_some() {}
    }

    let further = running.client().capture(None);

    assert!(further.is_ok(), "{further:?}");
}

#[test]
fn captures_beyond_the_limit_are_refused() {
    let running = Running::start();
    let captures: Vec<_> = (0..16)
        .map(|_| running.client().capture(None).unwrap())
        .collect();

    let refused = running.client().capture(None).unwrap_err();

    assert!(matches!(
        refused,
        ClientError::Refused(ControlError::TooManyCaptures)
    ));
    assert_eq!(captures.len(), 16);
}

#[test]
fn a_card_with_faults_is_recorded_when_they_are_cleared() {
    let running = Running::start();
    let mut client = running.client();
    let stuck = Fault {
        kind: FaultKind::TransmitStuck,
        target: Target::default(),
        trigger: Trigger::always(1),
        delay: None,
        every: None,
    };
    client.add_fault(&stuck).unwrap();

    let refused = running.client().record().unwrap_err();
    client.clear_faults(None).unwrap();
    let then = running.client().record();

    assert!(
        matches!(
            refused,
            ClientError::Refused(ControlError::NotRecordable { .. })
        ),
        "{refused}"
    );
    assert!(then.is_ok(), "{then:?}");
}

#[test]
fn a_client_of_a_server_whose_worker_is_gone_is_told_so() {
    let running = Running::start();
    let mut client = running.client();

    running.stop_worker();

    let error = client.stats().unwrap_err();
    assert!(matches!(
        error,
        ClientError::Refused(ControlError::NotAnswering)
    ));
}

#[test]
fn a_worker_that_hangs_does_not_keep_the_answer_of_another() {
    let running = Running::start();
    let (hangs, _inbox) = control::channel().unwrap();

    let hanging = hangs.overview(0, 2).unwrap();
    let answering = running.handle().overview(1, 2).unwrap();
    let none = hanging.wait(Duration::ZERO);
    let answer = answering.wait(Duration::from_secs(60)).unwrap();

    assert!(none.is_none());
    let (info, stats) = answer.unwrap();
    assert_eq!((info.port, info.ports), (1, 2));
    assert!(!stats.counters.is_empty());
}

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_server() {
    let running = Running::start();
    let path = running.path();

    let mode = fs::metadata(&path).unwrap().permissions().mode();
    drop(running);

    assert_eq!(mode & 0o777, 0o600);
    assert!(!path.exists());
}

#[test]
fn a_client_of_another_user_is_turned_away_even_if_the_mode_lets_it_in() {
    let running = Running::start();
    let path = running.path();
    if !rustix::process::geteuid().is_root() {
        println!("this takes root, to become another user");
        return;
    }
    let folder = path.parent().unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();

    let stranger = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65_534);
        match rustix::thread::set_thread_res_uid(nobody, nobody, nobody) {
            Ok(()) => Client::connect(&path)
                .and_then(|mut client| client.info())
                .is_err(),
            // A user namespace in which there is nobody else.
            Err(_) => true,
        }
    });

    assert!(stranger.join().unwrap());
    assert!(running.client().info().is_ok());
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stale.control");
    drop(UnixListener::bind(&path).unwrap());

    let (handle, _inbox) = control::channel().unwrap();
    let server = Server::start(&path, [handle]);

    assert!(server.is_ok());
}

#[test]
fn a_socket_in_use_is_left_alone() {
    let running = Running::start();

    let (handle, _inbox) = control::channel().unwrap();
    let error = Server::start(&running.path(), [handle]).unwrap_err();

    assert!(matches!(error, BindError::InUse { .. }));
    assert!(running.client().info().is_ok());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    fs::write(&path, "text").unwrap();

    let (handle, _inbox) = control::channel().unwrap();
    let error = Server::start(&path, [handle]).unwrap_err();

    assert!(matches!(error, BindError::NotASocket { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"text");
}

#[test]
fn a_path_that_no_socket_can_have_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x".repeat(120));

    let (handle, _inbox) = control::channel().unwrap();
    let error = Server::start(&path, [handle]).unwrap_err();

    assert!(matches!(error, BindError::TooLong { .. }));
}

#[test]
fn a_missing_server_is_told_with_its_path() {
    let error = Client::connect("/nonexistent/x.control".as_ref()).unwrap_err();

    assert_eq!(
        error.to_string(),
        "no server answers at /nonexistent/x.control; is vfio-user-ixgbe running, and with this --control path?"
    );
}
