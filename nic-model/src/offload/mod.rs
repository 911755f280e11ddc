//! Checksum and segmentation arithmetic (7.2.4, 7.2.5), for both directions: the transmit engine works by it, and a
//! wire that receives large frames of a kernel cuts them by it.

pub mod checksum;
pub mod segmentation;

pub use checksum::Sum;
pub use segmentation::{Layout, Segmenter, TcpFlagMasks, Transport};
