//! Client memory that changes while the card looks at it.

use std::cell::RefCell;

use nic_model::{
    Bus,
    bus::{DmaError, Iova, Requester, Right, Signal, Spans, Window},
    testing::TestBus,
};

/// Memory of a client whose other processors write to it: after each read of the card a byte changes.
#[derive(Debug)]
pub(crate) struct HostileBus {
    pub(crate) memory: TestBus,
    /// Where and what, from the end.
    changes: RefCell<Vec<(u16, u8)>>,
}

impl HostileBus {
    pub(crate) fn new(memory: TestBus) -> Self {
        Self {
            memory,
            changes: RefCell::default(),
        }
    }

    /// The next changes; places are from the start of memory.
    pub(crate) fn will_change(&self, changes: Vec<(u16, u8)>) {
        *self.changes.borrow_mut() = changes;
    }

    fn change(&self) {
        if let Some((place, value)) = self.changes.borrow_mut().pop() {
            self.memory.poke(TestBus::BASE + u64::from(place), &[value]);
        }
    }
}

impl Bus for HostileBus {
    fn read(&self, by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        let result = self.memory.read(by, iova, to);
        self.change();
        result
    }

    fn write(&self, by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        self.memory.write(by, iova, from)
    }

    fn write_back(&self, by: Requester, iova: Iova, low: u64, high: u64) -> Result<(), DmaError> {
        self.memory.write_back(by, iova, low, high)
    }

    fn gather<'a>(
        &'a self,
        by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        let result = self.memory.gather(by, iova, len, spans);
        self.change();
        result
    }

    fn window(&self, by: Requester, iova: Iova, right: Right) -> Option<Window<'_>> {
        self.memory.window(by, iova, right)
    }

    fn retire(&self) {
        self.memory.retire();
    }

    fn signal(&self, by: Requester, signal: Signal) {
        self.memory.signal(by, signal);
    }
}
