use std::{fs, io::Cursor, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use ixgbe_spec::register::Reg;
use nic_model::{
    Bar, Context, HardwareError, LanId, Module, Port, PortConfig, Time,
    bus::{Iova, Requester, Right},
    fault::{Fault, FaultKind, Target, Trigger},
    testing::{BUFFERS, RING, Silence, TestBus},
    wire::RxFrame,
};

use super::*;
use crate::{Header, PortHeader, Writer};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// A transmit ring, and a frame that it sends.
const TX_RING: u64 = RING + 0x8000;
const TX_FRAME: u64 = RING + 0x9000;

/// A port that is recorded, and its client.
struct Session {
    port: Port,
    bus: TestBus,
    now: Time,
}

impl Session {
    fn new(port: Port) -> Self {
        Self {
            port,
            bus: TestBus::new(0x1_0000),
            now: Time::from_nanos(1_000),
        }
    }

    fn call<T>(&mut self, act: impl FnOnce(&mut Port, &mut Context<'_>) -> T) -> T {
        self.now = self.now.plus_nanos(1_000);
        let mut context = Context {
            now: self.now,
            bus: &self.bus,
            wire: &mut Silence,
        };
        act(&mut self.port, &mut context)
    }

    fn set(&mut self, reg: Reg, value: u32) {
        let offset = reg.offset(0).into();
        self.call(|port, context| {
            port.bar_write(Bar::Csr, offset, &value.to_le_bytes(), context);
        });
    }

    fn get(&mut self, reg: Reg) -> u32 {
        let mut value = [0; 4];
        let offset = reg.offset(0).into();
        self.call(|port, context| port.bar_read(Bar::Csr, offset, &mut value, context));
        u32::from_le_bytes(value)
    }

    /// Link, bus mastering, a ring each way.
    fn receives(&mut self) {
        self.port
            .client_mapped(Iova(TestBus::BASE), 0x1_0000, self.now);
        self.call(|port, context| port.set_carrier(true, context));
        self.call(|port, context| port.config_write(0x04, &[6, 0], context));
        for n in 0..8 {
            self.bus
                .poke(RING + 16 * n, &(BUFFERS + 2048 * n).to_le_bytes());
        }
        let ring = u32::try_from(RING).unwrap();
        let tx_ring = u32::try_from(TX_RING).unwrap();
        for (reg, value) in [
            (Reg::RDBAL, ring),
            (Reg::RDLEN, 128),
            (Reg::SRRCTL, 0x0200_0002),
            (Reg::RXDCTL, 1 << 25),
            (Reg::RXCTRL, 1),
            (Reg::FCTRL, 0x702),
            (Reg::IVAR, 0x8180),
            (Reg::EIMS, 1),
            (Reg::RDT, 7),
            (Reg::TDBAL, tx_ring),
            (Reg::TDLEN, 128),
            (Reg::DMATXCTL, 1),
            (Reg::TXDCTL, 1 << 25),
        ] {
            self.set(reg, value);
        }
    }

    /// Frames in and out, and one of each other call.
    fn live(&mut self) {
        self.receives();
        for n in 0..3_u8 {
            let frame = [0xA0 + n; 60];
            let verdict = self.call(|port, context| port.receive(&RxFrame::new(&frame), context));
            assert!(matches!(verdict, nic_model::rx::Verdict::Delivered { .. }));
        }
        self.bus.poke(TX_FRAME, &[0x55; 60]);
        self.bus.poke(TX_RING, &TX_FRAME.to_le_bytes());
        self.bus.poke(TX_RING + 8, &[60, 0, 0, 0x0B, 0, 0, 0, 0]);
        self.set(Reg::TDT, 1);
        self.call(Port::step);
        self.port.config_read(0, &mut [0; 4]);
        self.port.leds();
        self.port.take_counter(Reg::QPRC, 0, 1);
        self.port.take_counter36(Reg::QBRC_L, Reg::QBRC_H, 0, 60);
        self.call(|port, context| port.inject_error(HardwareError::ReceiveEcc, context));
        self.call(|port, context| port.set_module(Module::Lr, context));
        assert_eq!(self.get(Reg::GPRC), 3);
        self.port
            .client_unmaps(Iova(TestBus::BASE), 0x1000, self.now);
        self.call(Port::reset);
    }
}

fn header(ports: &[&Port]) -> Header {
    let ports = ports.iter().enumerate();
    let ports = ports.map(|(number, port)| PortHeader::new(MAC, port, number == 1, "test"));
    Header {
        program: "test".to_owned(),
        ports: ports.collect(),
    }
}

/// The recording of a session.
fn recorded(path: &Path) -> Vec<u8> {
    let mut port = Port::new(PortConfig::new(MAC));
    let writer = Writer::create(path, &header(&[&port])).unwrap();
    port.record(writer.recorder(0, None));
    Session::new(port).live();
    writer.finish();
    fs::read(path).unwrap()
}

fn recording() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    recorded(&folder.path().join("run.rec"))
}

fn replay(file: &[u8]) -> Replay<Cursor<Vec<u8>>> {
    Replay::new(Cursor::new(file.to_vec())).unwrap()
}

/// The blocks of a recording: where each begins and ends.
fn blocks(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 16 + word(12);
    let mut blocks = Vec::new();
    while at < file.len() {
        let end = at + 8 + word(at);
        blocks.push(at..end);
        at = end;
    }
    blocks
}

/// The same recording with something replaced, and sums that are right again.
fn forged(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    assert_eq!(from.len(), to.len());
    let find = |block: &std::ops::Range<usize>| {
        let content = &file[block.start + 8..block.end];
        let found = content
            .windows(from.len())
            .position(|window| window == from)?;
        Some((block.clone(), block.start + 8 + found))
    };
    let (block, at) = blocks(&file).iter().find_map(find).expect("it is there");
    file[at..at + to.len()].copy_from_slice(to);
    let sum = crc32fast::hash(&file[block.start + 8..block.end]).to_le_bytes();
    file[block.start + 4..block.start + 8].copy_from_slice(&sum);
    file
}

#[test]
fn a_recording_replays_without_a_difference() {
    let mut replay = replay(&recording());

    let end = replay.run(Until::End).unwrap();

    assert_eq!(end, Step::End(Ending::Closed));
    let packets = Packets {
        arrived: 3,
        sent: 1,
    };
    assert_eq!(replay.packets(), packets);
    let (reads, writes, interrupts) = replay.deeds();
    assert!(reads >= 3 && writes >= 7 && interrupts >= 1);
    assert_eq!(replay.ports(), 1);
}

#[test]
fn a_replay_stops_behind_a_packet_and_shows_rings_and_buffers() {
    let file = recording();
    let mut replay = replay(&file);

    let end = replay.run(Until::Arrived(2)).unwrap();

    assert_eq!(end, Step::Reached);
    assert_eq!(replay.packets().arrived, 2);
    assert_eq!(replay.run(Until::Arrived(2)).unwrap(), Step::Reached);
    let (port, memory, now) = replay.port(0).unwrap();
    assert_eq!(port.register(Reg::RDH, 0), 2);
    assert!(now > Time::ZERO);
    let bytes = [BUFFERS, BUFFERS + 2048].map(|iova| byte(memory, iova));
    assert_eq!(bytes, [0xA0, 0xA1]);
    let done = |descriptor: u64| byte(memory, RING + 16 * descriptor + 8) & 1;
    assert_eq!([done(1), done(2)], [1, 0]);
}

fn byte(memory: &Memory, iova: u64) -> u8 {
    let window = memory.look(Iova(iova)).unwrap();
    let mut byte = [0_u8];
    window.slice(Iova(iova), 1).unwrap().copy_to(&mut byte);
    byte[0]
}

#[test]
fn a_replay_that_stops_in_a_burst_lets_the_port_finish_what_it_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.rec");
    let mut port = Port::new(PortConfig::new(MAC));
    let writer = Writer::create(&path, &header(&[&port])).unwrap();
    port.record(writer.recorder(0, None));
    let mut session = Session::new(port);
    session.receives();
    session.call(|port, context| {
        port.receive_burst(context, |arrivals| {
            for n in 0..3 {
                arrivals.take(&RxFrame::new(&[0xA0 + n; 60]));
            }
        });
    });
    drop(session);
    writer.finish();
    let mut replay = replay(&fs::read(&path).unwrap());

    let end = replay.run(Until::Arrived(2)).unwrap();

    assert_eq!(end, Step::Reached);
    assert_eq!(replay.packets().arrived, 2);
    let (_, _, interrupts) = replay.deeds();
    assert_eq!(interrupts, 1, "of the two frames");
    let (port, memory, _) = replay.port(0).unwrap();
    assert_eq!(port.register(Reg::RDH, 0), 2);
    let done = |descriptor: u64| byte(memory, RING + 16 * descriptor + 8) & 1;
    assert_eq!([done(1), done(2)], [1, 0]);
}

