//! The model in this process: a [`Port`] under the driver, with time moved by hand.

use std::{
    cell::RefCell,
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use guest_memory::{Backing, IovaTable, Limits, SharedMemory};
use nic_model::{
    Bar, Bus, Context, Port, PortConfig, Time, Wire,
    bus::{DmaError, Iova, Requester, Right, Signal, Span, Spans, Window},
    check::{Checker, Findings},
    record::Recorder,
    wire::{Capabilities, Flow, Nowhere, Offload, RxFrame, TxFrame, WireBusy},
};
use vm_memory::Permissions;

use crate::device::{Device, DeviceError};

/// A cable whose far end is the test: frames are put in and taken out by hand.
#[derive(Debug)]
pub struct Bench {
    /// Frames that the card has sent, oldest first, each with the work that was left to the wire.
    pub sent: VecDeque<(Vec<u8>, Offload)>,
    /// Frames that the card will receive, oldest first.
    pub incoming: VecDeque<Vec<u8>>,
    /// What the wire says that it does itself.
    pub capabilities: Capabilities,
    /// Whether the far end is there.
    pub carrier: bool,
    /// Whether the wire refuses to take frames.
    pub busy: bool,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            sent: VecDeque::new(),
            incoming: VecDeque::new(),
            capabilities: Capabilities::default(),
            carrier: true,
            busy: false,
        }
    }
}

impl Wire for Bench {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        if self.busy {
            return Err(WireBusy);
        }
        self.sent.push_back((frame.to_vec(), frame.offload));
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        for done in 0..budget {
            let Some(frame) = self.incoming.pop_front() else {
                return done;
            };
            if sink(&RxFrame::new(&frame)) == Flow::Stop {
                return done + 1;
            }
        }
        budget
    }

    fn carrier(&self) -> bool {
        self.carrier
    }
}

/// Client memory and interrupt counters of a device in this process.
#[derive(Debug)]
struct Client {
    table: IovaTable,
    fired: RefCell<[u64; 64]>,
}

fn refused(iova: Iova) -> impl Fn(guest_memory::AccessError) -> DmaError {
    move |_| DmaError::Refused { iova: iova.0 }
}

impl Bus for Client {
    fn read(&self, _by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        self.table.read(iova.0, to).map_err(refused(iova))
    }

    fn write(&self, _by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        self.table.write(iova.0, from).map_err(refused(iova))
    }

    fn write_back(&self, _by: Requester, iova: Iova, low: u64, high: u64) -> Result<(), DmaError> {
        self.table
            .write_back(iova.0, low, high)
            .map_err(refused(iova))
    }

    fn gather<'a>(
        &'a self,
        _by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        let slices = self
            .table
            .slices(iova.0, len, Permissions::Read)
            .map_err(refused(iova))?;
        spans.extend(slices.map(Span::Mapped));
        Ok(())
    }

    fn window(&self, _by: Requester, iova: Iova, right: Right) -> Option<Window<'_>> {
        let access = match right {
            Right::Read => Permissions::Read,
            Right::Write => Permissions::Write,
        };
        let (first, memory) = self.table.window(iova.0, access)?;
        Some(Window::new(Iova(first), memory))
    }

    fn retire(&self) {}

    fn signal(&self, _by: Requester, signal: Signal) {
        if let Signal::MsiX(vector) = signal
            && let Some(fired) = self.fired.borrow_mut().get_mut(usize::from(vector))
        {
            *fired += 1;
        }
    }
}

/// A port in this process.
#[derive(Debug)]
pub struct InProcess<W> {
    port: Port,
    client: Client,
    wire: W,
    now: Time,
}

impl<W: Wire> InProcess<W> {
    /// A port after power-on with `wire` plugged in.
    pub fn new(config: PortConfig, wire: W) -> Self {
        Self::of(Port::new(config), wire)
    }

    /// The same, of which all is told to a recorder from the start.
    pub fn recorded(config: PortConfig, wire: W, recorder: Box<dyn Recorder>) -> Self {
        let mut port = Port::new(config);
        port.record(recorder);
        Self::of(port, wire)
    }

    fn of(port: Port, wire: W) -> Self {
        let mut device = Self {
            port,
            client: Client {
                table: IovaTable::new(Limits::default()),
                fired: RefCell::new([0; 64]),
            },
            wire,
            now: Time::ZERO,
        };
        device.turn();
        device
    }

