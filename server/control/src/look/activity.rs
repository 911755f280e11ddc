//! What a port does, for a live view: `Activity`.
//!
//! An observer adds up for as long as somebody looks: a client that has asked once, until it closes its connection.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Instant,
};

use nic_model::{
    Time,
    bus::Signal,
    observe::{Account, Event, Observer, ObserverId, QueueAccount, Scene},
    rx::{DropReason, Verdict},
};
use serde::{Deserialize, Serialize};

use super::{
    View,
    latency::{Latency, LatencyBucket},
    lock, nanos,
};
use crate::protocol::{Direction, as_varlink_int};

/// Queues in a direction.
const QUEUES: usize = 128;
/// MSI-X vectors.
const VECTORS: usize = 64;

/// What a queue has done since somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueActivity {
    /// Which way its frames go.
    pub direction: Direction,
    /// Its number.
    pub queue: u32,
    /// Frames received to the ring's end, or sent.
    #[serde(serialize_with = "as_varlink_int")]
    pub frames: u64,
    /// Their bytes on the wire, without FCS.
    #[serde(serialize_with = "as_varlink_int")]
    pub frame_bytes: u64,
    /// Frames that were dropped after this queue was chosen for them.
    #[serde(serialize_with = "as_varlink_int")]
    pub dropped: u64,
    /// Writes of the tail.
    #[serde(serialize_with = "as_varlink_int")]
    pub doorbells: u64,
    /// Accesses to client memory that were refused.
    #[serde(serialize_with = "as_varlink_int")]
    pub refused: u64,
}

/// Interrupts by one signal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct VectorActivity {
    /// `intx`, `msi`, or `msix-3`.
    pub signal: String,
    /// How often; of the pin how often it went active.
    #[serde(serialize_with = "as_varlink_int")]
    pub count: u64,
}

/// Frames that were dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DropActivity {
    /// The stage, as traces name it.
    pub reason: String,
    /// How many.
    #[serde(serialize_with = "as_varlink_int")]
    pub frames: u64,
}

/// Accesses of the DMA engine in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct DmaActivity {
    /// Accesses.
    #[serde(serialize_with = "as_varlink_int")]
    pub accesses: u64,
    /// Their bytes.
    #[serde(serialize_with = "as_varlink_int")]
    pub bytes: u64,
}

/// Reply of `Activity`: all of it since somebody looks at the port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// How long somebody has looked. A smaller number than before: they have begun anew.
    #[serde(serialize_with = "as_varlink_int")]
    pub nanoseconds: u64,
    /// Queues that have done something.
    pub queues: Vec<QueueActivity>,
    /// Signals that were given.
    pub interrupts: Vec<VectorActivity>,
    /// Reasons for which frames were dropped.
    pub drops: Vec<DropActivity>,
    /// What the DMA engine has read: descriptors, frames to send.
    pub dma_read: DmaActivity,
    /// What it has written: frames received, descriptors written back.
    pub dma_written: DmaActivity,
    /// Accesses to client memory that were refused.
    #[serde(serialize_with = "as_varlink_int")]
    pub dma_refused: u64,
    /// Received frames by the time from their arrival until they are in client memory.
    pub to_memory: Vec<LatencyBucket>,
    /// Interrupts by the time that the first frame they tell of has waited for them, since its arrival.
    pub to_interrupt: Vec<LatencyBucket>,
}

/// Adds up.
#[derive(Debug)]
struct Sums {
    account: Account,
    latency: Latency,
    /// Frames dropped at each receive queue.
    dropped: Vec<u64>,
    /// The queue that was chosen last; none was for the frame that has arrived last.
    steered: Option<u8>,
    replicated: bool,
    drops: [u64; DropReason::ALL.len()],
    vectors: [u64; VECTORS],
    msi: u64,
    intx: u64,
    read: DmaActivity,
    written: DmaActivity,
    refused: u64,
}

impl Sums {
    fn new(latency: Latency) -> Self {
        Self {
            account: Account::default(),
            latency,
            dropped: vec![0; QUEUES],
            steered: None,
            replicated: false,
            drops: [0; DropReason::ALL.len()],
            vectors: [0; VECTORS],
            msi: 0,
            intx: 0,
            read: DmaActivity::default(),
            written: DmaActivity::default(),
            refused: 0,
        }
    }

