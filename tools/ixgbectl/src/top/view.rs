//! The screen: what is drawn of a sample.
//!
//! At 80×24 there is room for all of it. Where there is less, the histogram goes first, then lines from below; what is
//! too long is cut.

use control::Direction;
use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use super::{
    histogram,
    keys::App,
    number::{short, time, with_unit},
    sample::{QueueRates, Sample, Several, Times},
};

/// Width of the table of queues.
const TABLE: u16 = 44;
/// Width of the histogram beside it, and the screen that it takes.
const HISTOGRAM: u16 = 34;
const WIDE: u16 = TABLE + 2 + HISTOGRAM;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);

const HELP: [&str; 12] = [
    "q, F10, Ctrl-C    quit",
    "Tab, arrows < >   next port, port before",
    "0 to 9            this port",
    "arrows, Page      scroll the queues",
    "p                 pause, go on",
    "Space             look now",
    "+ -               look less, more often",
    "? h F1            this help",
    "",
    "Latency is from a frame's arrival until it is",
    "in client memory, or until the interrupt that",
    "tells of it. Any key closes this.",
];

/// Draws all of it.
pub(crate) fn draw(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    let Some(body_height) = area.height.checked_sub(1) else {
        return;
    };
    let footer = row(area, body_height);
    let wide = area.width >= WIDE;
    let head = match &app.sample {
        Some(sample) => head(sample, app, wide),
        None => vec![title(app, None), Line::default(), Line::from("looking ...")],
    };
    let head_height = u16::try_from(head.len())
        .unwrap_or(u16::MAX)
        .min(body_height);
    frame.render_widget(
        Paragraph::new(head),
        Rect {
            height: head_height,
            ..area
        },
    );
    if let Some(sample) = &app.sample {
        let below = Rect {
            y: area.y + head_height,
            height: body_height - head_height,
            ..area
        };
        let (left, right) = if wide {
            let right = Rect {
                x: below.x + TABLE + 2,
                width: below.width - TABLE - 2,
                ..below
            };
            (
                Rect {
                    width: TABLE,
                    ..below
                },
                Some(right),
            )
        } else {
            (below, None)
        };
        frame.render_widget(
            Paragraph::new(queues(sample, app.scroll, left.height)),
            left,
        );
        if let Some(right) = right {
            let lines = histogram::lines(&sample.to_memory, &sample.to_interrupt, right.height);
            let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
            frame.render_widget(Paragraph::new(headed(lines)), right);
        }
    }
    frame.render_widget(Paragraph::new(foot(app)), footer);
    if app.help {
        help(frame, area);
    }
}

/// A line of the screen.
const fn row(area: Rect, y: u16) -> Rect {
    Rect {
        y: area.y + y,
        height: 1,
        ..area
    }
}

fn title(app: &App, sample: Option<&Sample>) -> Line<'static> {
    let who = sample.map_or_else(String::new, |sample| {
        format!(" {}, process {}", sample.version, sample.pid)
    });
    let state = if app.paused {
        "PAUSED".to_owned()
    } else {
        format!("every {} s", app.delay.as_secs_f64())
    };
    let text = format!(
        "vfio-user-ixgbe{who}   port {} of {}   {state}",
        app.port, app.ports
    );
    Line::from(Span::styled(text, BOLD))
}

/// The lines above the table.
fn head(sample: &Sample, app: &App, wide: bool) -> Vec<Line<'static>> {
    let mut lines = vec![title(app, Some(sample))];
    lines.extend(super::plain::state(sample).into_iter().map(Line::from));
    if !wide {
        lines.push(Line::from(latency(sample)));
    }
    lines.push(Line::default());
    lines
}

/// The histogram in a line.
pub(crate) fn latency(sample: &Sample) -> String {
    let told = |times: &Times| match (times.count, times.p50, times.p99) {
        (0, ..) => "-".to_owned(),
        (_, Some(p50), Some(p99)) => format!("p50 {} p99 {}", time(p50), time(p99)),
        (_, p50, _) => {
            let p50 = p50.map_or_else(|| "over 1s".to_owned(), time);
            format!("p50 {p50} p99 over 1s")
        }
    };
    format!(
        "Latency     to memory {}, to interrupt {}",
        told(&sample.to_memory),
        told(&sample.to_interrupt)
    )
}

/// A table whose first line is its head.
fn headed(mut lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    if let Some(first) = lines.first_mut() {
        *first = std::mem::take(first).patch_style(REVERSED);
    }
    lines
}

/// The head of the table of queues.
pub(crate) const QUEUES: &str = "QUEUE    PACKETS/s   BIT/s  DROPS/s  BELLS/s";

/// A queue in the table.
pub(crate) fn queue(rates: &QueueRates) -> String {
    let direction = match rates.direction {
        Direction::Receive => "rx",
        Direction::Transmit => "tx",
    };
    format!(
        "{direction} {:<3} {:>11} {:>7} {:>8} {:>8}",
        rates.queue,
        short(rates.flow.packets_per_second),
        short(rates.flow.bits_per_second),
        short(rates.drops_per_second),
        short(rates.doorbells_per_second),
    )
}

fn queues(sample: &Sample, scroll: usize, height: u16) -> Vec<Line<'static>> {
    let mut lines = vec![Line::from(QUEUES)];
    let room = usize::from(height.saturating_sub(1));
    let queues = sample.queues.iter().skip(scroll).take(room);
    lines.extend(queues.map(|rates| Line::from(queue(rates))));
    if sample.queues.is_empty() {
        lines.push(Line::from("no queue has moved a packet yet"));
    }
    headed(lines)
}

fn foot(app: &App) -> Line<'static> {
    match &app.trouble {
        Some(trouble) => Line::from(Span::styled(trouble.clone(), REVERSED)),
        None => Line::from(
            "q quit  Tab next port  p pause  arrows scroll  Space now  + - delay  ? help",
        ),
    }
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let rows = u16::try_from(HELP.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let width = area.width.min(50);
    let height = area.height.min(rows);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let text: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(*line)).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(text).block(Block::bordered().title("Keys")),
        place,
    );
}

/// Rates by name, as many as fit so many letters.
pub(crate) fn named(several: &Several, room: usize) -> String {
    let mut text = String::new();
    for named in &several.of {
        let one = format!("{} {}", named.name, short(named.per_second));
        if text.len() + one.len() + 4 > room {
            text.push_str(", ...");
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&one);
    }
    if text.is_empty() {
        text
    } else {
        format!("({text})")
    }
}

/// Packets and bits in words.
pub(crate) fn flow(flow: super::sample::Flow) -> String {
    format!(
        "{:>11} {:>13}",
        with_unit(flow.packets_per_second, "pps"),
        with_unit(flow.bits_per_second, "bit/s")
    )
}
