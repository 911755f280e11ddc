//! The loop that owns the port.
//!
//! One thread serves the client, the wire, the clock and control requests in turns. Each turn does a bounded amount of
//! each, so that none of them keeps the others waiting: a register read is answered within a turn even under a burst
//! of frames. Nothing in a turn blocks. Between turns the thread polls for a short while if that has proved worth it,
//! then sleeps.

use std::{
    hint, mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use control::Counter;
use ixgbe_spec::register::Reg;
use nic_model::{
    Context, ErrorMessage, HardwareError, LEDS, Led, Module, Port, Time, Wire,
    check::Finding,
    observe::{Observer, ObserverId},
    wire::{Flow, Nowhere},
};
use nix::sys::eventfd::EventFd;
use vfio_user::{Listener, server::SessionError};
use wire::{Backend, Tapped};

use crate::{
    bus::ClientBus,
    checking::DriverCheck,
    client::Client,
    clock::Clock,
    counters,
    device::Card,
    doorbells::{Doorbells, Look},
    events::{Events, Ready, Registry, Source, Watched},
    mappings,
    nvm_file::ChangeNotice,
    polling::PollBudget,
    ports::Prepared,
};

/// Frames that are taken from the wire in one turn.
const FRAMES_PER_TURN: usize = 256;
/// Steps of the port in one turn, each of up to 64 frames in either direction.
const STEPS_PER_TURN: usize = 4;

/// Time for which mapped doorbells are watched between two looks at everything else.
const WATCH: Duration = Duration::from_micros(2);
/// Time between two looks at whole pages while the thread is awake.
const LOOK_AT_ALL: Duration = Duration::from_micros(20);
/// First and longest sleep between two looks at mapped doorbells, which wake nobody. The longest is shorter than the
/// millisecond that drivers give a queue to go off.
const NAP: (Duration, Duration) = (Duration::from_micros(50), Duration::from_micros(500));

/// Everything that one port needs to run.
#[derive(Debug)]
pub struct Worker {
    clock: Clock,
    events: Events,
    registry: Registry,
    polling: PollBudget,
    doorbells: Doorbells,
    _stop: Watched<Arc<EventFd>>,
    listener: Watched<Listener>,
    client: Option<Client>,
    port: Port,
    bus: ClientBus,
    wire: Tapped<Box<dyn Backend>>,
    /// The wire's descriptor in the epoll set, if it has one.
    wire_events: Option<Watched<OwnedFd>>,
    /// When the mapped pages were looked at as a whole.
    last_look: Time,
    /// Whether mapped doorbells have been looked at since the last turn.
    looked: bool,
    /// Whether mapped pages show the registers as the last turn has left them.
    shown: bool,
    /// Whether the port is known to have more to do at once.
    busy: bool,
    /// Whether the other end sees the port.
    lit: bool,
    /// Whether frames that come get into the port, as the wire knows it.
    listening: bool,
    inbox: Watched<ControlInbox>,
    /// When to try to take a client again, after that has failed.
    accept_again: Option<Time>,
    counters: WorkerCounters,
    /// Whom to tell when the port has written its NVM.
    nvm: Option<ChangeNotice>,
    /// Who looks on at what the client's driver does.
    check: Option<DriverCheck>,
}

/// What the worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounters {
    /// Clients that have connected.
    pub clients: u64,
    /// Messages of clients that have gone.
    pub messages: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Times that the loop slept.
    pub sleeps: u64,
}

