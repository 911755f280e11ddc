//! The server's side: a device, served to one client at a time over one connection.

mod description;
mod device;
mod dma;
mod engine;
mod irqs;
mod migration;
mod negotiation;
mod session;

pub use description::{Description, Irq, Limits, MappableArea, Region, RegionMapping};
pub use device::{
    Device, DmaMapping, DmaRange, IovaRange, IrqAction, IrqOperation, IrqSelection, IrqUpdate,
    RequestId,
};
pub use dma::DmaError;
pub use migration::{DeviceState, Migratable};
pub use negotiation::{ClientInfo, ErrorStyle, NegotiationError};
pub use session::{Counters, Progress, Session, SessionError};