    /// A copy of the frame for this queue was dropped, if that is its fate.
    fn copy(&mut self, queue: Option<u8>, verdict: Verdict) {
        if let Verdict::Dropped(_) = verdict
            && let Some(queue) = queue
            && let Some(dropped) = self.dropped.get_mut(usize::from(queue))
        {
            count(dropped);
        }
    }

    /// The frame was dropped, if that is its fate.
    fn whole(&mut self, verdict: Verdict) {
        if let Verdict::Dropped(reason) = verdict
            && let Some(place) = DropReason::ALL.iter().position(|other| *other == reason)
            && let Some(drops) = self.drops.get_mut(place)
        {
            count(drops);
        }
    }

    fn see(&mut self, now: Time, event: &Event<'_>) {
        self.account.see(now, event);
        self.latency.see(event);
        match *event {
            Event::Arrived { .. } => {
                self.steered = None;
                self.replicated = false;
            }
            Event::Steered(steering) => self.steered = Some(steering.queue),
            Event::Replica { verdict, .. } => {
                self.replicated = true;
                self.copy(self.steered, verdict);
            }
            Event::Received { verdict, .. } => {
                if !self.replicated {
                    self.copy(self.steered, verdict);
                }
                self.whole(verdict);
            }
            Event::Released { queue, verdict, .. } => {
                self.copy(Some(queue), verdict);
                self.whole(verdict);
            }
            Event::Dma(transfer) => match transfer.result {
                Ok(()) => {
                    let sum = if transfer.reads() {
                        &mut self.read
                    } else {
                        &mut self.written
                    };
                    count(&mut sum.accesses);
                    let bytes = u64::try_from(transfer.len).unwrap_or(u64::MAX);
                    sum.bytes = sum.bytes.wrapping_add(bytes);
                }
                Err(nic_model::bus::DmaError::Refused { .. }) => count(&mut self.refused),
                Err(nic_model::bus::DmaError::Pending) => {}
            },
            Event::Interrupt { signal, .. } => match signal {
                Signal::MsiX(vector) => {
                    if let Some(vector) = self.vectors.get_mut(usize::from(vector)) {
                        count(vector);
                    }
                }
                Signal::Msi => count(&mut self.msi),
                Signal::IntxAssert => count(&mut self.intx),
                Signal::IntxDeassert => {}
            },
            _ => {}
        }
    }

    fn show(&self, nanoseconds: u64) -> Activity {
        let queues = [Direction::Receive, Direction::Transmit].map(|direction| {
            let accounts = self.account.queues(direction.into()).iter();
            (0..)
                .zip(accounts)
                .map(|(queue, account)| self.queue(direction, queue, account))
                .filter(|queue| *queue != QueueActivity::none(direction, queue.queue))
                .collect::<Vec<_>>()
        });
        let named = [("intx".to_owned(), self.intx), ("msi".to_owned(), self.msi)];
        let vectors = (0..).zip(self.vectors);
        let vectors = vectors.map(|(vector, count): (u32, u64)| (format!("msix-{vector}"), count));
        let interrupts = named.into_iter().chain(vectors);
        let drops = DropReason::ALL.into_iter().zip(self.drops);
        Activity {
            nanoseconds,
            queues: queues.concat(),
            interrupts: interrupts
                .filter(|(_, count)| *count != 0)
                .map(|(signal, count)| VectorActivity { signal, count })
                .collect(),
            drops: drops
                .filter(|(_, frames)| *frames != 0)
                .map(|(reason, frames)| DropActivity {
                    reason: reason.name().to_owned(),
                    frames,
                })
                .collect(),
            dma_read: self.read,
            dma_written: self.written,
            dma_refused: self.refused,
            to_memory: self.latency.to_memory.buckets(),
            to_interrupt: self.latency.to_interrupt.buckets(),
        }
    }

    fn queue(&self, direction: Direction, queue: u32, account: &QueueAccount) -> QueueActivity {
        let place = usize::try_from(queue).unwrap_or(usize::MAX);
        let dropped = match direction {
            Direction::Receive => self.dropped.get(place).copied().unwrap_or(0),
            Direction::Transmit => 0,
        };
        QueueActivity {
            frames: account.frames,
            frame_bytes: account.frame_bytes,
            dropped,
            doorbells: account.doorbells,
            refused: account.refused,
            ..QueueActivity::none(direction, queue)
        }
    }
}

