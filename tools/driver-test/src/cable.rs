//! The guest's NIC from outside: its cable, and what the server tells of it.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use control::{
    Capturing, Client, Direction, Fault, Finding, HardwareError, Link, MAX_INJECT_BYTES,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use wire::Damage;

use crate::evidence::Frames;

/// How long the NIC may leave frames waiting that are offered to it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A NIC from outside.
pub trait Cable {
    /// Lets frames arrive, in their order.
    ///
    /// # Errors
    /// There is no link, or the server fails.
    fn send(&mut self, frames: &[Vec<u8>], damage: Damage) -> Result<()>;

    /// The next frame that the guest sends, if it sends one in time.
    ///
    /// # Errors
    /// The server fails.
    fn next(&mut self, patience: Duration) -> Result<Option<Vec<u8>>>;

    /// Puts the cable in or pulls it.
    ///
    /// # Errors
    /// The server fails.
    fn plug(&mut self, link: Link) -> Result<()>;

    /// Lets the card have an error.
    ///
    /// # Errors
    /// The server fails.
    fn fail(&mut self, error: HardwareError) -> Result<()>;

    /// Lets this go wrong from now on. Returns its number.
    ///
    /// # Errors
    /// The server fails, or does not know such a fault.
    fn add_fault(&mut self, fault: &Fault) -> Result<u64>;

    /// How often the fault of this number has happened.
    ///
    /// # Errors
    /// The server fails, or has no such fault.
    fn fired(&mut self, id: u64) -> Result<u64>;

    /// Ends it, and undoes what lasts of it.
    ///
    /// # Errors
    /// The server fails.
    fn clear_fault(&mut self, id: u64) -> Result<()>;

    /// A register, if the server has a card.
    ///
    /// # Errors
    /// The server fails.
    fn register(&mut self, name: &str) -> Result<u32>;

    /// Frames of the guest's that this end has missed since it began.
    fn missed(&self) -> u64;

    /// Packets that the card has given to the driver (RXDGPC).
    ///
    /// # Errors
    /// The server fails.
    fn received(&mut self) -> Result<u64>;

    /// What the driver checker has found; `None` if the server has none.
    ///
    /// # Errors
    /// The server fails.
    fn findings(&mut self) -> Result<Option<Vec<Finding>>>;
}

/// The NIC of a server that runs.
#[derive(Debug)]
pub struct Running {
    path: PathBuf,
    port: u32,
    client: Client,
    capture: Capturing,
    /// What the guest has sent and nobody has asked for yet.
    sent: VecDeque<Vec<u8>>,
    frames: Frames,
    missed: u64,
}

impl Running {
    /// Takes the cable of this port of the server with this control socket.
    ///
    /// # Errors
    /// Nobody answers there, or refuses.
    pub fn connect(path: &Path, port: u32) -> Result<Self> {
        let capture = connect(path, port)?.capture(None)?;
        Ok(Self {
            path: path.to_owned(),
            port,
            client: connect(path, port)?,
            capture,
            sent: VecDeque::new(),
            frames: Frames::default(),
            missed: 0,
        })
    }

    /// A second connection to the same port.
    ///
    /// # Errors
    /// Nobody answers any more.
    pub fn another(&self) -> Result<Client> {
        connect(&self.path, self.port)
    }

    /// What has passed since the last [`Frames::begin`].
    #[must_use]
    pub fn frames(&self) -> Frames {
        self.frames.clone()
    }

    /// Waits for the capture for so long, and takes in what has come.
    fn take_in(&mut self, patience: Duration) -> Result<()> {
        if !self.capture.has_buffered() {
            let mut fds = [PollFd::new(self.capture.poll_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => return Ok(()),
                Ok(_) => {}
                Err(errno) => return Err(errno).context("cannot wait for the server"),
            }
        }
        let Some(captured) = self.capture.next_reply()? else {
            bail!("the server has ended");
        };
        let sent = captured
            .frames
            .iter()
            .filter(|frame| frame.direction == Direction::Transmit);
        self.sent.extend(sent.map(|frame| frame.data.clone()));
        self.missed = captured.lost;
        self.frames.extend(captured);
        Ok(())
    }
}

fn connect(path: &Path, port: u32) -> Result<Client> {
    let mut client = Client::connect(path)?;
    client.select((port != 0).then_some(port));
    Ok(client)
}

impl Cable for Running {
    fn send(&mut self, frames: &[Vec<u8>], damage: Damage) -> Result<()> {
        let mut rest = frames;
        let mut stuck = Instant::now();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|frame| {
                bytes += frame.len() + 8;
                bytes <= MAX_INJECT_BYTES
            });
            let call = rest.get(..fitting.count().max(1)).unwrap_or(rest);
            let accepted = self.client.inject_damaged(call, damage)?;
            rest = rest.get(accepted..).unwrap_or_default();
            if accepted > 0 {
                stuck = Instant::now();
            }
            ensure!(
                stuck.elapsed() < PATIENCE,
                "the NIC takes no frames: {} wait",
                rest.len()
            );
            // The capture's queue is bounded, and both ways are in it.
            self.take_in(if accepted > 0 {
                Duration::ZERO
            } else {
                Duration::from_millis(1)
            })?;
        }
        Ok(())
    }

    fn next(&mut self, patience: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(frame) = self.sent.pop_front() {
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.take_in(left)?;
        }
    }

    fn plug(&mut self, link: Link) -> Result<()> {
        Ok(self.client.set_link(link)?)
    }

    fn fail(&mut self, error: HardwareError) -> Result<()> {
        self.client.inject_error(error)?;
        Ok(())
    }

    fn add_fault(&mut self, fault: &Fault) -> Result<u64> {
        Ok(self.client.add_fault(fault)?)
    }

    fn fired(&mut self, id: u64) -> Result<u64> {
        let faults = self.client.faults()?;
        let found = faults.iter().find(|fault| fault.id == id);
        Ok(found.context("the fault was cleared")?.fired)
    }

    fn clear_fault(&mut self, id: u64) -> Result<()> {
        self.client.clear_faults(Some(id))?;
        Ok(())
    }

    fn register(&mut self, name: &str) -> Result<u32> {
        let registers = self.client.registers(&[name])?;
        let first = registers
            .first()
            .with_context(|| format!("there is no register {name}"))?;
        Ok(first.value)
    }

    fn missed(&self) -> u64 {
        self.missed
    }

    fn received(&mut self) -> Result<u64> {
        let counters = self.client.stats()?.counters;
        let found = counters.iter().find(|counter| counter.name == "RXDGPC");
        Ok(found.context("the server does not tell RXDGPC")?.value)
    }

    fn findings(&mut self) -> Result<Option<Vec<Finding>>> {
        let checked = self.client.check()?;
        Ok(checked.checking.then_some(checked.findings))
    }
}
