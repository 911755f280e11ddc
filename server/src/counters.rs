//! What the server itself counts, beside the card's own statistics.

use control::{Counter, Group};
use nic_model::Port;

use crate::{bus::ClientBus, client::Client, worker::WorkerCounters};

/// All counters but the cable's, by name.
#[must_use]
pub(crate) fn all(
    port: &Port,
    bus: &ClientBus,
    client: Option<&Client>,
    worker: WorkerCounters,
) -> Vec<Counter> {
    let interrupts = bus.interrupt_counters();
    let dma = bus.counters();
    let server = [
        ("model.clients", worker.clients),
        (
            "model.messages",
            worker
                .messages
                .wrapping_add(client.map_or(0, Client::messages)),
        ),
        ("model.turns", worker.turns),
        ("model.sleeps", worker.sleeps),
        ("model.dma_refused", dma.refused),
        ("model.dma_pending", dma.pending),
        ("model.dma_maps", dma.maps),
        ("model.dma_unmaps", dma.unmaps),
        ("model.dma_ranges", dma.ranges),
        ("model.interrupts", interrupts.delivered),
        ("model.interrupts_held", interrupts.held),
        ("model.interrupts_failed", interrupts.failed),
    ];
    let server = server.map(|(name, value)| Counter::new(Group::Model, name, value));
    Counter::of_port(port).chain(server).collect()
}
