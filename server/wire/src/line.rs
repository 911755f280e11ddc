//! How long frames take on a line of a given speed.

use std::{fmt, num::NonZeroU64, str::FromStr};

use nic_model::{
    Time,
    wire::{Offload, TxFrame},
};

use crate::{ParseError, host::MIN_FRAME};

/// Bytes that a frame takes on the cable beside those that are counted: preamble and start of frame (8), FCS (4),
/// inter-frame gap (12) (IEEE 802.3, 4.4.2).
pub(crate) const OVERHEAD: u64 = 8 + 4 + 12;
/// Who was served late makes up for so many nanoseconds; what was missed before is lost, as on a line that was silent.
const CATCH_UP: u64 = 1_000_000;
const SECOND: u128 = 1_000_000_000;

/// Bits per second on a line, preambles and gaps included: 1 kbit/s to 1 Tbit/s.
///
/// It is written as a number, also with decimals, with `k`, `M` or `G` after it and, if one likes, `bit`, `bps` or
/// `bit/s`; `line` is the 82599's own 10 Gbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRate(NonZeroU64);

impl LineRate {
    /// The line of the 82599: 10 Gbit/s.
    pub const TEN_GIGABIT: Self = Self(NonZeroU64::new(10_000_000_000).expect("not zero"));
    const SLOWEST: u64 = 1_000;
    const FASTEST: u64 = 1_000_000_000_000;

    /// Bits per second.
    #[must_use]
    pub const fn bits_per_second(self) -> NonZeroU64 {
        self.0
    }
}

impl fmt::Display for LineRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.get();
        let units = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
        let fits = |(unit, _): &(u64, &str)| bits.is_multiple_of(*unit);
        match units.into_iter().find(fits) {
            Some((unit, name)) => write!(f, "{}{name}", bits / unit),
            None => write!(f, "{bits}bit"),
        }
    }
}

impl FromStr for LineRate {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::LineRate(text.to_owned());
        if text == "line" {
            return Ok(Self::TEN_GIGABIT);
        }
        let (number, unit) = number_and_unit(text).ok_or_else(error)?;
        let unit = unit.to_ascii_lowercase();
        let bare = ["bit/s", "bits", "bit", "bps"]
            .into_iter()
            .find_map(|suffix| unit.strip_suffix(suffix));
        let scale = match (bare.unwrap_or(&unit), bare) {
            ("", Some(_)) => 1,
            ("k", _) => 1_000,
            ("m", _) => 1_000_000,
            ("g", _) => 1_000_000_000,
            _ => return Err(error()),
        };
        let bits = scaled(number, scale).ok_or_else(error)?;
        if !(Self::SLOWEST..=Self::FASTEST).contains(&bits) {
            return Err(error());
        }
        NonZeroU64::new(bits).map(Self).ok_or_else(error)
    }
}

/// Splits `2.5Gbit` behind its number.
pub(crate) fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A decimal number times `scale`, if that is a whole number that fits.
pub(crate) fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut value = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut unit = scale;
    if fraction.is_empty() {
        return None;
    }
    for digit in fraction.trim_end_matches('0').chars() {
        if !unit.is_multiple_of(10) {
            return None;
        }
        unit /= 10;
        value = value.checked_add(unit.checked_mul(digit.to_digit(10)?.into())?)?;
    }
    Some(value)
}

/// Bits that a frame of `len` bytes without FCS takes on the cable.
pub(crate) fn bits(len: usize) -> u64 {
    (len.max(MIN_FRAME) as u64)
        .saturating_add(OVERHEAD)
        .saturating_mul(8)
}

/// Bits that a frame takes on the cable which leaves the port; for a large one that the wire is to cut, those of its
/// segments.
pub(crate) fn sent_bits(frame: &TxFrame<'_>) -> u64 {
    let len = frame.len();
    let Offload::Segment {
        header_len, mss, ..
    } = frame.offload
    else {
        return bits(len);
    };
    let (header, mss) = (usize::from(header_len), usize::from(mss));
    let payload = len.saturating_sub(header);
    let Some(full) = payload.checked_div(mss) else {
        return bits(len);
    };
    let rest = payload - full * mss;
    let last = if rest > 0 || full == 0 {
        bits(header + rest)
    } else {
        0
    };
    bits(header + mss)
        .saturating_mul(full as u64)
        .saturating_add(last)
}

/// When the next thing is due, at so many units a second: exact, whatever the rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    per_second: NonZeroU64,
    /// The next whole nanosecond not after which it is due, and the part of a nanosecond after that, in units of
    /// 1/`per_second`.
    at: u64,
    part: u64,
}

impl Pacer {
    pub(crate) const fn new(per_second: NonZeroU64) -> Self {
        Self {
            per_second,
            at: 0,
            part: 0,
        }
    }

    /// The first nanosecond at which the next thing may begin.
    pub(crate) const fn due(&self) -> Time {
        Time::from_nanos(self.at.saturating_add((self.part > 0) as u64))
    }

