//! The port as a vfio-user device: regions, interrupts, memory, reset.

use std::collections::BTreeMap;

use guest_memory::Backing;
use ixgbe_spec::nvm::FLASH_SIZE;
use ixgbe_spec::pci::{CONFIG_SIZE, CSR_BAR_SIZE, IO_BAR_SIZE, MSIX_BAR_SIZE, MSIX_PBA};
use nic_model::{Bar, Context, Port, Time, Wire, bus::Iova};
use nix::errno;
use vfio_user::{
    Errno,
    message::{DeviceFlags, IrqFlags, Protection},
    server::{
        Description, Device, DmaMapping, DmaRange, Irq, IrqAction, IrqOperation, IrqUpdate,
        Migratable, Region, RegionMapping, RequestId,
    },
};
use vm_memory::Permissions;

use crate::{
    bus::ClientBus, doorbells::Mirror, irq::IrqIndex, message_dma::Serial, moving::Motion,
};

/// Index of the expansion ROM among the regions (`VFIO_PCI_ROM_REGION_INDEX`).
const ROM_REGION: u32 = 6;
/// Index of configuration space among the regions (`VFIO_PCI_CONFIG_REGION_INDEX`).
const CONFIG_REGION: u32 = 7;

/// What the client is told about the device, with the part of BAR 0 that it may map.
#[must_use]
pub fn description(mapping: Option<RegionMapping>) -> Description {
    let eventfd = |count| Irq {
        flags: IrqFlags::EVENTFD,
        count,
    };
    Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions: vec![
            Region {
                mapping,
                ..Region::trapped(CSR_BAR_SIZE.into())
            },
            Region::ABSENT,
            Region::trapped(IO_BAR_SIZE.into()),
            Region::ABSENT,
            Region::trapped(MSIX_BAR_SIZE.into()),
            Region::ABSENT,
            Region::trapped(FLASH_SIZE.into()),
            Region::trapped(CONFIG_SIZE as u64),
            Region::ABSENT,
        ],
        irqs: vec![
            Irq {
                flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED,
                count: 1,
            },
            eventfd(1),
            // Without NORESIZE: with it, QEMU takes all vectors down to add one, and loses interrupts in between.
            eventfd(IrqIndex::MsiX.vectors()),
            eventfd(1),
            eventfd(1),
        ],
    }
}

/// The port with what surrounds it, for the time of a turn.
#[expect(missing_debug_implementations, reason = "borrows a trait object")]
pub struct Card<'a> {
    /// The port.
    pub port: &'a mut Port,
    /// Client memory and interrupts.
    pub bus: &'a mut ClientBus,
    /// The cable.
    pub wire: &'a mut dyn Wire,
    /// When the turn began.
    pub now: Time,
}

impl Card<'_> {
    /// Calls the port.
    pub fn with<R>(&mut self, call: impl FnOnce(&mut Port, &mut Context<'_>) -> R) -> R {
        let mut context = Context {
            now: self.now,
            bus: &*self.bus,
            wire: &mut *self.wire,
        };
        call(self.port, &mut context)
    }
}

/// Which message stands for which access.
pub type InFlight = BTreeMap<RequestId, Serial>;

/// The device that a session serves.
pub(crate) struct Served<'a, 'card> {
    pub(crate) card: &'a mut Card<'card>,
    pub(crate) in_flight: &'a mut InFlight,
    /// The pages that the client may have mapped.
    pub(crate) mirror: Option<&'a mut Mirror>,
    pub(crate) motion: &'a mut Motion,
}

impl<'card> Served<'_, 'card> {
    /// Does what a message asks for. What the client has stored in mapped pages before it sent the message comes first,
    /// and what the message changes is there when the client has the reply. `read` is the offset in BAR 0 of a read.
    pub(crate) fn in_order<R>(
        &mut self,
        read: Option<u64>,
        act: impl FnOnce(&mut Card<'card>) -> R,
    ) -> R {
        let Some(mirror) = &mut self.mirror else {
            return act(self.card);
        };
        mirror.message(read, self.card);
        let done = act(self.card);
        mirror.show(self.card.port);
        done
    }
}

/// A place that the client can read and write.
enum Place {
    Bar(Bar, u64),
    Config(u16),
}

impl Place {
    fn new(region: u32, offset: u64) -> Result<Self, Errno> {
        Ok(match region {
            0 => Self::Bar(Bar::Csr, offset),
            2 => Self::Bar(Bar::Io, offset),
            4 => Self::Bar(Bar::MsiX, offset),
            ROM_REGION => Self::Bar(Bar::Rom, offset),
            CONFIG_REGION => Self::Config(u16::try_from(offset).map_err(|_| Errno::INVAL)?),
            _ => return Err(Errno::INVAL),
        })
    }
}

