//! The ports of the process: each with a worker in a thread of its own.
//!
//! What can fail at the start fails here, before a thread runs. From then on a port is on its own: one that ends, by an
//! error or a panic, takes its sockets and its end of the cable with it, and the others go on.

use std::{
    os::{fd::AsFd, unix::net::UnixListener},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
};

use anyhow::{Context as _, bail};
use nic_model::{LanId, NvmChip, Port};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        signalfd::SignalFd,
    },
};
use recording::{Header, PortHeader, Writer};
use vfio_user::{Listener, Reservation};
use wire::{Backend, Cables};

use crate::{
    activation::PassedSockets,
    checking::{Broken, Check},
    config::{Config, PortConfig},
    doorbells::Doorbells,
    metrics,
    nvm_file::{self, ChangeNotice, NvmKeeper},
    polling::Polling,
    readiness::Supervisor,
    sandbox::{self, Files, Sandbox},
    worker::Worker,
};

/// All that one worker takes over.
#[derive(Debug)]
pub struct Prepared {
    /// The port after power-on.
    pub port: Port,
    /// The other end of its cable.
    pub wire: Box<dyn Backend>,
    /// Where its client connects.
    pub listener: Listener,
    /// Where control requests wait.
    pub inbox: control::Inbox,
    /// How the worker polls before it sleeps.
    pub polling: Polling,
    /// How the client rings.
    pub doorbells: Doorbells,
    /// Whether the client's driver is checked.
    pub check: Check,
    /// Readable when the worker is to end.
    pub stop: Arc<EventFd>,
    /// Whom to tell when the port has written its NVM, if that is kept.
    pub nvm: Option<ChangeNotice>,
}

/// Serves all ports until a signal comes, or the last of them has ended. Sockets in `passed` are used instead of new ones at
/// their paths; `supervisor` learns when clients can connect.
///
/// # Errors
/// What cannot be opened, why, and what to do; or why the last port has ended.
pub fn serve(
    config: &Config,
    passed: PassedSockets,
    supervisor: &Supervisor,
    signals: &SignalFd,
) -> anyhow::Result<()> {
    let stop = event().context("cannot make an eventfd")?;
    let Opened {
        control,
        metrics,
        handles,
        ports,
        nvms,
        recording,
    } = open(config, passed, &stop)?;
    let bell = event().context("cannot make an eventfd")?;
    // All threads are started after this, so that none is outside.
    confine(config)?;
    let keepers = nvms
        .into_iter()
        .map(|Nvm { path, chip, notice }| NvmKeeper::start(path, chip, notice))
        .collect::<Result<Vec<_>, _>>()
        .context("cannot start a thread")?;
    let metrics = metrics
        .map(|metrics| metrics.serve(handles.clone()))
        .transpose()?;
    let control = control.serve(handles)?;
    let (ended, end) = mpsc::channel();
    let several = ports.len() > 1;
    let mut threads = Vec::new();
    for (number, prepared) in ports.into_iter().enumerate() {
        let farewell = Farewell {
            number,
            ended: ended.clone(),
            bell: Arc::clone(&bell),
        };
        let run = move || {
            let _farewell = farewell;
            let span = several.then(|| tracing::error_span!("port", number).entered());
            let result = Worker::new(prepared).and_then(Worker::run);
            drop(span);
            result
        };
        let thread = thread::Builder::new().name(format!("port{number}"));
        threads.push(Some(thread.spawn(run).context("cannot start a thread")?));
    }
    let mut running = threads.len();
    supervisor.ready(running);
    let mut failure = None;
    while running > 0 && failure.is_none() {
        wait(signals, &bell)?;
        if signals
            .read_signal()
            .context("cannot read a signal")?
            .is_some()
        {
            tracing::info!("ended by a signal");
            supervisor.stopping();
            // It stays readable, for all of them.
            stop.write(1).context("cannot stop the ports")?;
            break;
        }
        // Whatever it was that rang is in the channel.
        let _ = bell.read();
        while let Ok(number) = end.try_recv() {
            running -= 1;
            let thread = threads.get_mut(number).and_then(Option::take);
            let result = thread.map(thread::JoinHandle::join);
            let error = match result {
                Some(Ok(Err(error))) => error,
                _ => anyhow::anyhow!("a defect in the server, told above"),
            };
            if running == 0 {
                bail!(error);
            }
            if error.is::<Broken>() {
                stop.write(1).context("cannot stop the ports")?;
                failure = Some(error);
                break;
            }
            tracing::error!(port = number, "this port has ended: {error:#}");
        }
    }
    for thread in threads.into_iter().flatten() {
        // What a port had to say it has said.
        let _ = thread.join();
    }
    drop(metrics);
    drop(control);
    // Nobody writes any more: what was written last gets into the files.
    drop(keepers);
    drop(recording);
    failure.map_or(Ok(()), Err)
}

