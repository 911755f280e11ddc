//! A worker with a loopback wire, as the server runs one with a port.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread::JoinHandle,
};

use control::{
    Card, Client, Counter, ErrorMessage, Group, Handle, HardwareError, Inbox, Mapping,
    MemoryAccess, MemoryBacking, Module, Server, View,
};
use nic_model::{
    Context, LEDS, Led, LedMode, Light, Time, Wire,
    check::{Finding, Rule, Subject},
    observe::{Observer, ObserverId},
    testing::{self, Silence, TestBus},
    wire::{Flow, Offload, TxFrame},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use wire::{Loopback, Tapped};

/// A server with its ports.
pub struct Running {
    server: Server,
    handle: Handle,
    _directory: tempfile::TempDir,
    ports: Vec<Port>,
}

/// A worker, and what its port received.
struct Port {
    commands: mpsc::Sender<Command>,
    kick: Arc<EventFd>,
    received: Arc<(Mutex<Vec<Vec<u8>>>, Condvar)>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

enum Command {
    Send(Vec<u8>, usize),
    Stop,
}

impl Running {
    pub fn start() -> Self {
        Self::with_budget([64])
    }

    /// Two ports; the first has an SR module, the second an LR one.
    pub fn start_two_ports() -> Self {
        Self::with_budget([64, 64])
    }

    /// A worker whose port receives nothing.
    pub fn start_paused() -> Self {
        Self::with_budget([0])
    }

    fn with_budget<const PORTS: usize>(budgets: [usize; PORTS]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let modules = [Module::Sr, Module::Lr];
        let started = budgets
            .into_iter()
            .zip(modules)
            .map(|(budget, module)| Port::start(budget, module));
        let (handles, ports): (Vec<_>, Vec<_>) = started.unzip();
        let handle = handles[0].clone();
        let server = Server::start(&directory.path().join("test.control"), handles).unwrap();
        Self {
            server,
            handle,
            _directory: directory,
            ports,
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.server.path()).unwrap()
    }

    /// The way to the first worker.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub fn path(&self) -> PathBuf {
        self.server.path().to_owned()
    }

    /// Lets the first port send a frame.
    pub fn send(&self, frame: &[u8]) {
        self.send_many(frame, 1);
    }

    pub fn send_many(&self, frame: &[u8], count: usize) {
        self.ports[0].send(frame, count);
    }

    /// Waits until the first port has received so many frames, and returns them.
    pub fn wait_for_received(&self, count: usize) -> Vec<Vec<u8>> {
        self.wait_for_received_at(0, count)
    }

    /// The same at a port.
    pub fn wait_for_received_at(&self, port: usize, count: usize) -> Vec<Vec<u8>> {
        self.ports[port].wait_for_received(count)
    }

    /// Stops the worker of the first port.
    pub fn stop_worker(&self) {
        self.ports[0].stop();
    }
}

impl Port {
    fn start(budget: usize, module: Module) -> (Handle, Self) {
        let (handle, inbox) = control::channel().unwrap();
        let (commands, orders) = mpsc::channel();
        let kick = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap());
        let received = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let worker = std::thread::spawn({
            let (kick, received) = (Arc::clone(&kick), Arc::clone(&received));
            move || work(inbox, budget, module, &orders, &kick, &received)
        });
        let port = Self {
            commands,
            kick,
            received,
            worker: Mutex::new(Some(worker)),
        };
        (handle, port)
    }

    fn send(&self, frame: &[u8], count: usize) {
        self.commands
            .send(Command::Send(frame.to_vec(), count))
            .unwrap();
        self.kick.write(1).unwrap();
    }

    fn wait_for_received(&self, count: usize) -> Vec<Vec<u8>> {
        let (frames, changed) = &*self.received;
        let frames = changed
            .wait_while(frames.lock().unwrap(), |frames| frames.len() < count)
            .unwrap();
        frames.clone()
    }

    fn stop(&self) {
        if let Some(worker) = self.worker.lock().unwrap().take() {
            self.commands.send(Command::Stop).unwrap();
            self.kick.write(1).unwrap();
            worker.join().unwrap();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work(
    mut inbox: Inbox,
    budget: usize,
    module: Module,
    orders: &mpsc::Receiver<Command>,
    kick: &EventFd,
    received: &(Mutex<Vec<Vec<u8>>>, Condvar),
) {
    let mut wire = Tapped::new(Loopback::new());
    let mut card = FixedCard::new(module);
    loop {
        wait([inbox.wake_fd(), kick.as_fd()]);
        inbox.clear_wake();
        inbox.serve(&mut wire, &mut card);
        let _ = kick.read();
        while let Ok(order) = orders.try_recv() {
            match order {
                Command::Stop => return,
                Command::Send(frame, count) => {
                    for _ in 0..count {
                        wire.transmit(&TxFrame {
                            head: &frame,
                            payload: &[],
                            offload: Offload::None,
                        })
                        .unwrap();
                    }
                    take_received(&mut wire, budget, received);
                }
            }
        }
        take_received(&mut wire, budget, received);
    }
}

fn take_received(
    wire: &mut Tapped<Loopback>,
    budget: usize,
    received: &(Mutex<Vec<Vec<u8>>>, Condvar),
) {
    let (frames, changed) = received;
    let mut frames = frames.lock().unwrap();
    while wire.receive(budget, &mut |frame| {
        frames.push([frame.head, frame.body].concat());
        Flow::More
    }) > 0
    {}
    changed.notify_all();
}

fn wait(fds: [BorrowedFd<'_>; 2]) {
    let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    poll(&mut fds, PollTimeout::NONE).unwrap();
}

/// A card with a port that receives, whose counters and module are made up.
struct FixedCard {
    module: Module,
    port: nic_model::Port,
    bus: TestBus,
    silence: Silence,
}

impl FixedCard {
    fn new(module: Module) -> Self {
        let bus = TestBus::new(0x1_0000).without_record();
        Self {
            module,
            port: testing::receiving_port([0x52, 0x54, 0, 0x12, 0x34, 0x56], &bus),
            bus,
            silence: Silence,
        }
    }
}

impl Card for FixedCard {
    fn counters(&self) -> Vec<Counter> {
        vec![
            Counter::new(Group::Hardware, "gprc", 42),
            Counter::new(Group::Model, "huge", u64::MAX),
        ]
    }

    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 9]
    }

    fn observe(&mut self, _observer: Box<dyn Observer>) -> Option<ObserverId> {
        None
    }

    fn stop_observing(&mut self, _id: ObserverId) {}

    fn leds(&mut self) -> [Led; LEDS] {
        let led = Led {
            mode: LedMode::On,
            light: Light::Blinking,
            turned_on: 3,
        };
        [led; LEDS]
    }

    fn findings(&self) -> Option<Vec<(Finding, u64)>> {
        let finding = Finding {
            rule: Rule::TailPastRing,
            subject: Subject::Queue {
                transmit: true,
                queue: 3,
            },
            what: "the tail is 512".to_owned(),
            time: Time::from_nanos(1_500_000_000),
            descriptor: None,
            ring: None,
            accesses: Vec::new(),
        };
        Some(vec![(finding, 2)])
    }

    fn is_stopped(&self) -> bool {
        false
    }

    fn module(&self) -> Module {
        self.module
    }

    fn set_module(&mut self, module: Module) {
        self.module = module;
    }

    fn inject_error(&mut self, _error: HardwareError) -> Option<ErrorMessage> {
        Some(ErrorMessage::Fatal)
    }

    fn view(&mut self) -> View<'_> {
        View {
            port: &mut self.port,
            context: Context {
                now: Time::from_nanos(2_000_000_000),
                bus: &self.bus,
                wire: &mut self.silence,
            },
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        vec![Mapping {
            iova: TestBus::BASE,
            last: TestBus::BASE + 0xFFFF,
            access: MemoryAccess::Both,
            backing: MemoryBacking::File,
        }]
    }
}
