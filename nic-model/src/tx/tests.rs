//! The transmit engine against a memory and a wire for tests. Frames are checked with etherparse and smoltcp.

mod fc;
mod hostile;
mod ipsec;
mod long_headers;
mod offloads;
mod pools;
mod rings;
mod segmentation;
mod world;
mod write_back;
