//! What is replayed, and how fast: `IN[,OUT][,speed=SPEED][,loop[=TIMES]]`.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    str::FromStr,
};

use crate::{
    LineRate, ParseError,
    generate::frames_per_second,
    line::{number_and_unit, scaled},
};

/// A replay as a person asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    /// The pcap or pcapng file whose frames come to the port.
    pub input: PathBuf,
    /// The pcapng file to which what the port sends is written.
    pub output: Option<PathBuf>,
    /// How fast.
    pub speed: Speed,
    /// How often.
    pub rounds: Rounds,
}

/// How fast frames are replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speed {
    /// As they were captured: `recorded`.
    #[default]
    Recorded,
    /// So many thousandths of that: `2x`, `0.5x`; 0.001 to 1000000.
    Times(NonZeroU32),
    /// As fast as the port takes them: `max`.
    Max,
    /// So many a second: `1Mpps`, `500kpps`, `10pps`.
    FramesPerSecond(NonZeroU32),
    /// As fast as a line carries them: `line`, `1G`, `100M`.
    Line(LineRate),
}

/// How often a file is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// Again and again: `loop`.
    Endless,
    /// So many times: `loop=3`.
    Times(NonZeroU64),
}

impl Default for Rounds {
    fn default() -> Self {
        Self::Times(NonZeroU64::MIN)
    }
}

impl fmt::Display for ReplayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            input,
            output,
            speed,
            rounds,
        } = self;
        write!(f, "{}", input.display())?;
        if let Some(output) = output {
            write!(f, ",{}", output.display())?;
        }
        if *speed != Speed::Recorded {
            write!(f, ",speed={speed}")?;
        }
        match rounds {
            Rounds::Endless => f.write_str(",loop"),
            Rounds::Times(NonZeroU64::MIN) => Ok(()),
            Rounds::Times(times) => write!(f, ",loop={times}"),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str("recorded"),
            Self::Times(thousandths) => {
                let (whole, rest) = (thousandths.get() / 1000, thousandths.get() % 1000);
                let fraction = format!("{rest:03}");
                let fraction = fraction.trim_end_matches('0');
                let point = if fraction.is_empty() { "" } else { "." };
                write!(f, "{whole}{point}{fraction}x")
            }
            Self::Max => f.write_str("max"),
            Self::FramesPerSecond(rate) => write!(f, "{rate}pps"),
            Self::Line(rate) => rate.fmt(f),
        }
    }
}

impl FromStr for Speed {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::Speed(text.to_owned());
        if let Some(rate) = frames_per_second(text) {
            return Ok(Self::FramesPerSecond(rate));
        }
        match (text, number_and_unit(text)) {
            ("recorded", _) => Ok(Self::Recorded),
            ("max", _) => Ok(Self::Max),
            (_, Some((number, "x"))) => scaled(number, 1000)
                .and_then(|thousandths| u32::try_from(thousandths).ok())
                .filter(|thousandths| *thousandths <= 1_000_000_000)
                .and_then(NonZeroU32::new)
                .map(Self::Times)
                .ok_or_else(error),
            _ => text.parse().map(Self::Line).map_err(|_| error()),
        }
    }
}

impl FromStr for ReplayOptions {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut pieces = text.split(',');
        let input = pieces.next().filter(|input| !input.is_empty());
        let mut options = Self {
            input: input.ok_or(ParseError::NoReplayPath)?.into(),
            output: None,
            speed: Speed::default(),
            rounds: Rounds::default(),
        };
        for piece in pieces {
            let error = || ParseError::ReplayOption(piece.to_owned());
            match piece.split_once('=') {
                Some(("speed", speed)) => options.speed = speed.parse()?,
                Some(("loop", times)) => {
                    let times: u64 = times.parse().map_err(|_| error())?;
                    options.rounds = NonZeroU64::new(times).map_or(Rounds::Endless, Rounds::Times);
                }
                None if piece == "loop" => options.rounds = Rounds::Endless,
                None if !piece.is_empty() && options.output.is_none() => {
                    options.output = Some(piece.into());
                }
                _ => return Err(error()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_replay_is_written_as_it_is_read() {
        for text in [
            "in.pcapng",
            "in.pcap,out.pcapng",
            "in.pcap,out.pcapng,speed=max,loop",
            "in.pcap,speed=2x,loop=3",
            "in.pcap,speed=0.25x",
            "in.pcap,speed=1000pps",
            "in.pcap,speed=2500M",
        ] {
            assert_eq!(text.parse::<ReplayOptions>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn speeds_have_the_meaning_that_people_give_them() {
        let speed = |text: &str| text.parse::<Speed>().unwrap();

        assert_eq!(speed("line"), Speed::Line(LineRate::TEN_GIGABIT));
        assert_eq!(speed("10G"), Speed::Line(LineRate::TEN_GIGABIT));
        assert_eq!(
            speed("2Mpps"),
            Speed::FramesPerSecond(NonZeroU32::new(2_000_000).unwrap())
        );
        assert_eq!(speed("1.5x"), Speed::Times(NonZeroU32::new(1500).unwrap()));
    }

    #[test]
    fn what_is_no_replay_is_refused_with_what_is() {
        let error = |text: &str| text.parse::<ReplayOptions>().unwrap_err().to_string();

        assert!(error("").contains("pcap:IN"));
        assert!(error("a,b,c").contains("speed=SPEED"));
        assert!(error("a,limit=3").contains("\"limit=3\""));
        assert!(error("a,loop=often").contains("loop[=TIMES]"));
        assert!(error("a,").contains("speed=SPEED"));
        for speed in ["", "fast", "0x", "0.0001x", "2", "0pps", "x", "-1x", "1e3x"] {
            let text = format!("a,speed={speed}");
            assert!(error(&text).contains("recorded"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_replay_or_none(text in "\\PC{0,30}") {
            if let Ok(options) = text.parse::<ReplayOptions>() {
                prop_assert_eq!(options.to_string().parse(), Ok(options));
            }
        }
    }
}
