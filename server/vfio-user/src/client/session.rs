//! The calls of a client.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::connection::{Connection, Patience};
use super::details::sparse_areas;
use super::memory::answer;
use super::{ClientError, ClientMemory, DeviceDetails, IrqDetails, Message, RegionDetails};
use crate::message::{
    Capabilities, Command, DEFAULT_MAX_DATA_XFER_SIZE, DEFAULT_MAX_MSG_FDS, DeviceFeature,
    DeviceFlags, DeviceInfo, DmaMap, DmaUnmap, DmaUnmapFlags, HeaderFlags, IrqFlags, IrqInfo,
    IrqSet, IrqSetFlags, MAJOR, MINOR, MessageType, MultiWrite, Protection, RegionAccess,
    RegionFlags, RegionInfo, RegionIoFds, Request, Version,
};
use crate::server::IrqAction;

/// How a client behaves, and what it says about itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a call waits for its reply.
    pub timeout: Duration,
    /// How long a call polls the socket before it sleeps. Waking a sleeper costs tens of
    /// microseconds; polling costs a processor.
    pub spin: Duration,
    /// What `VERSION` proposes. `max_data_xfer_size` is also kept to.
    pub capabilities: Capabilities,
}

impl Default for Options {
    /// Waits 5 s and does not poll, like QEMU; offers what QEMU offers, but for migration.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            spin: Duration::ZERO,
            capabilities: Capabilities {
                max_msg_fds: Some(16),
                max_data_xfer_size: Some(DEFAULT_MAX_DATA_XFER_SIZE),
                max_dma_maps: Some(65_535),
                pgsizes: Some(4096),
                twin_socket: None,
                migration: None,
                write_multiple: Some(true),
            },
        }
    }
}

/// A connection to a device. Calls block; one thread at a time.
pub struct Client {
    connection: Connection,
    options: Options,
    server: Capabilities,
    memory: Option<Box<dyn ClientMemory>>,
    next_id: u16,
    /// The message being built, kept for its capacity.
    outgoing: Vec<u8>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection", &self.connection.as_fd())
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a server's socket and negotiates.
    ///
    /// # Errors
    ///
    /// When nobody listens, or no agreement is reached.
    pub fn connect(path: impl AsRef<Path>, options: Options) -> Result<Self, ClientError> {
        let path = path.as_ref();
        let stream = UnixStream::connect(path).map_err(|source| ClientError::Connect {
            path: path.to_path_buf(),
            source,
        })?;
        let mut client = Self::attach(stream, options);
        client.negotiate()?;
        Ok(client)
    }

    /// A client on a connection, which has not negotiated yet.
    #[must_use]
    pub fn attach(stream: UnixStream, options: Options) -> Self {
        let data = options
            .capabilities
            .max_data_xfer_size
            .unwrap_or(DEFAULT_MAX_DATA_XFER_SIZE);
        let message_size = usize::try_from(data)
            .unwrap_or(usize::MAX)
            .saturating_add(32)
            .max(1 << 20);
        Self {
            connection: Connection::new(stream, message_size),
            options,
            server: Capabilities::default(),
            memory: None,
            next_id: 0,
            outgoing: Vec::new(),
        }
    }

    /// Proposes a session; has to be the first call after [`Self::attach`].
    ///
    /// # Errors
    ///
    /// When the server does not agree.
    pub fn negotiate(&mut self) -> Result<(), ClientError> {
        let data = self.options.capabilities.to_version_data();
        let version = Version {
            major: U16::new(MAJOR),
            minor: U16::new(MINOR),
        };
        let request = Request::Version(version, &data);
        self.server = self.call(&request, &[], |payload, _| {
            let (version, data) = prefix::<Version>(Command::VERSION, payload)?;
            if version.major.get() != MAJOR || version.minor.get() > MINOR {
                return Err(malformed(Command::VERSION, "another version than proposed"));
            }
            Capabilities::from_version_data(data).map_err(ClientError::Capabilities)
        })?;
        Ok(())
    }

    /// What the server says about itself.
    #[must_use]
    pub fn server_capabilities(&self) -> &Capabilities {
        &self.server
    }

