//! What each queue has moved, whatever statistics registers it is mapped to: the card has 16 of these for 128 queues, and
//! drivers leave the mapping (RQSMR, TQSM) as it is after reset, with all queues on the first.

/// Queues in a direction.
const QUEUES: usize = 128;

/// Packets and bytes of one queue since the port was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueCount {
    /// Packets: of a receive queue those in its ring, of a transmit queue those that the card has sent, each segment one.
    pub packets: u64,
    /// Their bytes, as QBRC and QBTC count them.
    pub bytes: u64,
}

/// The counts of all queues of a direction.
#[derive(Debug)]
pub(crate) struct QueueCounts(Box<[QueueCount]>);

impl Default for QueueCounts {
    fn default() -> Self {
        Self(vec![QueueCount::default(); QUEUES].into())
    }
}

impl QueueCounts {
    /// Adds packets of a queue that have so many bytes together.
    #[inline]
    pub(crate) fn add(&mut self, queue: usize, packets: u32, bytes: u64) {
        if let Some(count) = self.0.get_mut(queue) {
            count.packets = count.packets.wrapping_add(packets.into());
            count.bytes = count.bytes.wrapping_add(bytes);
        }
    }

    /// The queues that have moved something, by number.
    pub(crate) fn used(&self) -> impl Iterator<Item = (usize, QueueCount)> {
        let all = self.0.iter().copied().enumerate();
        all.filter(|(_, count)| count.packets != 0)
    }
}
