//! The protocol as a peer sees it, over real sockets.

// The attribute tells clippy that these are tests, too.
#[cfg(test)]
mod batches;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod irqs;
#[cfg(test)]
mod listener;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod message_dma;
#[cfg(test)]
mod migration;
#[cfg(test)]
mod negotiation;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod regions;
#[cfg(test)]
mod session;
#[cfg(test)]
mod support;
