//! The server as a process, and what reaches it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use control::{Capturing, Direction, Link};
use guest_vm::{CablePeer, Namespace, NicServer, Spawner, TestSetting};
use nic_driver::over_socket::{Lending, OverSocket};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use tempfile::TempDir;
use vfio_user::client::Options;
use wire::Damage;

use crate::{
    cable::{Cable, Plug},
    card_world::{CardWorld, MAC},
    frames::Mac,
};

/// Environment variable with `posted` or `mapped`: the doorbells of servers whose test does not say.
const DOORBELLS: &str = "XTASK_DOORBELLS";

/// How long the server may take to do what it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server's program: the one that `cargo xtask test` has built, or one that is built now.
///
/// # Errors
/// It cannot be built.
pub fn program() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(setting) = TestSetting::from_env() {
        return Ok(setting.server);
    }
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", "vfio-user-ixgbe"])
        .args(["--bin", "vfio-user-ixgbe"])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "cargo cannot build the server: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .context("cargo has built no program")
}

/// What is at the other end of a server's cable, beside the test.
#[derive(Clone, Copy, Debug)]
pub enum Far<'a> {
    /// Nothing.
    Nobody,
    /// The embedded host.
    Host,
    /// A host in a network namespace of its own.
    Tap(&'a CablePeer),
    /// Whatever is at this tap device of this network namespace.
    TapIn(&'a Namespace, &'a str),
    /// Whatever is at this wire.
    Wire(&'a str),
    /// Whatever is at this wire of this network namespace.
    WireIn(&'a Namespace, &'a str),
}

/// A running server. It goes when this is dropped.
#[derive(Debug)]
pub struct Server {
    nic: NicServer,
    folder: TempDir,
}

impl Server {
    /// Starts the server of a card with the address [`MAC`].
    ///
    /// # Errors
    /// It does not start.
    pub fn start(far: Far<'_>) -> Result<Self> {
        Self::start_as(MAC, far)
    }

    /// Starts the server of a card with another address.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_as(mac: Mac, far: Far<'_>) -> Result<Self> {
        Self::start_with(mac, far, &[])
    }

    /// Starts the server of a card with another address and further flags.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_with(mac: Mac, far: Far<'_>, flags: &[&str]) -> Result<Self> {
        let (wire, spawner) = match far {
            Far::Nobody => ("null".to_owned(), Spawner::own()),
            Far::Host => ("host".to_owned(), Spawner::own()),
            Far::Tap(peer) => (
                format!("tap:{}", CablePeer::TAP),
                peer.namespace().spawner().clone(),
            ),
            Far::TapIn(namespace, tap) => (format!("tap:{tap}"), namespace.spawner().clone()),
            Far::Wire(wire) => (wire.to_owned(), Spawner::own()),
            Far::WireIn(namespace, wire) => (wire.to_owned(), namespace.spawner().clone()),
        };
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        // Told of once each: registers that the driver touches and that do not do all that they should.
        let own = ["--mac", &mac, "--log", "info,nic_model=debug"];
        let doorbells = env::var(DOORBELLS).ok();
        let mut all = own.to_vec();
        // What a test asks for comes first; then the variable is not asked.
        if let Some(kind) = doorbells.as_deref()
            && !flags.contains(&"--doorbells")
        {
            all.extend(["--doorbells", kind]);
        }
        all.extend(flags);
        let flags = all;
        let nic = NicServer::start(
            &program()?,
            &wire,
            &flags,
            &spawner,
            &folder.path().join("server.log"),
        )?;
        Ok(Self { nic, folder })
    }

    /// The vfio-user socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.nic.socket()
    }

    /// The control socket.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.nic.control()
    }

    /// The far end of its cable.
    ///
    /// # Errors
    /// It has no control socket.
    pub fn cable(&self) -> Result<ControlCable> {
        ControlCable::connect(&self.control())
    }

    /// What the server's log says of registers that were touched and are missing.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn missing_registers(&self) -> Result<Vec<String>> {
        let log = fs::read_to_string(self.nic.log()).context("cannot read the server's log")?;
        // Every driver reads registers that are only stored: a log without one does not tell.
        ensure!(
            log.contains(" is only stored: "),
            "the server's log tells of no register"
        );
        let missing = |line: &&str| line.contains(" is missing: ");
        Ok(log.lines().filter(missing).map(str::to_owned).collect())
    }

    /// The process.
    pub fn nic(&mut self) -> &mut NicServer {
        &mut self.nic
    }

    /// Ends the process, and waits until it has.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(self) -> Result<ExitStatus> {
        Ok(self.nic.stop()?)
    }

    /// A folder that goes with the server.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Our driver on a card of a server of its own with these flags, and the server.
