//! Frames of the screen, drawn from what a real port tells over the control socket.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use control::{Card, Client, Counter, Group, Inbox, Mapping, Module, Server, View};
use nic_model::{
    Context, ErrorMessage, HardwareError, LEDS, Led, Port, Time,
    check::Finding,
    observe::{Observer, ObserverId},
    testing::{Silence, TestBus, receiving_port},
};
use ratatui::{Terminal, backend::TestBackend};
use wire::{Damage, Loopback, Tapped};

use super::{
    keys::App,
    plain,
    sample::{QueueRates, Sample},
    sampler::Sampler,
    view,
};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// A real port, whose time is set by the test.
struct RealCard {
    port: Port,
    bus: TestBus,
    silence: Silence,
    now: Arc<AtomicU64>,
}

impl Card for RealCard {
    fn counters(&self) -> Vec<Counter> {
        let counters = self.port.statistics();
        counters
            .map(|(name, value)| Counter::new(Group::Hardware, name, value))
            .collect()
    }

    fn address(&self) -> [u8; 6] {
        MAC
    }

    fn observe(&mut self, observer: Box<dyn Observer>) -> Option<ObserverId> {
        Some(self.port.observe(observer))
    }

    fn stop_observing(&mut self, id: ObserverId) {
        self.port.stop_observing(id);
    }

    fn leds(&mut self) -> [Led; LEDS] {
        self.port.leds()
    }

    fn findings(&self) -> Option<Vec<(Finding, u64)>> {
        None
    }

    fn is_stopped(&self) -> bool {
        false
    }

    fn module(&self) -> Module {
        self.port.module()
    }

    fn set_module(&mut self, _module: Module) {}

    fn inject_error(&mut self, _error: HardwareError) -> Option<ErrorMessage> {
        None
    }

    fn view(&mut self) -> View<'_> {
        View {
            port: &mut self.port,
            context: Context {
                now: Time::from_nanos(self.now.load(Ordering::SeqCst)),
                bus: &self.bus,
                wire: &mut self.silence,
            },
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        Vec::new()
    }
}

