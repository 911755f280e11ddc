//! The port as software sees it from the bus.

mod access;
mod dcb;
mod flow_control;
mod loopback;
mod packet_buffer;
mod receive;
mod reset;
mod security;
mod self_test;
mod switch;
mod timers;
pub(crate) mod world;
mod write_back;