impl Worker {
    /// A worker for the thread that calls this.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn new(prepared: Prepared) -> anyhow::Result<Self> {
        let Prepared {
            mut port,
            wire,
            listener,
            inbox,
            polling,
            doorbells,
            check,
            stop,
            nvm,
        } = prepared;
        let check = DriverCheck::start(check, &mut port);
        let events = Events::new().context("cannot create the epoll set or its timer")?;
        let registry = events.registry();
        let watch = "cannot add a descriptor to the epoll set";
        let wire_events = wire
            .poll_fd()
            .map(|fd| {
                registry
                    .watch(fd.try_clone_to_owned()?, Source::Wire)
                    .map_err(std::io::Error::from)
            })
            .transpose()
            .context(watch)?;
        Ok(Self {
            clock: Clock::start(),
            polling: PollBudget::new(polling),
            doorbells,
            _stop: registry.watch(stop, Source::Stop).context(watch)?,
            listener: registry.watch(listener, Source::Listener).context(watch)?,
            client: None,
            port,
            bus: ClientBus::new(registry.clone()),
            wire: Tapped::new(wire),
            wire_events,
            inbox: registry
                .watch(ControlInbox(inbox), Source::Control)
                .context(watch)?,
            last_look: Time::ZERO,
            looked: false,
            shown: false,
            busy: true,
            lit: true,
            listening: false,
            accept_again: None,
            counters: WorkerCounters::default(),
            nvm,
            check,
            events,
            registry,
        })
    }

    /// Serves until it is told to end.
    ///
    /// # Errors
    /// If the system fails in a way that leaves nothing to wait for.
    pub fn run(mut self) -> anyhow::Result<()> {
        tracing::info!(
            socket = %self.listener.get().path().display(),
            wire = %self.wire.describe(),
            "waiting for a client"
        );
        loop {
            let ready = self.wait().context("cannot wait for events")?;
            if ready.has(Source::Stop) {
                return Ok(());
            }
            self.turn(ready)?;
        }
    }

    /// What is ready now, or as soon as something is, a doorbell has been rung or a deadline has come.
    fn wait(&mut self) -> nix::Result<Ready> {
        if self.has_more() {
            return self.events.poll();
        }
        let start = self.clock.now();
        let deadline = self.deadline();
        let mut now = start;
        loop {
            let ready = self.events.poll()?;
            let rung = ready.is_empty() && self.rung(now);
            self.looked = rung;
            if rung || !ready.is_empty() || deadline.is_some_and(|deadline| deadline <= now) {
                self.polling.waited(now.since(start));
                return Ok(ready);
            }
            if now.since(start) >= self.polling.get() {
                break;
            }
            // Whom this thread waits for may wait for this core.
            thread::yield_now();
            now = self.clock.now();
        }
        let ready = self.sleep(now, deadline)?;
        self.polling.waited(self.clock.now().since(start));
        Ok(ready)
    }

    /// Sleeps until something is ready or a deadline has come. Where doorbells are mapped it gets up now and then, ever
    /// more rarely, to look whether one has been rung.
    fn sleep(&mut self, mut now: Time, deadline: Option<Time>) -> nix::Result<Ready> {
        let mut nap = NAP.0;
        loop {
            self.counters.sleeps = self.counters.sleeps.wrapping_add(1);
            if !self.has_mapped_doorbells() {
                return self.events.sleep(now, deadline);
            }
            let end = now.plus_nanos(u64::try_from(nap.as_nanos()).unwrap_or(u64::MAX));
            let until = deadline.map_or(end, |deadline| deadline.min(end));
            let ready = self.events.sleep(now, Some(until))?;
            now = self.clock.now();
            let due = deadline.is_some_and(|deadline| deadline <= now);
            if due || !ready.is_only(Source::Timer) {
                return Ok(ready);
            }
            if self.look(Look::All, now) {
                self.polling.found_late();
                return Ok(ready);
            }
            nap = nap.saturating_mul(2).min(NAP.1);
        }
    }

    /// Whether a mapped doorbell has been rung, or is within [`WATCH`].
    fn rung(&mut self, now: Time) -> bool {
        const LOOKS: usize = 16;
        if !self.has_mapped_doorbells() {
            return false;
        }
        if self.look(self.how_to_look(now), now) {
            return true;
        }
        if !mem::replace(&mut self.shown, true) {
            self.show();
        }
        if self.polling.get().is_zero() {
            return false;
        }
        loop {
            for _ in 0..LOOKS {
                if self.look(Look::Rings, now) {
                    return true;
                }
                hint::spin_loop();
            }
            if self.clock.now().since(now) >= WATCH {
                return false;
            }
        }
    }

    fn has_mapped_doorbells(&self) -> bool {
        let client = self.client.as_ref();
        client.is_some_and(Client::has_mapped_doorbells)
    }

    /// At everything now and then only: that is 16 KB.
    fn how_to_look(&self, now: Time) -> Look {
        if now.since(self.last_look) < LOOK_AT_ALL {
            Look::Rings
        } else {
            Look::All
        }
    }

    /// Takes over what the client has stored in mapped pages.
    fn look(&mut self, look: Look, now: Time) -> bool {
        if look == Look::All {
            self.last_look = now;
        }
        let Some(client) = &mut self.client else {
            return false;
        };
        let mut card = Card {
            port: &mut self.port,
            bus: &mut self.bus,
            wire: &mut self.wire,
            now,
        };
        client.look(look, &mut card)
    }

    /// Shows the registers in mapped pages.
    fn show(&mut self) {
        if let Some(client) = &mut self.client {
            client.show(&self.port);
        }
    }

    fn has_more(&self) -> bool {
        let resting = self.rests();
        (self.busy && !resting)
            || (self.wire.has_frames() && self.port.has_room() && !resting)
            || self.client.as_ref().is_some_and(Client::has_more)
    }

    /// Whether the client moves the card, which does nothing meanwhile.
    fn is_stopped(&self) -> bool {
        let client = self.client.as_ref();
        client.is_some_and(Client::has_stopped_the_card)
    }

    /// Whether the port is to do nothing by itself now.
    fn rests(&self) -> bool {
        self.bus.is_congested() || self.is_stopped()
    }

    fn deadline(&self) -> Option<Time> {
        let port = if self.rests() {
            None
        } else {
            self.port.deadline()
        };
        [
            port,
            self.bus.deadline(),
            self.wire.deadline(),
            self.accept_again,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn turn(&mut self, ready: Ready) -> anyhow::Result<()> {
        self.counters.turns = self.counters.turns.wrapping_add(1);
        let now = self.clock.now();
        self.bus.advance(now);
        self.shown = false;
        // Before frames or messages: a ring that was turned off is off.
        if !mem::take(&mut self.looked) {
            let look = if ready.is_empty() {
                self.how_to_look(now)
            } else {
                Look::All
            };
            self.look(look, now);
        }
        if ready.has(Source::Listener) || self.accept_again.is_some_and(|time| time <= now) {
            self.accept(now)?;
        }
        if ready.has(Source::IntxUnmask) {
            self.bus.irqs().intx_unmask_ready();
        }
        if ready.has(Source::Control) {
            self.inbox.get().0.clear_wake();
        }
        self.serve_control(now);
        self.serve_client(ready, now)?;
        if self.port.take_nvm_written()
            && let Some(notice) = &self.nvm
        {
            notice.changed();
        }
        self.wire.advance(now);
        if !self.is_stopped() {
            self.follow_carrier(now);
        }
        if !self.rests() {
            self.receive(ready, now);
            self.busy = self.step(now);
            self.bus.end_turn();
        }
        self.send_to_client(now)?;
        if let Some(check) = &self.check {
            check.tell()?;
        }
        self.follow_light();
        self.heed_wire()
    }

    /// Takes the next client, if there is none; the others wait in the listener's queue.
    fn accept(&mut self, now: Time) -> anyhow::Result<()> {
        self.accept_again = None;
        if self.client.is_none() {
            let accepted = self.listener.get().accept().and_then(|socket| {
                let begin =
                    |socket| Client::new(socket, &self.registry, self.doorbells, &self.port);
                socket.map(begin).transpose()
            });
            match accepted {
                Ok(Some(client)) => {
                    tracing::info!("a client has connected");
                    self.client = Some(client);
                    self.counters.clients = self.counters.clients.wrapping_add(1);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot take a client now; trying again in a second");
                    self.accept_again = Some(now + Duration::from_secs(1));
                }
            }
        }
        let wanted = self.client.is_none() && self.accept_again.is_none();
        self.listener
            .set_interest(wanted, false)
            .context("cannot change what to wait for")
    }

    fn serve_control(&mut self, now: Time) {
        let mut card = ControlledCard {
            port: &mut self.port,
            bus: &self.bus,
            client: self.client.as_ref(),
            check: self.check.as_ref(),
            worker: self.counters,
            now,
            nowhere: Nowhere,
        };
        self.inbox.get_mut().0.serve(&mut self.wire, &mut card);
    }

    fn serve_client(&mut self, ready: Ready, now: Time) -> anyhow::Result<()> {
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        if !ready.has(Source::Session) && !client.has_more() {
            return Ok(());
        }
        let mut card = Card {
            port: &mut self.port,
            bus: &mut self.bus,
            wire: &mut self.wire,
            now,
        };
        match client.serve(&mut card) {
            Ok(()) => Ok(()),
            Err(end) => self.client_gone(&end, now),
        }
    }

    fn send_to_client(&mut self, now: Time) -> anyhow::Result<()> {
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        match client.send(&mut self.bus) {
            Ok(()) => Ok(()),
            Err(end) => self.client_gone(&end, now),
        }
    }

    /// Nothing of the client is touched any more; the port is as after power-on, but for its cable.
    fn client_gone(&mut self, end: &SessionError, now: Time) -> anyhow::Result<()> {
        match end {
            SessionError::Disconnected => tracing::info!("the client has gone"),
            error => tracing::warn!(error = %chain(error), "the client's session is over"),
        }
        if let Some(client) = self.client.take() {
            self.counters.messages = self.counters.messages.wrapping_add(client.messages());
        }
        self.bus.disconnect();
        self.card(now).with(Port::reset);
        self.accept(now)
    }

    /// Tells the port when the far end of the cable comes or goes.
    fn follow_carrier(&mut self, now: Time) {
        let carrier = self.wire.carrier();
        if carrier != self.port.has_carrier() {
            tracing::info!(carrier, "the cable");
            self.card(now)
                .with(|port, context| port.set_carrier(carrier, context));
        }
    }

    /// Tells the far end of the cable when the port's module begins to send or ceases, and when its driver listens.
    fn follow_light(&mut self) {
        let lit = self.port.is_lit();
        if lit != self.lit {
            self.lit = lit;
            self.wire.set_far_link(lit);
        }
        let listening = self.port.is_listening();
        if listening != self.listening {
            self.listening = listening;
            self.wire.set_listening(listening);
        }
    }

    /// Moves frames from the wire to the port, as many as it has room for.
    fn receive(&mut self, ready: Ready, now: Time) {
        if !self.port.has_room() || !(ready.has(Source::Wire) || self.wire.has_frames()) {
            return;
        }
        let context = Context {
            now,
            bus: &self.bus,
            wire: &mut Nowhere,
        };
        let wire = &mut self.wire;
        self.port.receive_burst(&context, |arrivals| {
            wire.receive(FRAMES_PER_TURN, &mut |frame| {
                arrivals.take(frame);
                if arrivals.has_room() {
                    Flow::More
                } else {
                    Flow::Stop
                }
            })
        });
    }

    /// Does not wait for frames that the port could not take, nor for those of a wire that has gone.
    fn heed_wire(&mut self) -> anyhow::Result<()> {
        if self.wire.poll_fd().is_none() {
            self.wire_events = None;
        }
        let wanted = self.port.has_room() && !self.rests();
        match &mut self.wire_events {
            Some(events) => events
                .set_interest(wanted, false)
                .context("cannot change what to wait for"),
            None => Ok(()),
        }
    }

    /// Lets the port do what waits, a bounded part of it. Returns whether more can be done at once.
    fn step(&mut self, now: Time) -> bool {
        let mut card = self.card(now);
        (0..STEPS_PER_TURN).all(|_| card.with(Port::step))
    }

    fn card(&mut self, now: Time) -> Card<'_> {
        Card {
            port: &mut self.port,
            bus: &mut self.bus,
            wire: &mut self.wire,
            now,
        }
    }
}

