//! How fast frames are injected.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

/// Bytes that a frame takes on the line besides: preamble and start of frame (8), FCS (4), gap (12) (IEEE 802.3, 4.4.2).
const OVERHEAD: usize = 8 + 4 + 12;
/// As short as a cable has frames, without FCS.
const MIN_FRAME: usize = 60;
const SECOND: u128 = 1_000_000_000;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As the NIC takes them.
    Max,
    /// So many frames in a thousand seconds.
    Frames(u64),
    /// So many bits a second on the line.
    Bits(u64),
}

/// A rate that is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PaceError;

impl std::fmt::Display for PaceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a rate is a number with pps, kpps or Mpps, or with bit/s, kbit/s, Mbit/s or Gbit/s, or line, or max")
    }
}

impl std::error::Error for PaceError {}

impl FromStr for Pace {
    type Err = PaceError;

    fn from_str(text: &str) -> Result<Self, PaceError> {
        match text {
            "max" => return Ok(Self::Max),
            "line" => return Ok(Self::Bits(10_000_000_000)),
            _ => {}
        }
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or(PaceError)?;
        let (number, unit) = text.split_at(split);
        let unit = unit.to_ascii_lowercase();
        let (scale, of) = match unit.strip_prefix(['k', 'm', 'g']) {
            Some(rest) if unit.starts_with('k') => (1_000, rest),
            Some(rest) if unit.starts_with('m') => (1_000_000, rest),
            Some(rest) => (1_000_000_000, rest),
            None => (1, unit.as_str()),
        };
        let thousandths = thousandths(number)?.checked_mul(scale).ok_or(PaceError)?;
        let pace = match of {
            "pps" => Self::Frames(thousandths),
            "bit/s" | "bps" | "bit" | "bits" => Self::Bits(thousandths / 1000),
            _ => return Err(PaceError),
        };
        match pace {
            Self::Frames(0) | Self::Bits(0) => Err(PaceError),
            pace => Ok(pace),
        }
    }
}

/// `2.5` is 2500.
fn thousandths(text: &str) -> Result<u64, PaceError> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 {
        return Err(PaceError);
    }
    let digits = format!("{whole}{decimals:0<3}");
    digits.parse().map_err(|_| PaceError)
}

/// Bits that a frame takes on the line.
pub(crate) fn line_bits(frame: usize) -> u64 {
    8 * (frame.max(MIN_FRAME) + OVERHEAD) as u64
}

/// When each frame is due.
#[derive(Debug)]
pub(crate) struct Clock {
    pace: Pace,
    begun: Instant,
    frames: u64,
    bits: u64,
}

impl Clock {
    /// The first frame is due now.
    pub(crate) fn start(pace: Pace) -> Self {
        Self {
            pace,
            begun: Instant::now(),
            frames: 0,
            bits: 0,
        }
    }

    /// How long it is to the next frame; `None` if it is due.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.due()
            .checked_sub(self.begun.elapsed())
            .filter(|wait| !wait.is_zero())
    }

    /// When the next frame is due, from the start.
    fn due(&self) -> Duration {
        let nanoseconds = match self.pace {
            Pace::Max => 0,
            Pace::Frames(thousandths) => {
                u128::from(self.frames) * 1000 * SECOND / u128::from(thousandths)
            }
            Pace::Bits(bits) => u128::from(self.bits) * SECOND / u128::from(bits),
        };
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// A frame of so many bytes is on its way.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.frames += 1;
        self.bits += line_bits(bytes);
    }

    /// Frames so far, their bits on the line, and how long they have taken. What was sent at a rate has also taken the time of
    /// its last frame.
    pub(crate) fn so_far(&self) -> (u64, u64, Duration) {
        (self.frames, self.bits, self.begun.elapsed().max(self.due()))
    }
}

/// A number with three digits or so and the prefix of its unit: `49.9 k`.
pub(crate) fn with_prefix(value: f64) -> String {
    let (value, prefix) = match value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    format!("{value:.1} {prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_understood_as_people_write_them() {
        assert_eq!("2Mpps".parse(), Ok(Pace::Frames(2_000_000_000)));
        assert_eq!("0.5pps".parse(), Ok(Pace::Frames(500)));
        assert_eq!("10Gbit/s".parse(), Ok(Pace::Bits(10_000_000_000)));
        assert_eq!("1.5gbps".parse(), Ok(Pace::Bits(1_500_000_000)));
        assert_eq!("line".parse(), Ok(Pace::Bits(10_000_000_000)));
        assert_eq!("max".parse(), Ok(Pace::Max));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        let texts = ["", "fast", "0pps", "10", "1.2345kpps", "-1pps", "1.2.3pps"];

        let understood = texts
            .into_iter()
            .filter(|text| text.parse::<Pace>().is_ok());

        assert_eq!(understood.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn a_shortest_frame_takes_672_bits_of_the_line() {
        assert_eq!(line_bits(60), 672);
        assert_eq!(line_bits(14), 672);
        assert_eq!(line_bits(1514), 12_304);
    }

    #[test]
    fn frames_are_due_one_after_the_other() {
        let mut clock = Clock::start(Pace::Frames(1_000));

        let first = clock.due();
        clock.sent(60);
        let second = clock.due();

        assert_eq!(first, Duration::ZERO);
        assert_eq!(second, Duration::from_secs(1));
    }
}