    /// Sets what the server reaches by `DMA_READ` and `DMA_WRITE`. Without it they are refused.
    pub fn set_memory(&mut self, memory: Box<dyn ClientMemory>) {
        self.memory = Some(memory);
    }

    /// Changes how long calls poll before they sleep.
    pub fn set_spin(&mut self, spin: Duration) {
        self.options.spin = spin;
    }

    /// `DEVICE_GET_INFO`.
    ///
    /// # Errors
    ///
    /// As every call: the server's refusal, its silence, or its end.
    pub fn device_info(&mut self) -> Result<DeviceDetails, ClientError> {
        let info = DeviceInfo {
            argsz: U32::new(16),
            flags: U32::new(0),
            num_regions: U32::new(0),
            num_irqs: U32::new(0),
        };
        self.call(&Request::DeviceGetInfo(info), &[], |payload, _| {
            let (info, _) = prefix::<DeviceInfo>(Command::DEVICE_GET_INFO, payload)?;
            Ok(DeviceDetails {
                flags: DeviceFlags::from_bits_retain(info.flags.get()),
                regions: info.num_regions.get(),
                irqs: info.num_irqs.get(),
            })
        })
    }

    /// `DEVICE_GET_REGION_INFO`, asked again with more room where there are capabilities.
    ///
    /// # Errors
    ///
    /// As every call: the server's refusal, its silence, or its end.
    pub fn region_info(&mut self, index: u32) -> Result<RegionDetails, ClientError> {
        const COMMAND: Command = Command::DEVICE_GET_REGION_INFO;
        let mut room = 32;
        loop {
            let info = RegionInfo {
                argsz: U32::new(room),
                flags: U32::new(0),
                index: U32::new(index),
                cap_offset: U32::new(0),
                size: U64::new(0),
                offset: U64::new(0),
            };
            let (needed, details) =
                self.call(&Request::DeviceGetRegionInfo(info), &[], |payload, fds| {
                    let (info, _) = prefix::<RegionInfo>(COMMAND, payload)?;
                    let details = RegionDetails {
                        flags: RegionFlags::from_bits_retain(info.flags.get()),
                        size: info.size.get(),
                        offset: info.offset.get(),
                        file: fds.into_iter().next(),
                        areas: sparse_areas(&info, payload)?,
                    };
                    Ok((info.argsz.get(), details))
                })?;
            if needed <= room {
                return Ok(details);
            }
            if needed > 1 << 16 {
                return Err(malformed(COMMAND, "its capabilities are absurdly long"));
            }
            room = needed;
        }
    }

    /// `DEVICE_GET_IRQ_INFO`.
    ///
    /// # Errors
    ///
    /// As every call: the server's refusal, its silence, or its end.
    pub fn irq_info(&mut self, index: u32) -> Result<IrqDetails, ClientError> {
        let info = IrqInfo {
            argsz: U32::new(16),
            flags: U32::new(0),
            index: U32::new(index),
            count: U32::new(0),
        };
        self.call(&Request::DeviceGetIrqInfo(info), &[], |payload, _| {
            let (info, _) = prefix::<IrqInfo>(Command::DEVICE_GET_IRQ_INFO, payload)?;
            Ok(IrqDetails {
                flags: IrqFlags::from_bits_retain(info.flags.get()),
                count: info.count.get(),
            })
        })
    }

    /// `DEVICE_GET_REGION_IO_FDS`: how many ioeventfds and ioregionfds the region has. They are
    /// closed; no server is known to offer any.
    ///
    /// # Errors
    ///
    /// As every call: the server's refusal, its silence, or its end.
    pub fn region_io_fds(&mut self, index: u32) -> Result<u32, ClientError> {
        let info = RegionIoFds {
            argsz: U32::new(4096),
            flags: U32::new(0),
            index: U32::new(index),
            count: U32::new(0),
        };
        self.call(&Request::DeviceGetRegionIoFds(info), &[], |payload, _| {
            let (info, _) = prefix::<RegionIoFds>(Command::DEVICE_GET_REGION_IO_FDS, payload)?;
            Ok(info.count.get())
        })
    }

