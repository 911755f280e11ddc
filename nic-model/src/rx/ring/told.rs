//! What a queue tells those who look on.

use ixgbe_spec::descriptor::SIZE;

use super::{Queue, Taken};
use crate::{
    bus::{DmaError, Iova},
    hw::Hw,
    observe::{Descriptor, Direction, Event, Purpose, Transfer, Using},
};

impl Queue {
    /// Tells that the buffers of a descriptor are going to be filled.
    #[cold]
    #[inline(never)]
    pub(in crate::rx) fn tell_before(&self, taken: &Taken, hw: &mut Hw<'_>) {
        hw.dma.tell_before(Using {
            direction: Direction::Receive,
            queue: self.index,
            index: taken.index,
        });
    }

    #[cold]
    #[inline(never)]
    pub(super) fn tell_transfer(
        &self,
        purpose: Purpose,
        (iova, len): (Iova, usize),
        result: Result<(), DmaError>,
        hw: &mut Hw<'_>,
    ) {
        hw.dma.tell(|| self.transfer(purpose, iova, len, result));
    }

    /// An access for this queue, as it is told.
    pub(in crate::rx) const fn transfer(
        &self,
        purpose: Purpose,
        iova: Iova,
        len: usize,
        result: Result<(), DmaError>,
    ) -> Event<'static> {
        Transfer::told(
            Direction::Receive,
            Some(self.index),
            purpose,
            (iova, len),
            result,
        )
    }

    /// Tells of the `n` descriptors in the cache.
    #[inline(never)]
    pub(super) fn tell_fetched(&self, n: u16, hw: &mut Hw<'_>) {
        if !hw.dma.is_watched() {
            return;
        }
        let mut index = self.head;
        for read in self.cache.iter().take(n.into()) {
            let iova = Iova(self.base.wrapping_add(u64::from(index) * SIZE as u64));
            let descriptor = Descriptor {
                direction: Direction::Receive,
                queue: self.index,
                index,
                iova,
                low: read.packet_address.get(),
                high: read.header_address.get(),
            };
            hw.dma.tell(move || Event::Fetched(descriptor));
            index = if index + 1 < self.count { index + 1 } else { 0 };
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn tell_written_back(
        &self,
        taken: &Taken,
        (low, high): (u64, u64),
        result: Result<(), DmaError>,
        hw: &mut Hw<'_>,
    ) {
        let iova = taken.place;
        hw.dma
            .tell(move || self.transfer(Purpose::DescriptorWriteBack, iova, SIZE, result));
        if result.is_ok() {
            hw.dma.tell(move || {
                Event::WrittenBack(Descriptor {
                    direction: Direction::Receive,
                    queue: self.index,
                    index: taken.index,
                    iova,
                    low,
                    high,
                })
            });
        }
    }
}