#[test]
fn a_replay_stops_at_a_time_a_call_and_a_frame_sent() {
    let file = recording();
    let stop = |until| {
        let mut replay = replay(&file);
        assert_eq!(replay.run(until).unwrap(), Step::Reached);
        (replay.calls(), replay.packets(), replay.now())
    };

    let (calls, packets, _) = stop(Until::Call(5));
    assert_eq!((calls, packets), (5, Packets::default()));
    let (_, packets, _) = stop(Until::Sent(1));
    assert_eq!((packets.arrived, packets.sent), (3, 1));
    let (_, packets, _) = stop(Until::Packet(4));
    assert_eq!(packets.sent, 1);
    let time = Time::from_nanos(5_000);
    let (calls, _, now) = stop(Until::Time(time));
    assert!(calls > 2 && now <= time, "{calls} calls until {now:?}");
}

#[test]
fn another_value_of_a_register_is_told_with_its_call_and_place() {
    let file = recording();
    // GPRC is read as 3.
    let forged = forged(&file, &[0x33, 1, 4, 3, 0, 0, 0], &[0x33, 1, 4, 9, 0, 0, 0]);

    let end = replay(&forged).run(Until::End).unwrap();

    let Step::Differs(difference) = end else {
        panic!("{end:?}");
    };
    assert_eq!(difference.what, "a read of GPRC");
    assert_eq!(difference.recorded, "the value 0x00000009");
    assert_eq!(difference.replayed, "the value 0x00000003");
    let place = usize::try_from(difference.offset).unwrap();
    assert_eq!(&forged[place..place + 4], &[0x33, 1, 4, 9]);
    assert!(difference.to_string().contains("a read of GPRC"));
}

