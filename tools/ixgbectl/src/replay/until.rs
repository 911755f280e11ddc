//! Where a replay is to stop, in words.

use std::{str::FromStr, time::Duration};

use nic_model::Time;
use recording::Until;

/// A packet of a recording: its number, from 1, among all of them, or among those that are received (`rx:`) or sent (`tx:`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Any(u64),
    Received(u64),
    Sent(u64),
}

impl FromStr for Packet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (way, digits): (fn(u64) -> Self, _) = match text.split_once(':') {
            Some(("rx", digits)) => (Self::Received, digits),
            Some(("tx", digits)) => (Self::Sent, digits),
            Some(_) => (Self::Any, ""),
            None => (Self::Any, text),
        };
        let number = digits.parse().ok().filter(|number| *number > 0);
        let wanted = "a packet is its number, from 1, as in 17, rx:17 or tx:17";
        number.map(way).ok_or_else(|| wanted.to_owned())
    }
}

impl From<Packet> for Until {
    fn from(packet: Packet) -> Self {
        match packet {
            Packet::Any(number) => Self::Packet(number),
            Packet::Received(number) => Self::Arrived(number),
            Packet::Sent(number) => Self::Sent(number),
        }
    }
}

/// At so much time after the start.
pub(crate) fn time(time: Duration) -> Until {
    Until::Time(Time::ZERO + time)
}

/// Where that is.
pub(crate) fn told(until: Until) -> String {
    match until {
        Until::End => "the end of the recording".to_owned(),
        Until::Packet(number) => format!("behind packet {number}"),
        Until::Arrived(number) => format!("behind the received packet {number}"),
        Until::Sent(number) => format!("behind the sent packet {number}"),
        Until::Time(time) => format!("after {} s", super::seconds(time.as_nanos())),
        Until::Call(number) => format!("behind call {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_a_number_of_all_or_of_a_direction() {
        assert_eq!("17".parse(), Ok(Packet::Any(17)));
        assert_eq!("rx:1".parse(), Ok(Packet::Received(1)));
        assert_eq!("tx:2".parse(), Ok(Packet::Sent(2)));
        assert_eq!(told(Packet::Sent(2).into()), "behind the sent packet 2");
    }

    #[test]
    fn what_is_no_packet_is_refused_with_examples() {
        for text in ["0", "-1", "x:3", "rx:", "many"] {
            let error = text.parse::<Packet>().unwrap_err();
            assert!(error.contains("rx:17"), "{text}: {error}");
        }
    }
}
