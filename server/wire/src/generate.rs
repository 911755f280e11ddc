//! A wire that generates frames at a rate.

use std::{fmt, num::NonZeroU32, os::fd::BorrowedFd, str::FromStr, time::Duration};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use smoltcp::{
    phy::{Checksum, ChecksumCapabilities},
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Address,
        Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
    },
};

use crate::{Backend, Counters, LineRate, ParseError, line, queue::copy_tx};

/// Shortest and longest frame without FCS: as short as Ethernet has it, and as long as the card takes it with jumbo
/// frames on (MAXFRS, 8.2.3.22.13).
pub const GENERATED_LEN: std::ops::RangeInclusive<u16> = 60..=9710;
/// How much is made up for when the port was served late; what was due before is lost.
const BURST: Duration = Duration::from_millis(1);
/// At least this many frames are made up for.
const MIN_BURST: u64 = 64;
const SECOND: u128 = 1_000_000_000;

/// Where the sequence number stands in a generated frame: after Ethernet, IPv4 and UDP headers. Eight bytes, big-endian;
/// the first frame has 0.
pub const SEQUENCE: std::ops::Range<usize> = 42..50;

/// How fast frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As fast as the port takes them.
    Max,
    /// As fast as a 10 Gbit/s line carries them.
    Line,
    /// So many a second.
    FramesPerSecond(NonZeroU32),
}

/// What is generated: `RATE,SIZE`.
///
/// RATE is `max`, `line`, or a number with `pps`, `kpps` or `Mpps`; SIZE is in bytes without FCS, 60 to 9710.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// How fast.
    pub rate: Rate,
    /// Bytes of each frame without FCS.
    pub size: u16,
}

impl Stream {
    /// The frame with number 0.
    #[must_use]
    pub fn frame(self) -> Vec<u8> {
        template(self.size)
    }

    /// Frames a second; `None` for as many as the port takes.
    fn frames_per_second(self) -> Option<u64> {
        match self.rate {
            Rate::Max => None,
            Rate::Line => {
                let line = LineRate::TEN_GIGABIT.bits_per_second().get();
                Some(line / line::bits(self.size.into()))
            }
            Rate::FramesPerSecond(rate) => Some(rate.get().into()),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Rate::Max => f.write_str("max")?,
            Rate::Line => f.write_str("line")?,
            Rate::FramesPerSecond(rate) => write!(f, "{rate}pps")?,
        }
        write!(f, ",{}", self.size)
    }
}

impl FromStr for Stream {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::Stream(text.to_owned());
        let (rate, size) = text.split_once(',').ok_or_else(error)?;
        let rate = match rate {
            "max" => Rate::Max,
            "line" => Rate::Line,
            number => Rate::FramesPerSecond(frames_per_second(number).ok_or_else(error)?),
        };
        let size = size.parse().map_err(|_| error())?;
        if !GENERATED_LEN.contains(&size) {
            return Err(error());
        }
        Ok(Self { rate, size })
    }
}

/// A number with `pps`, `kpps` or `Mpps`.
pub(crate) fn frames_per_second(text: &str) -> Option<NonZeroU32> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "pps" => 1,
        "kpps" => 1_000,
        "Mpps" => 1_000_000,
        _ => return None,
    };
    NonZeroU32::new(number.parse::<u32>().ok()?.checked_mul(unit)?)
}

/// A far end that sends UDP datagrams (198.18.0.1 to 198.19.0.1, port 9: the addresses that RFC 2544 leaves to
/// benchmarks) to everybody, numbered ([`SEQUENCE`]), each of the same size, and copies what comes and throws it away.
///
/// It keeps its rate: what is due is sent as soon as the port has room. Frames that were due more than a millisecond
/// ago are lost, counted and leave a gap in the numbers. It is silent while the port's module is.
#[derive(Debug)]
pub struct Generate {
    stream: Stream,
    frame: Vec<u8>,
    /// Number of the next frame.
    next: u64,
    /// Frames that may be sent now.
    due: u64,
    /// Since when `due` is counted, and the part of a frame that was left over, in billionths.
    since: Option<Time>,
    left: u128,
    lit: bool,
    counters: Counters,
    scratch: Vec<u8>,
}

