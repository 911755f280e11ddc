//! Who writes down all that a port is given and all that it does: the seam for recordings.
//!
//! A port is a state machine without a clock, so what it does follows from what it was given: how it was built, the calls
//! of its methods with their times, what its DMA engine read, and what the bus and the wire said to what it wanted. A
//! [`Recorder`] is told exactly that, and beside it what the port did, so that whoever calls a port of the same build again
//! and says the same to it can compare. The file is made outside (the crate `recording`).
//!
//! # What is told, and when
//! - [`Recorder::call`]: a method of [`Port`] that can change it is called ([`Call`]).
//! - [`Recorder::act`]: during the call, in order, what the port asks of its bus and its wire, and their answers ([`Act`]);
//!   frames that arrive are acts of the call [`Call::Receive`].
//! - [`Recorder::done`]: the call is over, and this is what it returns ([`Answer`]). A call in which the port panics has no
//!   end; the recorder is then dropped.
//!
//! While a port is recorded its bus shows it no windows ([`Bus::window`]) and what it gathers is copied, so that each byte is
//! read once and told; observers still see the client's memory ([`Bus::look`]). A port that is not recorded pays one
//! predictable branch a call, none a packet.
//!
//! # What is not told
//! Observers, which change nothing; [`Port::take_nvm_written`], which is bookkeeping of whoever keeps the NVM;
//! [`Bus::retire`] and [`Bus::prefetch`], which have no answer. A method of [`Port`] that changes it has to be told here, or
//! recordings of those who use it do not replay.

mod surroundings;

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use ixgbe_spec::register::Reg;

use crate::{
    bus::{Bus, DmaError, Iova, Requester, Signal},
    fault::Fault,
    hardware_error::HardwareError,
    led::{LEDS, Led},
    link::Module,
    pci::ErrorMessage,
    port::{Bar, Context, Port},
    rx::Verdict,
    time::Time,
    wire::{Capabilities, RxFrame, TxFrame, WireBusy},
};
use surroundings::{RecordedBus, RecordedWire};

/// Writes down what a port is given and what it does. It is called in the port's thread, while the port works.
pub trait Recorder: Send {
    /// A lock that is held for the time of each call, if there is one: the ports of a card share its NVM and semaphores, and
    /// with a lock between them their calls have an order.
    fn turn(&self) -> Option<Arc<Mutex<()>>>;

    /// A method of the port is called, at `now` if it is told the time.
    fn call(&mut self, now: Option<Time>, call: &Call<'_>);

    /// What the port wants of its surroundings, and gets.
    fn act(&mut self, act: &Act<'_>);

    /// The call is over.
    fn done(&mut self, answer: &Answer<'_>);
}

/// A call of a port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call<'a> {
    /// [`Port::config_read`].
    ConfigRead {
        /// First byte.
        offset: u16,
        /// Number of bytes.
        len: usize,
    },
    /// [`Port::config_write`].
    ConfigWrite {
        /// First byte.
        offset: u16,
        /// What is written.
        data: &'a [u8],
    },
    /// [`Port::bar_read`].
    BarRead {
        /// Which BAR.
        bar: Bar,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: usize,
    },
    /// [`Port::bar_write`].
    BarWrite {
        /// Which BAR.
        bar: Bar,
        /// First byte.
        offset: u64,
        /// What is written.
        data: &'a [u8],
    },
    /// [`Port::reset`].
    Reset,
    /// [`Port::client_mapped`].
    Mapped {
        /// First byte.
        iova: Iova,
        /// Number of bytes.
        len: u64,
    },
    /// [`Port::client_unmaps`].
    Unmapped {
        /// First byte.
        iova: Iova,
        /// Number of bytes.
        len: u64,
    },
    /// [`Port::restore`].
    Restore {
        /// The state, as a file holds it ([`State::to_bytes`](crate::state::State::to_bytes)).
        state: &'a [u8],
    },
    /// [`Port::renew_signals`].
    RenewSignals,
    /// [`Port::set_carrier`].
    Carrier(bool),
    /// [`Port::set_module`].
    Module(Module),
    /// [`Port::leds`].
    Leds,
    /// [`Port::take_counter`].
    TakeCounter {
        /// The counter.
        counter: Reg,
        /// Which element.
        index: usize,
        /// What was read of it.
        value: u32,
    },
    /// [`Port::take_counter36`].
    TakeCounter36 {
        /// The low register.
        low: Reg,
        /// The high one.
        high: Reg,
        /// Which element.
        index: usize,
        /// What was read of it.
        value: u64,
    },
    /// [`Port::inject_error`].
    HardwareError(HardwareError),
    /// [`Port::add_fault`].
    AddFault {
        /// The caller's number for it.
        id: u64,
        /// What goes wrong.
        fault: Fault,
    },
    /// [`Port::clear_faults`]: of this number, or all.
    ClearFaults(Option<u64>),
    /// [`Port::receive_burst`]; its frames follow as [`Act::Arrived`].
    Receive,
    /// [`Port::step`].
    Step,
}

/// What a port wants of its bus or its wire during a call, with what it gets; or a frame that it is given.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// [`Bus::read`].
    Read {
        /// On whose behalf.
        by: Requester,
        /// First byte.
        iova: Iova,
        /// How many bytes it wants.
        len: usize,
        /// The bytes, or why there are none.
        result: Result<&'a [u8], DmaError>,
    },
    /// [`Bus::gather`].
    Gather {
        /// On whose behalf.
        by: Requester,
        /// First byte.
        iova: Iova,
        /// How many bytes it wants.
        len: usize,
        /// The bytes, or why there are none.
        result: Result<&'a [u8], DmaError>,
    },
    /// [`Bus::write`].
    Write {
        /// On whose behalf.
        by: Requester,
        /// First byte.
        iova: Iova,
        /// What is written.
        bytes: &'a [u8],
        /// Whether it was.
        result: Result<(), DmaError>,
    },
    /// [`Bus::write_back`].
    WriteBack {
        /// On whose behalf.
        by: Requester,
        /// Where.
        iova: Iova,
        /// First eight bytes, as a little-endian number.
        low: u64,
        /// Last eight bytes.
        high: u64,
        /// Whether it was written.
        result: Result<(), DmaError>,
    },
    /// [`Bus::signal`].
    Signal {
        /// On whose behalf.
        by: Requester,
        /// The signal.
        signal: Signal,
    },
    /// [`crate::Wire::capabilities`].
    Capabilities(Capabilities),
    /// [`crate::Wire::transmit`].
    Sent {
        /// The frame.
        frame: &'a TxFrame<'a>,
        /// Whether the wire has taken it.
        result: Result<(), WireBusy>,
    },
    /// A frame arrives.
    Arrived {
        /// The frame.
        frame: &'a RxFrame<'a>,
    },
    /// What became of the frame that has arrived.
    Judged(Verdict),
}

/// What a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Nothing, or nothing of the port's.
    Nothing,
    /// What was read.
    Bytes(&'a [u8]),
    /// Whether more can be done at once.
    More(bool),
    /// The LEDs.
    Leds(&'a [Led; LEDS]),
    /// Whether the state was one that the port can have.
    Restored(bool),
    /// The message to the root complex.
    Message(Option<ErrorMessage>),
    /// How many faults were added or cleared.
    Count(u64),
}

/// A recorder during a call, shared by what surrounds the port.
pub(crate) type Tape = RefCell<Box<dyn Recorder>>;

/// The recorder of a port, if it has one.
#[derive(Default)]
pub(crate) struct Recording(Option<Box<dyn Recorder>>);

impl Recording {
    /// Whether there is one, and the call that runs is not told already.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recording").field(&self.is_on()).finish()
    }
}

impl Port {
    /// From now on `recorder` is told all that the port is given and does. One that was there before is given back.
    pub fn record(&mut self, recorder: Box<dyn Recorder>) -> Option<Box<dyn Recorder>> {
        self.recording.0.replace(recorder)
    }