impl QueueActivity {
    /// A queue that has done nothing.
    #[must_use]
    pub const fn none(direction: Direction, queue: u32) -> Self {
        Self {
            direction,
            queue,
            frames: 0,
            frame_bytes: 0,
            dropped: 0,
            doorbells: 0,
            refused: 0,
        }
    }
}

fn count(count: &mut u64) {
    *count = count.wrapping_add(1);
}

/// The port's end.
struct Shared(Arc<Mutex<Sums>>);

impl Observer for Shared {
    fn see(&mut self, now: Time, event: &Event<'_>) {
        lock(&self.0).see(now, event);
    }

    fn settle(&mut self, scene: &Scene<'_>) {
        lock(&self.0).latency.settle(scene);
    }
}

/// A client that looks is there as long as its session keeps this.
pub(crate) type Presence = Arc<()>;

/// That somebody looks.
#[derive(Debug)]
pub(crate) struct Watching {
    id: ObserverId,
    since: Time,
    sums: Arc<Mutex<Sums>>,
    /// Who; at most as many as there may be clients.
    by: Vec<Weak<()>>,
}

impl Watching {
    /// Whether all who have looked are gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.by.iter().all(|who| who.strong_count() == 0)
    }

    /// The observer that is to go then.
    pub(crate) const fn observer(&self) -> ObserverId {
        self.id
    }
}

/// Shows what the port has done since somebody looks; `who` does from now on.
pub(crate) fn answer(
    watching: &mut Option<Watching>,
    who: Weak<()>,
    view: &mut View<'_>,
) -> Activity {
    let now = view.context.now;
    if let Some(ended) = watching.take_if(|watching| watching.has_ended()) {
        view.port.stop_observing(ended.observer());
    }
    let kept = watching.get_or_insert_with(|| {
        let latency = Latency::new(view.port, Instant::now);
        let sums = Arc::new(Mutex::new(Sums::new(latency)));
        Watching {
            id: view.port.observe(Box::new(Shared(Arc::clone(&sums)))),
            since: now,
            sums,
            by: Vec::new(),
        }
    });
    if !kept.by.iter().any(|other| other.ptr_eq(&who)) {
        kept.by.retain(|other| other.strong_count() != 0);
        kept.by.push(who);
    }
    lock(&kept.sums).show(nanos(kept.since, now))
}

#[cfg(test)]
mod tests {
    use ixgbe_spec::register::Reg;
    use nic_model::{
        Bar, Context,
        testing::{Silence, TestBus, receiving_port},
        wire::RxFrame,
    };

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const DROP_EN: u32 = 1 << 28;

    #[test]
    fn a_frame_dropped_after_it_has_waited_is_counted_at_its_queue() {
        let bus = TestBus::new(0x1_0000).without_record();
        let mut port = receiving_port(MAC, &bus);
        let sums = Latency::new(&port, Instant::now);
        let sums = Arc::new(Mutex::new(Sums::new(sums)));
        port.observe(Box::new(Shared(Arc::clone(&sums))));
        let mut wire = Silence;
        let mut context = Context {
            now: Time::from_nanos(2_000_000_000),
            bus: &bus,
            wire: &mut wire,
        };
        let mut frame = [0x5A; 64];
        frame[..6].copy_from_slice(&MAC);

        // The ring has seven descriptors: two frames wait, and then the queue is to drop such.
        let verdicts: Vec<_> = (0..9)
            .map(|_| port.receive(&RxFrame::new(&frame), &mut context))
            .collect();
        let srrctl = port.register(Reg::SRRCTL, 0) | DROP_EN;
        let offset = u64::from(Reg::SRRCTL.offset(0));
        port.bar_write(Bar::Csr, offset, &srrctl.to_le_bytes(), &mut context);
        while port.step(&mut context) {}

        assert_eq!(verdicts[7..], [Verdict::Buffered; 2]);
        let activity = lock(&sums).show(0);
        let [queue] = activity.queues.as_slice() else {
            panic!("{activity:?}");
        };
        assert_eq!((queue.queue, queue.frames, queue.dropped), (0, 7, 2));
        let drops: Vec<_> = activity.drops.iter().map(|drop| drop.frames).collect();
        assert_eq!(drops, [2]);
    }
}
