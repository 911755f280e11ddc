//! A command and its payload, in both directions.

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    Command, DeviceFeature, DeviceInfo, DirtyPages, DmaAccess, DmaMap, DmaUnmap, Header,
    HeaderFlags, IrqInfo, IrqSet, MigData, MultiWrite, RegionAccess, RegionInfo, RegionIoFds,
    Version,
};

/// A command, read from its payload: the lengths are right, the values are still the peer's.
///
/// `'a` is the buffer that the payload lies in; nothing is copied but the fixed structures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Request<'a> {
    /// `VERSION`, with its JSON text.
    Version(Version, &'a [u8]),
    /// `DMA_MAP`.
    DmaMap(DmaMap),
    /// `DMA_UNMAP`; behind it, what the client wants to know about dirty pages.
    DmaUnmap(DmaUnmap, &'a [u8]),
    /// `DEVICE_GET_INFO`.
    DeviceGetInfo(DeviceInfo),
    /// `DEVICE_GET_REGION_INFO`.
    DeviceGetRegionInfo(RegionInfo),
    /// `DEVICE_GET_REGION_IO_FDS`.
    DeviceGetRegionIoFds(RegionIoFds),
    /// `DEVICE_GET_IRQ_INFO`.
    DeviceGetIrqInfo(IrqInfo),
    /// `DEVICE_SET_IRQS`, with one byte for each vector where it has data.
    DeviceSetIrqs(IrqSet, &'a [u8]),
    /// `REGION_READ`.
    RegionRead(RegionAccess),
    /// `REGION_WRITE`: as many bytes as its count says.
    RegionWrite(RegionAccess, &'a [u8]),
    /// `DMA_READ`, from the server.
    DmaRead(DmaAccess),
    /// `DMA_WRITE`, from the server: as many bytes as its count says.
    DmaWrite(DmaAccess, &'a [u8]),
    /// `DEVICE_RESET`.
    DeviceReset,
    /// `DIRTY_PAGES`, with whatever follows.
    DirtyPages(DirtyPages, &'a [u8]),
    /// `REGION_WRITE_MULTI`: exactly the writes that it counts.
    RegionWriteMulti(&'a [MultiWrite]),
    /// `DEVICE_FEATURE`, with the feature's data.
    DeviceFeature(DeviceFeature, &'a [u8]),
    /// `MIG_DATA_READ`.
    MigDataRead(MigData),
    /// `MIG_DATA_WRITE`: as many bytes as its size says.
    MigDataWrite(MigData, &'a [u8]),
    /// A command that the specification does not have.
    Unknown(Command, &'a [u8]),
}

/// A payload that is too short or too long for its command, or that contradicts its own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command} cannot have a payload of {length} bytes that says what this one does")]
pub struct PayloadError {
    /// The command.
    pub command: Command,
    /// The payload's length in bytes.
    pub length: usize,
}

impl<'a> Request<'a> {
    /// Reads a command's payload.
    ///
    /// Structures that begin with `argsz` may be longer than this crate knows, as `argsz`
    /// exists to let them grow. Everything else has to have the exact length.
    ///
    /// # Errors
    ///
    /// When the payload does not have the length that the command, or a count in the payload,
    /// asks for. The message can still be skipped: its length is in its header.
    // Inlined so that the caller's match and this one become a single jump.
    #[inline]
    pub fn decode(command: Command, payload: &'a [u8]) -> Result<Self, PayloadError> {
        Self::parse(command, payload).ok_or(PayloadError {
            command,
            length: payload.len(),
        })
    }

    #[inline]
    fn parse(command: Command, payload: &'a [u8]) -> Option<Self> {
        Some(match command {
            Command::REGION_WRITE => {
                let (access, data) = prefix::<RegionAccess>(payload)?;
                Self::RegionWrite(access, counted(data, access.count.get().into())?)
            }
            Command::REGION_READ => Self::RegionRead(exact(payload)?),
            Command::VERSION => {
                let (version, data) = prefix(payload)?;
                Self::Version(version, data)
            }
            Command::DMA_MAP => Self::DmaMap(prefix(payload)?.0),
            Command::DMA_UNMAP => {
                let (unmap, bitmap) = prefix(payload)?;
                Self::DmaUnmap(unmap, bitmap)
            }
            Command::DEVICE_GET_INFO => Self::DeviceGetInfo(prefix(payload)?.0),
            Command::DEVICE_GET_REGION_INFO => Self::DeviceGetRegionInfo(prefix(payload)?.0),
            Command::DEVICE_GET_REGION_IO_FDS => Self::DeviceGetRegionIoFds(prefix(payload)?.0),
            Command::DEVICE_GET_IRQ_INFO => Self::DeviceGetIrqInfo(prefix(payload)?.0),
            Command::DEVICE_SET_IRQS => {
                let (set, data) = prefix(payload)?;
                Self::DeviceSetIrqs(set, data)
            }
            Command::DMA_READ => Self::DmaRead(exact(payload)?),
            Command::DMA_WRITE => {
                let (access, data) = prefix::<DmaAccess>(payload)?;
                Self::DmaWrite(access, counted(data, access.count.get())?)
            }
            Command::DEVICE_RESET => payload.is_empty().then_some(Self::DeviceReset)?,
            Command::DIRTY_PAGES => {
                let (pages, data) = prefix(payload)?;
                Self::DirtyPages(pages, data)
            }
            Command::REGION_WRITE_MULTI => {
                let (count, writes) = prefix::<U64>(payload)?;
                let writes = <[MultiWrite]>::ref_from_bytes(writes).ok()?;
                (u64::try_from(writes.len()).ok()? == count.get())
                    .then_some(Self::RegionWriteMulti(writes))?
            }
            Command::DEVICE_FEATURE => {
                let (feature, data) = prefix(payload)?;
                Self::DeviceFeature(feature, data)
            }
            Command::MIG_DATA_READ => Self::MigDataRead(prefix(payload)?.0),
            Command::MIG_DATA_WRITE => {
                let (data, bytes) = prefix::<MigData>(payload)?;
                Self::MigDataWrite(data, counted(bytes, data.size.get().into())?)
            }
            other => Self::Unknown(other, payload),
        })
    }

    /// Which command it is.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Version(..) => Command::VERSION,
            Self::DmaMap(_) => Command::DMA_MAP,
            Self::DmaUnmap(..) => Command::DMA_UNMAP,
            Self::DeviceGetInfo(_) => Command::DEVICE_GET_INFO,
            Self::DeviceGetRegionInfo(_) => Command::DEVICE_GET_REGION_INFO,
            Self::DeviceGetRegionIoFds(_) => Command::DEVICE_GET_REGION_IO_FDS,
            Self::DeviceGetIrqInfo(_) => Command::DEVICE_GET_IRQ_INFO,
            Self::DeviceSetIrqs(..) => Command::DEVICE_SET_IRQS,
            Self::RegionRead(_) => Command::REGION_READ,
            Self::RegionWrite(..) => Command::REGION_WRITE,
            Self::DmaRead(_) => Command::DMA_READ,
            Self::DmaWrite(..) => Command::DMA_WRITE,
            Self::DeviceReset => Command::DEVICE_RESET,
            Self::DirtyPages(..) => Command::DIRTY_PAGES,
            Self::RegionWriteMulti(_) => Command::REGION_WRITE_MULTI,
            Self::DeviceFeature(..) => Command::DEVICE_FEATURE,
            Self::MigDataRead(_) => Command::MIG_DATA_READ,
            Self::MigDataWrite(..) => Command::MIG_DATA_WRITE,
            Self::Unknown(command, _) => *command,
        }
    }

    /// Appends the whole message, header and payload.
    ///
    /// # Panics
    ///
    /// When the payload is longer than a message's size field can say (4 GiB).
    pub fn encode_into(&self, id: u16, flags: HeaderFlags, out: &mut Vec<u8>) {
        let multi_count;
        let (fixed, data): (&[u8], &[u8]) = match self {
            Self::Version(version, data) => (version.as_bytes(), data),
            Self::DmaMap(map) => (map.as_bytes(), &[]),
            Self::DmaUnmap(unmap, bitmap) => (unmap.as_bytes(), bitmap),
            Self::DeviceGetInfo(info) => (info.as_bytes(), &[]),
            Self::DeviceGetRegionInfo(info) => (info.as_bytes(), &[]),
            Self::DeviceGetRegionIoFds(info) => (info.as_bytes(), &[]),
            Self::DeviceGetIrqInfo(info) => (info.as_bytes(), &[]),
            Self::DeviceSetIrqs(set, data) => (set.as_bytes(), data),
            Self::RegionRead(access) => (access.as_bytes(), &[]),
            Self::RegionWrite(access, data) => (access.as_bytes(), data),
            Self::DmaRead(access) => (access.as_bytes(), &[]),
            Self::DmaWrite(access, data) => (access.as_bytes(), data),
            Self::DeviceReset => (&[], &[]),
            Self::DirtyPages(pages, data) => (pages.as_bytes(), data),
            Self::RegionWriteMulti(writes) => {
                multi_count = U64::from(u64::try_from(writes.len()).unwrap_or(u64::MAX));
                (multi_count.as_bytes(), writes.as_bytes())
            }
            Self::DeviceFeature(feature, data) => (feature.as_bytes(), data),
            Self::MigDataRead(data) => (data.as_bytes(), &[]),
            Self::MigDataWrite(data, bytes) => (data.as_bytes(), bytes),
            Self::Unknown(_, payload) => (&[], payload),
        };
        let payload = fixed
            .len()
            .checked_add(data.len())
            .and_then(|length| u32::try_from(length).ok())
            .filter(|length| *length <= u32::MAX - 16)
            .expect("the caller keeps messages below 4 GiB");
        out.extend_from_slice(Header::command(id, self.command(), payload, flags).as_bytes());
        out.extend_from_slice(fixed);
        out.extend_from_slice(data);
    }
}

/// The structure at the start, and what follows it.
#[inline]
fn prefix<T>(payload: &[u8]) -> Option<(T, &[u8])>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    T::read_from_prefix(payload).ok()
}

/// The structure that the payload is, to the byte.
#[inline]
fn exact<T>(payload: &[u8]) -> Option<T>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    T::read_from_bytes(payload).ok()
}

/// `data`, if there are `count` bytes of it.
#[inline]
fn counted(data: &[u8], count: u64) -> Option<&[u8]> {
    (u64::try_from(data.len()).ok()? == count).then_some(data)
}
