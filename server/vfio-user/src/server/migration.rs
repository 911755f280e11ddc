//! Moving a device to another server: migration as VFIO's second version of it has it, over the socket.
//!
//! The client takes the device through states ([`DeviceState`]), reads its state out of one server by `MIG_DATA_READ` and
//! writes it to another by `MIG_DATA_WRITE`. While it copies memory it may have logged which pages the device writes.
//! A move may begin while the device runs (`PRE_COPY`), in which state there is nothing to read yet: what is
//! read in `STOP_COPY` is all of the state, since it is small beside the memory.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::IovaRange;
use crate::Errno;
use crate::message::{
    DeviceFeature, Feature, FeatureFlags, LoggingRange, LoggingReport, LoggingStart,
    MigrationFlags, MigrationState,
};

/// The state of a device in its migration (`vfio_device_mig_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceState {
    /// The state that was written to it cannot be used; only a reset leads out of this.
    Error,
    /// It does nothing.
    Stop,
    /// It works.
    #[default]
    Running,
    /// It does nothing, and its state can be read.
    StopCopy,
    /// It does nothing, and a state can be written to it.
    Resuming,
    /// It works, and a move has begun.
    PreCopy,
}

impl DeviceState {
    /// The protocol's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Error => 0,
            Self::Stop => 1,
            Self::Running => 2,
            Self::StopCopy => 3,
            Self::Resuming => 4,
            Self::PreCopy => 6,
        }
    }

    /// The state of this number; `None` for those that there are not here.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Error,
            1 => Self::Stop,
            2 => Self::Running,
            3 => Self::StopCopy,
            4 => Self::Resuming,
            6 => Self::PreCopy,
            _ => return None,
        })
    }

    /// The next state on the shortest way to `target`, on which the states that save are ends only. `None` where no way
    /// leads.
    const fn towards(self, target: Self) -> Option<Self> {
        use DeviceState::{Error, PreCopy, Resuming, Running, Stop, StopCopy};
        Some(match (self, target) {
            (Error, _) | (_, Error) | (StopCopy, PreCopy) => return None,
            (Running, PreCopy) | (PreCopy, StopCopy) | (Stop, StopCopy | Resuming) => target,
            (Running | StopCopy | Resuming, _) => Stop,
            (Stop | PreCopy, _) => Running,
        })
    }
}

/// What a device can do that can be moved.
pub trait Migratable {
    /// Does nothing from now on: it touches no memory and no cable, and signals nothing, until [`Migratable::start`].
    ///
    /// # Errors
    /// [`Errno::BUSY`] while the client still has to answer messages; the device begins nothing new until it is asked
    /// again, or is started.
    fn stop(&mut self) -> Result<(), Errno>;

    /// Works again. After [`Migratable::restore`] it tells the client of interrupts that are active.
    fn start(&mut self);

    /// Its state. It is stopped.
    ///
    /// # Errors
    /// The errno for the client.
    fn save(&mut self) -> Result<Vec<u8>, Errno>;

    /// Takes over a state, which may be anything. It is stopped.
    ///
    /// # Errors
    /// The errno for the client; the device is then as before.
    fn restore(&mut self, state: &[u8]) -> Result<(), Errno>;

    /// Logs from now on which pages it writes of `ranges`, or with none of them of all memory. Returns the size of the
    /// pages, in bytes.
    ///
    /// # Errors
    /// The errno for the client; [`Errno::INVAL`] if it does so already.
    fn start_logging(&mut self, ranges: Vec<IovaRange>) -> Result<u64, Errno>;

    /// Ends that, and forgets what was logged.
    fn stop_logging(&mut self);

    /// Sets in `bitmap` the bits of the pages of `page_size` bytes, counted from the beginning of `range`, that it has
    /// written, and forgets what it has written there.
    ///
    /// # Errors
    /// The errno for the client; [`Errno::INVAL`] if it logs nothing, or the range does not consist of such pages.
    fn take_log(
        &mut self,
        range: IovaRange,
        page_size: u64,
        bitmap: &mut [u64],
    ) -> Result<(), Errno>;
}

/// The longest state that is taken from a client.
const LONGEST: usize = 16 << 20;

/// How far the migration of a device is.
#[derive(Debug, Default)]
pub(super) struct Migration {
    state: DeviceState,
    /// What can be read, and how much of it was; or what was written.
    data: Vec<u8>,
    read: usize,
}

impl Migration {
    /// The device was reset: it works, and nothing of a move is left.
    pub(super) fn reset(&mut self) {
        let Self { state, data, read } = self;
        *state = DeviceState::Running;
        *data = Vec::new();
        *read = 0;
    }

