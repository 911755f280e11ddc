//! The protocol as a peer sees it, over real sockets.

// The attribute tells clippy that these are tests, too.
#[cfg(test)]
mod irqs;
#[cfg(test)]
mod session;
#[cfg(test)]
mod support;
