//! What a person has set by keys, and what is on the screen.

use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::sample::Sample;

/// The shortest and longest time between two samples.
pub(crate) const DELAYS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];

/// What the sampling thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Look at this port.
    Port(u32),
    /// Let so much time pass between two looks.
    Delay(Duration),
    /// Look now.
    Now,
    /// Look no more until told to.
    Pause,
    /// Look again.
    Resume,
}

/// What comes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing.
    Nothing,
    /// The screen is to be drawn anew.
    Draw,
    /// That, and this order.
    Ask(Order),
    /// It is over.
    Quit,
}

/// The state of the screen.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) port: u32,
    pub(crate) ports: u32,
    pub(crate) delay: Duration,
    pub(crate) paused: bool,
    pub(crate) help: bool,
    /// Queues above the first that is shown.
    pub(crate) scroll: usize,
    pub(crate) sample: Option<Sample>,
    /// Why there is nothing new.
    pub(crate) trouble: Option<String>,
    /// Samples that are still to be shown; `None` for any number.
    pub(crate) left: Option<u64>,
}

impl App {
    pub(crate) const fn new(port: u32, ports: u32, delay: Duration, left: Option<u64>) -> Self {
        Self {
            port,
            ports,
            delay,
            paused: false,
            help: false,
            scroll: 0,
            sample: None,
            trouble: None,
            left,
        }
    }

    /// A sample has come.
    pub(crate) fn show(&mut self, sample: Sample) {
        // One of the port that was shown before is late.
        if sample.port != self.port {
            return;
        }
        self.ports = sample.ports;
        self.trouble = None;
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.sample = Some(sample);
    }

    /// Something has happened at the terminal.
    pub(crate) fn heed(&mut self, event: &Event) -> Outcome {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.press(*key),
            Event::Resize(..) => Outcome::Draw,
            _ => Outcome::Nothing,
        }
    }

    fn press(&mut self, key: KeyEvent) -> Outcome {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => Outcome::Quit,
                KeyCode::Char('l') => Outcome::Draw,
                _ => Outcome::Nothing,
            };
        }
        if self.help {
            self.help = false;
            return match key.code {
                KeyCode::Char('q') | KeyCode::F(10) => Outcome::Quit,
                _ => Outcome::Draw,
            };
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::F(10) => Outcome::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => {
                self.help = true;
                Outcome::Draw
            }
            KeyCode::Tab | KeyCode::Right => self.turn_to(self.port.saturating_add(1)),
            KeyCode::BackTab | KeyCode::Left => {
                self.turn_to(self.port.checked_sub(1).unwrap_or(u32::MAX))
            }
            KeyCode::Char(digit) if digit.is_ascii_digit() => match digit.to_digit(10) {
                Some(port) if port < self.ports => self.turn_to(port),
                _ => Outcome::Nothing,
            },
            KeyCode::Down => self.scroll_to(self.scroll.saturating_add(1)),
            KeyCode::Up => self.scroll_to(self.scroll.saturating_sub(1)),
            KeyCode::PageDown => self.scroll_to(self.scroll.saturating_add(10)),
            KeyCode::PageUp => self.scroll_to(self.scroll.saturating_sub(10)),
            KeyCode::Home => self.scroll_to(0),
            KeyCode::End => self.scroll_to(usize::MAX),
            KeyCode::Char('p') => {
                self.paused = !self.paused;
                Outcome::Ask(if self.paused {
                    Order::Pause
                } else {
                    Order::Resume
                })
            }
            KeyCode::Char(' ') => Outcome::Ask(Order::Now),
            KeyCode::Char('+') => self.wait(self.delay.saturating_mul(2)),
            KeyCode::Char('-') => self.wait(self.delay / 2),
            _ => Outcome::Nothing,
        }
    }

    /// Another port; after the last comes the first.
    fn turn_to(&mut self, port: u32) -> Outcome {
        let last = self.ports.saturating_sub(1);
        let port = match port {
            u32::MAX => last,
            port if port > last => 0,
            port => port,
        };
        if port == self.port {
            return Outcome::Nothing;
        }
        self.port = port;
        self.scroll = 0;
        self.sample = None;
        self.paused = false;
        Outcome::Ask(Order::Port(port))
    }

    fn scroll_to(&mut self, scroll: usize) -> Outcome {
        let queues = self.sample.as_ref().map_or(0, |sample| sample.queues.len());
        self.scroll = scroll.min(queues.saturating_sub(1));
        Outcome::Draw
    }

    fn wait(&mut self, delay: Duration) -> Outcome {
        let [shortest, longest] = DELAYS;
        self.delay = delay.clamp(shortest, longest);
        Outcome::Ask(Order::Delay(self.delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(app: &mut App, code: KeyCode) -> Outcome {
        app.heed(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn app() -> App {
        App::new(0, 3, Duration::from_secs(1), None)
    }

    #[test]
    fn tab_and_arrows_go_round_the_ports() {
        let mut app = app();

        let orders = [
            KeyCode::Left,
            KeyCode::Tab,
            KeyCode::Right,
            KeyCode::BackTab,
        ]
        .map(|code| press(&mut app, code));

        let port = |port| Outcome::Ask(Order::Port(port));
        assert_eq!(orders, [port(2), port(0), port(1), port(0)]);
    }

    #[test]
    fn a_digit_names_a_port_that_there_is() {
        let mut app = app();

        let orders = ['2', '3'].map(|digit| press(&mut app, KeyCode::Char(digit)));

        assert_eq!(orders, [Outcome::Ask(Order::Port(2)), Outcome::Nothing]);
    }

    #[test]
    fn q_f10_and_control_c_end_it_also_in_the_help() {
        let control_c = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));

        let plain = [KeyCode::Char('q'), KeyCode::F(10)].map(|code| press(&mut app(), code));
        let mut in_help = app();
        press(&mut in_help, KeyCode::Char('?'));
        let after_help = press(&mut in_help, KeyCode::Char('q'));

        assert_eq!(plain, [Outcome::Quit; 2]);
        assert_eq!(after_help, Outcome::Quit);
        assert_eq!(app().heed(&control_c), Outcome::Quit);
    }

    #[test]
    fn another_key_closes_the_help() {
        let mut app = app();

        press(&mut app, KeyCode::Char('?'));
        let opened = app.help;
        press(&mut app, KeyCode::Esc);

        assert!(opened && !app.help);
    }

    #[test]
    fn p_pauses_and_goes_on() {
        let mut app = app();

        let orders = [(); 2].map(|()| press(&mut app, KeyCode::Char('p')));

        assert_eq!(
            orders,
            [Outcome::Ask(Order::Pause), Outcome::Ask(Order::Resume)]
        );
    }

    #[test]
    fn plus_and_minus_change_the_delay_within_bounds() {
        let mut app = app();

        press(&mut app, KeyCode::Char('+'));
        let doubled = app.delay;
        (0..10).for_each(|_| drop(format!("{:?}", press(&mut app, KeyCode::Char('-')))));

        assert_eq!(doubled, Duration::from_secs(2));
        assert_eq!(app.delay, DELAYS[0]);
    }
}
