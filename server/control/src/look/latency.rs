//! How long received frames take: from their arrival, when the wire lends them to the port, until they are in client
//! memory, and until the interrupt that tells of them is signalled.
//!
//! The port's own time stands still during a call, so the processor's clock is read here. A frame is in memory when the
//! call that delivers it ends, or an interrupt is signalled, whichever is first. Of the frames that one interrupt tells of,
//! the one of each queue that has waited longest counts. What the driver has taken before an interrupt came (it moves the
//! tail) counts in none.
//!
//! Not measured: frames that become part of a large receive (7.11), and the time that a frame waits in the wire's socket, and
//! frames that wait in a packet buffer when it begins.

use std::{collections::VecDeque, time::Instant};

use ixgbe_spec::register::{
    Reg,
    bits::{gpie, ivar},
};
use nic_model::{
    Port,
    bus::Signal,
    observe::{Event, ResetKind, Scene},
    rx::Verdict,
};
use serde::{Deserialize, Serialize};

use crate::protocol::as_varlink_int;

/// Traffic classes.
const CLASSES: usize = 8;
/// Frames of a packet buffer whose arrival is remembered; those of a full one (512 KB) are fewer.
const MAX_WAITING: usize = 16_384;
/// Frames of one call.
const MAX_DELIVERED: usize = 4096;

/// Upper ends of the buckets, in nanoseconds: 1, 2, 5, ... from a microsecond to a second.
pub const LATENCY_BOUNDS: [u64; 19] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
];

/// Times, counted by their length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: [u64; LATENCY_BOUNDS.len()],
    longer: u64,
}

impl Histogram {
    fn add(&mut self, from: Instant, to: Instant) {
        let nanos = to.saturating_duration_since(from).as_nanos();
        let bucket = LATENCY_BOUNDS.partition_point(|bound| u128::from(*bound) < nanos);
        let count = self.counts.get_mut(bucket).unwrap_or(&mut self.longer);
        *count = count.wrapping_add(1);
    }

    /// All buckets, the shortest first.
    pub(crate) fn buckets(&self) -> Vec<LatencyBucket> {
        let bounded = LATENCY_BOUNDS.iter().zip(self.counts);
        let bounded = bounded.map(|(bound, count)| LatencyBucket {
            at_most: Some(*bound),
            count,
        });
        let rest = LatencyBucket {
            at_most: None,
            count: self.longer,
        };
        bounded.chain([rest]).collect()
    }
}

/// Times of about one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyBucket {
    /// The longest of them, in nanoseconds; they are longer than those of the bucket before. `None`: there is no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// How many.
    #[serde(serialize_with = "as_varlink_int")]
    pub count: u64,
}

/// Which queues an interrupt tells of.
#[derive(Clone, Debug)]
struct Vectors {
    /// By MSI-X vector, one bit for each receive queue.
    queues: [u128; 64],
    /// Whether there is a vector for each cause (GPIE.MULTIPLE_MSIX); else any signal tells of all queues.
    several: bool,
    /// Registers of it were written.
    stale: bool,
}

impl Vectors {
    fn of(register: impl Fn(Reg, usize) -> u32) -> Self {
        let mut queues = [0_u128; 64];
        for queue in 0..128_usize {
            let entry = register(Reg::IVAR, queue / 2) >> (16 * (queue % 2));
            let vector = usize::try_from(entry & ivar::VECTOR).unwrap_or(0);
            if entry & ivar::VALID != 0
                && let Some(queues) = queues.get_mut(vector)
            {
                *queues |= 1 << queue;
            }
        }
        Self {
            queues,
            several: register(Reg::GPIE, 0) & gpie::MULTIPLE_MSIX != 0,
            stale: false,
        }
    }

    fn told_by(&self, signal: Signal) -> u128 {
        match signal {
            Signal::IntxDeassert => 0,
            Signal::MsiX(vector) if self.several => {
                let queues = self.queues.get(usize::from(vector));
                queues.copied().unwrap_or(0)
            }
            Signal::MsiX(_) | Signal::Msi | Signal::IntxAssert => u128::MAX,
        }
    }
}

/// Measures a port.
#[derive(Debug)]
pub(crate) struct Latency {
    /// Until frames are in memory.
    pub(crate) to_memory: Histogram,
    /// Until the interrupt.
    pub(crate) to_interrupt: Histogram,
    clock: fn() -> Instant,
    /// The frame that has come last.
    arrived: Option<Instant>,
    /// A copy of it was delivered, and is counted.
    counted: bool,
    /// Arrival of the frames in each packet buffer; `None` for those that were there before.
    buffered: [VecDeque<Option<Instant>>; CLASSES],
    /// Arrival and queue of the frames that this call delivers.
    delivered: Vec<(Instant, u8)>,
    /// Queues with frames in memory of which no interrupt has told, one bit each.
    waiting: u128,
    /// Arrival of the oldest of these.
    oldest: Vec<Option<Instant>>,
    vectors: Vectors,
}