/// Enters the sandbox, if there is to be one.
fn confine(config: &Config) -> anyhow::Result<()> {
    if config.sandbox == Sandbox::Off {
        return Ok(());
    }
    match sandbox::enter(config)? {
        Files::GivenUp => tracing::debug!("what the server does not need is given up"),
        Files::InPart => {
            tracing::info!(
                "this kernel is older than 6.12: files are given up, but not all of --sandbox"
            );
        }
        Files::Kept => tracing::warn!(
            "this kernel has no landlock, so the server can open what its user can; boot Linux 5.13 or newer with \
             landlock in lsm= (the other parts of --sandbox are in force)"
        ),
    }
    Ok(())
}

/// What is open before the first thread runs.
#[derive(Debug)]
struct Opened {
    control: control::Bound,
    metrics: Option<metrics::Bound>,
    handles: Vec<control::Handle>,
    ports: Vec<Prepared>,
    nvms: Vec<Nvm>,
    recording: Option<Writer>,
}

/// An NVM that is to be kept in a file.
#[derive(Debug)]
struct Nvm {
    path: PathBuf,
    chip: NvmChip,
    notice: ChangeNotice,
}

/// Opens all wires and sockets. The socket of the first port comes last: whoever can connect to it may count on the
/// control socket and on the other ports.
fn open(config: &Config, mut passed: PassedSockets, stop: &Arc<EventFd>) -> anyhow::Result<Opened> {
    let mut cables = Cables::new();
    let mut wires = Vec::new();
    for port in &config.ports {
        wires.push(port.wire.open(&mut cables)?);
    }
    let mut cards = Vec::new();
    let mut nvms = Vec::new();
    for ports in config.ports.chunks(2) {
        let (ports, nvm) = card(ports)?;
        let notice = nvm.as_ref().map(|nvm| nvm.notice.clone());
        cards.extend(ports.into_iter().map(|port| (port, notice.clone())));
        nvms.extend(nvm);
    }
    let recording = record(config, &mut cards, &wires)?;
    let mut handles = Vec::new();
    let mut inboxes = Vec::new();
    for _ in &config.ports {
        let (handle, inbox) =
            control::channel().context("cannot make a way for control requests")?;
        handles.push(handle);
        inboxes.push(inbox);
    }
    // Before the first port's path is reserved: that keeps others from binding sockets in the same folder.
    let metrics = config
        .metrics
        .as_ref()
        .map(metrics::Bound::bind)
        .transpose()?;
    let mut paths = config.ports.iter().map(|port| &port.socket);
    let first = paths.next().context("no port was asked for")?;
    let further = paths
        .map(|path| match passed.take(path) {
            Some(socket) => adopt(socket),
            None => Ok(Listener::bind(path)?),
        })
        .collect::<anyhow::Result<Vec<Listener>>>()?;
    let first = match passed.take(first) {
        Some(socket) => Opening::Passed(adopt(socket)?),
        None => Opening::Reserved(Listener::reserve(first)?),
    };
    let control = match passed.take(&config.control) {
        Some(socket) => control::Bound::adopt(socket)?,
        None => control::Bound::bind(&config.control)?,
    };
    let first = match first {
        Opening::Passed(listener) => listener,
        Opening::Reserved(reserved) => reserved.listen()?,
    };
    let listeners = std::iter::once(first).chain(further);
    let prepared = cards
        .into_iter()
        .zip(wires)
        .zip(listeners)
        .zip(inboxes)
        .zip(&config.ports)
        .map(
            |(((((port, nvm), wire), listener), inbox), settings)| Prepared {
                port,
                wire,
                listener,
                inbox,
                polling: config.polling,
                doorbells: settings.doorbells,
                check: config.check,
                stop: Arc::clone(stop),
                nvm,
            },
        );
    Ok(Opened {
        control,
        metrics,
        handles,
        ports: prepared.collect(),
        nvms,
        recording,
    })
}