    /// Ends what [`Port::record`] has begun, and gives the recorder back.
    pub fn stop_recording(&mut self) -> Option<Box<dyn Recorder>> {
        self.recording.0.take()
    }

    /// Whether a recorder is told what the port does.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.recording.is_on()
    }

    /// Tells a call: `act` is the method itself, which finds no recorder any more.
    #[cold]
    pub(crate) fn recorded<T>(
        &mut self,
        call: &Call<'_>,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut Self, &mut Context<'_>) -> T,
        answer: impl FnOnce(&T) -> Answer<'_>,
    ) -> T {
        let now = context.now;
        self.on_tape(Some(now), call, answer, |port, tape| {
            let bus = RecordedBus::new(context.bus, tape);
            let mut wire = RecordedWire::new(context.wire, tape);
            act(
                port,
                &mut Context {
                    now,
                    bus: &bus,
                    wire: &mut wire,
                },
            )
        })
    }

    /// The same for a method that has nothing around it.
    #[cold]
    pub(crate) fn recorded_alone<T>(
        &mut self,
        now: Option<Time>,
        call: &Call<'_>,
        act: impl FnOnce(&mut Self) -> T,
        answer: impl FnOnce(&T) -> Answer<'_>,
    ) -> T {
        self.on_tape(now, call, answer, |port, _| act(port))
    }

    /// The same for a method that does not use the wire, and gives nothing of the port's back. `act` may tell more.
    #[cold]
    pub(crate) fn recorded_by_bus<T>(
        &mut self,
        call: &Call<'_>,
        now: Time,
        bus: &dyn Bus,
        act: impl FnOnce(&mut Self, &dyn Bus, &Tape) -> T,
    ) -> T {
        self.on_tape(
            Some(now),
            call,
            |_| Answer::Nothing,
            |port, tape| act(port, &RecordedBus::new(bus, tape), tape),
        )
    }

    fn on_tape<T>(
        &mut self,
        now: Option<Time>,
        call: &Call<'_>,
        answer: impl FnOnce(&T) -> Answer<'_>,
        act: impl FnOnce(&mut Self, &Tape) -> T,
    ) -> T {
        let recorder = self.recording.0.take();
        let mut recorder = recorder.expect("a call is told only while there is a recorder");
        let turn = recorder.turn();
        let held = turn
            .as_ref()
            .map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        recorder.call(now, call);
        let tape = RefCell::new(recorder);
        let result = act(self, &tape);
        let mut recorder = tape.into_inner();
        recorder.done(&answer(&result));
        drop(held);
        self.recording.0 = Some(recorder);
        result
    }
}