impl Latency {
    /// Begins with a port as it is.
    pub(crate) fn new(port: &Port, clock: fn() -> Instant) -> Self {
        Self {
            to_memory: Histogram::default(),
            to_interrupt: Histogram::default(),
            clock,
            arrived: None,
            counted: false,
            buffered: std::array::from_fn(|class| {
                std::iter::repeat_n(None, port.waiting_frames(class)).collect()
            }),
            delivered: Vec::new(),
            waiting: 0,
            oldest: vec![None; 128],
            vectors: Vectors::of(|reg, index| port.register(reg, index)),
        }
    }

    pub(crate) fn see(&mut self, event: &Event<'_>) {
        match *event {
            Event::Arrived { .. } => {
                self.arrived = Some((self.clock)());
                self.counted = false;
            }
            Event::Replica { verdict, .. } => {
                self.counted = true;
                self.deliver(self.arrived, verdict);
            }
            Event::Received { verdict, .. } if !self.counted => self.deliver(self.arrived, verdict),
            Event::Buffered { class, .. } => {
                if let Some(buffered) = self.buffered.get_mut(usize::from(class))
                    && buffered.len() < MAX_WAITING
                {
                    buffered.push_back(self.arrived);
                }
            }
            Event::Released { class, verdict, .. } => {
                let buffered = self.buffered.get_mut(usize::from(class));
                let arrived = buffered.and_then(VecDeque::pop_front).flatten();
                self.deliver(arrived, verdict);
            }
            Event::RegisterWrite { offset, .. } => match Reg::decode(offset) {
                Some((Reg::RDT, queue)) => {
                    self.forget(1_u128.checked_shl(shift(queue)).unwrap_or(0));
                }
                Some((Reg::IVAR | Reg::GPIE, _)) => self.vectors.stale = true,
                _ => {}
            },
            Event::Reset(ResetKind::Device | ResetKind::Power | ResetKind::Bus) => {
                self.buffered
                    .iter_mut()
                    .for_each(|buffered| buffered.clear());
                self.delivered.clear();
                self.forget(u128::MAX);
                self.vectors.stale = true;
            }
            Event::Interrupt { signal, .. } => self.signalled(signal),
            _ => {}
        }
    }

    /// The call is over.
    pub(crate) fn settle(&mut self, scene: &Scene<'_>) {
        self.flush();
        if self.vectors.stale {
            self.vectors = Vectors::of(|reg, index| scene.register(reg, index));
        }
    }

    fn deliver(&mut self, arrived: Option<Instant>, verdict: Verdict) {
        if let (Some(arrived), Verdict::Delivered { queue }) = (arrived, verdict)
            && self.delivered.len() < MAX_DELIVERED
        {
            self.delivered.push((arrived, queue));
        }
    }

    /// What was delivered is in memory.
    fn flush(&mut self) {
        if self.delivered.is_empty() {
            return;
        }
        let now = (self.clock)();
        for (arrived, queue) in std::mem::take(&mut self.delivered) {
            self.to_memory.add(arrived, now);
            if let Some(oldest) = self.oldest.get_mut(usize::from(queue)) {
                oldest.get_or_insert(arrived);
                self.waiting |= 1_u128.checked_shl(queue.into()).unwrap_or(0);
            }
        }
    }

    fn signalled(&mut self, signal: Signal) {
        self.flush();
        let mut told = self.waiting & self.vectors.told_by(signal);
        if told == 0 {
            return;
        }
        let now = (self.clock)();
        self.waiting &= !told;
        while told != 0 {
            let queue = usize::try_from(told.trailing_zeros()).unwrap_or(0);
            told &= told - 1;
            if let Some(arrived) = self.oldest.get_mut(queue).and_then(Option::take) {
                self.to_interrupt.add(arrived, now);
            }
        }
    }

    /// The driver has these queues' frames.
    fn forget(&mut self, queues: u128) {
        let mut queues = queues & self.waiting;
        self.waiting &= !queues;
        while queues != 0 {
            let queue = usize::try_from(queues.trailing_zeros()).unwrap_or(0);
            queues &= queues - 1;
            if let Some(oldest) = self.oldest.get_mut(queue) {
                *oldest = None;
            }
        }
    }
}