#[test]
fn another_frame_makes_another_write_which_is_told() {
    let file = recording();
    let forged = forged(
        &file,
        &[0xA1; 8],
        &[0xA1, 0xA1, 0xA1, 7, 0xA1, 0xA1, 0xA1, 0xA1],
    );

    let end = replay(&forged).run(Until::End).unwrap();

    let Step::Differs(difference) = end else {
        panic!("{end:?}");
    };
    assert!(
        difference.recorded.starts_with("a DMA write of 60 bytes"),
        "{difference}"
    );
    assert!(
        difference.replayed.starts_with("a DMA write of 60 bytes"),
        "{difference}"
    );
    assert_ne!(difference.recorded, difference.replayed);
}

#[test]
fn a_changed_byte_is_told_with_its_block() {
    let mut file = recording();
    let block = blocks(&file)[0].clone();
    file[block.start + 8] ^= 1;

    let error = replay(&file).run(Until::End).unwrap_err().to_string();

    assert!(
        error.starts_with(&format!("block at byte {}: ", block.start)),
        "{error}"
    );
}

#[test]
fn a_recording_that_was_cut_replays_up_to_there() {
    let file = recording();
    let blocks = blocks(&file);
    // The last one with calls: behind it there is the end alone.
    let block = blocks[blocks.len() - 2].clone();
    let whole = replay_calls(&file);
    let calls_until = |cut: usize| {
        let mut replay = replay(&file[..cut]);
        assert_eq!(
            replay.run(Until::End).unwrap(),
            Step::End(Ending::Cut),
            "cut at {cut}"
        );
        replay.calls()
    };

    assert_eq!(calls_until(block.end + 5), whole);
    assert_eq!(calls_until(block.end), whole);
    assert_eq!(calls_until(block.end - 1), whole - 1);
    assert!(calls_until(block.start + 8) < whole);
    assert_eq!(calls_until(block.start + 3), calls_until(block.start));
    assert_eq!(calls_until(blocks[0].start), 0);
}

