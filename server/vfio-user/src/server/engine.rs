//! What a session answers to each message: all of the protocol, none of the socket.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use std::os::fd::OwnedFd;

use super::dma::MessageDma;
use super::migration::Migration;
use super::negotiation::negotiate;
use super::{
    ClientInfo, Counters, Description, Device, DmaMapping, DmaRange, ErrorStyle, IovaRange, Limits,
    NegotiationError, Region, SessionError, irqs,
};
use crate::Errno;
use crate::frame::{Fds, Frame};
use crate::message::{
    CAP_SPARSE_MMAP, CapabilityHeader, Command, DeviceFeature, DeviceInfo, DmaMap, DmaUnmap,
    DmaUnmapFlags, Header, IrqInfo, IrqSet, MAJOR, MINOR, MessageType, MigData, MultiWrite,
    Protection, RegionAccess, RegionFlags, RegionInfo, RegionIoFds, Request, SparseArea,
    SparseMmap, Version,
};
use crate::outbox::Outbox;

/// The state of one client's session.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) description: Description,
    pub(super) limits: Limits,
    pub(super) outbox: Outbox,
    pub(super) dma: MessageDma,
    /// `None` until the client has introduced itself.
    pub(super) client: Option<ClientInfo>,
    pub(super) counters: Counters,
    migration: Migration,
}

impl Engine {
    pub(super) fn new(limits: Limits, description: Description) -> Self {
        Self {
            description,
            outbox: Outbox::default(),
            dma: MessageDma::new(limits.dma_bytes),
            limits,
            client: None,
            counters: Counters::default(),
            migration: Migration::default(),
        }
    }

    /// Serves one message; returns how much of the turn it cost.
    #[inline]
    pub(super) fn handle(
        &mut self,
        frame: Frame<'_>,
        device: &mut dyn Device,
    ) -> Result<u32, SessionError> {
        let Frame {
            header,
            payload,
            fds,
        } = frame;
        self.counters.messages = self.counters.messages.wrapping_add(1);
        match header.message_type() {
            MessageType::Command => {}
            MessageType::Reply => {
                if !self
                    .dma
                    .complete(&header, payload, device, &mut self.outbox)
                {
                    // Late, or never asked for. An answer to an answer would be worse.
                    self.counters.stray_replies = self.counters.stray_replies.wrapping_add(1);
                }
                return Ok(1);
            }
            MessageType::Unknown(_) => {
                self.refuse(&header, Errno::INVAL);
                return Ok(1);
            }
        }
        if self.client.is_none() {
            self.introduce(&header, payload)?;
            return Ok(1);
        }

        let mark = self.outbox.mark();
        let mut cost = 1;
        let outcome = match Request::decode(header.number(), payload) {
            Ok(request) => self.check_fds(&fds).and_then(|()| {
                if let Request::RegionWriteMulti(writes) = request {
                    cost = u32::try_from(writes.len()).unwrap_or(u32::MAX).max(1);
                }
                self.serve(&header, request, fds.list, device)
            }),
            Err(_) => Err(Errno::INVAL),
        };
        if let Err(errno) = outcome {
            self.outbox.rewind(mark);
            self.refuse(&header, errno);
        } else if header.is_posted() {
            self.outbox.rewind(mark);
        }
        Ok(cost)
    }

    /// The first message, which has to be `VERSION`. Anything else ends the session, after an
    /// error reply.
    fn introduce(&mut self, header: &Header, payload: &[u8]) -> Result<(), SessionError> {
        if header.number() != Command::VERSION {
            self.refuse(header, Errno::INVAL);
            return Err(SessionError::NotNegotiated {
                command: header.number(),
            });
        }
        let negotiated = match Request::decode(header.number(), payload) {
            Ok(Request::Version(version, data)) => negotiate(&version, data, &self.limits),
            _ => Err(NegotiationError::Short),
        };
        let (client, data) = match negotiated {
            Ok(agreed) => agreed,
            Err(error) => {
                self.refuse(header, Errno::INVAL);
                return Err(SessionError::Negotiation(error));
            }
        };
        let theirs = client.capabilities.max_data_xfer_size;
        self.dma.negotiated(
            theirs
                .unwrap_or(crate::message::DEFAULT_MAX_DATA_XFER_SIZE)
                .min(self.limits.max_data_xfer_size),
        );
        self.client = Some(client);
        if !header.is_posted() {
            let version = Version {
                major: U16::new(MAJOR),
                minor: U16::new(MINOR),
            };
            let length = size_of::<Version>().saturating_add(data.len());
            self.outbox
                .push(&header.reply(small(length)), &[version.as_bytes(), &data]);
        }
        Ok(())
    }

