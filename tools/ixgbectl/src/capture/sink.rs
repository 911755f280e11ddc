//! Where captured frames go.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use control::{CapturedFrame, Direction};
use packets::tell;
use serde::Serialize;
use wire::file::PcapNg;

const DAY: u64 = 24 * 60 * 60;
/// Bytes in a line of hex.
const LINE: usize = 16;

/// A frame, and the port at which it passed.
pub(super) struct Seen {
    /// Its place among the ports that are captured.
    pub(super) interface: u32,
    pub(super) port: u32,
    pub(super) frame: CapturedFrame,
}

/// Where frames go.
pub(super) enum Sink {
    /// A pcapng file.
    File(Box<PcapNg<BufWriter<Box<dyn Write>>>>),
    /// A line for each frame.
    Words(Words),
    /// A line of JSON for each frame.
    Json(BufWriter<io::Stdout>),
}

/// How frames are told.
pub(super) struct Words {
    to: BufWriter<io::Stdout>,
    /// There are several, so each frame's is told.
    ports: bool,
    /// The bytes as well.
    bytes: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    time: i64,
    port: u32,
    direction: Direction,
    length: u32,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    data: String,
}

impl Sink {
    /// A file, or standard output for `-`, with an interface for each of these ports.
    pub(super) fn file(path: &Path, ports: &[u32]) -> anyhow::Result<Self> {
        let to: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(
                File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
            )
        };
        let names: Vec<String> = ports.iter().map(|port| format!("port{port}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let file = PcapNg::with_interfaces(BufWriter::new(to), &names);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(Box::new(file)))
    }

    /// Lines on standard output.
    pub(super) fn words(ports: bool, bytes: bool) -> Self {
        Self::Words(Words {
            to: BufWriter::new(io::stdout()),
            ports,
            bytes,
        })
    }

    /// Lines of JSON on standard output.
    pub(super) fn json() -> Self {
        Self::Json(BufWriter::new(io::stdout()))
    }

    pub(super) fn frame(&mut self, seen: &Seen) -> io::Result<()> {
        let frame = &seen.frame;
        match self {
            Self::File(file) => file.packet(&frame.packet(seen.interface), &frame.data),
            Self::Words(words) => words.frame(seen),
            Self::Json(to) => {
                let line = Line {
                    time: frame.time,
                    port: seen.port,
                    direction: frame.direction,
                    length: frame.length,
                    text: &tell(&frame.data),
                    queue: frame.queue,
                    hash: frame.hash,
                    note: frame.note.as_deref(),
                    data: frame
                        .data
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect(),
                };
                serde_json::to_writer(&mut *to, &line)?;
                to.write_all(b"\n")
            }
        }
    }

    /// Who reads along sees whole frames.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Words(words) => words.to.flush(),
            Self::Json(to) => to.flush(),
        }
    }

    /// Ends with the number of frames that were lost at each port.
    pub(super) fn finish(mut self, lost: &[u64]) -> io::Result<()> {
        match self {
            Self::File(file) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                file.finish_all(now.unwrap_or_default(), lost).map(|_| ())
            }
            Self::Words(_) | Self::Json(_) => self.flush(),
        }
    }
}

impl Words {
    /// `12:00:00.000000000 in  10.0.0.1 > …`, in UTC.
    fn frame(&mut self, seen: &Seen) -> io::Result<()> {
        let time = seen.frame.since_1970();
        let second = time.as_secs() % DAY;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let way = match seen.frame.direction {
            Direction::Receive => "in ",
            Direction::Transmit => "out",
        };
        write!(
            self.to,
            "{hour:02}:{minute:02}:{second:02}.{:09} ",
            time.subsec_nanos()
        )?;
        if self.ports {
            write!(self.to, "port {} ", seen.port)?;
        }
        write!(self.to, "{way} ")?;
        if let Some(queue) = seen.frame.queue {
            write!(self.to, "q{queue} ")?;
        }
        write!(self.to, "{}", tell(&seen.frame.data))?;
        if let Some(note) = &seen.frame.note {
            write!(self.to, " ({note})")?;
        }
        writeln!(self.to)?;
        if self.bytes {
            for (index, line) in seen.frame.data.chunks(LINE).enumerate() {
                write!(self.to, "\t0x{:04x}: ", index * LINE)?;
                for pair in line.chunks(2) {
                    let pair: String = pair.iter().map(|byte| format!("{byte:02x}")).collect();
                    write!(self.to, " {pair}")?;
                }
                writeln!(self.to)?;
            }
        }
        Ok(())
    }
}
