//! A running server that replays a capture.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Server, only_line, run};
use wire::{
    Direction,
    file::{self, PcapNg},
};

/// A capture of a broadcast and where it is.
fn capture(folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("in.pcapng");
    let mut writer = PcapNg::new(std::fs::File::create(&path).unwrap(), "test").unwrap();
    writer
        .frame(Direction::Receive, Duration::from_secs(1), &[0xff; 60], 60)
        .unwrap();
    writer.finish(Duration::from_secs(1), 0).unwrap();
    path
}

#[test]
fn a_file_that_cannot_be_replayed_fails_with_one_line() {
    let output = run(&["--socket", "/tmp/a", "--wire", "pcap:/no/such.pcap"]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("/no/such.pcap"), "{line}");
}

#[test]
fn a_server_that_is_ended_leaves_a_whole_capture() {
    let folder = tempfile::tempdir().unwrap();
    let input = capture(folder.path());
    let all = folder.path().join("all.pcapng");
    let wire = format!("pcap:{},loop+capture={}", input.display(), all.display());
    let mut server = Server::start_in(folder, &["--wire", &wire]);

    server.signal(Signal::SIGTERM);

    assert_eq!(server.wait().code(), Some(0));
    // Nobody listened, so nothing came.
    assert_eq!(file::read(&all).unwrap().frames, Vec::<Vec<u8>>::new());
}