impl Device for Served<'_, '_> {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        let place = Place::new(region, offset)?;
        let csr = matches!(place, Place::Bar(Bar::Csr, _)).then_some(offset);
        self.in_order(csr, |card| {
            card.with(|port, context| match place {
                Place::Bar(bar, offset) => port.bar_read(bar, offset, data, context),
                Place::Config(offset) => port.config_read(offset, data),
            });
        });
        if let Place::Bar(Bar::MsiX, offset) = place {
            add_pending(self.card.bus.irqs().msix_pending(), offset, data);
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let place = Place::new(region, offset)?;
        self.in_order(None, |card| {
            card.with(|port, context| match place {
                Place::Bar(bar, offset) => port.bar_write(bar, offset, data, context),
                Place::Config(offset) => port.config_write(offset, data, context),
            });
        });
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Errno> {
        self.in_order(None, |card| card.with(Port::reset));
        Ok(())
    }

    fn dma_map(&mut self, mapping: DmaMapping) -> Result<(), Errno> {
        let backing = mapping.file.map_or(Backing::Messages, |fd| Backing::File {
            fd,
            offset: mapping.offset,
        });
        let (iova, size) = (mapping.range.first(), mapping.range.size());
        let bus = &mut self.card.bus;
        bus.mapped();
        bus.memory()
            .map(iova, size, permissions(mapping.protection), backing)
            .map_err(|error| {
                tracing::debug!(%error, "DMA_MAP refused");
                errno(error.errno())
            })?;
        let now = self.card.now;
        self.card.port.client_mapped(Iova(iova), size, now);
        Ok(())
    }

    fn dma_unmap(&mut self, range: DmaRange) -> Result<(), Errno> {
        let (iova, size) = match range {
            DmaRange::All => (0, u64::MAX),
            DmaRange::Range(range) => (range.first(), range.size()),
        };
        let now = self.card.now;
        self.card.port.client_unmaps(Iova(iova), size, now);
        let bus = &mut self.card.bus;
        bus.unmapped(now);
        match range {
            DmaRange::All => bus.memory().unmap_all(),
            DmaRange::Range(range) => bus
                .memory()
                .unmap(range.first(), range.size())
                .map_err(|error| errno(error.errno()))?,
        }
        Ok(())
    }

    fn set_irqs(&mut self, update: IrqUpdate<'_>) -> Result<(), Errno> {
        let index = IrqIndex::from_number(update.index).ok_or(Errno::INVAL)?;
        let irqs = self.card.bus.irqs();
        match update.operation {
            IrqOperation::Disable => irqs.disable(index),
            IrqOperation::Assign(IrqAction::Trigger, eventfds) => {
                irqs.set_eventfds(index, update.start, eventfds);
            }
            IrqOperation::Assign(IrqAction::Unmask, eventfds) if index == IrqIndex::Intx => {
                let eventfd = eventfds.into_iter().next().flatten();
                irqs.set_intx_unmask_eventfd(eventfd).map_err(errno)?;
            }
            IrqOperation::Assign(..) => return Err(Errno::NOTSUP),
            IrqOperation::Act(action, selection) => {
                (0..)
                    .zip(update.start..update.start.saturating_add(update.count))
                    .filter(|(place, _)| selection.contains(*place))
                    .for_each(|(_, vector)| match action {
                        IrqAction::Mask => irqs.mask(index, vector),
                        IrqAction::Unmask => irqs.unmask(index, vector),
                        IrqAction::Trigger => irqs.trigger(index, vector),
                    });
            }
        }
        Ok(())
    }

    fn migration(&mut self) -> Option<&mut dyn Migratable> {
        Some(self)
    }

    fn dma_read_done(&mut self, id: RequestId, result: Result<&[u8], Errno>) {
        if let Some(serial) = self.in_flight.remove(&id) {
            self.card.bus.read_done(serial, result.ok());
        }
    }

    fn dma_write_done(&mut self, id: RequestId, result: Result<(), Errno>) {
        if let Some(serial) = self.in_flight.remove(&id) {
            self.card.bus.write_done(serial, result.is_ok());
        }
    }
}

/// Adds the vectors that wait for the client to the pending bits, as far as `data`, read at `offset` of the MSI-X BAR,
/// shows them.
fn add_pending(pending: u64, offset: u64, data: &mut [u8]) {
    let bits = (u64::from(MSIX_PBA)..).zip(pending.to_le_bytes());
    for (place, bits) in bits {
        let byte = place
            .checked_sub(offset)
            .and_then(|index| data.get_mut(usize::try_from(index).ok()?));
        if let Some(byte) = byte {
            *byte |= bits;
        }
    }
}

fn permissions(protection: Protection) -> Permissions {
    match (
        protection.contains(Protection::READ),
        protection.contains(Protection::WRITE),
    ) {
        (true, true) => Permissions::ReadWrite,
        (true, false) => Permissions::Read,
        (false, true) => Permissions::Write,
        (false, false) => Permissions::No,
    }
}

fn errno(errno: errno::Errno) -> Errno {
    Errno::from_raw((errno as i32).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_keeps_its_number() {
        assert_eq!(errno(errno::Errno::EEXIST), Errno::EXIST);
    }

    #[test]
    fn vectors_that_wait_show_in_the_pending_bits_only() {
        let mut data = [0; 8];

        add_pending(0x1122, u64::from(MSIX_PBA) - 2, &mut data);

        assert_eq!(data, [0, 0, 0x22, 0x11, 0, 0, 0, 0]);
    }

    #[test]
    fn the_regions_stand_at_the_indices_of_vfio_pci() {
        let description = description(None);

        let sizes: Vec<u64> = description
            .regions
            .iter()
            .map(|region| region.size)
            .collect();

        assert_eq!(sizes, [0x8_0000, 0, 32, 0, 0x4000, 0, 0x8_0000, 4096, 0]);
    }

    #[test]
    fn the_interrupts_stand_at_the_indices_of_vfio_pci() {
        let counts: Vec<u32> = description(None).irqs.iter().map(|irq| irq.count).collect();

        assert_eq!(counts, [1, 1, 64, 1, 1]);
    }
}