    /// The same, with a driver checker that looks on, and what it finds.
    pub fn checked(config: PortConfig, wire: W) -> (Self, Findings) {
        let mut device = Self::new(config, wire);
        let checker = Checker::new();
        let findings = checker.findings();
        device.port.observe(Box::new(checker));
        (device, findings)
    }

    /// The far end of the cable.
    pub fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// The port, to look into.
    pub fn port(&mut self) -> &mut Port {
        &mut self.port
    }

    /// Now, as the card sees it.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Does all work that can be done without time passing.
    pub fn turn(&mut self) {
        const BUDGET: usize = 64;
        loop {
            let Self {
                port,
                client,
                wire,
                now,
            } = self;
            let carrier = wire.carrier();
            let mut context = Context {
                now: *now,
                bus: client,
                wire,
            };
            port.set_carrier(carrier, &mut context);
            let more = port.step(&mut context);
            let mut received = 0;
            if self.port.has_room() {
                received = self.receive(BUDGET);
            }
            if !more && received == 0 {
                return;
            }
        }
    }

    fn receive(&mut self, budget: usize) -> usize {
        let Self {
            port,
            client,
            wire,
            now,
        } = self;
        let context = Context {
            now: *now,
            bus: client,
            wire: &mut Nowhere,
        };
        port.receive_burst(&context, |arrivals| {
            wire.receive(budget, &mut |frame| {
                arrivals.take(frame);
                if arrivals.has_room() {
                    Flow::More
                } else {
                    Flow::Stop
                }
            })
        })
    }

    fn access(&mut self, act: impl FnOnce(&mut Port, &mut Context<'_>)) {
        let Self {
            port,
            client,
            wire,
            now,
        } = self;
        act(
            port,
            &mut Context {
                now: *now,
                bus: client,
                wire,
            },
        );
    }
}

impl<W: Wire> Device for InProcess<W> {
    fn read(&mut self, offset: u32) -> Result<u32, DeviceError> {
        let mut value = [0; 4];
        self.access(|port, context| port.bar_read(Bar::Csr, offset.into(), &mut value, context));
        Ok(u32::from_le_bytes(value))
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<(), DeviceError> {
        self.access(|port, context| {
            port.bar_write(Bar::Csr, offset.into(), &value.to_le_bytes(), context);
        });
        Ok(())
    }

    fn config_read(&mut self, offset: u16, to: &mut [u8]) -> Result<(), DeviceError> {
        self.port.config_read(offset, to);
        Ok(())
    }

    fn config_write(&mut self, offset: u16, from: &[u8]) -> Result<(), DeviceError> {
        self.access(|port, context| port.config_write(offset, from, context));
        Ok(())
    }

    fn lend(&mut self, iova: u64, memory: &SharedMemory) -> Result<(), DeviceError> {
        self.lend_file(iova, memory.len() as u64, memory.as_fd(), 0)
    }

    fn lend_file(
        &mut self,
        iova: u64,
        len: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), DeviceError> {
        let fd = file
            .try_clone_to_owned()
            .map_err(|error| DeviceError::new("duplicating the memory's descriptor", error))?;
        let backing = Backing::File { fd, offset };
        self.client
            .table
            .map(iova, len, Permissions::ReadWrite, backing)
            .map_err(|error| DeviceError::new(format!("lending memory at {iova:#x}"), error))?;
        self.port.client_mapped(Iova(iova), len, self.now);
        Ok(())
    }

    fn take_back(&mut self, iova: u64, len: u64) -> Result<(), DeviceError> {
        self.port.client_unmaps(Iova(iova), len, self.now);
        self.client
            .table
            .unmap(iova, len)
            .map_err(|error| DeviceError::new(format!("taking back memory at {iova:#x}"), error))
    }

    fn pass(&mut self, time: Duration) -> Result<Duration, DeviceError> {
        let end = self.now + time;
        self.turn();
        while let Some(deadline) = self.port.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.turn();
            if self.port.deadline() == Some(deadline) {
                break;
            }
        }
        self.now = end;
        self.turn();
        Ok(time)
    }

    fn fired(&mut self, vector: u8) -> Result<u64, DeviceError> {
        let mut fired = self.client.fired.borrow_mut();
        Ok(fired.get_mut(usize::from(vector)).map_or(0, std::mem::take))
    }

    fn wakeups(&self, _vectors: usize) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}