    /// `REGION_READ`.
    ///
    /// # Errors
    ///
    /// As every call, and when `data` is more than the server sends at once.
    pub fn region_read(
        &mut self,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), ClientError> {
        let access = self.region_access(region, offset, data.len())?;
        self.call(&Request::RegionRead(access), &[], |payload, _| {
            let (reply, bytes) = prefix::<RegionAccess>(Command::REGION_READ, payload)?;
            if reply.count != access.count || bytes.len() != data.len() {
                return Err(malformed(
                    Command::REGION_READ,
                    "not as many bytes as were asked for",
                ));
            }
            data.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// `REGION_WRITE`, and waits until it is done.
    ///
    /// # Errors
    ///
    /// As every call, and when `data` is more than the server takes at once.
    pub fn region_write(
        &mut self,
        region: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), ClientError> {
        let access = self.region_access(region, offset, data.len())?;
        self.call(&Request::RegionWrite(access, data), &[], no_reply_data)
    }

    /// `REGION_WRITE` without a reply. A later call with a reply returns after it is done.
    ///
    /// # Errors
    ///
    /// When it cannot be sent, or `data` is more than the server takes at once.
    pub fn region_write_posted(
        &mut self,
        region: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), ClientError> {
        let access = self.region_access(region, offset, data.len())?;
        self.post(&Request::RegionWrite(access, data), &[])
    }

    /// `REGION_WRITE_MULTI`, and waits until all are done. Writes of 1 to 8 bytes, in order.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn region_write_multi(&mut self, writes: &[MultiWrite]) -> Result<(), ClientError> {
        self.call(&Request::RegionWriteMulti(writes), &[], no_reply_data)
    }

    /// `REGION_WRITE_MULTI` without a reply.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub fn region_write_multi_posted(&mut self, writes: &[MultiWrite]) -> Result<(), ClientError> {
        self.post(&Request::RegionWriteMulti(writes), &[])
    }

    /// `DMA_MAP`: grants access to a range, backed by a file from some offset on, or reached by
    /// messages.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn dma_map(
        &mut self,
        iova: u64,
        size: u64,
        protection: Protection,
        file: Option<(BorrowedFd<'_>, u64)>,
    ) -> Result<(), ClientError> {
        let map = DmaMap {
            argsz: U32::new(32),
            flags: U32::new(protection.bits()),
            offset: U64::new(file.map_or(0, |(_, offset)| offset)),
            address: U64::new(iova),
            size: U64::new(size),
        };
        let fd = file.map(|(fd, _)| fd);
        self.call(&Request::DmaMap(map), fd.as_slice(), no_reply_data)
    }

    /// `DMA_UNMAP` of a range. The server no longer touches it when this returns.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn dma_unmap(&mut self, iova: u64, size: u64) -> Result<(), ClientError> {
        self.unmap(iova, size, DmaUnmapFlags::empty())
    }

