//! The terminal: taken over, and given back however it ends.

use std::{
    io::{self, Stdout, stdout},
    panic,
    path::PathBuf,
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
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

/// Signals that end a program and would leave it the terminal.
const ENDS: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

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
    let signals = ending::taken_over(&ENDS).context("cannot take over signals")?;
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
        stale |= hear(&news, &mut app)?;
    }
}

/// Takes what the sampling thread has told. Whether there was something.
fn hear(news: &Receiver<News>, app: &mut App) -> anyhow::Result<bool> {
    let mut heard = false;
    loop {
        match news.try_recv() {
            Ok(News::Sample(sample)) => app.show(*sample),
            Ok(News::Trouble(text)) => app.trouble = Some(text),
            Ok(News::Failed(error)) => return Err(error.into()),
            Err(TryRecvError::Empty) => return Ok(heard),
            // It ends only when nobody listens, or in a panic, which it has told.
            Err(TryRecvError::Disconnected) => bail!("the thread that looks at the server is gone"),
        }
        heard = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampler_that_is_gone_ends_the_screen_behind_its_last_news() {
        let (told, news) = mpsc::channel();
        let mut app = App::new(0, 1, Duration::from_secs(1), None);
        told.send(News::Trouble("waiting".to_owned())).unwrap();

        let alive = hear(&news, &mut app);
        let quiet = hear(&news, &mut app);
        drop(told);
        let gone = hear(&news, &mut app);

        assert_eq!(app.trouble.as_deref(), Some("waiting"));
        assert_eq!((alive.unwrap(), quiet.unwrap()), (true, false));
        assert!(gone.unwrap_err().to_string().contains("is gone"));
    }
}