fn shift(queue: usize) -> u32 {
    u32::try_from(queue).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::{Arc, LazyLock, Mutex},
        time::Duration,
    };

    use nic_model::{
        Bar, Context, Time,
        observe::Observer,
        testing::{Silence, TestBus, receiving_port},
        wire::RxFrame,
    };

    use super::*;
    use crate::look::lock;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// A clock that is three microseconds further each time that it is read.
    fn ticking() -> Instant {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        thread_local!(static TICKS: Cell<u64> = const { Cell::new(0) });
        TICKS.set(TICKS.get() + 1);
        *START + Duration::from_micros(3 * TICKS.get())
    }

    struct Probe(Arc<Mutex<Latency>>);

    impl Observer for Probe {
        fn see(&mut self, _now: Time, event: &Event<'_>) {
            lock(&self.0).see(event);
        }

        fn settle(&mut self, scene: &Scene<'_>) {
            lock(&self.0).settle(scene);
        }
    }

    /// A port of seven descriptors under the probe.
    struct Bench {
        bus: TestBus,
        port: Port,
        latency: Arc<Mutex<Latency>>,
    }

    impl Bench {
        fn new() -> Self {
            let bus = TestBus::new(0x1_0000).without_record();
            let mut port = receiving_port(MAC, &bus);
            let latency = Arc::new(Mutex::new(Latency::new(&port, ticking)));
            port.observe(Box::new(Probe(Arc::clone(&latency))));
            Self { bus, port, latency }
        }

        fn with(&mut self, act: impl FnOnce(&mut Port, &mut Context<'_>)) {
            let mut context = Context {
                now: Time::from_nanos(2_000_000_000),
                bus: &self.bus,
                wire: &mut Silence,
            };
            act(&mut self.port, &mut context);
        }

        fn arrive(&mut self) {
            let mut frame = [0x5A; 64];
            frame[..6].copy_from_slice(&MAC);
            frame[12..14].copy_from_slice(&[0x88, 0xB5]);
            self.with(|port, context| {
                port.receive(&RxFrame::new(&frame), context);
            });
        }

        fn write(&mut self, reg: Reg, value: u32) {
            let offset = u64::from(reg.offset(0));
            self.with(|port, context| {
                port.bar_write(Bar::Csr, offset, &value.to_le_bytes(), context);
            });
        }

        /// Upper ends of the buckets with something in them, in microseconds, with how much.
        fn shown(&self) -> [Vec<(Option<u64>, u64)>; 2] {
            let latency = lock(&self.latency);
            [&latency.to_memory, &latency.to_interrupt].map(|histogram| {
                let buckets = histogram.buckets().into_iter();
                buckets
                    .filter(|bucket| bucket.count != 0)
                    .map(|bucket| (bucket.at_most.map(|nanos| nanos / 1000), bucket.count))
                    .collect()
            })
        }
    }

    #[test]
    fn a_frame_is_timed_until_it_is_in_memory_and_until_its_interrupt() {
        let mut bench = Bench::new();

        bench.arrive();

        // 3 us to the signal, which finds it in memory, and 6 us when that is given.
        assert_eq!(bench.shown(), [vec![(Some(5), 1)], vec![(Some(10), 1)]]);
    }

    #[test]
    fn of_the_frames_of_one_interrupt_the_oldest_counts() {
        let mut bench = Bench::new();
        bench.write(Reg::EIMC, 1);

        bench.arrive();
        bench.arrive();
        bench.write(Reg::EIMS, 1);

        // Arrivals and ends of the calls: 4 readings of the clock, then that of the signal.
        assert_eq!(bench.shown(), [vec![(Some(5), 2)], vec![(Some(20), 1)]]);
    }

    #[test]
    fn frames_that_the_driver_has_taken_wait_for_no_interrupt() {
        let mut bench = Bench::new();
        bench.write(Reg::EIMC, 1);

        bench.arrive();
        bench.write(Reg::RDT, 0);
        bench.write(Reg::EIMS, 1);

        assert_eq!(bench.shown(), [vec![(Some(5), 1)], vec![]]);
    }

    #[test]
    fn a_frame_that_waits_in_the_packet_buffer_is_timed_from_its_arrival() {
        let mut bench = Bench::new();
        bench.write(Reg::EIMC, 1);
        (0..7).for_each(|_| bench.arrive());

        // The ring is full: this one waits while others of the clock's readings pass.
        bench.arrive();
        (0..5).for_each(|_| {
            ticking();
        });
        bench.write(Reg::RDT, 2);
        bench.with(|port, context| {
            port.step(context);
        });

        assert_eq!(bench.shown()[0], [(Some(5), 7), (Some(20), 1)]);
    }

    #[test]
    fn a_frame_that_waited_before_is_not_timed_and_takes_no_others_time() {
        let mut bench = Bench::new();
        bench.write(Reg::EIMC, 1);
        (0..8).for_each(|_| bench.arrive());
        bench.latency = Arc::new(Mutex::new(Latency::new(&bench.port, ticking)));
        bench
            .port
            .observe(Box::new(Probe(Arc::clone(&bench.latency))));

        // This one waits behind the last of those before; they leave one after the other.
        bench.arrive();
        bench.write(Reg::RDT, 0);
        bench.with(|port, context| {
            port.step(context);
        });
        let after_the_first = bench.shown();
        bench.write(Reg::RDT, 1);
        bench.with(|port, context| {
            port.step(context);
        });

        assert_eq!(after_the_first[0], []);
        let [(_, timed)] = bench.shown()[0][..] else {
            panic!("{:?}", bench.shown());
        };
        assert_eq!(timed, 1);
    }

    #[test]
    fn what_is_longer_than_a_second_has_a_bucket_of_its_own() {
        let mut histogram = Histogram::default();
        let start = ticking();

        histogram.add(start, start + Duration::from_secs(1));
        histogram.add(start, start + Duration::from_secs(2));

        let buckets = histogram.buckets();
        assert_eq!(buckets[18].at_most, Some(1_000_000_000));
        assert_eq!((buckets[18].count, buckets[19].count), (1, 1));
        assert_eq!(buckets[19].at_most, None);
    }
}
