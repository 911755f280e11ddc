//! Which queue of which interface: the argument of the wire `af_xdp`.

use std::{fmt, str::FromStr};

use crate::ParseError;

/// A queue of a network interface, as a person writes it: `IFACE` or `IFACE,QUEUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpQueue {
    /// Name of the interface.
    pub interface: String,
    /// Number of the queue, from 0.
    pub queue: u32,
}

impl FromStr for XdpQueue {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (interface, queue) = match text.split_once(',') {
            Some((interface, queue)) => (interface, queue.parse().ok()),
            None => (text, Some(0)),
        };
        match queue {
            // The kernel's limit of an interface's queues is far below.
            Some(queue) if !interface.is_empty() && queue <= u32::from(u16::MAX) => Ok(Self {
                interface: interface.to_owned(),
                queue,
            }),
            _ => Err(ParseError::XdpQueue(text.to_owned())),
        }
    }
}

impl fmt::Display for XdpQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, queue } = self;
        match queue {
            0 => f.write_str(interface),
            queue => write!(f, "{interface},{queue}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, u32, String)> {
        let queue: XdpQueue = text.parse().ok()?;
        let shown = queue.to_string();
        Some((queue.interface, queue.queue, shown))
    }

    #[test]
    fn a_queue_is_the_first_unless_it_is_named() {
        let eth0 = |queue, shown: &str| Some(("eth0".to_owned(), queue, shown.to_owned()));

        assert_eq!(parsed("eth0"), eth0(0, "eth0"));
        assert_eq!(parsed("eth0,0"), eth0(0, "eth0"));
        assert_eq!(parsed("eth0,7"), eth0(7, "eth0,7"));
    }

    #[test]
    fn what_names_no_queue_is_refused() {
        assert_eq!(parsed(""), None);
        assert_eq!(parsed(",1"), None);
        assert_eq!(parsed("eth0,"), None);
        assert_eq!(parsed("eth0,one"), None);
        assert_eq!(parsed("eth0,4294967295"), None);
    }
}
