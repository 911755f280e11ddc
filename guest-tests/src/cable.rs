//! The far end of the cable, as a world of ours holds it.

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::Result;
use nic_driver::in_process::Bench;
use nic_model::{
    Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use crate::frames::padded;

/// Whether the cable is in the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// It is.
    In,
    /// It is pulled.
    Out,
}

/// The far end of a cable.
pub trait Cable {
    /// Lets frames arrive at the port, in order. Short ones are padded to 60 bytes, as every Ethernet sender does.
    ///
    /// # Errors
    /// The cable cannot be reached.
    fn put(&mut self, frames: &[Vec<u8>]) -> Result<()>;

    /// Frames that the port has sent since this was asked last. Waits for some of them up to `patience` by the clock
    /// on the wall, if the port is one that works by that clock.
    ///
    /// # Errors
    /// The cable cannot be reached.
    fn take(&mut self, patience: Duration) -> Result<Vec<Vec<u8>>>;

    /// Puts the cable in or pulls it.
    ///
    /// # Errors
    /// The cable cannot be reached.
    fn plug(&mut self, plug: Plug) -> Result<()>;
}

/// The cable of a port in this process. Its clones are the same cable.
#[derive(Clone, Debug, Default)]
pub struct BenchCable(Rc<RefCell<Bench>>);

impl BenchCable {
    /// Whether the far end refuses frames for now.
    pub fn set_busy(&self, busy: bool) {
        self.0.borrow_mut().busy = busy;
    }
}

impl Cable for BenchCable {
    fn put(&mut self, frames: &[Vec<u8>]) -> Result<()> {
        let incoming = frames.iter().map(|frame| padded(frame));
        self.0.borrow_mut().incoming.extend(incoming);
        Ok(())
    }

    fn take(&mut self, _patience: Duration) -> Result<Vec<Vec<u8>>> {
        let mut bench = self.0.borrow_mut();
        Ok(bench.sent.drain(..).map(|(frame, _)| frame).collect())
    }

    fn plug(&mut self, plug: Plug) -> Result<()> {
        self.0.borrow_mut().carrier = plug == Plug::In;
        Ok(())
    }
}

impl Wire for BenchCable {
    fn capabilities(&self) -> Capabilities {
        self.0.borrow().capabilities()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.0.borrow_mut().transmit(frame)
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        self.0.borrow_mut().receive(budget, sink)
    }

    fn carrier(&self) -> bool {
        self.0.borrow().carrier()
    }
}