    /// Answers a command by an error, unless it wants no answer.
    fn refuse(&mut self, header: &Header, errno: Errno) {
        self.counters.refused = self.counters.refused.wrapping_add(1);
        if !header.is_posted() {
            self.outbox.push_error(header, errno);
        }
    }

    #[inline]
    fn check_fds(&self, fds: &Fds) -> Result<(), Errno> {
        if fds.lost {
            return Err(Errno::MFILE);
        }
        let most = usize::try_from(self.limits.max_msg_fds).unwrap_or(usize::MAX);
        if fds.list.len() > most {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// Serves a command and queues its good reply.
    #[inline]
    fn serve(
        &mut self,
        header: &Header,
        request: Request<'_>,
        fds: Vec<OwnedFd>,
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        match request {
            Request::RegionWrite(access, data) => self.region_write(header, access, data, device),
            Request::RegionRead(access) => self.region_read(header, access, device),
            Request::RegionWriteMulti(writes) => self.region_write_multi(header, writes, device),
            Request::DmaMap(map) => self.dma_map(header, &map, fds, device),
            Request::DmaUnmap(unmap, _) => self.dma_unmap(header, unmap, device),
            Request::DeviceSetIrqs(set, data) => self.set_irqs(header, &set, data, fds, device),
            Request::DeviceGetInfo(info) => self.device_info(header, &info),
            Request::DeviceGetRegionInfo(info) => self.region_info(header, &info),
            Request::DeviceGetRegionIoFds(info) => self.region_io_fds(header, &info),
            Request::DeviceGetIrqInfo(info) => self.irq_info(header, &info),
            Request::DeviceReset => {
                device.reset()?;
                self.migration.reset();
                if let Some(device) = device.migration() {
                    device.start();
                }
                self.outbox.push(&header.reply(0), &[]);
                Ok(())
            }
            Request::DeviceFeature(feature, data) => self.feature(header, feature, data, device),
            Request::MigDataRead(asked) => self.migration_read(header, asked, device),
            Request::MigDataWrite(_, bytes) => {
                device.migration().ok_or(Errno::NOTSUP)?;
                self.migration.write(bytes)?;
                self.outbox.push(&header.reply(0), &[]);
                Ok(())
            }
            // What migration was before it had its second version.
            Request::DirtyPages(..) => Err(Errno::NOTSUP),
            // A second one.
            Request::Version(..) => Err(Errno::INVAL),
            // These go the other way.
            Request::DmaRead(_) | Request::DmaWrite(..) => Err(Errno::NOSYS),
            Request::Unknown(..) => Err(Errno::NOSYS),
        }
    }

    fn feature(
        &mut self,
        header: &Header,
        feature: DeviceFeature,
        data: &[u8],
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        let most = usize::try_from(self.limits.max_data_xfer_size).unwrap_or(usize::MAX);
        let most = most.saturating_sub(64);
        let device = device.migration();
        let data = self.migration.feature(&feature, data, most, device)?;
        let length = small(data.len()).saturating_add(8);
        let reply = DeviceFeature {
            argsz: U32::new(length),
            ..feature
        };
        self.outbox
            .push(&header.reply(length), &[reply.as_bytes(), &data]);
        Ok(())
    }

    fn migration_read(
        &mut self,
        header: &Header,
        asked: MigData,
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        device.migration().ok_or(Errno::NOTSUP)?;
        let size = asked.size.get();
        if size > self.limits.max_data_xfer_size || asked.argsz.get() < 8 {
            return Err(Errno::INVAL);
        }
        let data = self
            .migration
            .read(usize::try_from(size).unwrap_or(usize::MAX))?;
        let size = small(data.len());
        let length = size.saturating_add(8);
        let reply = MigData {
            argsz: U32::new(length),
            size: U32::new(size),
        };
        self.outbox
            .push(&header.reply(length), &[reply.as_bytes(), data]);
        Ok(())
    }

    #[inline]
    fn region_write(
        &mut self,
        header: &Header,
        access: RegionAccess,
        data: &[u8],
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        let (region, offset) = (access.region.get(), access.offset.get());
        let outcome = self.write_checked(region, offset, data, device);
        self.unless_told_by_data(outcome)?;
        if !header.is_posted() {
            self.outbox.push(&header.reply(16), &[access.as_bytes()]);
        }
        Ok(())
    }

    #[inline]
    fn write_checked(
        &self,
        region: u32,
        offset: u64,
        data: &[u8],
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        let access = self.accessible(region, offset, data.len())?;
        if !access.contains(RegionFlags::WRITE) {
            return Err(Errno::PERM);
        }
        if data.is_empty() {
            return Ok(());
        }
        device.region_write(region, offset, data)
    }

    fn region_read(
        &mut self,
        header: &Header,
        access: RegionAccess,
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        let (region, offset) = (access.region.get(), access.offset.get());
        if access.count.get() > self.limits.max_data_xfer_size {
            return Err(Errno::INVAL);
        }
        let count = usize::try_from(access.count.get()).map_err(|_| Errno::INVAL)?;
        let allowed = self.accessible(region, offset, count).and_then(|flags| {
            if flags.contains(RegionFlags::READ) {
                Ok(())
            } else {
                Err(Errno::PERM)
            }
        });
        if allowed.is_err() {
            self.unless_told_by_data(allowed)?;
        }
        let reply = header.reply(access.count.get().saturating_add(16));
        let data = self.outbox.push_zeroed(&reply, access.as_bytes(), count);
        let outcome = match allowed {
            Ok(()) if data.is_empty() => Ok(()),
            Ok(()) => device.region_read(region, offset, data),
            Err(errno) => Err(errno),
        };
        if outcome.is_err() {
            data.fill(0xff);
        }
        self.unless_told_by_data(outcome)
    }

    fn region_write_multi(
        &mut self,
        header: &Header,
        writes: &[MultiWrite],
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        if !self.limits.write_multiple {
            return Err(Errno::NOTSUP);
        }
        // Each stands for a message of its own: one that fails does not keep the next from
        // being done.
        let mut outcome = Ok(());
        for write in writes {
            let done = usize::try_from(write.count.get())
                .ok()
                .and_then(|count| write.data.get(..count))
                .filter(|data| !data.is_empty())
                .ok_or(Errno::INVAL)
                .and_then(|data| {
                    self.write_checked(write.region.get(), write.offset.get(), data, device)
                });
            outcome = outcome.and(done);
        }
        outcome?;
        let count = U64::new(u64::try_from(writes.len()).unwrap_or(u64::MAX));
        self.outbox.push(&header.reply(8), &[count.as_bytes()]);
        Ok(())
    }

    /// The flags of a region that has `count` bytes at `offset`.
    #[inline]
    fn accessible(&self, region: u32, offset: u64, count: usize) -> Result<RegionFlags, Errno> {
        let region = self.region(region)?;
        let count = u64::try_from(count).map_err(|_| Errno::INVAL)?;
        match offset.checked_add(count) {
            Some(end) if end <= region.size => Ok(region.access),
            _ => Err(Errno::INVAL),
        }
    }

    #[inline]
    fn region(&self, index: u32) -> Result<&Region, Errno> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.description.regions.get(index))
            .ok_or(Errno::INVAL)
    }

