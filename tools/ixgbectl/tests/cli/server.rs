//! A control server with a worker on a loopback wire.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use control::{
    Card, Counter, ErrorMessage, Group, HardwareError, Inbox, Mapping, MemoryAccess, MemoryBacking,
    Module, Server, View,
};
use nic_model::{
    Context, LEDS, Led, Port, PortConfig, Time, Wire,
    check::{Finding, Rule, Subject},
    observe::{Observer, ObserverId},
    testing::{self, Silence, TestBus},
    wire::{Flow, Offload, TxFrame},
};
use wire::{Loopback, Tapped};

type Received = Arc<(Mutex<Vec<Vec<u8>>>, Condvar)>;

/// The server, its worker, and what the worker's port received. Its folder goes with it.
pub struct TestServer {
    server: Mutex<Option<Server>>,
    path: std::path::PathBuf,
    directory: tempfile::TempDir,
    orders: mpsc::Sender<Option<Vec<u8>>>,
    received: Received,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with_budget(64)
    }

    /// A server with a second port, which has the same worker.
    pub fn start_two_ports() -> Self {
        Self::with_ports(64, 2)
    }

    /// A server whose port receives nothing.
    pub fn start_paused() -> Self {
        Self::with_budget(0)
    }

    fn with_budget(budget: usize) -> Self {
        Self::with_ports(budget, 1)
    }

    fn with_ports(budget: usize, ports: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (handle, inbox) = control::channel().unwrap();
        let server = Server::start(
            &directory.path().join("nic.control"),
            std::iter::repeat_n(handle, ports),
        )
        .unwrap();
        let (orders, ordered) = mpsc::channel();
        let received = Received::default();
        let worker = std::thread::spawn({
            let received = Arc::clone(&received);
            move || work(inbox, budget, &ordered, &received)
        });
        Self {
            path: server.path().to_owned(),
            server: Mutex::new(Some(server)),
            directory,
            orders,
            received,
            worker: Mutex::new(Some(worker)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Lets the port send a frame.
    pub fn send(&self, frame: &[u8]) {
        self.orders.send(Some(frame.to_vec())).unwrap();
    }

    /// Waits until the port has received so many frames, and returns them.
    pub fn wait_for_received(&self, count: usize) -> Vec<Vec<u8>> {
        let (frames, changed) = &*self.received;
        let frames = changed
            .wait_while(frames.lock().unwrap(), |frames| frames.len() < count)
            .unwrap();
        frames.clone()
    }

    pub fn stop(&self) {
        let worker = self.worker.lock().unwrap().take();
        if let Some(worker) = worker {
            self.orders.send(None).unwrap();
            worker.join().unwrap();
        }
        self.server.lock().unwrap().take();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes orders, serves requests and receives frames, at least every millisecond.
fn work(
    mut inbox: Inbox,
    budget: usize,
    orders: &mpsc::Receiver<Option<Vec<u8>>>,
    received: &Received,
) {
    let mut wire = Tapped::new(Loopback::new());
    let mut card = FixedCard::new(Module::Sr);
    loop {
        match orders.recv_timeout(Duration::from_millis(1)) {
            Ok(Some(frame)) => wire
                .transmit(&TxFrame {
                    head: &frame,
                    payload: &[],
                    offload: Offload::None,
                })
                .unwrap(),
            Ok(None) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        inbox.serve(&mut wire, &mut card);
        let (frames, changed) = &**received;
        let mut frames = frames.lock().unwrap();
        wire.receive(budget, &mut |frame| {
            frames.push([frame.head, frame.body].concat());
            Flow::More
        });
        changed.notify_all();
    }
}

/// The address of the card.
pub const ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A card with a port that receives, whose counters and module are made up.
struct FixedCard {
    module: Module,
    port: Port,
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
        vec![Counter::new(Group::Hardware, "gprc", 42)]
    }

    fn address(&self) -> [u8; 6] {
        ADDRESS
    }

    fn observe(&mut self, _observer: Box<dyn Observer>) -> Option<ObserverId> {
        None
    }

    fn stop_observing(&mut self, _id: ObserverId) {}

    fn leds(&mut self) -> [Led; LEDS] {
        Port::new(PortConfig::new([2, 0, 0, 0, 0, 1])).leds()
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
        None
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