fn replay_calls(file: &[u8]) -> u64 {
    let mut replay = replay(file);
    replay.run(Until::End).unwrap();
    replay.calls()
}

#[test]
fn what_is_no_recording_is_refused_with_the_reason() {
    let file = recording();
    let error = |file: &[u8]| {
        Replay::new(Cursor::new(file.to_vec()))
            .unwrap_err()
            .to_string()
    };
    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        error(&file)
    };

    assert!(error(b"pcap").contains("no recording"));
    assert!(with(8, 9).contains("version 9"));
    assert!(with(15, 0x7F).contains("at byte 16"));
    assert!(with(20, b'}').contains("at byte 16"));
    assert!(error(&file[..30]).contains("ends within it"));
}

#[test]
fn a_call_in_which_the_model_panicked_is_the_last_of_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("panic.rec");
    let mut port = Port::new(PortConfig::new(MAC));
    let writer = Writer::create(&path, &header(&[&port])).unwrap();
    port.record(writer.recorder(0, None));
    let mut session = Session::new(port);
    session.set(Reg::EIMC, 1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let frame = [0; 60];
        let bus = &session.bus;
        let context = Context {
            now: session.now,
            bus,
            wire: &mut Silence,
        };
        session.port.receive_burst(&context, |arrivals| {
            arrivals.take(&RxFrame::new(&frame));
            panic!("a defect");
        })
    }));
    assert!(panicked.is_err());
    writer.finish();

    let end = Replay::new(fs::File::open(&path).unwrap())
        .unwrap()
        .run(Until::End)
        .unwrap();

    // Here the model does not panic: it was the one who called it.
    let Step::Differs(difference) = end else {
        panic!("{end:?}");
    };
    assert!(difference.recorded.contains("panic"), "{difference}");
    assert_eq!(difference.what, "frames that arrive");
}

#[test]
fn the_ports_of_a_card_replay_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pair.rec");
    let config = || PortConfig::new(MAC);
    let [mut first, mut second] = Port::pair(config(), config());
    let writer = Writer::create(&path, &header(&[&first, &second])).unwrap();
    let turn = Some(Arc::default());
    first.record(writer.recorder(0, turn.clone()));
    second.record(writer.recorder(1, turn));
    let (mut first, mut second) = (Session::new(first), Session::new(second));
    // The semaphore is the card's: who reads it first has it.
    let mine = [first.get(Reg::SWSM), second.get(Reg::SWSM)];
    first.set(Reg::SWSM, 0);
    second.get(Reg::SWSM);
    first.live();
    second.live();
    writer.finish();

    let mut replay = Replay::new(fs::File::open(&path).unwrap()).unwrap();

    assert_eq!(mine.map(|value| value & 1), [0, 1]);
    assert_eq!(replay.run(Until::End).unwrap(), Step::End(Ending::Closed));
    assert_eq!(replay.packets().arrived, 6);
}

