//! What a port does in a second: the difference between two looks at it.

use std::collections::BTreeMap;

use control::{
    Activity, Client, ClientError, Counter, Direction, DropActivity, Group, Info, LatencyBucket,
    Link, QueueActivity, VectorActivity,
};
use serde::Serialize;

/// A look at a port.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    info: Info,
    counters: Vec<Counter>,
    activity: Activity,
}

impl Look {
    /// Looks at the port that the client has selected.
    pub(crate) fn take(client: &mut Client) -> Result<Self, ClientError> {
        Ok(Self {
            activity: client.activity()?,
            info: client.info()?,
            counters: client.stats()?.counters,
        })
    }

    fn counter(&self, group: Group, name: &str) -> u64 {
        let mut counters = self.counters.iter();
        let found = counters.find(|counter| counter.group == group && counter.name == name);
        found.map_or(0, |counter| counter.value)
    }
}

/// Packets and bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flow {
    pub(crate) packets_per_second: f64,
    pub(crate) bits_per_second: f64,
}

impl Flow {
    /// Of all queues of a direction.
    fn of(queues: &[QueueRates], direction: Direction) -> Self {
        let flows = || {
            let queues = queues.iter().filter(|queue| queue.direction == direction);
            queues.map(|queue| queue.flow)
        };
        Self {
            packets_per_second: sum(flows().map(|flow| flow.packets_per_second)),
            bits_per_second: sum(flows().map(|flow| flow.bits_per_second)),
        }
    }
}

/// A queue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueueRates {
    pub(crate) direction: Direction,
    pub(crate) queue: u32,
    #[serde(flatten)]
    pub(crate) flow: Flow,
    pub(crate) drops_per_second: f64,
    pub(crate) doorbells_per_second: f64,
    pub(crate) refused_per_second: f64,
}

/// Something that has a name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) per_second: f64,
}

/// Several of these, and their sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Several {
    pub(crate) per_second: f64,
    /// The largest first.
    pub(crate) of: Vec<Named>,
}

impl Several {
    fn new(named: impl Iterator<Item = (String, f64)>) -> Self {
        let mut of: Vec<Named> = named
            .map(|(name, per_second)| Named { name, per_second })
            .filter(|named| named.per_second > 0.0)
            .collect();
        of.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
        Self {
            per_second: sum(of.iter().map(|named| named.per_second)),
            of,
        }
    }
}

/// What the DMA engine does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dma {
    pub(crate) read_bytes_per_second: f64,
    pub(crate) written_bytes_per_second: f64,
    pub(crate) accesses_per_second: f64,
    pub(crate) refused_per_second: f64,
}

/// Times, counted by their length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct Times {
    /// How many.
    pub(crate) count: u64,
    /// Half of them are at most so many nanoseconds long; `None` without any, or if that is in the bucket without an end.
    pub(crate) p50: Option<u64>,
    /// 99 of 100.
    pub(crate) p99: Option<u64>,
    /// All buckets.
    pub(crate) buckets: Vec<LatencyBucket>,
}

impl Times {
    fn between(before: &[LatencyBucket], after: &[LatencyBucket]) -> Self {
        let old = |at: usize| before.get(at).map_or(0, |bucket| bucket.count);
        let buckets: Vec<LatencyBucket> = (0..)
            .zip(after)
            .map(|(at, bucket)| LatencyBucket {
                count: bucket.count.saturating_sub(old(at)),
                ..*bucket
            })
            .collect();
        let count = buckets.iter().map(|bucket| bucket.count).sum();
        Self {
            count,
            p50: percentile(&buckets, count, 50),
            p99: percentile(&buckets, count, 99),
            buckets,
        }
    }
}

/// The end of the bucket up to which so many of 100 are.
fn percentile(buckets: &[LatencyBucket], count: u64, of_100: u64) -> Option<u64> {
    let wanted = count.saturating_mul(of_100).div_ceil(100).max(1);
    let mut sum: u64 = 0;
    let found = buckets.iter().find(|bucket| {
        sum = sum.saturating_add(bucket.count);
        sum >= wanted
    });
    found.filter(|_| count > 0)?.at_most
}

/// A port in the time between two looks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    pub(crate) port: u32,
    /// How many the server has.
    pub(crate) ports: u32,
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) wire: String,
    pub(crate) module: String,
    pub(crate) address: Option<String>,
    pub(crate) cable: Link,
    pub(crate) carrier: bool,
    /// The time between the looks.
    pub(crate) seconds: f64,
    /// Packets that got to a ring's end, of all queues together.
    pub(crate) receive: Flow,
    /// Packets sent from all queues.
    pub(crate) transmit: Flow,
    /// Frames that were dropped, by the stage.
    pub(crate) drops: Several,
    /// By the signal.
    pub(crate) interrupts: Several,
    pub(crate) dma: Dma,
    /// Queues that have done something since somebody looks.
    pub(crate) queues: Vec<QueueRates>,
    /// Received frames, from arrival to client memory.
    pub(crate) to_memory: Times,
    /// Interrupts, from the arrival of the first frame they tell of.
    pub(crate) to_interrupt: Times,
}