/// The socket of the first port, before the control socket is there.
enum Opening {
    /// A supervisor listens on it; its clients wait until the worker accepts them.
    Passed(Listener),
    /// Nobody can connect yet.
    Reserved(Reservation),
}

fn adopt(socket: UnixListener) -> anyhow::Result<Listener> {
    Listener::adopt(socket).context("cannot use a socket that was passed")
}

/// The ports of a card after power-on: two, or the last of an odd number, which is alone on its card. If its NVM is to be
/// kept, the file is there from now on.
fn card(ports: &[PortConfig]) -> anyhow::Result<(Vec<Port>, Option<Nvm>)> {
    let path = ports.iter().find_map(|port| port.nvm.as_ref());
    let image = path.map(|path| nvm_file::read(path)).transpose()?.flatten();
    if let (Some(path), Some(image)) = (path, &image) {
        for (lan_id, port) in [LanId::Port0, LanId::Port1].into_iter().zip(ports) {
            nvm_file::compare_address(path, image, lan_id, port.mac.octets());
        }
    }
    let is_new = image.is_none();
    let model = |port: &PortConfig| nic_model::PortConfig {
        module: port.module,
        nvm: image.clone(),
        ..nic_model::PortConfig::new(port.mac.octets())
    };
    let ports: Vec<Port> = match ports {
        [first, second] => Port::pair(model(first), model(second)).into(),
        alone => alone.iter().map(|port| Port::new(model(port))).collect(),
    };
    let nvm = match (path, ports.first()) {
        (Some(path), Some(port)) => {
            let chip = port.nvm();
            if is_new {
                nvm_file::write(path, &chip.image())?;
            }
            Some(Nvm {
                path: path.clone(),
                chip,
                notice: ChangeNotice::default(),
            })
        }
        _ => None,
    };
    Ok((ports, nvm))
}

/// Begins the recording, if there is to be one.
fn record(
    config: &Config,
    cards: &mut [(Port, Option<ChangeNotice>)],
    wires: &[Box<dyn Backend>],
) -> anyhow::Result<Option<Writer>> {
    let Some(path) = &config.record else {
        return Ok(None);
    };
    let ports = cards.iter().zip(wires).zip(&config.ports).enumerate();
    let ports = ports.map(|(number, (((port, _), wire), settings))| {
        let second = number % 2 == 1;
        PortHeader::new(settings.mac.octets(), port, second, &wire.describe())
    });
    let header = Header {
        program: concat!("vfio-user-ixgbe ", env!("CARGO_PKG_VERSION")).to_owned(),
        ports: ports.collect(),
    };
    let writer = Writer::create(path, &header).with_context(|| {
        format!(
            "cannot make the recording {}; give --record a file that can be written",
            path.display()
        )
    })?;
    for (card, ports) in cards.chunks_mut(2).enumerate() {
        let turn = (ports.len() == 2).then(Arc::default);
        for (number, (port, _)) in (2 * card..).zip(ports) {
            port.record(writer.recorder(number, turn.clone()));
        }
    }
    Ok(Some(writer))
}

fn event() -> nix::Result<Arc<EventFd>> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    EventFd::from_value_and_flags(0, flags).map(Arc::new)
}

/// Sleeps until a signal has come or a port has ended.
fn wait(signals: &SignalFd, bell: &EventFd) -> anyhow::Result<()> {
    let mut fds = [signals.as_fd(), bell.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).context("cannot wait for a signal"),
    }
}

/// Tells of the end of a port's thread when that drops it, also in a panic.
struct Farewell {
    number: usize,
    ended: mpsc::Sender<usize>,
    bell: Arc<EventFd>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens any more when the server ends.
        let _ = self.ended.send(self.number);
        let _ = self.bell.write(1);
    }
}
