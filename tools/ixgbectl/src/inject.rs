//! `ixgbectl inject`.

use std::{
    io::Read,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use control::{Client, Direction, MAX_INJECT_BYTES};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use packets::{Circumstances, Course, Dissection, Filter, Mac, Recipe};
use serde::Serialize;
use wire::{
    Damage, Fcs, INJECTED_LEN, Short,
    file::{self, Frames, MAX_FILE},
};

use crate::{
    cli::InjectArguments,
    output::Output,
    pace::{Clock, Pace, with_prefix},
    progress::Progress,
    verdict,
    wrong::{self, Wrong},
};

/// How long to wait before frames that found no room are offered again.
const AGAIN: Duration = Duration::from_millis(5);
/// At a rate, frames of so much time go together; who is late is not later for it.
const TOGETHER: Duration = Duration::from_millis(1);
/// What a frame takes in a message besides its bytes.
const FRAME_OVERHEAD: usize = 8;
/// What took longer is told with its rate.
const TELL_RATE: Duration = Duration::from_secs(1);

/// Frames whose verdicts are told by one command.
const MOST_VERDICTS: u64 = 10_000;

/// What was done.
#[derive(Serialize)]
struct Outcome {
    injected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<u64>,
    seconds: f64,
    frames_per_second: f64,
    line_bits_per_second: f64,
}

/// Where frames come from.
#[derive(Debug)]
enum Source {
    /// These, from the first again after the last.
    Read(Vec<Vec<u8>>),
    /// They are made one by one.
    Made(Recipe),
}

/// What can be known before a server is asked.
#[derive(Debug)]
pub(crate) struct Prepared {
    source: Source,
    on: Option<Filter>,
}

/// Reads or describes the frames that the command line names.
pub(crate) fn prepare(arguments: &InjectArguments) -> anyhow::Result<Prepared> {
    let on = match &arguments.on {
        Some(text) => Some(
            text.parse()
                .map_err(|complaint| wrong::at("--on", complaint))?,
        ),
        None => None,
    };
    let recipe = arguments.craft.recipe()?;
    let source = if recipe.is_empty() {
        if arguments.fragments.is_some() {
            let text = "--fragments cuts frames that are described by their headers";
            return Err(Wrong(text.to_owned()).into());
        }
        let mut frames = read(arguments)?;
        for frame in &mut frames {
            frame.truncate(arguments.truncate.unwrap_or(usize::MAX));
        }
        Source::Read(frames)
    } else {
        if !(arguments.files.is_empty() && arguments.hex.is_empty()) {
            return Err(Wrong(
                "frames are either described or read from files and --hex".to_owned(),
            )
            .into());
        }
        if recipe.answers() && on.is_none() {
            let text = "fields and payloads of an answered frame need --on FILTER, which says what is answered";
            return Err(Wrong(text.to_owned()).into());
        }
        Source::Made(
            recipe
                .truncate(arguments.truncate)
                .fragments(arguments.fragments),
        )
    };
    Ok(Prepared { source, on })
}

/// Reads all frames that the command line names.
fn read(arguments: &InjectArguments) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for path in &arguments.files {
        let frames = read_file(path)?;
        if frames.cut_short > 0 {
            eprintln!(
                "ixgbectl: warning: {} frames of {} were cut short when they were captured; they are injected as short \
                 as they are (tcpdump -s 0 captures whole frames)",
                frames.cut_short,
                path.display()
            );
        }
        check_lengths(&frames.frames)
            .with_context(|| format!("cannot inject {}", path.display()))?;
        ensure!(
            !frames.frames.is_empty(),
            "there is no frame in {}",
            path.display()
        );
        all.extend(frames.frames);
    }
    for text in &arguments.hex {
        let frames = file::parse_hex(text)
            .map_err(anyhow::Error::from)
            .and_then(|frames| check_lengths(&frames.frames).map(|()| frames))
            .with_context(|| format!("cannot inject --hex {text:?}"))?;
        all.extend(frames.frames);
    }
    Ok(all)
}

