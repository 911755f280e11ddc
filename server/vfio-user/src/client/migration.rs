//! The calls by which a client moves a device, and learns which memory it writes.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::session::{malformed, no_reply_data, prefix};
use super::{Client, ClientError};
use crate::message::{
    Command, DEFAULT_MAX_DATA_XFER_SIZE, Feature, FeatureFlags, LoggingRange, LoggingReport,
    LoggingStart, MigData, MigrationFlags, MigrationState, Request,
};
use crate::server::DeviceState;

/// Bytes of a device's state in one message, at most.
const PIECE: u32 = 256 << 10;

impl Client {
    /// What kinds of migration the device has.
    ///
    /// # Errors
    ///
    /// As every call; a device that cannot be moved refuses it.
    pub fn migration(&mut self) -> Result<MigrationFlags, ClientError> {
        let data = self.feature(Feature::MIGRATION, FeatureFlags::GET, &[])?;
        let flags = U64::read_from_bytes(&data).map_err(|_| wrong("no flags of 8 bytes"))?;
        Ok(MigrationFlags::from_bits_retain(flags.get()))
    }

    /// The state that the device is in.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn device_state(&mut self) -> Result<DeviceState, ClientError> {
        let data = self.feature(Feature::MIG_DEVICE_STATE, FeatureFlags::GET, &[])?;
        let state = MigrationState::read_from_bytes(&data).map_err(|_| wrong("no state"))?;
        DeviceState::from_number(state.device_state.get()).ok_or_else(|| wrong("an unknown state"))
    }

    /// Takes the device to a state. It is there when this returns.
    ///
    /// # Errors
    ///
    /// As every call; [`Errno::BUSY`](crate::Errno::BUSY) while the device waits for answers to its messages, which
    /// calls give: it is to be asked again.
    pub fn set_device_state(&mut self, state: DeviceState) -> Result<(), ClientError> {
        let state = MigrationState {
            device_state: U32::new(state.number()),
            data_fd: U32::new(u32::MAX),
        };
        let data = state.as_bytes();
        self.feature(Feature::MIG_DEVICE_STATE, FeatureFlags::SET, data)
            .map(drop)
    }

    /// Reads what there is of the device's state, to its end: all of it in
    /// [`DeviceState::StopCopy`].
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn read_state(&mut self) -> Result<Vec<u8>, ClientError> {
        let most = self.piece();
        let mut state = Vec::new();
        loop {
            let asked = MigData {
                argsz: U32::new(most.saturating_add(8)),
                size: U32::new(most),
            };
            let size = self.call(&Request::MigDataRead(asked), &[], |payload, _| {
                let (reply, bytes) = prefix::<MigData>(Command::MIG_DATA_READ, payload)?;
                if usize::try_from(reply.size.get()) != Ok(bytes.len()) {
                    let problem = "not as many bytes as it says";
                    return Err(malformed(Command::MIG_DATA_READ, problem));
                }
                state.extend_from_slice(bytes);
                Ok(reply.size.get())
            })?;
            if size < most {
                return Ok(state);
            }
        }
    }

    /// Writes a state to a device that is in [`DeviceState::Resuming`]. Whether it can be used
    /// is known when the device leaves that state.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn write_state(&mut self, state: &[u8]) -> Result<(), ClientError> {
        let most = usize::try_from(self.piece()).unwrap_or(usize::MAX);
        for piece in state.chunks(most) {
            let size = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let data = MigData {
                argsz: U32::new(size.saturating_add(8)),
                size: U32::new(size),
            };
            self.call(&Request::MigDataWrite(data, piece), &[], no_reply_data)?;
        }
        Ok(())
    }

    /// Has the device log which memory it writes, of these ranges (first address and length) or, with none of them, of
    /// all there is. Returns the size of the pages that it logs.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn start_dirty_log(
        &mut self,
        page_size: u64,
        ranges: &[(u64, u64)],
    ) -> Result<u64, ClientError> {
        let start = LoggingStart {
            page_size: U64::new(page_size),
            num_ranges: U32::new(u32::try_from(ranges.len()).unwrap_or(u32::MAX)),
            reserved: U32::new(0),
        };
        let ranges: Vec<LoggingRange> = ranges
            .iter()
            .map(|(iova, length)| LoggingRange {
                iova: U64::new(*iova),
                length: U64::new(*length),
            })
            .collect();
        let data = [start.as_bytes(), ranges.as_bytes()].concat();
        let reply = self.feature(Feature::DMA_LOGGING_START, FeatureFlags::SET, &data)?;
        let (start, _) =
            LoggingStart::read_from_prefix(&reply).map_err(|_| wrong("no page size"))?;
        Ok(start.page_size.get())
    }

    /// Ends what [`Client::start_dirty_log`] has begun.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn stop_dirty_log(&mut self) -> Result<(), ClientError> {
        self.feature(Feature::DMA_LOGGING_STOP, FeatureFlags::SET, &[])
            .map(drop)
    }

    /// The addresses of the pages that the device has written in a range since it was asked last. Range and pages are
    /// whole pages of what [`Client::start_dirty_log`] has returned.
    ///
    /// # Errors
    ///
    /// As every call; the server refuses ranges whose bitmap is too long for a message.
    pub fn take_dirty_pages(
        &mut self,
        iova: u64,
        length: u64,
        page_size: u64,
    ) -> Result<Vec<u64>, ClientError> {
        let report = LoggingReport {
            iova: U64::new(iova),
            length: U64::new(length),
            page_size: U64::new(page_size),
        };
        let get = FeatureFlags::GET;
        let reply = self.feature(Feature::DMA_LOGGING_REPORT, get, report.as_bytes())?;
        let (_, bitmap) =
            LoggingReport::read_from_prefix(&reply).map_err(|_| wrong("no report"))?;
        let words = <[U64]>::ref_from_bytes(bitmap).map_err(|_| wrong("no bitmap of quadwords"))?;
        let pages = (0_u64..).step_by(64).zip(words).flat_map(|(first, word)| {
            let bits = (0..64).filter(|bit| word.get() >> bit & 1 == 1);
            bits.map(move |bit| first + bit)
        });
        let address = |page: u64| page.checked_mul(page_size)?.checked_add(iova);
        pages
            .map(|page| address(page).ok_or_else(|| wrong("a page behind the last one")))
            .collect()
    }

    fn feature(
        &mut self,
        feature: Feature,
        flags: FeatureFlags,
        data: &[u8],
    ) -> Result<Vec<u8>, ClientError> {
        self.device_feature(u32::from(feature.0) | flags.bits(), data)
    }

    /// Bytes of a state that go into a message.
    fn piece(&self) -> u32 {
        let theirs = self.server_capabilities().max_data_xfer_size;
        theirs.unwrap_or(DEFAULT_MAX_DATA_XFER_SIZE).clamp(1, PIECE)
    }
}

fn wrong(problem: &'static str) -> ClientError {
    malformed(Command::DEVICE_FEATURE, problem)
}