    /// Turns an error into success for a client that must not see it.
    #[inline]
    fn unless_told_by_data(&mut self, outcome: Result<(), Errno>) -> Result<(), Errno> {
        match (outcome, &self.client) {
            (Err(_), Some(client)) if client.errors == ErrorStyle::Data => {
                self.counters.refused = self.counters.refused.wrapping_add(1);
                Ok(())
            }
            _ => outcome,
        }
    }

    fn dma_map(
        &mut self,
        header: &Header,
        map: &DmaMap,
        fds: Vec<OwnedFd>,
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        let protection = Protection::from_bits(map.flags.get()).ok_or(Errno::INVAL)?;
        let range = IovaRange::new(map.address.get(), map.size.get()).ok_or(Errno::INVAL)?;
        if map.argsz.get() < 32 || protection.is_empty() {
            return Err(Errno::INVAL);
        }
        let mut fds = fds.into_iter();
        let file = fds.next();
        if fds.next().is_some() {
            return Err(Errno::INVAL);
        }
        let offset = map.offset.get();
        offset.checked_add(map.size.get()).ok_or(Errno::INVAL)?;
        let by_message = file.is_none();
        device.dma_map(DmaMapping {
            range,
            protection,
            file,
            offset,
        })?;
        if by_message {
            self.dma.offered();
        }
        self.outbox.push(&header.reply(0), &[]);
        Ok(())
    }

    fn dma_unmap(
        &mut self,
        header: &Header,
        unmap: DmaUnmap,
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        if unmap.argsz.get() < 24 {
            return Err(Errno::INVAL);
        }
        let outcome = unmapped_range(&unmap).and_then(|range| device.dma_unmap(range));
        self.unless_told_by_data(outcome)?;
        let reply = DmaUnmap {
            argsz: U32::new(24),
            ..unmap
        };
        self.outbox.push(&header.reply(24), &[reply.as_bytes()]);
        Ok(())
    }

    fn set_irqs(
        &mut self,
        header: &Header,
        set: &IrqSet,
        data: &[u8],
        fds: Vec<OwnedFd>,
        device: &mut dyn Device,
    ) -> Result<(), Errno> {
        device.set_irqs(irqs::update(&self.description.irqs, set, data, fds)?)?;
        self.outbox.push(&header.reply(0), &[]);
        Ok(())
    }

