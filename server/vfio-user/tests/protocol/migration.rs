//! The calls that move a device, from clients that do not mean well.

use std::sync::{Arc, Mutex};

use vfio_user::Errno;
use vfio_user::message::{Command, Feature, FeatureFlags};
use vfio_user::server::{DeviceState, IovaRange, Migratable};

use crate::raw::{Payload, Raw, payload};

const PAGE: u64 = 4096;

/// What the state of a device that can be moved is, and the beginning of what is none.
const STATE: &[u8] = b"state";
const GARBAGE: &[u8] = b"garbage";

/// What a device that can be moved has come to.
#[derive(Debug, Default)]
struct Inside {
    /// How often it says that it is busy before it stops.
    busy: u32,
    stopped: bool,
    /// Pages of the log that is on.
    dirty: Option<Vec<u64>>,
    restored: Vec<u8>,
}

/// A device that can be moved, which its test looks into.
#[derive(Clone, Debug, Default)]
pub struct Movable(Arc<Mutex<Inside>>);

impl Movable {
    /// One that is busy so many times.
    fn busy(times: u32) -> Self {
        let movable = Self::default();
        movable.0.lock().unwrap().busy = times;
        movable
    }

    fn is_stopped(&self) -> bool {
        self.0.lock().unwrap().stopped
    }

    fn is_logging(&self) -> bool {
        self.0.lock().unwrap().dirty.is_some()
    }
}

impl Migratable for Movable {
    fn stop(&mut self) -> Result<(), Errno> {
        let mut inside = self.0.lock().unwrap();
        inside.stopped = true;
        match inside.busy.checked_sub(1) {
            Some(left) => {
                inside.busy = left;
                Err(Errno::BUSY)
            }
            None => Ok(()),
        }
    }

    fn start(&mut self) {
        self.0.lock().unwrap().stopped = false;
    }

