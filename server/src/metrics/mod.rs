//! `--metrics`: the counters of all ports for Prometheus, as OpenMetrics text over HTTP at `/metrics`.
//!
//! One thread serves all scrapers (`serve.rs`); it asks the ports' workers as `ixgbectl stats` does, at most ten times a
//! second however many ask (`scrape.rs`). `families.rs` gives the counters the names that Prometheus' users expect, and
//! `exposition.rs` writes them. The socket is made before the sandbox is entered, and the thread is started in it.
//!
//! Not there: TLS, passwords, compression, connections that are kept, and the older text format. Whoever wants those puts a
//! proxy before it.

mod address;
mod connection;
mod exposition;
mod families;
mod scrape;
mod serve;

pub use address::{MetricsAddress, MetricsAddressError};
pub use serve::{BindError, Bound, Metrics};
