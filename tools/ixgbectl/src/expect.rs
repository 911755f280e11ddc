//! `ixgbectl expect`.

use std::{
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use control::{Capturing, Client, Direction};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use packets::{Course, Difference, Dissection, Filter, Mac, Recipe, differences, tell};
use serde::Serialize;
use wire::file;

use crate::{
    capture, cli::ExpectArguments, inject, output::Output, progress::Progress, wrong::Wrong,
};

/// How long after its time a wait goes on while frames come without a pause.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is looked whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What is expected.
#[derive(Debug)]
enum Wanted {
    /// So many frames like this.
    Like(Box<Recipe>, u64),
    /// These frames.
    Frames(Vec<Vec<u8>>),
}

/// What can be known before a server is asked.
#[derive(Debug)]
pub(crate) struct Prepared {
    filter: Filter,
    wanted: Wanted,
    ignored: Vec<String>,
}

/// Reads what the command line expects.
pub(crate) fn prepare(arguments: &ExpectArguments) -> anyhow::Result<Prepared> {
    let filter = capture::filter(&arguments.filter)?;
    let recipe = arguments.craft.recipe()?;
    let mut frames = Vec::new();
    for path in &arguments.frames {
        frames.extend(inject::read_file(path)?.frames);
    }
    for text in &arguments.hex {
        let read = file::parse_hex(text).with_context(|| format!("cannot read --hex {text:?}"))?;
        frames.extend(read.frames);
    }
    if recipe.answers() {
        return Err(Wrong(
            "@ and same mean a frame that is answered; nothing is answered here".to_owned(),
        )
        .into());
    }
    for name in &arguments.ignore {
        check_name(name)?;
    }
    let of_files = !arguments.frames.is_empty() || !arguments.hex.is_empty();
    if of_files && frames.is_empty() {
        anyhow::bail!("there is no frame in what is named");
    }
    let wanted = if frames.is_empty() {
        Wanted::Like(Box::new(recipe), arguments.count.unwrap_or(1))
    } else {
        if !recipe.is_empty() || arguments.count.is_some() {
            let text = "frames of files are expected as they are; leave out --count and the words for headers";
            return Err(Wrong(text.to_owned()).into());
        }
        Wanted::Frames(frames)
    };
    Ok(Prepared {
        filter,
        wanted,
        ignored: arguments.ignore.clone(),
    })
}

/// `ip.id`, `payload`
fn check_name(name: &str) -> Result<(), Wrong> {
    let is_field = name.split_once('.').is_some_and(|(layer, field)| {
        let layer = packets::Layer::named(layer);
        layer.is_some_and(|layer| layer.field(field).is_some() || field == "options")
    });
    if is_field || name == "payload" {
        return Ok(());
    }
    Err(Wrong(format!(
        "--ignore {name}: a field as in ip.id or udp.sum, or payload, is wanted"
    )))
}

/// What has come.
#[derive(Serialize)]
struct Outcome {
    passed: bool,
    expected: u64,
    seen: u64,
    /// Frames that passed the filter.
    looked_at: u64,
    seconds: f64,
    /// Frames that the capture has missed.
    lost: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Near>,
}

/// A frame that was not expected, and what it lacks.
#[derive(Clone, Debug, Serialize)]
struct Near {
    frame: String,
    data: String,
    differences: Vec<Unlike>,
}

#[derive(Clone, Debug, Serialize)]
struct Unlike {
    field: String,
    expected: String,
    seen: String,
}

impl Near {
    fn new(frame: &[u8], differences: Vec<Difference>) -> Self {
        Self {
            frame: tell(frame),
            data: frame.iter().map(|byte| format!("{byte:02x}")).collect(),
            differences: differences
                .into_iter()
                .map(
                    |Difference {
                         field,
                         expected,
                         seen,
                     }| Unlike {
                        field,
                        expected,
                        seen,
                    },
                )
                .collect(),
        }
    }
}

/// Waits for the frames.
pub(crate) fn run(
    mut client: Client,
    control: &std::path::Path,
    prepared: Prepared,
    arguments: &ExpectArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let nic = inject::nic_address(&mut client)?;
    let mut capturing = client.capture(None)?;
    eprintln!("ixgbectl: expecting; frames from now on count");
    let expected = match &prepared.wanted {
        Wanted::Like(_, count) => *count,
        Wanted::Frames(frames) => frames.len() as u64,
    };
    let mut helper = Helper::start(&arguments.command, control)?;
    let begun = Instant::now();
    let mut judge = Judge {
        prepared,
        order: arguments.order,
        nic,
        seen: 0,
        looked_at: 0,
        nearest: None,
        verdict: None,
    };
    // Of nothing one knows only when the time is over.
    if expected > 0 {
        judge.settle();
    }
    let lost = wait(
        &mut capturing,
        &mut judge,
        &mut helper,
        arguments.timeout,
        begun,
        expected,
    )?;
    let status = helper.end()?;
    let outcome = Outcome {
        passed: judge.verdict == Some(Verdict::Passed),
        expected,
        seen: judge.seen,
        looked_at: judge.looked_at,
        seconds: begun.elapsed().as_secs_f64(),
        lost,
        nearest: judge
            .nearest
            .clone()
            .filter(|_| judge.verdict != Some(Verdict::Passed)),
    };
    if outcome.passed {
        ensure!(
            status.is_none_or(|status| status.success()),
            "the frames came, but the command failed: {}",
            status.map(|status| status.to_string()).unwrap_or_default()
        );
        return output.print(&outcome, || told(&outcome));
    }
    if output.is_json() || outcome.nearest.is_some() {
        output.print(&outcome, || told(&outcome))?;
    }
    if let Some(status) = status.filter(|status| !status.success()) {
        bail!("the command failed: {status}");
    }
    bail!("{}", failure(&outcome, arguments));
}

/// What is said of it to people.
fn told(outcome: &Outcome) -> String {
    if outcome.passed {
        return match outcome.expected {
            0 => format!("no such frame in {:.2} s, as expected", outcome.seconds),
            1 => format!("1 frame seen in {:.2} s, as expected", outcome.seconds),
            n => format!("{n} frames seen in {:.2} s, as expected", outcome.seconds),
        };
    }
    let Some(near) = &outcome.nearest else {
        return String::new();
    };
    let name = if outcome.expected == 0 {
        "this was sent"
    } else {
        "the nearest of what was sent"
    };
    let mut text = format!("{name}: {}\n", near.frame);
    let width = near
        .differences
        .iter()
        .map(|unlike| unlike.field.len())
        .max()
        .unwrap_or(0);
    for Unlike {
        field,
        expected,
        seen,
    } in &near.differences
    {
        text.push_str(&format!(
            "  {field:width$}  expected {expected}\n  {:width$}  seen     {seen}\n",
            ""
        ));
    }
    text
}

fn failure(outcome: &Outcome, arguments: &ExpectArguments) -> String {
    let Outcome {
        expected,
        seen,
        looked_at,
        ..
    } = outcome;
    if *expected == 0 && outcome.nearest.is_none() {
        return format!("none was seen, but {} frames were missed", outcome.lost);
    }
    if *expected == 0 {
        return "a frame came that should not come".to_owned();
    }
    let when = if arguments.order && outcome.nearest.is_some() {
        "the next was another one".to_owned()
    } else {
        format!("no more came within {} s", arguments.timeout.as_secs_f64())
    };
    let missed = match outcome.lost {
        0 => String::new(),
        lost => format!("; {lost} frames were missed"),
    };
    format!("expected {expected} frames, seen {seen} of {looked_at} looked at; {when}{missed}")
}

/// Judges frames until it is known how it ends, or the time is over. Returns how many frames were missed.
fn wait(
    capturing: &mut Capturing,
    judge: &mut Judge,
    helper: &mut Helper,
    timeout: Duration,
    begun: Instant,
    expected: u64,
) -> anyhow::Result<u64> {
    let mut progress = Progress::new((expected > 0).then_some(expected), "frames expected");
    let mut lost = 0;
    // While the command runs that makes them, none is late.
    let mut since = begun;
    loop {
        if helper.runs()? {
            since = Instant::now();
        }
        let left = timeout.saturating_sub(since.elapsed());
        // A guest that never stops to send other frames does not put the end off; what waits by then is still looked at.
        let over = since.elapsed() > timeout.saturating_add(GRACE);
        if over || !capturing.has_buffered() {
            let step = left.min(LOOK).as_millis();
            let step = PollTimeout::try_from(step).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(capturing.poll_fd(), PollFlags::POLLIN)];
            let ready = match poll(&mut fds, step) {
                _ if over => 0,
                Err(nix::errno::Errno::EINTR) => 0,
                ready => ready.context("cannot wait for frames")?,
            };
            if ready == 0 {
                progress.at(judge.seen);
                if left.is_zero() {
                    // A frame that was missed may be the one that should not come.
                    if expected == 0 && lost == 0 {
                        judge.verdict = Some(Verdict::Passed);
                    }
                    return Ok(lost);
                }
                continue;
            }
        }
        let captured = capturing
            .next_reply()?
            .context("the server ended before the frames had come")?;
        lost = captured.lost;
        for frame in captured.frames {
            if frame.direction == Direction::Transmit && judge.verdict.is_none() {
                judge.look(&frame.data);
            }
        }
        if judge.verdict.is_some() {
            return Ok(lost);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
}

/// Compares what comes with what is expected.
struct Judge {
    prepared: Prepared,
    /// Each frame that passes the filter has to be the next one.
    order: bool,
    nic: Option<Mac>,
    seen: u64,
    looked_at: u64,
    nearest: Option<Near>,
    /// How it ends, if that is known.
    verdict: Option<Verdict>,
}

impl Judge {
    fn look(&mut self, frame: &[u8]) {
        let dissection = Dissection::new(frame);
        if !self
            .prepared
            .filter
            .lets_through(&dissection, Some(Course::Outbound))
        {
            return;
        }
        self.looked_at += 1;
        let unlike = match &mut self.prepared.wanted {
            Wanted::Like(recipe, count) => {
                let unlike = recipe.mismatches(&dissection, self.nic);
                if unlike.is_empty() && *count == 0 {
                    self.nearest = Some(Near::new(frame, unlike));
                    self.verdict = Some(Verdict::Failed);
                    return;
                }
                if *count == 0 {
                    return;
                }
                unlike
            }
            Wanted::Frames(frames) => {
                let among = if self.order {
                    &frames[..1]
                } else {
                    frames.as_slice()
                };
                let unlike = among
                    .iter()
                    .map(|wanted| differences(wanted, frame, &self.prepared.ignored));
                let nearest = unlike.enumerate().min_by_key(|(_, unlike)| unlike.len());
                let Some((index, unlike)) = nearest else {
                    return;
                };
                if unlike.is_empty() {
                    frames.remove(index);
                }
                unlike
            }
        };
        if unlike.is_empty() {
            self.seen += 1;
            self.settle();
            return;
        }
        let near = self
            .nearest
            .as_ref()
            .map_or(usize::MAX, |near| near.differences.len());
        if unlike.len() < near || self.order {
            self.nearest = Some(Near::new(frame, unlike));
        }
        if self.order {
            self.verdict = Some(Verdict::Failed);
        }
    }

    /// Whether that were all.
    fn settle(&mut self) {
        let all = match &self.prepared.wanted {
            Wanted::Like(_, count) => self.seen >= *count,
            Wanted::Frames(frames) => frames.is_empty(),
        };
        if all {
            self.verdict = Some(Verdict::Passed);
        }
    }
}

/// The command that is run when nothing is missed any more.
struct Helper(Option<Child>);

impl Helper {
    fn start(command: &[String], control: &std::path::Path) -> anyhow::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(Self(None));
        };
        let child = Command::new(program)
            .args(arguments)
            .env("IXGBE_CONTROL", control)
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        Ok(Self(Some(child)))
    }

    fn runs(&mut self) -> anyhow::Result<bool> {
        match &mut self.0 {
            None => Ok(false),
            Some(child) => Ok(child.try_wait()?.is_none()),
        }
    }

    /// Waits for its end.
    fn end(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.0
            .as_mut()
            .map(|child| child.wait().context("cannot wait for the command"))
            .transpose()
    }
}
