//! The account of copies: `Copies`.

use std::sync::{Arc, Mutex};

use nic_model::{
    Time,
    observe::{Account, Event, Observer, ObserverId, QueueAccount},
};
use serde::{Deserialize, Serialize};

use super::{View, lock, nanos};
use crate::protocol::Direction;

/// What is to be done with the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountAction {
    /// Begin one, from zero.
    Start,
    /// End it.
    Stop,
}

/// Parameters of `Copies`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CopiesParameters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<AccountAction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// What was moved and copied for a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueCopies {
    /// Which way its frames go.
    pub direction: Direction,
    /// Its number.
    pub queue: u32,
    /// Frames received to the ring's end, or sent.
    pub frames: u64,
    /// Their bytes on the wire, without FCS.
    pub frame_bytes: u64,
    /// Bytes of frames moved between client memory and wire.
    pub moved: u64,
    /// Bytes of frames that the model copied besides.
    pub copied: u64,
    /// Bytes of descriptors and heads, read and written.
    pub ring: u64,
    /// Descriptors fetched.
    pub fetched: u64,
    /// Writes of the tail.
    pub doorbells: u64,
    /// Accesses to client memory that were refused.
    pub refused: u64,
}

impl QueueCopies {
    fn new(direction: Direction, queue: u32, account: &QueueAccount) -> Self {
        let QueueAccount {
            frames,
            frame_bytes,
            moved,
            copied,
            ring,
            fetched,
            doorbells,
            refused,
        } = *account;
        Self {
            direction,
            queue,
            frames,
            frame_bytes,
            moved,
            copied,
            ring,
            fetched,
            doorbells,
            refused,
        }
    }

    /// Copies per byte of the frames; `None` without frames.
    #[must_use]
    pub fn copies_per_byte(&self) -> Option<f64> {
        // Less than 2^53 bytes pass in a year at 2 Gbit/s; beyond that the last digits are wrong.
        #[expect(
            clippy::cast_precision_loss,
            reason = "a ratio is shown with two digits"
        )]
        (self.frame_bytes > 0)
            .then(|| self.moved.saturating_add(self.copied) as f64 / self.frame_bytes as f64)
    }
}

/// Reply of `Copies`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Copies {
    /// Whether an account is kept.
    pub running: bool,
    /// How long it has been kept.
    pub nanoseconds: u64,
    /// Queues for which something was done.
    pub queues: Vec<QueueCopies>,
    /// Interrupts that were signalled.
    pub interrupts: u64,
    /// Bytes of FC payload that were placed directly.
    pub placed: u64,
}

/// An account that is kept.
#[derive(Debug)]
pub(crate) struct Accounting {
    id: ObserverId,
    since: Time,
    account: Arc<Mutex<Account>>,
}

/// The port's end of it.
struct Shared(Arc<Mutex<Account>>);

impl Observer for Shared {
    fn see(&mut self, now: Time, event: &Event<'_>) {
        lock(&self.0).see(now, event);
    }
}

/// Does what is asked, and shows the account: of one that is ended how it was, of one that begins nothing yet.
pub(crate) fn answer(
    accounting: &mut Option<Accounting>,
    action: Option<AccountAction>,
    view: &mut View<'_>,
) -> Copies {
    let now = view.context.now;
    if action == Some(AccountAction::Start) {
        if let Some(old) = accounting.take() {
            view.port.stop_observing(old.id);
        }
        let account = Arc::<Mutex<Account>>::default();
        *accounting = Some(Accounting {
            id: view.port.observe(Box::new(Shared(Arc::clone(&account)))),
            since: now,
            account,
        });
    }
    let Some(kept) = accounting.as_ref() else {
        return Copies::default();
    };
    let mut copies = kept.show(now);
    if action == Some(AccountAction::Stop) {
        view.port.stop_observing(kept.id);
        *accounting = None;
        copies.running = false;
    }
    copies
}

impl Accounting {
    fn show(&self, now: Time) -> Copies {
        let account = lock(&self.account);
        let queues = [Direction::Receive, Direction::Transmit].map(|direction| {
            let queues = account.queues(direction.into()).iter();
            (0..)
                .zip(queues)
                .filter(|(_, account)| !account.is_empty())
                .map(|(queue, account)| QueueCopies::new(direction, queue, account))
                .collect::<Vec<_>>()
        });
        Copies {
            running: true,
            nanoseconds: nanos(self.since, now),
            queues: queues.concat(),
            interrupts: account.interrupts(),
            placed: account.placed(),
        }
    }
}
