//! What the front-end (QEMU) asks for, message by message.
//!
//! Messages and traffic have one thread, so a message's effect is there when its answer goes: a ring that was stopped is
//! off the card, memory that was taken away is not written to any more.

use std::{fs::File, io, sync::Arc};

use nic_driver::{Device, DriverError};
use vhost::{
    VhostUserMemoryRegionBase,
    vhost_user::{
        Error, GpuBackend, Result, VhostUserBackendReqHandlerMut,
        message::{
            VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags,
            VhostUserInflight, VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures,
            VhostUserShMemConfig, VhostUserSharedMsg, VhostUserSingleMemoryRegion,
            VhostUserVringAddrFlags, VhostUserVringState,
        },
    },
};

use crate::{
    dirty::DirtyLog,
    memory::{MAX_REGIONS, MemoryError, Region},
    negotiated::{Negotiated, Offer},
    stack::Stack,
    vring::Vring,
};

const MISSING: Error = Error::InvalidOperation("not part of a network back-end");

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::ReqHandlerError(io::Error::other(error))
}

impl<D: Device> Stack<D> {
    fn vring(&mut self, index: u32) -> Result<&mut Vring> {
        let index = usize::try_from(index).map_err(|_| Error::InvalidParam)?;
        self.vrings.get_mut(index).ok_or(Error::InvalidParam)
    }

    /// Brings the card's rings in line. A card that is gone does not matter to the front-end: the guest's rings wait.
    fn follow(&mut self) -> Result<()> {
        match self.update() {
            Err(DriverError::Device(_)) => {
                self.unplug();
                Ok(())
            }
            other => other.map_err(failed),
        }
    }

    fn memory(
        &mut self,
        change: impl Fn(
            &mut crate::memory::GuestRam,
            Option<&mut dyn Device>,
        ) -> std::result::Result<(), MemoryError>,
    ) -> Result<()> {
        let (ram, device) = self.device();
        match change(ram, device) {
            Err(MemoryError::Device(_)) => {
                self.unplug();
                change(&mut self.ram, None).map_err(failed)
            }
            other => other.map_err(failed),
        }
    }
}

fn region(region: &VhostUserMemoryRegion, file: File) -> Region {
    Region {
        guest: region.guest_phys_addr,
        user: region.user_addr,
        size: region.memory_size,
        offset: region.mmap_offset,
        file: Arc::new(file),
    }
}

impl<D: Device> VhostUserBackendReqHandlerMut for Stack<D> {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.reset_device()
    }

    fn reset_device(&mut self) -> Result<()> {
        for vring in &mut self.vrings {
            vring.enabled = false;
        }
        self.follow()
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.settings.offer.features())
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !self.settings.offer.features() != 0 {
            return Err(Error::InvalidParam);
        }
        self.negotiated = Negotiated(features);
        if !self.negotiated.logs() && self.ram.is_logged() {
            self.ram.set_log(None).map_err(failed)?;
        }
        let Self {
            vrings, negotiated, ..
        } = self;
        for vring in vrings {
            vring.set_event_idx(negotiated.event_idx());
            if !negotiated.enables_rings() {
                vring.enabled = true;
            }
        }
        self.follow()
    }

    fn set_mem_table(
        &mut self,
        table: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let regions = table.iter().zip(files);
        let regions: Vec<_> = regions.map(|(entry, file)| region(entry, file)).collect();
        self.memory(|ram, device| ram.replace(regions.clone(), device))?;
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        self.vring(index)?
            .set_size(num)
            .map_err(|_| Error::InvalidParam)
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let place = |user| self.ram.guest_address(user).ok_or(Error::InvalidParam);
        let addresses = (place(descriptor)?, place(available)?, place(used)?);
        let memory = self.ram.mapped();
        let vring = self.vring(index)?;
        // A running ring gets its addresses again when logging begins; it goes on where it is.
        vring
            .set_addresses(&memory, addresses)
            .map_err(|_| Error::InvalidParam)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.vring(index)?.set_base(base);
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        // What the card has received is the guest's before the ring itself stops.
        let enabled = std::mem::replace(&mut self.vring(index)?.enabled, false);
        self.follow()?;
        let vring = self.vring(index)?;
        vring.stop();
        vring.enabled = enabled;
        vring.kick = None;
        vring.call = None;
        Ok(VhostUserVringState::new(index, vring.base().into()))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let vring = self.vring(index.into())?;
        if let Some(fd) = &fd {
            make_non_blocking(fd)?;
        }
        vring.kick = fd;
        if !vring.is_started() {
            vring.start();
        }
        self.follow()
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        if let Some(fd) = &fd {
            make_non_blocking(fd)?;
        }
        let vring = self.vring(index.into())?;
        vring.call = fd;
        // What went back before there was somebody to ring would be forgotten.
        vring.ring_again();
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _fd: Option<File>) -> Result<()> {
        self.vring(index.into()).map(drop)
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(Offer::protocol_features())
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        let offered = Offer::protocol_features().bits();
        if features & !offered != 0 {
            return Err(Error::InvalidParam);
        }
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.settings.pairs as u64 * 2)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.vring(index)?.enabled = enable;
        self.follow()
    }

    fn get_config(
        &mut self,
        _offset: u32,
        _size: u32,
        _flags: VhostUserConfigFlags,
    ) -> Result<Vec<u8>> {
        Err(MISSING)
    }

    fn set_config(
        &mut self,
        _offset: u32,
        _buf: &[u8],
        _flags: VhostUserConfigFlags,
    ) -> Result<()> {
        Err(MISSING)
    }

    fn set_gpu_socket(&mut self, _gpu_backend: GpuBackend) -> Result<()> {
        Err(MISSING)
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        Err(MISSING)
    }

    fn get_inflight_fd(
        &mut self,
        _inflight: &VhostUserInflight,
    ) -> Result<(VhostUserInflight, File)> {
        Err(MISSING)
    }

    fn set_inflight_fd(&mut self, _inflight: &VhostUserInflight, _file: File) -> Result<()> {
        Err(MISSING)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MAX_REGIONS as u64)
    }

    fn add_mem_region(
        &mut self,
        added: &VhostUserSingleMemoryRegion,
        fd: File,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        let added = region(added, fd);
        self.memory(|ram, device| ram.add(added.clone(), device))?;
        Ok(None)
    }

    fn remove_mem_region(&mut self, gone: &VhostUserSingleMemoryRegion) -> Result<()> {
        let place = (gone.guest_phys_addr, gone.user_addr, gone.memory_size);
        self.memory(|ram, device| ram.remove(place, device))
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _fd: File,
    ) -> Result<Option<File>> {
        Err(MISSING)
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(MISSING)
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(MISSING)
    }

    fn set_log_base(&mut self, log: &VhostUserLog, file: File) -> Result<()> {
        let log = DirtyLog::attach(file, log.mmap_offset, log.mmap_size).map_err(failed)?;
        self.ram.set_log(Some(Arc::new(log))).map_err(failed)
    }
}

/// The two ends of an eventfd share its flags; neither must wait on the other's account.
fn make_non_blocking(fd: &File) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|error| failed(io::Error::from(error)))?;
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)
        .map_err(|error| failed(io::Error::from(error)))
}