    /// What is next does not begin before `time`.
    pub(crate) fn not_before(&mut self, time: Time) {
        if self.due() < time {
            self.at = time.as_nanos();
            self.part = 0;
        }
    }

    /// Takes the time of so many units.
    pub(crate) fn spend(&mut self, units: u64) {
        let per_second = u128::from(self.per_second.get());
        let parts = u128::from(self.part) + u128::from(units) * SECOND;
        let nanos = u64::try_from(parts / per_second).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(nanos);
        self.part = u64::try_from(parts % per_second).unwrap_or(0);
    }
}

/// One direction of a line.
///
/// A frame that comes while the line is idle begins at once. One that has waited begins when the one before it has
/// ended, even if it is asked for a little later: a server that is not asked every nanosecond still fills the line.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pacer: Pacer,
    /// A frame waits for the line.
    waits: bool,
    /// When the last frame was let through.
    last: Option<Time>,
}

impl Lane {
    pub(crate) const fn new(rate: LineRate) -> Self {
        Self {
            pacer: Pacer::new(rate.bits_per_second()),
            waits: false,
            last: None,
        }
    }

    /// Whether a frame may begin at `now`. If not, one waits from now on.
    pub(crate) fn is_free(&mut self, now: Time) -> bool {
        if self.waits || self.last == Some(now) {
            let earliest = now.as_nanos().saturating_sub(CATCH_UP);
            self.pacer.not_before(Time::from_nanos(earliest));
        } else {
            self.pacer.not_before(now);
        }
        self.waits = self.pacer.due() > now;
        !self.waits
    }

    /// A frame waits although the line is free.
    pub(crate) const fn wait(&mut self) {
        self.waits = true;
    }

    /// A frame of so many bits begins at `now`, for which [`Lane::is_free`] was true.
    pub(crate) fn begin(&mut self, bits: u64, now: Time) {
        self.last = Some(now);
        self.pacer.spend(bits);
    }

    /// When the line is free, if `now` is before that.
    pub(crate) fn busy_until(&self, now: Time) -> Option<Time> {
        let due = self.pacer.due();
        (due > now).then_some(due)
    }

    /// When the line is free for a frame that waits, if `now` is before that.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        self.busy_until(now).filter(|_| self.waits)
    }

    /// Whether a frame waits that may begin now.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.waits && self.busy_until(now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use nic_model::wire::IpVersion;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_rate_is_written_as_people_write_it() {
        let rate = |text: &str| text.parse::<LineRate>().unwrap().bits_per_second().get();

        assert_eq!(rate("line"), 10_000_000_000);
        assert_eq!(rate("10G"), 10_000_000_000);
        assert_eq!(rate("10gbit"), 10_000_000_000);
        assert_eq!(rate("2.5Gbps"), 2_500_000_000);
        assert_eq!(rate("100Mbit/s"), 100_000_000);
        assert_eq!(rate("1000k"), 1_000_000);
        assert_eq!(rate("1234567bit"), 1_234_567);
    }

    #[test]
    fn what_is_no_line_rate_is_refused() {
        for text in [
            "",
            "G",
            "10",
            "0G",
            "-1G",
            "10T",
            "1e3M",
            "2.",
            ".5G",
            "1..5G",
            "1.5bit",
            "9bit",
            "1001G",
            "10G ",
            "99999999999999999999G",
        ] {
            assert!(text.parse::<LineRate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_large_frame_takes_the_time_of_its_segments() {
        let sent = |len: usize, mss| {
            sent_bits(&TxFrame {
                head: &vec![0; len],
                payload: &[],
                offload: Offload::Segment {
                    ip: IpVersion::V4,
                    start: 34,
                    header_len: 54,
                    mss,
                },
            })
        };

        // Two full segments of 1514 bytes, one of 54 + 10 bytes.
        assert_eq!(sent(54 + 2 * 1460 + 10, 1460), 8 * (2 * 1538 + 88));
        assert_eq!(sent(54 + 2 * 1460, 1460), 8 * 2 * 1538);
        // A last segment shorter than a frame may be takes the time of the shortest one.
        assert_eq!(sent(54 + 1461, 1460), 8 * (1538 + 84));
        assert_eq!(sent(54, 1460), 8 * 84);
        assert_eq!(sent(1000, 0), 8 * 1024);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bits in 1_000_u64..=1_000_000_000_000) {
            let rate = LineRate(NonZeroU64::new(bits).unwrap());

            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn any_text_is_a_rate_or_none(text in "\\PC{0,12}") {
            let _ = text.parse::<LineRate>();
        }

        #[test]
        fn the_sum_of_many_times_is_exact(
            rate in 1_000_u64..1_000_000_000_000,
            units in prop::collection::vec(1_u64..100_000, 1..200),
        ) {
            let mut pacer = Pacer::new(NonZeroU64::new(rate).unwrap());

            for units in &units {
                pacer.spend(*units);
            }

            let sum = u128::from(units.iter().sum::<u64>());
            let exact = (sum * SECOND).div_ceil(u128::from(rate));
            prop_assert_eq!(u128::from(pacer.due().as_nanos()), exact);
        }
    }
}