/// A server with two ports that are one card.
struct Bench {
    server: Server,
    now: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (handle, inbox) = control::channel().unwrap();
        let ports = [handle.clone(), handle];
        let server = Server::start(&folder.path().join("nic.control"), ports).unwrap();
        let now = Arc::new(AtomicU64::new(2_000_000_000));
        let stop = Arc::new(AtomicBool::new(false));
        let worker = thread::spawn({
            let (now, stop) = (Arc::clone(&now), Arc::clone(&stop));
            move || work(inbox, now, &stop)
        });
        Self {
            server,
            now,
            stop,
            worker: Some(worker),
            _folder: folder,
        }
    }

    fn path(&self) -> &Path {
        self.server.path()
    }

    fn pass(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap();
        self.now.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Frames to the port and to somebody else arrive, and a second passes.
    fn traffic(&self, to_us: usize, astray: usize) {
        let frame = |first: u8| {
            let mut frame = vec![0x5A; 64];
            frame[..6].copy_from_slice(&MAC);
            frame[0] = first;
            frame[12..14].copy_from_slice(&[0x88, 0xB5]);
            frame
        };
        let frames = [vec![frame(MAC[0]); to_us], vec![frame(2); astray]].concat();
        let mut client = Client::connect(self.path()).unwrap();
        client.judge(&frames, Damage::default()).unwrap();
        self.pass(Duration::from_secs(1));
    }

    /// A sample of a second with three frames to the port and one to somebody else. The times that this computer took
    /// are replaced.
    fn sample(&self) -> Sample {
        let mut sampler = Sampler::new(self.path().to_owned());
        assert!(sampler.look(0).unwrap().is_none());
        self.traffic(3, 1);
        let mut sample = sampler.look(0).unwrap().unwrap();
        assert_eq!((sample.to_memory.count, sample.to_interrupt.count), (3, 1));
        assert_eq!(sample.pid, std::process::id());
        sample.pid = 4242;
        sample.version = "0.1.0".to_owned();
        for times in [&mut sample.to_memory, &mut sample.to_interrupt] {
            (times.p50, times.p99) = (Some(5_000), Some(10_000));
            let counts = times.buckets.iter_mut();
            counts.for_each(|bucket| bucket.count = 0);
            times.buckets[2].count = times.count - times.count / 3;
            times.buckets[3].count = times.count / 3;
        }
        sample
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

fn work(mut inbox: Inbox, now: Arc<AtomicU64>, stop: &AtomicBool) {
    let bus = TestBus::new(0x1_0000).without_record();
    let mut wire = Tapped::new(Loopback::new());
    let mut card = RealCard {
        port: receiving_port(MAC, &bus),
        bus,
        silence: Silence,
        now,
    };
    while !stop.load(Ordering::SeqCst) {
        inbox.serve(&mut wire, &mut card);
        thread::yield_now();
    }
}

/// The lines of the screen, without the blanks at their ends.
fn drawn(app: &App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(app, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    cells
        .chunks(width.into())
        .map(|line| line.concat().trim_end().to_owned())
        .collect()
}

fn app(sample: Sample) -> App {
    let mut app = App::new(0, 2, Duration::from_secs(1), None);
    app.show(sample);
    app
}

/// The screen for what [`Bench::sample`] shows.
const SCREEN: &str = "\
vfio-user-ixgbe 0.1.0, process 4242   port 0 of 2   every 1 s
Link        carrier, module sr, 52:54:00:12:34:56, wire loopback
Receive       3.00 pps   1.54 kbit/s
Transmit         0 pps       0 bit/s
Drops       1.00 /s   (address-filter 1.00)
Interrupts  1.00 /s   (intx 1.00)
DMA         read 112 B/s, written 240 B/s, 7.00 accesses/s, 0 refused/s

QUEUE    PACKETS/s   BIT/s  DROPS/s  BELLS/s  LATENCY  TO MEMORY    TO INTERRUPT
rx 0          3.00   1.54k        0        0  to 5us   |||     66%  |||||| 100%
                                              to 10us  |       33%












q quit  Tab next port  p pause  arrows scroll  Space now  + - delay  ? help";

#[test]
fn a_port_is_shown_on_80_by_24() {
    let bench = Bench::start();

    let screen = drawn(&app(bench.sample()), 80, 24);

    assert_eq!(screen.join("\n"), SCREEN);
}

#[test]
fn where_there_is_less_room_the_histogram_is_a_line_and_the_keys_stay() {
    let bench = Bench::start();

    let screen = drawn(&app(bench.sample()), 60, 12);

    let expected = "\
vfio-user-ixgbe 0.1.0, process 4242   port 0 of 2   every 1
Link        carrier, module sr, 52:54:00:12:34:56, wire loop
Receive       3.00 pps   1.54 kbit/s
Transmit         0 pps       0 bit/s
Drops       1.00 /s   (address-filter 1.00)
Interrupts  1.00 /s   (intx 1.00)
DMA         read 112 B/s, written 240 B/s, 7.00 accesses/s,
Latency     to memory p50 5us p99 10us, to interrupt p50 5us

QUEUE    PACKETS/s   BIT/s  DROPS/s  BELLS/s
rx 0          3.00   1.54k        0        0
q quit  Tab next port  p pause  arrows scroll  Space now  +";
    assert_eq!(screen.join("\n"), expected);
}

#[test]
fn any_screen_can_be_drawn_on() {
    let bench = Bench::start();
    let mut app = app(bench.sample());
    app.help = true;
    let sizes = (0..30).flat_map(|width| (0..30).map(move |height| (width, height)));

    let drawn = sizes.filter(|(width, height)| {
        let lines = drawn(&app, width + 1, height + 1);
        lines.len() == usize::from(height + 1)
    });

    assert_eq!(drawn.count(), 900);
}

#[test]
fn a_server_that_is_gone_is_told_below_what_it_showed_last() {
    let bench = Bench::start();
    let sample = bench.sample();
    let mut app = app(sample.clone());
    app.trouble = Some("waiting for the server: gone".to_owned());

    let gone = drawn(&app, 80, 24);
    app.show(sample);
    let back = drawn(&app, 80, 24);

    assert_eq!(gone[23], "waiting for the server: gone");
    assert!(gone[2].contains("3.00 pps"), "{gone:#?}");
    assert!(back[23].starts_with("q quit"), "{back:#?}");
}

#[test]
fn keys_and_a_pause_are_told() {
    let bench = Bench::start();
    let mut app = app(bench.sample());
    app.paused = true;
    app.help = true;

    let screen = drawn(&app, 80, 24).join("\n");

    assert!(screen.contains("PAUSED"), "{screen}");
    assert!(
        screen.contains("│p                 pause, go on"),
        "{screen}"
    );
}

#[test]
fn before_the_first_sample_the_screen_says_so() {
    let app = App::new(1, 2, Duration::from_secs(1), None);

    let screen = drawn(&app, 80, 24);

    assert_eq!(screen[0], "vfio-user-ixgbe   port 1 of 2   every 1 s");
    assert_eq!(screen[2], "looking ...");
}

#[test]
fn queues_that_do_not_fit_are_scrolled_to() {
    let bench = Bench::start();
    let mut sample = bench.sample();
    let first = sample.queues[0];
    sample.queues = (0..40).map(|queue| QueueRates { queue, ..first }).collect();
    let mut app = app(sample);
    app.scroll = 30;

    let screen = drawn(&app, 80, 24);

    assert!(screen[9].starts_with("rx 30 "), "{screen:#?}");
    assert!(screen[18].starts_with("rx 39 "), "{screen:#?}");
}

#[test]
fn plain_text_says_the_same_without_escapes() {
    let bench = Bench::start();
    let sample = bench.sample();

    let text = plain::text(&sample);

    let lines: Vec<&str> = text.lines().collect();
    let screen: Vec<&str> = SCREEN.lines().collect();
    assert_eq!(lines[1..7], screen[1..7]);
    assert_eq!(lines[9..11], [&screen[8][..44], &screen[9][..44]]);
    assert_eq!(lines[12], "LATENCY  TO MEMORY    TO INTERRUPT");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn rates_are_of_the_time_between_two_looks() {
    let bench = Bench::start();
    let mut sampler = Sampler::new(bench.path().to_owned());
    sampler.look(0).unwrap();
    bench.traffic(2, 0);
    let seen = sampler.look(0).unwrap().unwrap();

    // Each port has a first look of its own.
    let first_of_other = sampler.look(1).unwrap();
    bench.pass(Duration::from_secs(4));
    let idle = sampler.look(0).unwrap().unwrap();

    assert_eq!(seen.receive.packets_per_second, 2.0);
    assert!(first_of_other.is_none());
    assert_eq!((idle.seconds, idle.receive.packets_per_second), (4.0, 0.0));
    assert_eq!(idle.queues.len(), 1);
}

/// The screen in README.md is what this draws of a sample that `ixgbectl --json top` has printed.
#[test]
fn the_readme_shows_the_screen() {
    let recorded: serde_json::Value = serde_json::from_str(include_str!("readme.json")).unwrap();
    let sample: Sample = serde_json::from_value(recorded["ports"][0].clone()).unwrap();
    let mut app = App::new(sample.port, sample.ports, Duration::from_secs(1), None);
    app.show(sample);
    let readme = include_str!("../../../../README.md");

    let screen = drawn(&app, 80, 24).join("\n");

    let block = format!("```text\n{screen}\n```\n");
    assert!(readme.contains(&block), "README.md does not have\n{block}");
}
