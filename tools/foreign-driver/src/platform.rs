//! What the `ixgbe-driver` crate asks of its platform.
#![expect(unsafe_code, reason = "the driver's trait is unsafe to implement")]

use std::ptr::NonNull;
use std::time::Duration;

use guest_memory::SharedMemory;
use ixgbe_driver::{IxgbeHal, PhysAddr};

use crate::card;

/// Longest time that one wait of the driver's takes. It asks for seconds after a reset and for the link, which a card of
/// copper needs; where it waits for something it looks again afterwards.
const LONGEST: Duration = Duration::from_millis(20);

/// The platform of a thread with a [`Card`](crate::Card).
#[derive(Clone, Copy, Debug)]
pub struct Platform;

// SAFETY:
// 1. `dma_alloc` gives memory of its own, zeroed, aligned to a page, that is never unmapped, and of which nobody in this
//    process holds a reference: the session maps it by descriptor or copies by volatile slices.
// 2. `mmio_phys_to_virt` gives pointers into the same memory only.
// Test: `frames_that_the_driver_sends_are_on_the_cable_byte_for_byte`.
unsafe impl IxgbeHal for Platform {
    fn dma_alloc(size: usize) -> (PhysAddr, NonNull<u8>) {
        let (iova, memory) = card::lend(size);
        (bus(iova), start(memory))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // Memory stays; see the crate.
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, size: usize) -> NonNull<u8> {
        let found = card::lent().into_iter().find_map(|(iova, memory)| {
            let offset = address.checked_sub(bus(iova))?;
            memory.slice(offset, size)?;
            // SAFETY: the offset is inside the memory, as the line above has found.
            // Test: `an_address_leads_to_the_bus_and_back`.
            Some(unsafe { start(memory).add(offset) })
        });
        found.expect("an address that was lent to the card")
    }

    unsafe fn mmio_virt_to_phys(address: NonNull<u8>, size: usize) -> PhysAddr {
        let found = card::lent().into_iter().find_map(|(iova, memory)| {
            let offset = address
                .addr()
                .get()
                .checked_sub(start(memory).addr().get())?;
            memory.slice(offset, size)?;
            Some(bus(iova) + offset)
        });
        found.expect("memory that was lent to the card")
    }

    fn wait_until(duration: Duration) -> Result<(), &'static str> {
        card::pass(duration.min(LONGEST));
        Ok(())
    }
}

/// The first byte of some memory.
fn start(memory: &SharedMemory) -> NonNull<u8> {
    let slice = memory.slice(0, memory.len()).expect("all of it");
    NonNull::new(slice.ptr_guard_mut().as_ptr()).expect("a mapping is not at address 0")
}

/// A bus address as the driver holds it: both have 64 bits here.
fn bus(iova: u64) -> PhysAddr {
    usize::try_from(iova).expect("usize has 64 bits")
}

#[cfg(test)]
mod tests {
    use nic_driver::in_process::{Bench, InProcess};
    use nic_model::PortConfig;

    use super::*;
    use crate::Card;

    #[test]
    fn an_address_leads_to_the_bus_and_back() {
        let card = InProcess::new(PortConfig::new([2; 6]), Bench::default());
        let _card = Card::plug(Box::new(card)).unwrap();
        let (_, first) = Platform::dma_alloc(100);
        let (bus, second) = Platform::dma_alloc(8192);

        // SAFETY: the memory is the platform's own.
        let (there, back) = unsafe {
            let address = second.add(4100);
            (
                Platform::mmio_virt_to_phys(address, 4),
                Platform::mmio_phys_to_virt(bus + 4100, 4),
            )
        };

        assert_eq!(there, bus + 4100);
        assert_eq!(back.addr().get(), second.addr().get() + 4100);
        assert_ne!(first, second);
    }
}