impl Generate {
    /// A generator whose first frame is due at once.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            frame: stream.frame(),
            next: 0,
            due: 0,
            since: None,
            left: 0,
            lit: true,
            counters: Counters::default(),
            scratch: Vec::new(),
        }
    }

    fn is_due(&self) -> bool {
        self.lit && (self.stream.rate == Rate::Max || self.due > 0)
    }
}

/// The frame with number 0.
fn template(size: u16) -> Vec<u8> {
    let [ethernet, ip] = [14, 34];
    let size = usize::from(size);
    let mut bytes = vec![0; size];
    EthernetRepr {
        src_addr: EthernetAddress([0x02, 0, 0, 0, 0, 0x99]),
        dst_addr: EthernetAddress::BROADCAST,
        ethertype: EthernetProtocol::Ipv4,
    }
    .emit(&mut EthernetFrame::new_unchecked(&mut bytes[..]));
    let (source, destination) = (
        Ipv4Address::new(198, 18, 0, 1),
        Ipv4Address::new(198, 19, 0, 1),
    );
    Ipv4Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Udp,
        payload_len: size - ip,
        hop_limit: 64,
    }
    .emit(
        &mut Ipv4Packet::new_unchecked(&mut bytes[ethernet..]),
        &ChecksumCapabilities::default(),
    );
    let udp = UdpRepr {
        src_port: 9,
        dst_port: 9,
    };
    // Without its checksum, as UDP over IPv4 may be: the number changes from frame to frame.
    let mut without = ChecksumCapabilities::ignored();
    without.udp = Checksum::None;
    udp.emit(
        &mut UdpPacket::new_unchecked(&mut bytes[ip..]),
        &source.into(),
        &destination.into(),
        size - SEQUENCE.start,
        |payload| {
            for (byte, place) in payload.iter_mut().zip(SEQUENCE.start..) {
                *byte = place.to_le_bytes()[0];
            }
        },
        &without,
    );
    bytes[SEQUENCE].fill(0);
    bytes
}

impl Wire for Generate {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            checksum: true,
            tso4: true,
            tso6: true,
        }
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        let len = frame.len();
        if self.scratch.len() < len {
            self.scratch.resize(len, 0);
        }
        copy_tx(frame, &mut self.scratch[..len]);
        self.counters.count_tx(len);
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let mut sent = 0;
        while sent < budget && self.is_due() {
            self.frame[SEQUENCE].copy_from_slice(&self.next.to_be_bytes());
            self.next = self.next.wrapping_add(1);
            self.due = self.due.saturating_sub(1);
            self.counters.count_rx(self.frame.len());
            sent += 1;
            if sink(&RxFrame::new(&self.frame)) == Flow::Stop {
                break;
            }
        }
        sent
    }

    fn carrier(&self) -> bool {
        true
    }
}