///
/// # Errors
/// The server does not start, or serves no card.
pub fn card_world(lending: Lending, flags: &[&str]) -> Result<(CardWorld, Server)> {
    let server = Server::start_with(MAC, Far::Nobody, flags)?;
    let card = OverSocket::connect(server.socket(), Options::default(), lending)?;
    let world = CardWorld::new(Box::new(card), Box::new(server.cable()?));
    Ok((world, server))
}

/// The far end of a running server's cable, by its control socket.
#[derive(Debug)]
pub struct ControlCable {
    client: control::Client,
    capturing: Capturing,
    /// Damaged frames that go before the next ones.
    damaged: Vec<(Vec<u8>, Damage)>,
}

impl ControlCable {
    /// Connects and begins to watch the cable.
    ///
    /// # Errors
    /// Nobody listens at the control socket.
    pub fn connect(path: &Path) -> Result<Self> {
        Self::of_port(path, None)
    }

    /// The same for one of several ports of a server, counted from 0.
    ///
    /// # Errors
    /// Nobody listens at the control socket, or there is no such port.
    pub fn of_port(path: &Path, port: Option<u32>) -> Result<Self> {
        let connect = || -> Result<control::Client> {
            let mut client = control::Client::connect(path)?;
            client.select(port);
            Ok(client)
        };
        Ok(Self {
            client: connect()?,
            capturing: connect()?.capture(None)?,
            damaged: Vec::new(),
        })
    }

    /// Lets a damaged frame arrive before those of the next [`Cable::put`].
    pub fn damage(&mut self, frame: Vec<u8>, damage: Damage) {
        self.damaged.push((frame, damage));
    }

    /// The control socket's client.
    pub fn control(&mut self) -> &mut control::Client {
        &mut self.client
    }
}

impl Cable for ControlCable {
    fn put(&mut self, frames: &[Vec<u8>]) -> Result<()> {
        for (frame, damage) in self.damaged.drain(..) {
            let accepted = self.client.inject_damaged(&[frame], damage)?;
            ensure!(accepted == 1, "no room on the cable for a damaged frame");
        }
        let begun = Instant::now();
        let mut rest = frames;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take_while(|frame| {
                bytes += frame.len() + 8;
                bytes <= control::MAX_INJECT_BYTES
            });
            let (part, _) = rest.split_at(fit.count());
            let accepted = self.client.inject(part)?;
            rest = &rest[accepted..];
            ensure!(
                begun.elapsed() < PATIENCE,
                "no room on the cable for {} of {} frames",
                rest.len(),
                frames.len()
            );
        }
        Ok(())
    }

    fn take(&mut self, patience: Duration) -> Result<Vec<Vec<u8>>> {
        let end = Instant::now() + patience;
        let mut frames = Vec::new();
        loop {
            if !self.capturing.has_buffered() {
                // Once there are some, only what has come already.
                let left = if frames.is_empty() {
                    end.saturating_duration_since(Instant::now())
                } else {
                    Duration::ZERO
                };
                let fd = PollFd::new(self.capturing.poll_fd(), PollFlags::POLLIN);
                if poll(&mut [fd], PollTimeout::try_from(left)?)? == 0 {
                    return Ok(frames);
                }
            }
            let captured = self.capturing.next_reply()?;
            let captured = captured.context("the capture has ended")?;
            ensure!(captured.lost == 0, "the capture has lost {}", captured.lost);
            let sent = captured.frames.into_iter();
            let sent = sent.filter(|frame| frame.direction == Direction::Transmit);
            frames.extend(sent.map(|frame| frame.data));
        }
    }

    fn plug(&mut self, plug: Plug) -> Result<()> {
        let state = match plug {
            Plug::In => Link::Up,
            Plug::Out => Link::Down,
        };
        Ok(self.client.set_link(state)?)
    }
}
