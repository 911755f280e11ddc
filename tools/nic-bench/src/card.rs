//! The card that is driven.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context, Result};
use nic_driver::{
    Config, Driver,
    over_socket::{Lending, OverSocket},
};
use vfio_user::client::Options;

/// A driver on one pair of queues.
pub type Card = Driver<OverSocket>;

/// Connects to the server at `socket`. Calls that wait for a reply poll for it: the client has a core of its own.
pub fn connect(socket: &Path) -> Result<OverSocket> {
    let options = Options {
        spin: Duration::from_secs(1),
        ..Options::default()
    };
    OverSocket::connect(socket, options, Lending::Descriptor)
        .with_context(|| format!("cannot reach a card at {}", socket.display()))
}

/// Connects and brings the card up.
pub fn bring_up(socket: &Path, config: &Config) -> Result<Card> {
    Driver::new(connect(socket)?, config).context("cannot bring the card up")
}

/// Brings the card up and keeps it so for as long as the process lives.
pub fn hold(socket: &Path) -> Result<()> {
    let _card = bring_up(socket, &Config::default())?;
    loop {
        thread::park();
    }
}
