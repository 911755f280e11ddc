//! What `ixgbectl capture` writes, read by tshark.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use guest_tests::{
    frames::{self, PEER},
    runner,
    server::card_world,
    world::{Setup, World},
};
use guest_vm::{Cache, Program, TestSetting, tshark};
use libtest_mimic::Arguments;
use nic_driver::over_socket::Lending;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn main() {
    let arguments = Arguments::from_args();
    let name = "captures::tshark_reads_frames_of_both_directions";
    let trial = match TestSetting::from_env() {
        Some(setting) => runner::test(name, move || {
            tshark_reads_frames_of_both_directions(&setting.ixgbectl)
        }),
        None => runner::cannot_run(
            name,
            "run by cargo xtask test, which finds or fetches tshark",
        ),
    };
    libtest_mimic::run(&arguments, vec![trial]).exit();
}

fn tshark_reads_frames_of_both_directions(ixgbectl: &Path) -> Result<()> {
    let tshark = tshark(&Cache::open()?)?;
    let (mut world, server) = card_world(Lending::Descriptor, &[])?;
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let mut tagged = Vec::new();
    PacketBuilder::ethernet2(PEER, mac)
        .single_vlan(7.try_into()?)
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .tcp(40_000, 80, 1, 1000)
        .write(&mut tagged, b"GET /")?;
    let mut datagram = Vec::new();
    PacketBuilder::ethernet2(mac, PEER)
        .ipv6([0xFD; 16], [0xFE; 16], 64)
        .udp(40_001, 9)
        .write(&mut datagram, &[0xA5; 200])?;
    let file = server.folder().join("both.pcapng");

    let capture = Capture::start(ixgbectl, &server.control(), &file)?;
    // The first is for somebody else, and dropped.
    let strange = frames::numbered([0x02, 0, 0, 0, 0, 0x77], 1, 80);
    world.arrive(&[strange, tagged.clone(), frames::numbered(mac, 0, 1514)])?;
    world.send(&[datagram])?;
    capture.end()?;

    let arrived = read(&tshark, &file, "frame.packet_flags_direction == 1")?;
    let sent = read(&tshark, &file, "frame.packet_flags_direction == 2")?;
    let faults = read(&tshark, &file, "_ws.malformed || ip.checksum.status == 0")?;
    ensure!(
        arrived
            == [
                "80|||||||port0||dropped: no filter accepts the address",
                "63|7|192.0.2.1|80||||port0|0|",
                "1514|||||||port0|0|"
            ],
        "tshark read {arrived:?} of what arrived"
    );
    ensure!(
        sent == ["262||||fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe|9|64|port0|0|"],
        "tshark read {sent:?} of what was sent"
    );
    ensure!(faults.is_empty(), "tshark finds fault: {faults:?}");
    Ok(())
}

/// The fields that tshark finds in the frames that `filter` lets through.
fn read(tshark: &Program, file: &Path, filter: &str) -> Result<Vec<String>> {
    let mut command = tshark.command();
    command
        .args(["-n", "-T", "fields", "-E", "separator=|"])
        .args(["-o", "ip.check_checksum:TRUE", "-Y", filter]);
    for field in [
        "frame.len",
        "vlan.id",
        "ip.src",
        "tcp.dstport",
        "ipv6.dst",
        "udp.dstport",
        "ipv6.hlim",
        "frame.interface_name",
        "frame.interface_queue",
        "frame.comment",
    ] {
        command.args(["-e", field]);
    }
    let output = command
        .arg("-r")
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .context("cannot run tshark")?;
    ensure!(
        output.status.success(),
        "tshark: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines.lines().map(str::to_owned).collect())
}

/// A running `ixgbectl capture`.
struct Capture {
    command: Child,
}

impl Capture {
    /// Starts it and waits until no frame is missed any more.
    fn start(ixgbectl: &Path, control: &Path, file: &Path) -> Result<Self> {
        let mut command = Command::new(ixgbectl)
            .arg("--control")
            .arg(control)
            .arg("capture")
            .arg("-o")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ixgbectl")?;
        let stderr = command.stderr.take().context("ixgbectl has no stderr")?;
        let mut line = String::new();
        BufReader::new(stderr).read_line(&mut line)?;
        ensure!(line.contains("capturing to"), "ixgbectl said {line:?}");
        Ok(Self { command })
    }

    /// Ends it as Ctrl-C does.
    fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(self.command.id().try_into()?), Signal::SIGINT)?;
        let status = self.command.wait()?;
        ensure!(status.success(), "ixgbectl ended with {status}");
        Ok(())
    }
}
