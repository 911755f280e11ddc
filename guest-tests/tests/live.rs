//! Watching a card that a driver works with: `ixgbectl top` on a terminal, and `/metrics`.

use std::{
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use guest_tests::{
    frames, runner,
    server::card_world,
    world::{Setup, World},
};
use guest_vm::TestSetting;
use libtest_mimic::{Arguments, Trial};
use nic_driver::over_socket::Lending;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, openpty},
    sys::termios::tcgetattr,
};

/// How long something may take to be seen.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments = Arguments::from_args();
    let top = "live::top_shows_a_driver_at_work_and_waits_for_a_server_that_is_gone";
    let top = match TestSetting::from_env() {
        Some(setting) => runner::test(top, move || {
            top_shows_a_driver_at_work_and_waits_for_a_server_that_is_gone(&setting.ixgbectl)
        }),
        None => runner::cannot_run(top, "run by cargo xtask test, which builds ixgbectl"),
    };
    let metrics = "live::metrics_count_what_a_driver_has_moved_by_queue";
    let metrics = runner::test(metrics, metrics_count_what_a_driver_has_moved_by_queue);
    let trials: Vec<Trial> = vec![top, metrics];
    libtest_mimic::run(&arguments, trials).exit();
}

fn top_shows_a_driver_at_work_and_waits_for_a_server_that_is_gone(ixgbectl: &Path) -> Result<()> {
    let (mut world, server) = card_world(Lending::Descriptor, &[])?;
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(&size, None)?;
    let before = tcgetattr(&pty.slave)?;
    let mut top = Top::start(ixgbectl, &server.control(), pty.master, &pty.slave)?;

    top.wait_for("no queue has moved a packet yet")?;
    // Until a sample has them; a queue that has been seen stays.
    let begun = Instant::now();
    while !top.screen().contains("\nrx 0 ") {
        ensure!(begun.elapsed() < PATIENCE, "no queue: {}", top.screen());
        world.arrive(&[frames::numbered(mac, 0, 200), frames::numbered(mac, 1, 200)])?;
        top.read(Duration::from_millis(20))?;
    }
    top.wait_for("TO INTERRUPT")?;
    let screen = top.screen();
    let lines: Vec<&str> = screen.lines().collect();
    ensure!(lines[0].contains("port 0 of 1"), "{screen}");
    ensure!(lines[1].starts_with("Link        carrier"), "{screen}");
    ensure!(lines[23].starts_with("q quit"), "{screen}");
    top.press(b"?")?;
    top.wait_for("Ctrl-C    quit")?;
    top.press(b" ")?;
    top.press(b"p")?;
    top.wait_for("PAUSED")?;
    top.press(b"p")?;
    drop(world);
    drop(server);
    top.wait_for("waiting for the server")?;
    top.press(b"q")?;

    ensure!(top.end()?, "top has left the screen as it was drawn");
    ensure!(
        before == tcgetattr(&pty.slave)?,
        "top has changed the terminal"
    );
    Ok(())
}

/// `ixgbectl top` on a terminal, and what that shows.
struct Top {
    child: Child,
    keyboard: std::fs::File,
    terminal: vt100::Parser,
}

impl Top {
    fn start(ixgbectl: &Path, control: &Path, master: OwnedFd, slave: &OwnedFd) -> Result<Self> {
        let child = Command::new(ixgbectl)
            .arg("--control")
            .arg(control)
            .args(["top", "--delay", "0.2"])
            .env("TERM", "xterm")
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave.try_clone()?)
            .spawn()
            .context("cannot run ixgbectl")?;
        Ok(Self {
            child,
            keyboard: master.into(),
            terminal: vt100::Parser::new(24, 80, 0),
        })
    }

    fn press(&mut self, keys: &[u8]) -> Result<()> {
        Ok(self.keyboard.write_all(keys)?)
    }

    /// Takes what comes within `patience`; whether something has.
    fn read(&mut self, patience: Duration) -> Result<bool> {
        let mut fds = [PollFd::new(self.keyboard.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(patience)?)? == 0 {
            return Ok(false);
        }
        let mut bytes = [0; 4096];
        let count = self.keyboard.read(&mut bytes)?;
        self.terminal.process(&bytes[..count]);
        Ok(true)
    }

    fn screen(&self) -> String {
        self.terminal.screen().contents()
    }

    fn wait_for(&mut self, text: &str) -> Result<()> {
        let begun = Instant::now();
        while !self.screen().contains(text) {
            if begun.elapsed() > PATIENCE || self.child.try_wait()?.is_some() {
                bail!("'{text}' is not on the screen:\n{}", self.screen());
            }
            self.read(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Waits for its end; whether the terminal shows what it showed before, and its cursor. The terminal stays: without
    /// this side the other is hung up.
    fn end(&mut self) -> Result<bool> {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begun.elapsed() < PATIENCE, "top does not end");
            self.read(Duration::from_millis(20))?;
        };
        while self.read(Duration::ZERO)? {}
        ensure!(status.success(), "top has ended with {status}");
        let screen = self.terminal.screen();
        Ok(!screen.alternate_screen() && !screen.hide_cursor())
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn metrics_count_what_a_driver_has_moved_by_queue() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("metrics");
    let flag = format!("unix:{}", socket.display());
    let (mut world, _server) = card_world(Lending::Descriptor, &["--metrics", &flag])?;
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;

    let arriving = [60, 200, 1514].map(|len| frames::numbered(mac, 0, len));
    world.arrive(&arriving)?;
    world.send(&[frames::numbered([0x02, 0, 0, 0, 0, 0x77], 1, 300)])?;
    let mut stream = UnixStream::connect(&socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;

    // QBTC has the FCS, QBRC does not.
    for line in [
        "ixgbe_rx_packets_total{port=\"0\",queue=\"0\"} 3",
        "ixgbe_rx_bytes_total{port=\"0\",queue=\"0\"} 1774",
        "ixgbe_tx_packets_total{port=\"0\",queue=\"0\"} 1",
        "ixgbe_tx_bytes_total{port=\"0\",queue=\"0\"} 304",
        "ixgbe_mac_rx_packets_total{port=\"0\"} 3",
        "ixgbe_clients_total{port=\"0\"} 1",
    ] {
        ensure!(
            text.lines().any(|other| other == line),
            "no {line} in {text}"
        );
    }
    Ok(())
}