impl Backend for Generate {
    fn describe(&self) -> String {
        format!("generate {}", self.stream)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn has_frames(&self) -> bool {
        self.is_due()
    }

    fn deadline(&self) -> Option<Time> {
        let rate = self.stream.frames_per_second()?;
        let since = self.since?;
        if !self.lit || self.due > 0 {
            return None;
        }
        let missing = (SECOND - self.left).div_ceil(rate.into());
        Some(since.plus_nanos(u64::try_from(missing).unwrap_or(u64::MAX)))
    }

    fn advance(&mut self, now: Time) {
        let Some(rate) = self.stream.frames_per_second() else {
            return;
        };
        let Some(since) = self.since.replace(now) else {
            self.due = 1;
            return;
        };
        if !self.lit {
            return;
        }
        let parts = self.left + now.since(since).as_nanos() * u128::from(rate);
        self.left = parts % SECOND;
        let due = self
            .due
            .saturating_add(u64::try_from(parts / SECOND).unwrap_or(u64::MAX));
        let burst = u128::from(rate) * BURST.as_nanos() / SECOND;
        self.due = due.min(u64::try_from(burst).unwrap_or(u64::MAX).max(MIN_BURST));
        let lost = due - self.due;
        self.next = self.next.wrapping_add(lost);
        self.counters.rx_dropped = self.counters.rx_dropped.wrapping_add(lost);
    }

    fn set_far_link(&mut self, up: bool) {
        self.lit = up;
        if !up {
            self.due = 0;
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    fn wire(stream: &str) -> Generate {
        Generate::new(stream.parse().unwrap())
    }

    /// The numbers of the frames that come.
    fn numbers(wire: &mut Generate, budget: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        wire.receive(budget, &mut |frame| {
            numbers.push(u64::from_be_bytes(frame.head[SEQUENCE].try_into().unwrap()));
            Flow::More
        });
        numbers
    }

    #[test]
    fn a_stream_is_written_as_it_is_read() {
        for text in ["max,60", "line,1514", "2000000pps,9710"] {
            assert_eq!(text.parse::<Stream>().unwrap().to_string(), text);
        }
        assert_eq!("2Mpps,60".parse(), "2000kpps,60".parse::<Stream>());
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for text in [
            "",
            "max",
            "60",
            "max,59",
            "max,9711",
            "0pps,60",
            "5000Mpps,60",
            "1.5Mpps,60",
            "7,60",
        ] {
            assert!(text.parse::<Stream>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_frame_is_a_right_udp_datagram_of_its_size() {
        let mut wire = wire("max,128");

        let mut seen = Vec::new();
        wire.receive(1, &mut |frame| {
            seen = frame.head.to_vec();
            Flow::More
        });

        assert_eq!(seen.len(), 128);
        let packet = SlicedPacket::from_ethernet(&seen).unwrap();
        let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else {
            panic!("{packet:?}")
        };
        assert_eq!(
            ip.header().to_header().calc_header_checksum(),
            ip.header().header_checksum()
        );
        let Some(TransportSlice::Udp(udp)) = &packet.transport else {
            panic!("{packet:?}")
        };
        assert_eq!(
            (udp.destination_port(), udp.checksum(), udp.payload().len()),
            (9, 0, 86)
        );
    }

    #[test]
    fn at_full_speed_every_frame_of_a_budget_comes_with_the_next_number() {
        let mut wire = wire("max,60");

        assert_eq!(numbers(&mut wire, 3), [0, 1, 2]);
        assert_eq!(numbers(&mut wire, 2), [3, 4]);
    }

    #[test]
    fn frames_come_at_their_rate_and_not_before() {
        let mut wire = wire("1000000pps,60");
        wire.advance(Time::ZERO);
        let first = numbers(&mut wire, 100);
        let early = wire.deadline();

        wire.advance(Time::from_nanos(2_500));
        let second = numbers(&mut wire, 100);

        assert_eq!((first, second), (vec![0], vec![1, 2]));
        assert_eq!(early, Some(Time::from_nanos(1_000)));
        assert_eq!(wire.deadline(), Some(Time::from_nanos(3_000)));
    }

    #[test]
    fn the_rate_of_a_line_is_that_of_ten_gigabit() {
        let per_second = |text: &str| text.parse::<Stream>().unwrap().frames_per_second();

        assert_eq!(per_second("line,60"), Some(14_880_952));
        assert_eq!(per_second("line,1514"), Some(812_743));
    }

    #[test]
    fn what_is_late_is_lost_and_leaves_a_gap_in_the_numbers() {
        let mut wire = wire("1000kpps,60");
        wire.advance(Time::ZERO);
        numbers(&mut wire, 1);

        wire.advance(Time::from_nanos(3_000_000));

        let numbers = numbers(&mut wire, 5000);
        assert_eq!((numbers.len(), numbers[0]), (1000, 2001));
        assert_eq!(wire.counters().rx_dropped, 2000);
    }

    #[test]
    fn a_port_that_does_not_send_gets_nothing() {
        let mut wire = wire("max,60");

        wire.set_far_link(false);

        assert!(!wire.has_frames());
        assert!(numbers(&mut wire, 1).is_empty());
    }
}
