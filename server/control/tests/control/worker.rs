//! A worker with a loopback wire, as the server runs one with a port.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread::JoinHandle,
};

use control::{Card, Client, Counter, ErrorMessage, Group, HardwareError, Inbox, Module, Server};
use nic_model::{
    Wire,
    wire::{Flow, Offload, TxFrame},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use wire::{Loopback, Tapped};

/// A server, its worker, and what the worker's port received.
pub struct Running {
    server: Server,
    _directory: tempfile::TempDir,
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
        Self::with_budget(64)
    }

    /// A worker whose port receives nothing.
    pub fn start_paused() -> Self {
        Self::with_budget(0)
    }

    fn with_budget(budget: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (handle, inbox) = control::channel().unwrap();
        let server = Server::start(&directory.path().join("test.control"), handle).unwrap();
        let (commands, orders) = mpsc::channel();
        let kick = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap());
        let received = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let worker = std::thread::spawn({
            let (kick, received) = (Arc::clone(&kick), Arc::clone(&received));
            move || work(inbox, budget, &orders, &kick, &received)
        });
        Self {
            server,
            _directory: directory,
            commands,
            kick,
            received,
            worker: Mutex::new(Some(worker)),
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.server.path()).unwrap()
    }

    pub fn path(&self) -> PathBuf {
        self.server.path().to_owned()
    }

    /// Lets the port send a frame.
    pub fn send(&self, frame: &[u8]) {
        self.send_many(frame, 1);
    }

    pub fn send_many(&self, frame: &[u8], count: usize) {
        self.commands
            .send(Command::Send(frame.to_vec(), count))
            .unwrap();
        self.kick.write(1).unwrap();
    }

    /// Waits until the port has received so many frames, and returns them.
    pub fn wait_for_received(&self, count: usize) -> Vec<Vec<u8>> {
        let (frames, changed) = &*self.received;
        let frames = changed
            .wait_while(frames.lock().unwrap(), |frames| frames.len() < count)
            .unwrap();
        frames.clone()
    }

    pub fn stop_worker(&self) {
        if let Some(worker) = self.worker.lock().unwrap().take() {
            self.commands.send(Command::Stop).unwrap();
            self.kick.write(1).unwrap();
            worker.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_worker();
    }
}

fn work(
    mut inbox: Inbox,
    budget: usize,
    orders: &mpsc::Receiver<Command>,
    kick: &EventFd,
    received: &(Mutex<Vec<Vec<u8>>>, Condvar),
) {
    let mut wire = Tapped::new(Loopback::new());
    let mut card = FixedCard(Module::Sr);
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

/// A card without a port.
struct FixedCard(Module);

impl Card for FixedCard {
    fn counters(&self) -> Vec<Counter> {
        vec![
            Counter::new(Group::Hardware, "gprc", 42),
            Counter::new(Group::Model, "huge", u64::MAX),
        ]
    }

    fn module(&self) -> Module {
        self.0
    }

    fn set_module(&mut self, module: Module) {
        self.0 = module;
    }

    fn inject_error(&mut self, _error: HardwareError) -> Option<ErrorMessage> {
        Some(ErrorMessage::Fatal)
    }
}
