//! The terminal: taken over, and given back however it ends.

use std::{
    io::{self, Stdout, stdout},
    panic,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Context;
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        event, execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

use super::{
    keys::{App, Outcome},
    sampler::{self, News, Sampler},
    view,
};
use crate::ending;

/// How long a key, a sample or a signal may wait for the others.
const TURN: Duration = Duration::from_millis(50);

/// The terminal in the hands of this program; it is given back on drop, and before a panic is told.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |information| {
            give_back();
            before(information);
        }));
        enable_raw_mode()?;
        // From here on it is given back, whatever fails.
        let taken = execute!(stdout(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match taken {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Nothing is to be done about what fails: the terminal is gone.
fn give_back() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Shows a port until a key or a signal ends it.
pub(crate) fn run(path: PathBuf, mut app: App) -> anyhow::Result<()> {
    let signals = ending::signals().context("cannot take over SIGINT and SIGTERM")?;
    let (order, orders) = mpsc::channel();
    let (told, news) = mpsc::channel();
    let (port, delay) = (app.port, app.delay);
    // A server that does not answer keeps this thread waiting, and no key.
    thread::Builder::new()
        .name("sampler".to_owned())
        .spawn(move || sampler::run(Sampler::new(path), port, delay, &orders, &told))
        .context("cannot start a thread")?;
    let mut screen = Screen::open().context("cannot take over the terminal")?;
    let mut stale = true;
    loop {
        if stale {
            screen
                .terminal
                .draw(|frame| view::draw(&app, frame))
                .context("cannot draw")?;
        }
        if app.left == Some(0) {
            return Ok(());
        }
        stale = false;
        if event::poll(TURN).context("cannot read the keyboard")? {
            let event = event::read().context("cannot read the keyboard")?;
            match app.heed(&event) {
                Outcome::Nothing => {}
                Outcome::Draw => stale = true,
                Outcome::Ask(what) => {
                    stale = true;
                    // A thread that has ended has said why.
                    let _ = order.send(what);
                }
                Outcome::Quit => return Ok(()),
            }
        }
        if signals.read_signal().is_ok_and(|signal| signal.is_some()) {
            return Ok(());
        }
        while let Ok(one) = news.try_recv() {
            stale = true;
            match one {
                News::Sample(sample) => app.show(*sample),
                News::Trouble(text) => app.trouble = Some(text),
                News::Failed(error) => return Err(error.into()),
            }
        }
    }
}