    /// `DMA_UNMAP` of everything.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn dma_unmap_all(&mut self) -> Result<(), ClientError> {
        self.unmap(0, 0, DmaUnmapFlags::ALL)
    }

    fn unmap(&mut self, iova: u64, size: u64, flags: DmaUnmapFlags) -> Result<(), ClientError> {
        let unmap = DmaUnmap {
            argsz: U32::new(24),
            flags: U32::new(flags.bits()),
            address: U64::new(iova),
            size: U64::new(size),
        };
        self.call(&Request::DmaUnmap(unmap, &[]), &[], no_reply_data)
    }

    /// Ties vectors from `start` on to eventfds, or takes them away where there is `None`. As
    /// many messages as it takes.
    ///
    /// # Errors
    ///
    /// As every call; the messages before the one that failed have had their effect.
    pub fn assign_irqs(
        &mut self,
        index: u32,
        action: IrqAction,
        start: u32,
        eventfds: &[Option<BorrowedFd<'_>>],
    ) -> Result<(), ClientError> {
        let most = self
            .server
            .max_msg_fds
            .unwrap_or(DEFAULT_MAX_MSG_FDS)
            .max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut start = start;
        let same_kind =
            |a: &Option<BorrowedFd<'_>>, b: &Option<BorrowedFd<'_>>| a.is_some() == b.is_some();
        // One message has file descriptors for all of its vectors, or for none.
        for run in eventfds.chunk_by(same_kind) {
            let longest = if run.iter().any(Option::is_some) {
                most
            } else {
                run.len()
            };
            for part in run.chunks(longest) {
                let fds: Vec<_> = part.iter().flatten().copied().collect();
                let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
                let set = irq_set(index, action, IrqSetFlags::DATA_EVENTFD, start, count);
                self.call(&Request::DeviceSetIrqs(set, &[]), &fds, no_reply_data)?;
                start = start.saturating_add(count);
            }
        }
        Ok(())
    }

    /// Masks, unmasks or triggers `count` vectors from `start` on.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn act_on_irqs(
        &mut self,
        index: u32,
        action: IrqAction,
        start: u32,
        count: u32,
    ) -> Result<(), ClientError> {
        let set = irq_set(index, action, IrqSetFlags::DATA_NONE, start, count);
        self.call(&Request::DeviceSetIrqs(set, &[]), &[], no_reply_data)
    }

    /// Masks, unmasks or triggers those vectors from `start` on that are chosen.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn act_on_chosen_irqs(
        &mut self,
        index: u32,
        action: IrqAction,
        start: u32,
        chosen: &[bool],
    ) -> Result<(), ClientError> {
        let data: Vec<u8> = chosen.iter().map(|chosen| u8::from(*chosen)).collect();
        let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let mut set = irq_set(index, action, IrqSetFlags::DATA_BOOL, start, count);
        set.argsz = U32::new(count.saturating_add(20));
        self.call(&Request::DeviceSetIrqs(set, &data), &[], no_reply_data)
    }

    /// Turns an interrupt type off.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn disable_irqs(&mut self, index: u32) -> Result<(), ClientError> {
        self.act_on_irqs(index, IrqAction::Trigger, 0, 0)
    }

    /// `DEVICE_RESET`.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn reset(&mut self) -> Result<(), ClientError> {
        self.call(&Request::DeviceReset, &[], no_reply_data)
    }

    /// `DEVICE_FEATURE`: `flags` are the feature's index and what to do with it; returns the
    /// feature's data.
    ///
    /// # Errors
    ///
    /// As every call.
    pub fn device_feature(&mut self, flags: u32, data: &[u8]) -> Result<Vec<u8>, ClientError> {
        let feature = DeviceFeature {
            argsz: U32::new(self.room()),
            flags: U32::new(flags),
        };
        self.call(&Request::DeviceFeature(feature, data), &[], |payload, _| {
            let (_, data) = prefix::<DeviceFeature>(Command::DEVICE_FEATURE, payload)?;
            Ok(data.to_vec())
        })
    }

    /// Serves the commands of the server that have arrived, without waiting. To be called when
    /// [`Self::as_fd`] is readable while no call is under way; returns how many there were.
    ///
    /// # Errors
    ///
    /// When the connection has come to its end.
    pub fn serve(&mut self) -> Result<usize, ClientError> {
        let mut served = 0;
        loop {
            while let Some(frame) = self.connection.inbox.next_frame()? {
                if frame.header.message_type() != MessageType::Command {
                    continue;
                }
                served += 1;
                self.outgoing.clear();
                answer(
                    &frame.header,
                    frame.payload,
                    &self.options.capabilities,
                    self.memory.as_deref_mut(),
                    &mut self.outgoing,
                );
                let patience = self.patience();
                self.connection.send(&self.outgoing, &[], patience)?;
            }
            if !self.connection.receive_now()? {
                return Ok(served);
            }
        }
    }

    /// Sends bytes as they are, for tests of what servers make of them.
    ///
    /// # Errors
    ///
    /// When they cannot be sent.
    pub fn send_raw(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ClientError> {
        self.connection.send(bytes, fds, self.patience())
    }

    /// The next message, whatever it is. Commands of the server are not served.
    ///
    /// # Errors
    ///
    /// When none comes in time, or the connection has come to its end.
    pub fn receive_raw(&mut self) -> Result<Message, ClientError> {
        let started = Instant::now();
        loop {
            if let Some(frame) = self.connection.inbox.next_frame()? {
                return Ok(Message::from_frame(frame));
            }
            let patience = self.patience();
            self.connection.receive(started, patience)?;
        }
    }

    /// The longest reply that can be taken.
    fn room(&self) -> u32 {
        let ours = self.options.capabilities.max_data_xfer_size;
        ours.unwrap_or(DEFAULT_MAX_DATA_XFER_SIZE)
    }

    fn patience(&self) -> Patience {
        Patience {
            timeout: self.options.timeout,
            spin: self.options.spin,
        }
    }

    fn region_access(
        &self,
        region: u32,
        offset: u64,
        count: usize,
    ) -> Result<RegionAccess, ClientError> {
        let limit = self
            .server
            .max_data_xfer_size
            .unwrap_or(DEFAULT_MAX_DATA_XFER_SIZE);
        match u32::try_from(count) {
            Ok(count) if count <= limit => Ok(RegionAccess {
                offset: U64::new(offset),
                region: U32::new(region),
                count: U32::new(count),
            }),
            _ => Err(ClientError::TooMuch {
                count,
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            }),
        }
    }

    fn post(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> Result<(), ClientError> {
        self.next_id = self.next_id.wrapping_add(1);
        self.outgoing.clear();
        request.encode_into(self.next_id, HeaderFlags::NO_REPLY, &mut self.outgoing);
        self.connection.send(&self.outgoing, fds, self.patience())
    }

    /// Sends a command, waits for its reply and has it read.
    pub(super) fn call<T>(
        &mut self,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
        read: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let started = Instant::now();
        let patience = self.patience();
        self.next_id = self.next_id.wrapping_add(1);
        let id = self.next_id;
        self.outgoing.clear();
        request.encode_into(id, HeaderFlags::empty(), &mut self.outgoing);
        self.connection.send(&self.outgoing, fds, patience)?;
        loop {
            if let Some(frame) = self.connection.inbox.next_frame()? {
                match frame.header.message_type() {
                    MessageType::Reply
                        if frame.header.id.get() == id
                            && frame.header.number() == request.command() =>
                    {
                        return match frame.header.failure() {
                            Some(errno) => Err(ClientError::Refused {
                                command: request.command(),
                                errno,
                            }),
                            None => read(frame.payload, frame.fds.list),
                        };
                    }
                    // The late answer to a call that gave up.
                    MessageType::Reply => {}
                    MessageType::Command | MessageType::Unknown(_) => {
                        self.outgoing.clear();
                        answer(
                            &frame.header,
                            frame.payload,
                            &self.options.capabilities,
                            self.memory.as_deref_mut(),
                            &mut self.outgoing,
                        );
                        self.connection.send(&self.outgoing, &[], patience)?;
                    }
                }
                continue;
            }
            if started.elapsed() >= patience.timeout {
                return Err(ClientError::Timeout {
                    timeout: patience.timeout,
                });
            }
            self.connection.receive(started, patience)?;
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

fn irq_set(index: u32, action: IrqAction, data: IrqSetFlags, start: u32, count: u32) -> IrqSet {
    let action = match action {
        IrqAction::Mask => IrqSetFlags::ACTION_MASK,
        IrqAction::Unmask => IrqSetFlags::ACTION_UNMASK,
        IrqAction::Trigger => IrqSetFlags::ACTION_TRIGGER,
    };
    IrqSet {
        argsz: U32::new(20),
        flags: U32::new((data | action).bits()),
        index: U32::new(index),
        start: U32::new(start),
        count: U32::new(count),
    }
}

/// For replies whose content tells nothing new.
pub(super) fn no_reply_data(_: &[u8], _: Vec<OwnedFd>) -> Result<(), ClientError> {
    Ok(())
}

pub(super) fn prefix<T>(command: Command, payload: &[u8]) -> Result<(T, &[u8]), ClientError>
where
    T: FromBytes + KnownLayout + Immutable,
{
    T::read_from_prefix(payload).map_err(|_| malformed(command, "it is too short"))
}

pub(super) fn malformed(command: Command, problem: &'static str) -> ClientError {
    ClientError::Malformed { command, problem }
}