impl Sample {
    /// What lies between two looks. Where the second is of a look that has begun anew, what lies in that.
    pub(crate) fn between(before: &Look, after: &Look) -> Self {
        let nothing = Activity::default();
        let goes_on = before.activity.nanoseconds <= after.activity.nanoseconds;
        let old = if goes_on { &before.activity } else { &nothing };
        let new = &after.activity;
        let seconds = real(new.nanoseconds.saturating_sub(old.nanoseconds)) / 1e9;
        let rate = |before: u64, after: u64| per_second(after.saturating_sub(before), seconds);
        let counted = |group, name: &str| {
            // A server that was started anew counts from zero.
            rate(before.counter(group, name), after.counter(group, name))
        };
        let queues = queues(&old.queues, &new.queues, rate);
        let flow = |direction| Flow::of(&queues, direction);
        let drops = drops(&old.drops, &new.drops, rate);
        let wire = [("wire-rx", "rx_dropped"), ("wire-tx", "tx_dropped")]
            .map(|(name, counter)| (name.to_owned(), counted(Group::Wire, counter)));
        let info = &after.info;
        Self {
            port: info.port,
            ports: info.ports,
            version: info.version.clone(),
            pid: info.pid,
            wire: info.wire.clone(),
            module: info.module.name().to_owned(),
            address: info.address.clone(),
            cable: info.cable,
            carrier: info.carrier,
            seconds,
            receive: flow(Direction::Receive),
            transmit: flow(Direction::Transmit),
            drops: Several::new(drops.chain(wire)),
            interrupts: Several::new(signals(&old.interrupts, &new.interrupts, rate)),
            dma: Dma {
                read_bytes_per_second: rate(old.dma_read.bytes, new.dma_read.bytes),
                written_bytes_per_second: rate(old.dma_written.bytes, new.dma_written.bytes),
                accesses_per_second: rate(
                    old.dma_read
                        .accesses
                        .saturating_add(old.dma_written.accesses),
                    new.dma_read
                        .accesses
                        .saturating_add(new.dma_written.accesses),
                ),
                refused_per_second: rate(old.dma_refused, new.dma_refused),
            },
            queues,
            to_memory: Times::between(&old.to_memory, &new.to_memory),
            to_interrupt: Times::between(&old.to_interrupt, &new.to_interrupt),
        }
    }
}

fn drops(
    old: &[DropActivity],
    new: &[DropActivity],
    rate: impl Fn(u64, u64) -> f64,
) -> impl Iterator<Item = (String, f64)> {
    let old: BTreeMap<&str, u64> = old
        .iter()
        .map(|drops| (drops.reason.as_str(), drops.frames))
        .collect();
    new.iter().map(move |drops| {
        let before = old.get(drops.reason.as_str()).copied().unwrap_or(0);
        (drops.reason.clone(), rate(before, drops.frames))
    })
}

fn signals(
    old: &[VectorActivity],
    new: &[VectorActivity],
    rate: impl Fn(u64, u64) -> f64,
) -> impl Iterator<Item = (String, f64)> {
    let old: BTreeMap<&str, u64> = old
        .iter()
        .map(|vector| (vector.signal.as_str(), vector.count))
        .collect();
    new.iter().map(move |vector| {
        let before = old.get(vector.signal.as_str()).copied().unwrap_or(0);
        (vector.signal.clone(), rate(before, vector.count))
    })
}

fn queues(
    old: &[QueueActivity],
    new: &[QueueActivity],
    rate: impl Fn(u64, u64) -> f64,
) -> Vec<QueueRates> {
    let rates = new.iter().map(|after| {
        let same = |before: &&QueueActivity| {
            (before.direction, before.queue) == (after.direction, after.queue)
        };
        let none = QueueActivity::none(after.direction, after.queue);
        let before = old.iter().find(same).unwrap_or(&none);
        QueueRates {
            direction: after.direction,
            queue: after.queue,
            flow: Flow {
                packets_per_second: rate(before.frames, after.frames),
                bits_per_second: 8.0 * rate(before.frame_bytes, after.frame_bytes),
            },
            drops_per_second: rate(before.dropped, after.dropped),
            doorbells_per_second: rate(before.doorbells, after.doorbells),
            refused_per_second: rate(before.refused, after.refused),
        }
    });
    rates.collect()
}

/// The sum, which of nothing is 0 (and not -0, as the standard library has it).
fn sum(rates: impl Iterator<Item = f64>) -> f64 {
    rates.fold(0.0, |sum, rate| sum + rate)
}

/// So many in so many seconds.
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        real(count) / seconds
    } else {
        0.0
    }
}

/// A count as a real number; beyond 2^53 it is rounded.
fn real(count: u64) -> f64 {
    let low = u32::try_from(count & u64::from(u32::MAX)).unwrap_or(0);
    let high = u32::try_from(count >> 32).unwrap_or(0);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: [u64; 3]) -> Vec<LatencyBucket> {
        [Some(1000), Some(2000), None]
            .into_iter()
            .zip(counts)
            .map(|(at_most, count)| LatencyBucket { at_most, count })
            .collect()
    }

    #[test]
    fn a_percentile_is_the_end_of_the_bucket_that_it_is_in() {
        let times = Times::between(&buckets([5, 5, 5]), &buckets([55, 54, 6]));

        assert_eq!(times.count, 100);
        assert_eq!((times.p50, times.p99), (Some(1000), Some(2000)));
    }

    #[test]
    fn without_times_or_without_an_end_there_is_no_percentile() {
        let none = Times::between(&[], &buckets([0, 0, 0]));
        let endless = Times::between(&[], &buckets([0, 0, 1]));

        assert_eq!((none.count, none.p50), (0, None));
        assert_eq!((endless.count, endless.p50), (1, None));
    }

    #[test]
    fn counts_are_real_numbers() {
        assert_eq!(real(5), 5.0);
        assert_eq!(real(1 << 40), 1_099_511_627_776.0);
    }
}
