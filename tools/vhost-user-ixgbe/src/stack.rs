//! The stack: the guest's rings on one side, the card's on the other.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use ixgbe_spec::register::Reg;
use nic_driver::{Device, Driver, DriverError};

use crate::{
    counters::Counters,
    memory::{GuestRam, Mapped},
    negotiated::{Negotiated, Offer, Switch},
    nic::{AROUND_MTU, Nic, SPLIT_L3, SPLIT_L4},
    receive::{Layout, Mode, PIECE},
    turn::Turn,
    vring::Vring,
};

/// Queue pairs at most: as many as RSS has receive queues for, by half.
pub const MAX_PAIRS: usize = 8;

/// Packets that one half of a queue pair moves in one turn.
const BUDGET: usize = 128;
/// The longest IP packet that Linux' buffers have room for in one piece, whatever the interface's MTU.
const LINUX_MTU: u16 = 1500;
/// How long packets that the card has may take before a ring stops without them.
const DRAIN: Duration = Duration::from_millis(100);

/// What a user chooses.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How received frames come to the guest.
    pub rx: Mode,
    /// Whether the card splits their headers off.
    pub packet_split: Switch,
    /// What the guest is offered.
    pub offer: Offer,
    /// Queue pairs, 1 to [`MAX_PAIRS`].
    pub pairs: usize,
    /// Longest IP packet, 1500 to 9700.
    pub mtu: u16,
}

/// The stack.
#[derive(Debug)]
pub struct Stack<D> {
    pub(crate) settings: Settings,
    nic: Option<Nic<D>>,
    pub(crate) ram: GuestRam,
    /// Receive ring of pair 0, its transmit ring, receive ring of pair 1, …
    pub(crate) vrings: Vec<Vring>,
    pub(crate) negotiated: Negotiated,
    counters: Counters,
    /// A broken ring of this guest has been warned of.
    has_warned: bool,
    /// Interrupts of guests that have gone.
    past_interrupts: u64,
}