    /// Serves `DEVICE_FEATURE`; returns what is added to the feature's header in the reply.
    pub(super) fn feature(
        &mut self,
        feature: &DeviceFeature,
        data: &[u8],
        most: usize,
        device: Option<&mut dyn Migratable>,
    ) -> Result<Vec<u8>, Errno> {
        let (index, flags) = well_formed(feature)?;
        let device = device.ok_or(Errno::NOTSUP)?;
        let (get, set) = match index {
            Feature::MIGRATION | Feature::DMA_LOGGING_REPORT => (true, false),
            Feature::MIG_DEVICE_STATE => (true, true),
            Feature::DMA_LOGGING_START | Feature::DMA_LOGGING_STOP => (false, true),
            _ => return Err(Errno::NOTSUP),
        };
        let (gets, sets) = (
            flags.contains(FeatureFlags::GET),
            flags.contains(FeatureFlags::SET),
        );
        if gets && !get || sets && !set {
            return Err(Errno::INVAL);
        }
        if flags.contains(FeatureFlags::PROBE) {
            return Ok(Vec::new());
        }
        let room = usize::try_from(feature.argsz.get()).unwrap_or(usize::MAX);
        let reply = match index {
            Feature::MIGRATION => {
                let flags = MigrationFlags::STOP_COPY | MigrationFlags::PRE_COPY;
                flags.bits().to_le_bytes().to_vec()
            }
            Feature::MIG_DEVICE_STATE => {
                if sets {
                    let wanted = MigrationState::read_from_bytes(data).map_err(|_| Errno::INVAL)?;
                    let target = DeviceState::from_number(wanted.device_state.get());
                    self.go(target.ok_or(Errno::INVAL)?, device)?;
                }
                MigrationState {
                    device_state: U32::new(self.state.number()),
                    data_fd: U32::new(u32::MAX),
                }
                .as_bytes()
                .to_vec()
            }
            Feature::DMA_LOGGING_START => start_logging(data, device)?,
            Feature::DMA_LOGGING_REPORT => report(data, most, room, device)?,
            _ => {
                device.stop_logging();
                Vec::new()
            }
        };
        // A set is answered by what was set, and asks for no room.
        if gets && room < with_header(reply.len()) {
            return Err(Errno::INVAL);
        }
        Ok(reply)
    }

    /// Goes to a state, by the states between.
    fn go(&mut self, target: DeviceState, device: &mut dyn Migratable) -> Result<(), Errno> {
        if self.state == target && matches!(target, DeviceState::Running | DeviceState::PreCopy) {
            // It may have begun to stop.
            device.start();
        }
        // No way is longer.
        for _ in 0..4 {
            if self.state == target {
                return Ok(());
            }
            let next = self.state.towards(target).ok_or(Errno::INVAL)?;
            self.step(next, device)?;
        }
        Err(Errno::INVAL)
    }

    fn step(&mut self, next: DeviceState, device: &mut dyn Migratable) -> Result<(), Errno> {
        use DeviceState::{PreCopy, Resuming, Running, Stop, StopCopy};
        match (self.state, next) {
            (Running, Stop) => device.stop()?,
            // Also where it works: it may have begun to stop.
            (Stop | PreCopy, Running) | (Running, PreCopy) => device.start(),
            (Stop, StopCopy) => self.offer(device)?,
            (PreCopy, StopCopy) => {
                device.stop()?;
                self.offer(device)?;
            }
            (Resuming, Stop) => {
                let data = std::mem::take(&mut self.data);
                if let Err(errno) = device.restore(&data) {
                    self.state = DeviceState::Error;
                    return Err(errno);
                }
            }
            _ => self.data = Vec::new(),
        }
        self.state = next;
        Ok(())
    }

    fn offer(&mut self, device: &mut dyn Migratable) -> Result<(), Errno> {
        self.data = device.save()?;
        self.read = 0;
        Ok(())
    }