    fn device_info(&mut self, header: &Header, info: &DeviceInfo) -> Result<(), Errno> {
        if info.argsz.get() < 16 {
            return Err(Errno::INVAL);
        }
        let reply = DeviceInfo {
            argsz: U32::new(16),
            flags: U32::new(self.description.flags.bits()),
            num_regions: U32::new(small(self.description.regions.len())),
            num_irqs: U32::new(small(self.description.irqs.len())),
        };
        self.outbox.push(&header.reply(16), &[reply.as_bytes()]);
        Ok(())
    }

    fn region_info(&mut self, header: &Header, info: &RegionInfo) -> Result<(), Errno> {
        let room = info.argsz.get();
        if room < 32 {
            return Err(Errno::INVAL);
        }
        let region = self.region(info.index.get())?;
        let mut flags = region.access;
        let mut capabilities = Vec::new();
        let mut offset = 0;
        let mut file = None;
        if let Some(mapping) = &region.mapping {
            flags |= RegionFlags::MMAP;
            offset = mapping.offset;
            file = Some(mapping.file.clone());
            if !mapping.areas.is_empty() {
                let sparse = SparseMmap {
                    header: CapabilityHeader {
                        id: U16::new(CAP_SPARSE_MMAP),
                        version: U16::new(1),
                        next: U32::new(0),
                    },
                    nr_areas: U32::new(small(mapping.areas.len())),
                    reserved: U32::new(0),
                };
                capabilities.extend_from_slice(sparse.as_bytes());
                for area in &mapping.areas {
                    let area = SparseArea {
                        offset: U64::new(area.offset),
                        size: U64::new(area.size),
                    };
                    capabilities.extend_from_slice(area.as_bytes());
                }
            }
        }
        let needed = small(capabilities.len()).saturating_add(32);
        let mut cap_offset = 0;
        if needed > room {
            // The client asks again with the room that it is told about. It may not be told of
            // capabilities that are not in this reply.
            capabilities.clear();
        } else if !capabilities.is_empty() {
            flags |= RegionFlags::CAPS;
            cap_offset = 32;
        }
        let reply = RegionInfo {
            argsz: U32::new(needed),
            flags: U32::new(flags.bits()),
            index: info.index,
            cap_offset: U32::new(cap_offset),
            size: U64::new(region.size),
            offset: U64::new(offset),
        };
        let head = header.reply(small(capabilities.len()).saturating_add(32));
        let parts = [reply.as_bytes(), &capabilities];
        match file {
            Some(file) => self.outbox.push_with_fd(&head, &parts, file),
            None => self.outbox.push(&head, &parts),
        }
        Ok(())
    }

    fn region_io_fds(&mut self, header: &Header, info: &RegionIoFds) -> Result<(), Errno> {
        if info.argsz.get() < 16 || info.flags.get() != 0 || info.count.get() != 0 {
            return Err(Errno::INVAL);
        }
        self.region(info.index.get())?;
        let reply = RegionIoFds {
            argsz: U32::new(16),
            ..*info
        };
        self.outbox.push(&header.reply(16), &[reply.as_bytes()]);
        Ok(())
    }

    fn irq_info(&mut self, header: &Header, info: &IrqInfo) -> Result<(), Errno> {
        if info.argsz.get() < 16 {
            return Err(Errno::INVAL);
        }
        let irq = usize::try_from(info.index.get())
            .ok()
            .and_then(|index| self.description.irqs.get(index))
            .copied();
        if irq.is_none() {
            self.unless_told_by_data(Err(Errno::INVAL))?;
        }
        let reply = IrqInfo {
            argsz: U32::new(16),
            flags: U32::new(irq.map_or(0, |irq| irq.flags.bits())),
            index: info.index,
            count: U32::new(irq.map_or(0, |irq| irq.count)),
        };
        self.outbox.push(&header.reply(16), &[reply.as_bytes()]);
        Ok(())
    }
}

/// What an unmapping is about.
fn unmapped_range(unmap: &DmaUnmap) -> Result<DmaRange, Errno> {
    let flags = DmaUnmapFlags::from_bits_retain(unmap.flags.get());
    let (address, size) = (unmap.address.get(), unmap.size.get());
    match flags {
        DmaUnmapFlags::ALL if address == 0 && size == 0 => Ok(DmaRange::All),
        // Nothing tracks what the device wrote.
        _ if flags.contains(DmaUnmapFlags::GET_DIRTY_BITMAP) => Err(Errno::NOTSUP),
        _ if flags.is_empty() => IovaRange::new(address, size)
            .map(DmaRange::Range)
            .ok_or(Errno::INVAL),
        _ => Err(Errno::INVAL),
    }
}

/// A count of our own making, far below 2^32.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