#[test]
fn a_recorder_hides_windows_from_the_card_and_not_from_those_who_look() {
    struct Looker(Arc<std::sync::Mutex<Vec<bool>>>);
    impl Observer for Looker {
        fn see(&mut self, _: Time, _: &nic_model::observe::Event<'_>) {}
        fn settle(&mut self, scene: &nic_model::observe::Scene<'_>) {
            let bus = scene.bus();
            let window = bus.window(Requester::Pf, Iova(RING), Right::Read);
            let look = bus.look(Iova(RING));
            self.0
                .lock()
                .unwrap()
                .push(window.is_none() && look.is_some());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut port = Port::new(PortConfig {
        lan_id: LanId::Port0,
        ..PortConfig::new(MAC)
    });
    let writer = Writer::create(&folder.path().join("a"), &header(&[&port])).unwrap();
    let seen = Arc::default();
    port.record(writer.recorder(0, None));
    port.observe(Box::new(Looker(Arc::clone(&seen))));
    let mut session = Session::new(port);
    session.bus = TestBus::new(0x1_0000).without_record();

    session.set(Reg::EIMC, 1);

    assert_eq!(*seen.lock().unwrap(), [true]);
}

/// Where the calls of [`recording`] end behind the start of its calls. The number of their port stands before the first.
fn ends() -> Vec<usize> {
    let (to, lengths) = std::sync::mpsc::channel();
    let mut port = Port::new(PortConfig::new(MAC));
    port.record(crate::recorder(None, move |call| {
        to.send(call.len()).unwrap();
    }));
    Session::new(port).live();
    let ends = lengths.into_iter().scan(2, |end, length| {
        *end += length;
        Some(*end)
    });
    ends.collect()
}

proptest::proptest! {
    #[test]
    fn a_changed_byte_is_told_by_its_call_or_a_later_one_or_changes_nothing(
        place in proptest::prelude::any::<proptest::sample::Index>(),
        byte: u8,
    ) {
        let file = recording();
        let block = blocks(&file)[0].clone();
        let at = block.start + 8 + place.index(block.len() - 8);
        let mut changed = file.clone();
        changed[at] = byte;
        let content = block.start + 8..block.end;
        let sum = crc32fast::hash(&changed[content]).to_le_bytes();
        changed[block.start + 4..block.start + 8].copy_from_slice(&sum);
        let (ends, calls) = (ends(), block.start + 8);
        let whole = ends.partition_point(|end| calls + end <= at);
        let start = calls + whole.checked_sub(1).map_or(0, |last| ends[last]);

        let mut replay = replay(&changed);
        let end = replay.run(Until::End);

        // Another time, say, may change nothing.
        let told = match &end {
            Ok(Step::End(_)) => at,
            Ok(Step::Differs(difference)) => usize::try_from(difference.offset).unwrap(),
            Err(ReplayError::Read(ReadError::Broken(broken))) => {
                usize::try_from(broken.offset).unwrap()
            }
            other => panic!("{other:?}"),
        };
        proptest::prop_assert!(
            (start..=file.len()).contains(&told) && replay.calls() >= whole as u64,
            "{end:?} for {} -> {byte} at {at}, in call {}",
            file[at],
            whole + 1
        );
        if byte == file[at] {
            proptest::prop_assert_eq!(replay.calls(), ends.len() as u64);
        }
    }
}

#[test]
fn a_new_recording_is_its_owners_alone_and_an_old_file_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old) = (folder.path().join("new.rec"), folder.path().join("old.rec"));
    fs::write(&old, "what was there").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();

    let modes = [&new, &old].map(|path| {
        recorded(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    });

    assert_eq!(modes, [0o600, 0o644]);
}

#[test]
fn faults_of_the_card_strike_at_the_same_occasions_in_a_replay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.rec");
    let mut port = Port::new(PortConfig::new(MAC));
    let writer = Writer::create(&path, &header(&[&port])).unwrap();
    port.record(writer.recorder(0, None));
    let mut session = Session::new(port);
    session.receives();
    let fault = |kind, probability| Fault {
        kind,
        target: Target::default(),
        trigger: Trigger {
            probability,
            count: Some(9),
            ..Trigger::always(7)
        },
        delay: None,
        every: None,
    };
    let faults = [
        fault(FaultKind::WriteBackLate, 0.5),
        fault(FaultKind::DmaError, 0.2),
        fault(FaultKind::NvmCorrupt, 1.0),
    ];
    for (id, fault) in (1..).zip(faults) {
        session.call(|port, context| port.add_fault(id, fault, context).unwrap());
    }

    for n in 0..7 {
        let frame = [n; 60];
        session.call(|port, context| port.receive(&RxFrame::new(&frame), context));
    }
    session.now = session.now.plus_nanos(20_000_000);
    session.call(Port::step);
    let fired: Vec<_> = session.port.fault_reports();
    let cleared = session.call(|port, context| port.clear_faults(None, context));
    session.call(Port::step);
    session.port.stop_recording();
    writer.finish();
    let mut replay = replay(&fs::read(&path).unwrap());
    let step = replay.run(Until::End).unwrap();

    assert!(fired.iter().all(|report| report.fired > 0), "{fired:?}");
    assert_eq!((cleared, step), (3, Step::End(Ending::Closed)));
}
