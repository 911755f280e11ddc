//! The stack between a card in this process and a virtio driver of ours: no guest, no sockets, no time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here fails the test"
)]

mod dice;
mod guest;
mod hostile;
mod liar;
mod life;
mod mixture;
mod mortal;
mod packet_split;
mod pairs;
mod pieces;
mod receive;
mod resends;
mod restarts;
mod transmit;
mod wakeups;