    /// The next bytes of the state, `most` of them or, at its end, fewer.
    pub(super) fn read(&mut self, most: usize) -> Result<&[u8], Errno> {
        match self.state {
            DeviceState::PreCopy => Ok(&[]),
            DeviceState::StopCopy => {
                let rest = self.data.get(self.read..).unwrap_or_default();
                let now = rest.get(..most).unwrap_or(rest);
                self.read = self.read.saturating_add(now.len());
                Ok(now)
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// Takes the next bytes of a state.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if self.state != DeviceState::Resuming {
            return Err(Errno::INVAL);
        }
        if self.data.len().saturating_add(bytes.len()) > LONGEST {
            return Err(Errno::NOSPC);
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }
}

/// The length of so many bytes of a feature's data, with its header.
const fn with_header(len: usize) -> usize {
    size_of::<DeviceFeature>().saturating_add(len)
}

/// The feature that is meant, and what is to be done with it.
fn well_formed(feature: &DeviceFeature) -> Result<(Feature, FeatureFlags), Errno> {
    let [a, b, ..] = feature.flags.get().to_le_bytes();
    let flags = FeatureFlags::from_bits_retain(feature.flags.get() & !0xffff);
    let all = FeatureFlags::GET | FeatureFlags::SET | FeatureFlags::PROBE;
    let both = FeatureFlags::GET | FeatureFlags::SET;
    let probe = flags.contains(FeatureFlags::PROBE);
    if feature.argsz.get() < 8
        || flags.is_empty()
        || !(flags - all).is_empty()
        || (!probe && flags.contains(both))
    {
        return Err(Errno::INVAL);
    }
    Ok((Feature(u16::from_le_bytes([a, b])), flags))
}

fn start_logging(data: &[u8], device: &mut dyn Migratable) -> Result<Vec<u8>, Errno> {
    let (start, ranges) = LoggingStart::read_from_prefix(data).map_err(|_| Errno::INVAL)?;
    let ranges = <[LoggingRange]>::ref_from_bytes(ranges).map_err(|_| Errno::INVAL)?;
    if !start.page_size.get().is_power_of_two()
        || usize::try_from(start.num_ranges.get()) != Ok(ranges.len())
    {
        return Err(Errno::INVAL);
    }
    let parsed = ranges
        .iter()
        .map(|range| IovaRange::new(range.iova.get(), range.length.get()))
        .collect::<Option<Vec<_>>>()
        .ok_or(Errno::INVAL)?;
    let page_size = device.start_logging(parsed)?;
    let start = LoggingStart {
        page_size: U64::new(page_size),
        ..start
    };
    Ok([start.as_bytes(), ranges.as_bytes()].concat())
}

/// The dirty pages of a range, which the device forgets: nothing may fail after that. The reply has at most `most` bytes of
/// bitmap, and `room` bytes with the feature's header.
fn report(
    data: &[u8],
    most: usize,
    room: usize,
    device: &mut dyn Migratable,
) -> Result<Vec<u8>, Errno> {
    let report = LoggingReport::read_from_bytes(data).map_err(|_| Errno::INVAL)?;
    let page_size = report.page_size.get();
    let range = IovaRange::new(report.iova.get(), report.length.get()).ok_or(Errno::INVAL)?;
    if !page_size.is_power_of_two() {
        return Err(Errno::INVAL);
    }
    let words = range.size().div_ceil(page_size).div_ceil(64);
    let words = usize::try_from(words).map_err(|_| Errno::INVAL)?;
    let bytes = words.saturating_mul(8);
    if bytes > most || with_header(data.len().saturating_add(bytes)) > room {
        return Err(Errno::INVAL);
    }
    let mut bitmap = vec![0_u64; words];
    device.take_log(range, page_size, &mut bitmap)?;
    let mut reply = report.as_bytes().to_vec();
    reply.extend(bitmap.iter().flat_map(|word| word.to_le_bytes()));
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::DeviceState::{self, Error, PreCopy, Resuming, Running, Stop, StopCopy};

    const ALL: [DeviceState; 6] = [Error, Stop, Running, StopCopy, Resuming, PreCopy];

    /// The states on the way, the target included; `None` where none leads there.
    fn way(from: DeviceState, target: DeviceState) -> Option<Vec<DeviceState>> {
        let mut way = Vec::new();
        let mut at = from;
        while at != target {
            at = at.towards(target)?;
            way.push(at);
            assert!(way.len() < 5, "{from:?} to {target:?}: {way:?}");
        }
        Some(way)
    }

    #[test]
    fn ways_are_the_shortest_that_save_nothing_in_between() {
        assert_eq!(way(Running, StopCopy), Some(vec![Stop, StopCopy]));
        assert_eq!(way(Running, Resuming), Some(vec![Stop, Resuming]));
        assert_eq!(way(Running, PreCopy), Some(vec![PreCopy]));
        assert_eq!(way(PreCopy, StopCopy), Some(vec![StopCopy]));
        assert_eq!(way(PreCopy, Stop), Some(vec![Running, Stop]));
        assert_eq!(way(StopCopy, Running), Some(vec![Stop, Running]));
        assert_eq!(way(Resuming, Running), Some(vec![Stop, Running]));
        assert_eq!(way(Resuming, PreCopy), Some(vec![Stop, Running, PreCopy]));
        assert_eq!(way(Stop, PreCopy), Some(vec![Running, PreCopy]));
    }

    #[test]
    fn no_way_leads_into_or_out_of_an_error_or_back_to_pre_copy() {
        assert_eq!(way(StopCopy, PreCopy), None);
        for state in ALL.into_iter().filter(|state| *state != Error) {
            assert_eq!(way(state, Error), None);
            assert_eq!(way(Error, state), None);
        }
    }

    #[test]
    fn states_have_the_numbers_of_vfio() {
        assert_eq!(ALL.map(DeviceState::number), [0, 1, 2, 3, 4, 6]);
        assert_eq!(
            ALL.map(|state| DeviceState::from_number(state.number())),
            ALL.map(Some)
        );
        assert_eq!([5, 7, 0xABCD].map(DeviceState::from_number), [None; 3]);
    }
}
