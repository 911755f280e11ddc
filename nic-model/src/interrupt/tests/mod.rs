//! Interrupts as a driver sees them from the bus.

mod causes;
mod moderation;
mod msix;
mod single;

use ixgbe_spec::register::Reg;

use crate::port::tests::world::World;

const LSC: u32 = 1 << 20;
const MAILBOX: u32 = 1 << 19;
const OTHER: u32 = 1 << 31;
const TCP_TIMER: u32 = 1 << 30;

/// GPIE as Linux writes it for MSI-X: PBA support, EIAME, OCD, multiple vectors, SDP1 and SDP2.
const GPIE_LINUX_MSIX: u32 = 0xC000_0036;

/// Queue 0 of both kinds on vector 0, queue 1 on vector 1, other causes on vector 2; auto-clear and auto-mask as Linux
/// sets them.
fn linux_msix() -> World {
    let mut world = World::msix();
    world.set(Reg::GPIE, GPIE_LINUX_MSIX);
    world.set(Reg::IVAR, 0x8181_8080);
    world.set(Reg::IVAR_MISC, 0x0000_8200);
    world.set(Reg::EIAC, 0x3007_FFFF);
    world.set_at(Reg::EIAM_EX, 0, u32::MAX);
    world.set_at(Reg::EIAM_EX, 1, u32::MAX);
    world
}

/// A receive queue has written back a packet.
fn receive_event(world: &mut World, queue: usize) {
    world.call(|port, context| {
        port.with_interrupts(context, |irq, regs| irq.rx_queue(regs, queue));
    });
}

/// A transmit queue has written back a descriptor.
fn transmit_event(world: &mut World, queue: usize) {
    world.call(|port, context| {
        port.with_interrupts(context, |irq, regs| irq.tx_queue(regs, queue));
    });
}

/// As [`receive_event`], with low latency.
fn low_latency_event(world: &mut World, queue: usize) {
    world.call(|port, context| {
        port.with_interrupts(context, |irq, regs| irq.rx_queue_low_latency(regs, queue));
    });
}
