//! Who looks at ports, again and again.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use control::{Client, ClientError, ControlError};

use super::{
    keys::Order,
    sample::{Look, Sample},
};

/// How long the first sample is, so that something is seen soon.
const FIRST: Duration = Duration::from_millis(250);
/// How often a server that is gone is looked for.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks at ports of a server. A connection keeps the port's account of what it does going.
#[derive(Debug)]
pub(crate) struct Sampler {
    path: PathBuf,
    client: Option<Client>,
    before: BTreeMap<u32, Look>,
}

impl Sampler {
    /// Looks at the server that listens at this path.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            client: None,
            before: BTreeMap::new(),
        }
    }

    /// What a port has done since the last look; `None` after the first one.
    pub(crate) fn look(&mut self, port: u32) -> Result<Option<Sample>, ClientError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::connect(&self.path)?),
        };
        // Port 0 has no number for servers of one port.
        client.select(Some(port).filter(|port| *port != 0));
        match Look::take(client) {
            Ok(look) => {
                let before = self.before.get(&port);
                let sample = before.map(|before| Sample::between(before, &look));
                self.before.insert(port, look);
                Ok(sample)
            }
            Err(error) => {
                self.forget();
                Err(error)
            }
        }
    }

    /// Ends the connection, and with it the accounts.
    fn forget(&mut self) {
        self.client = None;
        self.before.clear();
    }
}

/// What the thread tells.
#[derive(Debug)]
pub(crate) enum News {
    /// A sample.
    Sample(Box<Sample>),
    /// Why there is none; it is tried again.
    Trouble(String),
    /// Why there will be none.
    Failed(ClientError),
}

/// Whether an error stays however often one tries.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(ControlError::NotAnswering) => false,
        ClientError::Refused(_) | ClientError::Unknown { .. } | ClientError::NotAllowed { .. } => {
            true
        }
        _ => false,
    }
}

/// Looks at one port as ordered, until nobody listens.
pub(crate) fn run(
    mut sampler: Sampler,
    mut port: u32,
    mut delay: Duration,
    orders: &Receiver<Order>,
    news: &Sender<News>,
) {
    let mut paused = false;
    let mut due = Instant::now();
    loop {
        let left = due.saturating_duration_since(Instant::now());
        let order = if paused {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(left)
        };
        match order {
            Ok(Order::Port(other)) => {
                sampler.forget();
                (port, paused) = (other, false);
            }
            Ok(Order::Delay(other)) => {
                delay = other;
                due = due.min(Instant::now() + delay);
                continue;
            }
            Ok(Order::Pause) => {
                paused = true;
                continue;
            }
            Ok(Order::Resume) => paused = false,
            Ok(Order::Now) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let (told, next) = match sampler.look(port) {
            Ok(Some(sample)) => (Some(News::Sample(Box::new(sample))), delay),
            Ok(None) => (None, delay.min(FIRST)),
            Err(error) if is_final(&error) => (Some(News::Failed(error)), delay),
            Err(error) => {
                let text = format!("waiting for the server: {error}");
                (Some(News::Trouble(text)), AGAIN)
            }
        };
        due = Instant::now() + next;
        if let Some(told) = told
            && news.send(told).is_err()
        {
            return;
        }
    }
}