    fn save(&mut self) -> Result<Vec<u8>, Errno> {
        Ok(STATE.to_vec())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Errno> {
        if state.is_empty() || state.starts_with(GARBAGE) {
            return Err(Errno::INVAL);
        }
        self.0.lock().unwrap().restored = state.to_vec();
        Ok(())
    }

    fn start_logging(&mut self, _ranges: Vec<IovaRange>) -> Result<u64, Errno> {
        self.0.lock().unwrap().dirty = Some(vec![2]);
        Ok(PAGE)
    }

    fn stop_logging(&mut self) {
        self.0.lock().unwrap().dirty = None;
    }

    fn take_log(
        &mut self,
        _range: IovaRange,
        _page_size: u64,
        bitmap: &mut [u64],
    ) -> Result<(), Errno> {
        let mut inside = self.0.lock().unwrap();
        let pages = inside.dirty.as_mut().ok_or(Errno::INVAL)?;
        for page in pages.drain(..) {
            bitmap[0] |= 1 << page;
        }
        Ok(())
    }
}

/// The beginning of a `DEVICE_FEATURE`.
fn feature(argsz: u32, feature: Feature, flags: FeatureFlags) -> Payload {
    let flags = u32::from(feature.0) | flags.bits();
    payload().u32(argsz).u32(flags)
}

/// Takes the device to the state of this number.
fn go(number: u32) -> Payload {
    let header = feature(16, Feature::MIG_DEVICE_STATE, FeatureFlags::SET);
    header.u32(number).u32(u32::MAX)
}

/// Asks for bytes of the state.
fn data(argsz: u32, size: u32) -> Payload {
    payload().u32(argsz).u32(size)
}

/// Asks for the dirty pages among the first 64.
fn report(argsz: u32) -> Payload {
    let header = feature(argsz, Feature::DMA_LOGGING_REPORT, FeatureFlags::GET);
    header.u64(0).u64(64 * PAGE).u64(PAGE)
}

#[test]
fn a_report_that_finds_no_room_leaves_the_log_as_it_was() {
    let mut raw = Raw::movable(Movable::default());
    raw.client.start_dirty_log(PAGE, &[]).unwrap();
    // Header, range, page size, and a word of bits.
    let whole = 8 + 24 + 8;

    let refused = raw.refusal(Command::DEVICE_FEATURE, &report(whole - 1));
    let reply = raw.reply(Command::DEVICE_FEATURE, &report(whole));

    assert_eq!(refused, Errno::INVAL);
    assert_eq!(reply.payload.len(), whole as usize);
    assert_eq!(reply.payload[32..], (1_u64 << 2).to_le_bytes());
}

#[test]
fn a_log_of_other_ranges_than_it_says_is_refused_and_not_begun() {
    let movable = Movable::default();
    let mut raw = Raw::movable(movable.clone());
    let start = |ranges: u32| {
        feature(64, Feature::DMA_LOGGING_START, FeatureFlags::SET)
            .u64(PAGE)
            .u32(ranges)
            .u32(0)
    };

    let refused = [
        start(1),
        start(u32::MAX),
        start(0).u64(0).u64(PAGE),
        start(2).u64(0).u64(PAGE),
        start(1).u64(0),
        start(1).u64(0).u64(0),
        start(1).u64(PAGE).u64(u64::MAX),
    ]
    .map(|start| raw.refusal(Command::DEVICE_FEATURE, &start));
    let logging = movable.is_logging();
    let reply = raw.reply(Command::DEVICE_FEATURE, &start(1).u64(0).u64(PAGE));

    assert_eq!(refused, [Errno::INVAL; 7]);
    assert!(!logging && movable.is_logging());
    assert_eq!(reply.header.failure(), None);
}

#[test]
fn a_move_that_finds_the_device_busy_and_is_given_up_leaves_it_at_work() {
    let movable = Movable::busy(3);
    let mut raw = Raw::movable(movable.clone());
    let mut give_up = |from: DeviceState, to: DeviceState| {
        raw.client.set_device_state(from).unwrap();
        let refused = raw
            .client
            .set_device_state(DeviceState::StopCopy)
            .unwrap_err();
        let before = movable.is_stopped();
        raw.client.set_device_state(to).unwrap();
        (refused.errno(), before, movable.is_stopped())
    };

    let fates = [
        give_up(DeviceState::PreCopy, DeviceState::Running),
        give_up(DeviceState::PreCopy, DeviceState::PreCopy),
        give_up(DeviceState::Running, DeviceState::PreCopy),
    ];

    assert_eq!(fates, [(Some(Errno::BUSY), true, false); 3]);
}

#[test]
fn a_state_of_more_than_16_mib_is_refused_and_what_came_before_stays() {
    let movable = Movable::default();
    let mut raw = Raw::movable(movable.clone());
    raw.client.set_device_state(DeviceState::Resuming).unwrap();
    let whole = vec![7; 16 << 20];
    raw.client.write_state(&whole).unwrap();

    let refused = raw.client.write_state(b"x").unwrap_err();
    raw.assert_in_step();
    raw.client.set_device_state(DeviceState::Running).unwrap();

    assert_eq!(refused.errno(), Some(Errno::NOSPC));
    assert!(movable.0.lock().unwrap().restored == whole);
}

#[test]
fn a_state_that_is_none_leaves_only_a_reset() {
    for written in [b"" as &[u8], b"garbage of a client"] {
        let movable = Movable::default();
        let mut raw = Raw::movable(movable.clone());
        raw.client.set_device_state(DeviceState::Resuming).unwrap();
        raw.client.write_state(written).unwrap();

        let refused = raw.refusal(Command::DEVICE_FEATURE, &go(DeviceState::Stop.number()));
        let state = raw.client.device_state().unwrap();
        let out = [1, 2, 3, 4, 6].map(|to| raw.refusal(Command::DEVICE_FEATURE, &go(to)));
        let write = raw.refusal(Command::MIG_DATA_WRITE, &data(9, 1).bytes(b"x"));
        let read = raw.refusal(Command::MIG_DATA_READ, &data(16, 8));
        raw.client.reset().unwrap();

        assert_eq!((refused, state), (Errno::INVAL, DeviceState::Error));
        assert_eq!(out, [Errno::INVAL; 5]);
        assert_eq!((write, read), (Errno::INVAL, Errno::INVAL));
        assert_eq!(raw.client.device_state().unwrap(), DeviceState::Running);
        assert!(!movable.is_stopped());
    }
}

#[test]
fn states_that_there_are_not_are_refused_and_the_device_stays_in_its_own() {
    let movable = Movable::default();
    let mut raw = Raw::movable(movable.clone());

    // Errors cannot be asked for, stopping for peers is not there, and numbers may be any.
    let refused = [0, 5, 7, 8, u32::MAX].map(|to| raw.refusal(Command::DEVICE_FEATURE, &go(to)));
    let state = raw.client.device_state().unwrap();
    raw.client.set_device_state(DeviceState::StopCopy).unwrap();
    let back = raw.refusal(Command::DEVICE_FEATURE, &go(DeviceState::PreCopy.number()));

    assert_eq!(refused, [Errno::INVAL; 5]);
    assert_eq!((state, back), (DeviceState::Running, Errno::INVAL));
    assert_eq!(raw.client.device_state().unwrap(), DeviceState::StopCopy);
    assert!(movable.is_stopped());
    assert_eq!(raw.client.read_state().unwrap(), STATE);
}

#[test]
fn data_are_read_and_written_in_the_states_for_it_only() {
    let mut raw = Raw::movable(Movable::default());
    let mut fates = |state| {
        raw.client.set_device_state(state).unwrap();
        let read = raw.reply(Command::MIG_DATA_READ, &data(16, 8));
        let write = raw.reply(Command::MIG_DATA_WRITE, &data(9, 1).bytes(b"x"));
        raw.assert_in_step();
        [read, write].map(|reply| reply.header.failure())
    };

    let (no, yes) = (Some(Errno::INVAL), None);
    assert_eq!(fates(DeviceState::Running), [no, no]);
    assert_eq!(fates(DeviceState::PreCopy), [yes, no]);
    assert_eq!(fates(DeviceState::StopCopy), [yes, no]);
    assert_eq!(fates(DeviceState::Stop), [no, no]);
    assert_eq!(fates(DeviceState::Resuming), [no, yes]);
}

#[test]
fn sizes_of_data_that_are_not_true_or_not_possible_are_refused() {
    let movable = Movable::default();
    let mut raw = Raw::movable(movable.clone());
    raw.client.set_device_state(DeviceState::Resuming).unwrap();

    let written = [
        payload(),
        payload().u32(9),
        data(8, 1),
        data(9, 2).bytes(b"x"),
        data(9, 0).bytes(b"x"),
        data(u32::MAX, u32::MAX).bytes(b"x"),
    ]
    .map(|write| raw.refusal(Command::MIG_DATA_WRITE, &write));
    raw.client.write_state(STATE).unwrap();
    raw.client.set_device_state(DeviceState::StopCopy).unwrap();
    let read = [
        payload(),
        payload().u32(8),
        data(7, 0),
        data(u32::MAX, u32::MAX),
        data(u32::MAX, (1 << 20) + 1),
    ]
    .map(|read| raw.refusal(Command::MIG_DATA_READ, &read));
    let in_pieces = [3, 0, 3, 3].map(|size| {
        let reply = raw.reply(Command::MIG_DATA_READ, &data(size + 8, size));
        reply.payload.get(8..).unwrap().to_vec()
    });

    assert_eq!(written, [Errno::INVAL; 6]);
    assert_eq!(movable.0.lock().unwrap().restored, STATE);
    assert_eq!(read, [Errno::INVAL; 5]);
    assert_eq!(in_pieces, [b"sta" as &[u8], b"", b"te", b""]);
}

#[test]
fn features_of_moving_that_are_truncated_or_told_to_do_what_they_cannot_are_refused() {
    let movable = Movable::default();
    let mut raw = Raw::movable(movable.clone());
    let (get, set) = (FeatureFlags::GET, FeatureFlags::SET);
    let state = Feature::MIG_DEVICE_STATE;

    let refused = [
        payload(),
        payload().u32(8),
        // No state, half of one, more than one.
        feature(16, state, set),
        feature(16, state, set).u32(1),
        feature(24, state, set).u32(1).u32(0).u32(0),
        // No room for what is asked for.
        feature(15, state, get),
        feature(15, Feature::MIGRATION, get),
        feature(7, state, set).u32(1).u32(0),
        // Neither, both, and what the feature does not have.
        feature(16, state, FeatureFlags::empty()),
        feature(16, state, get | set).u32(1).u32(0),
        feature(16, Feature::MIGRATION, set).u64(0),
        feature(64, Feature::DMA_LOGGING_STOP, get),
        feature(64, Feature::DMA_LOGGING_REPORT, set),
        // No log runs, and halves of what asks for it.
        report(64),
        feature(64, Feature::DMA_LOGGING_REPORT, get).u64(0),
        feature(64, Feature::DMA_LOGGING_START, set).u64(PAGE),
    ]
    .map(|feature| raw.refusal(Command::DEVICE_FEATURE, &feature));

    assert_eq!(refused, [Errno::INVAL; 16]);
    assert!(!movable.is_stopped() && !movable.is_logging());
    assert_eq!(raw.client.device_state().unwrap(), DeviceState::Running);
}

#[test]
fn reports_of_more_pages_than_a_message_holds_are_refused_and_take_nothing() {
    let mut raw = Raw::movable(Movable::default());
    raw.client.start_dirty_log(PAGE, &[]).unwrap();
    let ask = |iova, length, page_size| {
        let header = feature(u32::MAX, Feature::DMA_LOGGING_REPORT, FeatureFlags::GET);
        header.u64(iova).u64(length).u64(page_size)
    };

    let refused = [
        // 2 to the 64th bytes less a page, in pages, in bytes, and of a page size that is none.
        ask(0, !(PAGE - 1), PAGE),
        ask(0, 1 << 40, 1),
        ask(0, PAGE, 0),
        ask(0, PAGE, PAGE + 1),
        // Nothing, and over the end.
        ask(0, 0, PAGE),
        ask(u64::MAX - 1, PAGE, PAGE),
    ]
    .map(|report| raw.refusal(Command::DEVICE_FEATURE, &report));
    let pages = raw.client.take_dirty_pages(0, 64 * PAGE, PAGE).unwrap();

    assert_eq!(refused, [Errno::INVAL; 6]);
    assert_eq!(pages, [2 * PAGE]);
}