impl<D: Device> Stack<D> {
    /// A stack without a card and without a guest.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            vrings: (0..settings.pairs * 2).map(|_| Vring::default()).collect(),
            settings,
            nic: None,
            ram: GuestRam::default(),
            negotiated: Negotiated::default(),
            counters: Counters::default(),
            has_warned: false,
            past_interrupts: 0,
        }
    }

    /// Takes over a card: resets it, lends it the guest's memory, and starts the rings that run.
    ///
    /// # Errors
    /// It is not fit, or could not be reached.
    pub fn plug(&mut self, device: D) -> Result<(), DriverError> {
        self.unplug();
        let mut nic = Nic::new(device, &self.settings)?;
        self.ram.lend(nic.driver.device())?;
        self.nic = Some(nic);
        self.update()
    }

    /// Lets go of the card, which is gone or will be reset: its end of the connection has to be closed before the guest's
    /// chains are used again. What it has reported is handed over, the rest goes back to the guest's rings.
    pub fn unplug(&mut self) {
        let Some(mut nic) = self.nic.take() else {
            return;
        };
        let memory = self.ram.mapped();
        for (index, pair) in nic.pairs.iter_mut().enumerate() {
            let mut turn = turn(
                (&self.ram, &memory),
                self.negotiated,
                &self.settings,
                &mut self.counters,
                usize::MAX,
            );
            if pair.rx_runs {
                let ring = nic.driver.post(index).0;
                let vring = &mut self.vrings[index * 2];
                pair.rx.finish(&mut turn, vring, ring);
            }
            if pair.tx_runs {
                let ring = nic.driver.tx(index).0;
                let vring = &mut self.vrings[index * 2 + 1];
                pair.tx.complete(&mut turn, vring, ring);
                pair.tx.forget(vring);
            }
        }
    }

    /// Whether the front-end has acknowledged features, with the one by which it enables rings.
    #[must_use]
    pub fn has_features(&self) -> bool {
        self.negotiated.enables_rings()
    }

    /// Whether there is a card.
    #[must_use]
    pub fn has_card(&self) -> bool {
        self.nic.is_some()
    }

    /// Whether a ring runs on the card.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let pairs = self.nic.as_ref().map(|nic| &nic.pairs);
        pairs.is_some_and(|pairs| pairs.iter().any(|pair| pair.rx_runs || pair.tx_runs))
    }

    /// The card.
    pub fn card(&mut self) -> Option<&mut Driver<D>> {
        self.nic.as_mut().map(|nic| &mut nic.driver)
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Times that the guest was interrupted.
    #[must_use]
    pub fn guest_interrupts(&self) -> u64 {
        let now = self.vrings.iter().map(|vring| vring.interrupts);
        self.past_interrupts + now.sum::<u64>()
    }

    /// Does what there is to do, bounded; returns whether there was anything.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn turn(&mut self) -> Result<bool, DriverError> {
        let Self {
            nic,
            ram,
            vrings,
            negotiated,
            counters,
            settings,
            has_warned: _,
            past_interrupts: _,
        } = self;
        let Some(nic) = nic else { return Ok(false) };
        let memory = ram.mapped();
        let mut turn = turn((ram, &memory), *negotiated, settings, counters, BUDGET);
        let mut done = 0;
        for (index, pair) in nic.pairs.iter_mut().enumerate() {
            if pair.rx_runs {
                let vring = &mut vrings[index * 2];
                let (ring, device) = nic.driver.post(index);
                done += pair.rx.complete(&mut turn, vring, ring);
                done += pair.rx.post(&mut turn, vring, ring, device)?;
            }
            if pair.tx_runs {
                let vring = &mut vrings[index * 2 + 1];
                let (ring, device) = nic.driver.tx(index);
                done += pair.tx.complete(&mut turn, vring, ring);
                done += pair.tx.send(&mut turn, vring, ring, device)?;
            }
        }
        self.part_with_broken()?;
        Ok(done > 0)
    }

    /// Takes the rings that have broken off the card: the guest cannot be told what is written to their chains, and may
    /// use them for something else.
    fn part_with_broken(&mut self) -> Result<(), DriverError> {
        if self.note_broken() {
            self.update()
        } else {
            Ok(())
        }
    }

    /// Counts the rings that have broken, and returns whether there were any.
    fn note_broken(&mut self) -> bool {
        let broken = self.vrings.iter_mut().map(Vring::has_broken);
        let broken = broken.map(u64::from).sum::<u64>();
        self.counters.broken_rings += broken;
        // A guest that breaks them again and again is warned of once.
        if broken > 0 && !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!("a ring of the guest is broken: it rests until it is set up anew");
        }
        broken > 0
    }

    /// Starts and stops the card's rings as the guest's rings want it. When a ring of the guest has stopped, the card
    /// writes to none of its buffers any more, and reads none. One that starts asks for no kicks, until
    /// [`Stack::want_wakeups`] does: a stack that never sleeps needs none.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn update(&mut self) -> Result<(), DriverError> {
        let Some(nic) = &self.nic else { return Ok(()) };
        let mut changed = false;
        for index in 0..nic.pairs.len() {
            changed |= self.update_rx(index)?;
            self.update_tx(index)?;
        }
        match &mut self.nic {
            Some(nic) if changed && nic.pairs.len() > 1 => {
                let running = (0_u8..).zip(&nic.pairs);
                let running = running.filter(|(_, pair)| pair.rx_runs);
                let running: Vec<_> = running.map(|(index, _)| index).collect();
                if running.is_empty() {
                    return Ok(());
                }
                nic.driver.spread(&running)
            }
            _ => Ok(()),
        }
    }

    fn update_rx(&mut self, index: usize) -> Result<bool, DriverError> {
        let Some(nic) = &mut self.nic else {
            return Ok(false);
        };
        let pair = &mut nic.pairs[index];
        let vring = &mut self.vrings[index * 2];
        match (pair.rx_runs, vring.runs()) {
            (false, true) => {
                if self.settings.packet_split == Switch::On {
                    // In one chain with its headers, a payload has room behind those of an L4 protocol only.
                    let mergeable = self.negotiated.mergeable();
                    let types = if mergeable { SPLIT_L3 } else { SPLIT_L4 };
                    nic.driver.set_register(Reg::PSRTYPE, 0, types)?;
                }
                let layout = layout(&self.settings, self.negotiated);
                let (buffer, large) = match layout {
                    Layout::Whole => (nic.buffer, self.settings.rx == Mode::Copy),
                    Layout::Pieces => (PIECE, true),
                };
                let large = large && self.negotiated.large_receive();
                nic.driver.shape_rx(index, buffer, large)?;
                pair.rx.begin(layout);
                nic.driver.start_rx(index)?;
                vring.want_kicks(&self.ram.mapped(), false);
                pair.rx_runs = true;
                Ok(true)
            }
            (true, false) => {
                nic.driver.stop_rx(index)?;
                // What the card has filled before it stopped is the guest's.
                let memory = self.ram.mapped();
                let mut turn = turn(
                    (&self.ram, &memory),
                    self.negotiated,
                    &self.settings,
                    &mut self.counters,
                    usize::MAX,
                );
                let ring = nic.driver.post(index).0;
                pair.rx.finish(&mut turn, vring, ring);
                // Not before: what a card that is lost meanwhile had is put back by whoever notes that.
                pair.rx_runs = false;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn update_tx(&mut self, index: usize) -> Result<(), DriverError> {
        let Some(nic) = &mut self.nic else {
            return Ok(());
        };
        let pair = &mut nic.pairs[index];
        let vring = &mut self.vrings[index * 2 + 1];
        match (pair.tx_runs, vring.runs()) {
            (false, true) => {
                vring.want_kicks(&self.ram.mapped(), false);
                pair.tx_runs = true;
            }
            (true, false) => {
                let memory = self.ram.mapped();
                let mut turn = turn(
                    (&self.ram, &memory),
                    self.negotiated,
                    &self.settings,
                    &mut self.counters,
                    usize::MAX,
                );
                let mut left = DRAIN;
                loop {
                    let (ring, device) = nic.driver.tx(index);
                    pair.tx.complete(&mut turn, vring, ring);
                    if pair.tx.is_idle() || left.is_zero() {
                        break;
                    }
                    let step = left.min(Duration::from_millis(1));
                    left = left.saturating_sub(device.pass(step)?.max(Duration::from_micros(1)));
                }
                if !pair.tx.is_idle() {
                    nic.driver.restart_tx(index)?;
                    pair.tx.forget(vring);
                }
                pair.tx_runs = false;
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks the card and the guest to wake this process up, or not to. When they are asked to, this tells whether there
    /// is something to do already.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn want_wakeups(&mut self, want: bool) -> Result<bool, DriverError> {
        let memory = self.ram.mapped();
        let mut already = false;
        for vring in &mut self.vrings {
            if !vring.runs() {
                continue;
            }
            already |= vring.want_kicks(&memory, want);
        }
        if let Some(nic) = &mut self.nic {
            nic.interrupts(if want { Reg::EIMS_EX } else { Reg::EIMC_EX })?;
        }
        Ok(already)
    }

    /// The guest's kicks, to be waited for.
    pub fn kicks(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let running = self.vrings.iter().filter(|vring| vring.runs());
        running.filter_map(|vring| vring.kick.as_ref().map(File::as_fd))
    }

    /// What the card wakes this process up by, or has something to say on.
    #[must_use]
    pub fn card_wakeups(&self) -> Vec<BorrowedFd<'_>> {
        let nic = self.nic.as_ref();
        nic.map_or_else(Vec::new, |nic| nic.driver.wakeups(nic.pairs.len()))
    }

    /// Takes note of what woke this process up: reads the eventfds.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn take_note(&mut self) -> Result<(), DriverError> {
        for vring in &mut self.vrings {
            vring.read_kick();
        }
        if let Some(nic) = &mut self.nic {
            nic.driver.device().pass(Duration::ZERO)?;
        }
        Ok(())
    }

    /// The guest's end is gone: its rings stop, and its memory is given back.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn lose_guest(&mut self) -> Result<(), DriverError> {
        // Not stopped yet: what the card has received is the guest's before.
        for vring in &mut self.vrings {
            vring.enabled = false;
        }
        let stopped = self.update();
        if stopped.is_err() {
            // A card that is lost has nothing of the guest any more.
            self.unplug();
        }
        self.note_broken();
        self.past_interrupts = self.guest_interrupts();
        let settings = self.settings;
        self.vrings = (0..settings.pairs * 2).map(|_| Vring::default()).collect();
        self.negotiated = Negotiated::default();
        self.has_warned = false;
        let mut device = self.nic.as_mut().map(|nic| nic.driver.device());
        for region in std::mem::take(&mut self.ram).regions() {
            if let Some(device) = &mut device {
                device.take_back(region.guest, region.size)?;
            }
        }
        stopped
    }

    /// The card, for the front-end's messages about memory.
    pub(crate) fn device(&mut self) -> (&mut GuestRam, Option<&mut dyn Device>) {
        let device = self
            .nic
            .as_mut()
            .map(|nic| nic.driver.device() as &mut dyn Device);
        (&mut self.ram, device)
    }
}

/// One turn of up to `budget` packets.
fn turn<'a>(
    (ram, memory): (&'a GuestRam, &'a Mapped),
    negotiated: Negotiated,
    settings: &Settings,
    counters: &'a mut Counters,
    budget: usize,
) -> Turn<'a> {
    Turn {
        ram,
        memory,
        negotiated,
        counters,
        budget,
        frame_len: usize::from(settings.mtu) + AROUND_MTU,
    }
}

/// How the card writes to the guest's chains: into several of them for each packet, if the guest allows it and a packet
/// can be longer than Linux' buffers are.
fn layout(settings: &Settings, negotiated: Negotiated) -> Layout {
    let long = settings.mtu > LINUX_MTU || negotiated.large_receive();
    if long && negotiated.mergeable() && settings.rx == Mode::ZeroCopy {
        Layout::Pieces
    } else {
        Layout::Whole
    }
}