/// Where control requests wait.
#[derive(Debug)]
struct ControlInbox(control::Inbox);

impl AsFd for ControlInbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake_fd()
    }
}

/// The port, as control requests see it.
struct ControlledCard<'a> {
    port: &'a mut Port,
    bus: &'a ClientBus,
    client: Option<&'a Client>,
    check: Option<&'a DriverCheck>,
    worker: WorkerCounters,
    now: Time,
    nowhere: Nowhere,
}

impl control::Card for ControlledCard<'_> {
    fn counters(&self) -> Vec<Counter> {
        counters::all(self.port, self.bus, self.client, self.worker)
    }

    fn address(&self) -> [u8; 6] {
        let [a, b, c, d] = self.port.register(Reg::RAL, 0).to_le_bytes();
        let [e, f, ..] = self.port.register(Reg::RAH, 0).to_le_bytes();
        [a, b, c, d, e, f]
    }

    fn observe(&mut self, observer: Box<dyn Observer>) -> Option<ObserverId> {
        Some(self.port.observe(observer))
    }

    fn stop_observing(&mut self, id: ObserverId) {
        self.port.stop_observing(id);
    }

    fn leds(&mut self) -> [Led; LEDS] {
        self.port.leds()
    }

    fn findings(&self) -> Option<Vec<(Finding, u64)>> {
        self.check.map(DriverCheck::all)
    }

    fn is_stopped(&self) -> bool {
        self.client.is_some_and(Client::has_stopped_the_card)
    }

    fn module(&self) -> Module {
        self.port.module()
    }

    fn set_module(&mut self, module: Module) {
        let mut context = Context {
            now: self.now,
            bus: self.bus,
            wire: &mut Nowhere,
        };
        self.port.set_module(module, &mut context);
    }

    fn inject_error(&mut self, error: HardwareError) -> Option<ErrorMessage> {
        let mut context = Context {
            now: self.now,
            bus: self.bus,
            wire: &mut Nowhere,
        };
        self.port.inject_error(error, &mut context)
    }

    fn view(&mut self) -> control::View<'_> {
        control::View {
            port: self.port,
            context: Context {
                now: self.now,
                bus: self.bus,
                wire: &mut self.nowhere,
            },
        }
    }

    fn mappings(&self) -> Vec<control::Mapping> {
        mappings::all(self.bus)
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