/// The frames of a file; `-` is standard input.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<Frames> {
    if path != Path::new("-") {
        return file::read(path).with_context(|| format!("cannot inject {}", path.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    ensure!(
        bytes.len() as u64 <= MAX_FILE,
        "standard input has more than {} MiB; inject it in parts",
        MAX_FILE >> 20
    );
    file::parse(&bytes).context("cannot inject standard input")
}

fn check_lengths(frames: &[Vec<u8>]) -> anyhow::Result<()> {
    for (index, frame) in frames.iter().enumerate() {
        ensure!(
            INJECTED_LEN.contains(&frame.len()),
            "frame {} has {} bytes; {} to {} can be on a cable (capture with TSO and GRO off: ethtool -K DEV tso off gro off)",
            index + 1,
            frame.len(),
            INJECTED_LEN.start(),
            INJECTED_LEN.end()
        );
    }
    Ok(())
}

/// The address of the NIC, if the server tells it.
pub(crate) fn nic_address(client: &mut Client) -> anyhow::Result<Option<Mac>> {
    let address = client.info()?.address;
    Ok(address.and_then(|address| packets::mac(&address)))
}

impl Source {
    /// Frame or packet `n`, as the frames that it is.
    fn frames(&self, n: u64, circumstances: &Circumstances<'_>) -> anyhow::Result<Vec<Vec<u8>>> {
        match self {
            Self::Read(frames) => {
                let index = usize::try_from(n % (frames.len() as u64)).unwrap_or(0);
                Ok(frames.get(index..=index).unwrap_or_default().to_vec())
            }
            Self::Made(recipe) => {
                let frames = recipe.frames(n, circumstances)?;
                check_lengths(&frames)?;
                Ok(frames)
            }
        }
    }

    /// How many there are before the first comes again.
    fn len(&self) -> u64 {
        match self {
            Self::Read(frames) => frames.len() as u64,
            Self::Made(_) => 1,
        }
    }
}

/// Injects frames, in order, as the server takes them or at the rate that is asked for.
pub(crate) fn run(
    client: &mut Client,
    prepared: &Prepared,
    arguments: &InjectArguments,
    capture: impl FnOnce() -> anyhow::Result<Client>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let Prepared { source, on } = prepared;
    let count = match arguments.count {
        Some(count) => count,
        None => source.len().saturating_mul(arguments.repeat.into()),
    };
    let nic = match source {
        Source::Made(_) => nic_address(client)?,
        Source::Read(_) => None,
    };
    if arguments.verdict {
        if count > MOST_VERDICTS {
            return Err(Wrong(format!("--verdict tells of {MOST_VERDICTS} frames at most")).into());
        }
        let circumstances = Circumstances {
            nic,
            answered: None,
        };
        let mut frames = Vec::new();
        for n in 0..count {
            frames.extend(source.frames(n, &circumstances)?);
        }
        return verdict::run(client, &frames, damage(arguments), output);
    }
    let mut injection = Injection {
        client,
        damage: damage(arguments),
        patience: Duration::from_secs(arguments.timeout.into()),
        clock: Clock::start(arguments.rate),
        batch: Vec::new(),
        batch_bytes: 0,
    };
    let answered = match on {
        None => {
            let mut progress = Progress::new(Some(count), "frames");
            let circumstances = Circumstances {
                nic,
                answered: None,
            };
            for n in 0..count {
                injection.push(source.frames(n, &circumstances)?)?;
                progress.at(n);
            }
            injection.flush()?;
            None
        }
        Some(filter) => {
            let answering = Answering {
                source,
                filter,
                count,
                nic,
                times: arguments.times,
                wait: arguments.wait,
            };
            Some(answering.run(capture()?, &mut injection)?)
        }
    };
    report(&injection.clock, answered, arguments.rate, output)
}

fn damage(arguments: &InjectArguments) -> Damage {
    Damage {
        fcs: if arguments.bad_fcs {
            Fcs::Bad
        } else {
            Fcs::Good
        },
        short: if arguments.runts {
            Short::Runt
        } else {
            Short::Padded
        },
    }
}

fn report(
    clock: &Clock,
    answered: Option<u64>,
    asked: Pace,
    output: &mut Output,
) -> anyhow::Result<()> {
    let (injected, bits, time) = clock.so_far();
    let seconds = time.as_secs_f64().max(1e-9);
    let per_second = |number: u64| {
        // Beyond 2^53 a rate is not exact, nor does it have to be.
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let number = number as f64;
        number / seconds
    };
    let outcome = Outcome {
        injected,
        answered,
        seconds,
        frames_per_second: per_second(injected),
        line_bits_per_second: per_second(bits),
    };
    output.print(&outcome, || {
        let mut text = match injected {
            1 => "1 frame injected".to_owned(),
            n => format!("{n} frames injected"),
        };
        if asked != Pace::Max || time >= TELL_RATE && answered.is_none() {
            text.push_str(&format!(
                " in {seconds:.2} s: {}pps, {}bit/s on the line",
                with_prefix(outcome.frames_per_second),
                with_prefix(outcome.line_bits_per_second)
            ));
        }
        text
    })
}

/// Frames on their way.
struct Injection<'a> {
    client: &'a mut Client,
    damage: Damage,
    patience: Duration,
    clock: Clock,
    batch: Vec<Vec<u8>>,
    batch_bytes: usize,
}

impl Injection<'_> {
    /// Injects frames when they are due, or together with those that follow soon.
    fn push(&mut self, frames: Vec<Vec<u8>>) -> anyhow::Result<()> {
        for frame in frames {
            if let Some(wait) = self.clock.wait() {
                self.flush()?;
                if wait >= TOGETHER {
                    sleep(wait);
                } else {
                    // Then it is due, and some that follow it.
                    sleep(TOGETHER);
                }
            }
            let bytes = frame.len() + FRAME_OVERHEAD;
            if self.batch_bytes + bytes > MAX_INJECT_BYTES {
                self.flush()?;
            }
            self.clock.sent(frame.len());
            self.batch_bytes += bytes;
            self.batch.push(frame);
        }
        Ok(())
    }

    /// Injects what waits.
    fn flush(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let mut rest = batch.as_slice();
        let mut last_progress = Instant::now();
        while !rest.is_empty() {
            let accepted = self.client.inject_damaged(rest, self.damage)?;
            rest = rest.get(accepted..).unwrap_or_default();
            if accepted > 0 {
                last_progress = Instant::now();
            } else if last_progress.elapsed() >= self.patience {
                let (sent, ..) = self.clock.so_far();
                bail!(
                    "{} frames injected, then the NIC took no more for {} s; is a driver attached and its interface up?",
                    sent - rest.len() as u64,
                    self.patience.as_secs()
                );
            } else {
                sleep(AGAIN);
            }
        }
        Ok(())
    }
}

