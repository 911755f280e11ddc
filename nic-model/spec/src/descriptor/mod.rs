//! Descriptors: what a ring's 16 bytes mean to the card and to the driver (7.1.5, 7.1.6, 7.2.3).

pub mod field;
pub mod rx;
pub mod tx;

/// Size of a descriptor of any kind, in bytes.
pub const SIZE: usize = 16;
