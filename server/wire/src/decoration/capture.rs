//! A capture of all that passes.

use std::{os::fd::BorrowedFd, path::Path};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use crate::{
    Backend, Counters,
    file::{RecordError, Recorder},
    passing::{Passing, Sight},
};

/// A wire whose frames are all written to a file, in both directions, as they lie on the cable: a large TCP frame that
/// the wire cuts is in it as the segments that it becomes.
#[derive(Debug)]
pub(super) struct Captured<B> {
    inner: B,
    recorder: Recorder,
    sight: Sight,
}

impl<B: Backend> Captured<B> {
    /// # Errors
    /// The file cannot be written.
    pub(super) fn new(inner: B, path: &Path) -> Result<Self, RecordError> {
        Ok(Self {
            inner,
            recorder: Recorder::create(path, None)?,
            sight: Sight::default(),
        })
    }
}

impl<B: Backend> Wire for Captured<B> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.inner.transmit(frame)?;
        let recorder = &mut self.recorder;
        self.sight.sent(frame, &mut |frame| recorder.frame(frame));
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let recorder = &mut self.recorder;
        self.inner.receive(budget, &mut |frame| {
            recorder.frame(&Passing::received(frame));
            sink(frame)
        })
    }

    fn carrier(&self) -> bool {
        self.inner.carrier()
    }
}

impl<B: Backend> Backend for Captured<B> {
    fn describe(&self) -> String {
        let path = self.recorder.path().display();
        format!("{} +capture={path}", self.inner.describe())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }

    fn has_frames(&self) -> bool {
        self.inner.has_frames()
    }

    fn deadline(&self) -> Option<Time> {
        let own = self.recorder.deadline();
        own.into_iter().chain(self.inner.deadline()).min()
    }

    fn advance(&mut self, now: Time) {
        self.recorder.advance(now);
        self.inner.advance(now);
    }

    fn set_far_link(&mut self, up: bool) {
        self.inner.set_far_link(up);
    }

    fn set_listening(&mut self, on: bool) {
        self.inner.set_listening(on);
    }

    fn counters(&self) -> Counters {
        self.recorder.add_to(self.inner.counters())
    }
}