/// Answers to what the guest sends.
struct Answering<'a> {
    source: &'a Source,
    filter: &'a Filter,
    /// Frames of an answer.
    count: u64,
    nic: Option<Mac>,
    /// Frames that are answered.
    times: u64,
    wait: Option<Duration>,
}

impl Answering<'_> {
    /// Answers as many frames as wanted, and returns how many they were.
    fn run(&self, capture: Client, injection: &mut Injection<'_>) -> anyhow::Result<u64> {
        let mut capturing = capture.capture(None)?;
        eprintln!(
            "ixgbectl: answering {}",
            if self.filter.is_empty() {
                "everything"
            } else {
                self.filter.text()
            }
        );
        let deadline = self.wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut answered = 0;
        let mut lost = 0;
        while answered < self.times {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                bail!("{answered} frames answered, then no more came in time");
            }
            if !capturing.has_buffered() {
                let timeout = left.map_or(PollTimeout::NONE, |left| {
                    PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
                });
                let mut fds = [PollFd::new(capturing.poll_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut fds, timeout).context("cannot wait for frames")?;
                if ready == 0 {
                    continue;
                }
            }
            let captured = capturing
                .next_reply()?
                .context("the server ended before the frames had come")?;
            lost = captured.lost;
            for frame in &captured.frames {
                let dissection = Dissection::new(&frame.data);
                let sent = frame.direction == Direction::Transmit;
                if answered == self.times
                    || !sent
                    || !self
                        .filter
                        .lets_through(&dissection, Some(Course::Outbound))
                {
                    continue;
                }
                let circumstances = Circumstances {
                    nic: self.nic,
                    answered: Some(&dissection),
                };
                for n in 0..self.count {
                    let n = answered.wrapping_mul(self.count).wrapping_add(n);
                    injection.push(self.source.frames(n, &circumstances)?)?;
                }
                injection.flush()?;
                answered += 1;
            }
        }
        if lost > 0 {
            eprintln!("ixgbectl: {lost} frames were missed, and not answered");
        }
        Ok(answered)
    }
}
