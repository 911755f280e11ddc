//! A port that is saved and restored goes on as one that was not: what it answers, reads, writes, sends and signals is
//! the same, whatever a driver and the cable have done before and do after.

use std::ops::Range;

use etherparse::PacketBuilder;
use ixgbe_spec::register::Reg;
use proptest::{collection::vec, prelude::*};

use super::{State, VERSION};
use crate::{
    Bar, LanId, Module, Port, PortConfig,
    port::tests::world::{MAC, World},
    testing::TestBus,
    wire::RxFrame,
};

/// Rings of queue `q` lie at `RX_RINGS + q * RING` and `TX_RINGS + q * RING`.
const RX_RINGS: u64 = TestBus::BASE;
const TX_RINGS: u64 = TestBus::BASE + 0x1000;
const RING: u64 = 0x400;
const SLOTS: u32 = 32;
const HEAD: u64 = TestBus::BASE + 0x2000;
const BUFFERS: u64 = TestBus::BASE + 0x1_0000;
const QUEUES: u8 = 4;
const ENABLE: u32 = 1 << 25;

/// What a driver, a person or the cable does.
#[derive(Clone, Debug)]
enum Act {
    Read(prop::sample::Index, u8),
    Write(prop::sample::Index, u8, u32),
    Config(u16, u32),
    MsiX(u16, u32),
    Window(u32, u32),
    Post(u8, u8),
    Send(u8, Request),
    Arrive(Arrival),
    Pass(u32),
    Step,
    Carrier(bool),
    Plug(bool),
    Busy(bool),
}

/// What is put into a transmit ring.
#[derive(Clone, Copy, Debug)]
enum Request {
    Short,
    Long,
    Segmented,
    WithoutEnd,
}

/// What comes on the cable.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    Plain(u16),
    Segment(u8, u8),
    Tagged,
    Pause(u16),
    Long,
}

fn act() -> impl Strategy<Value = Act> {
    use any as a;
    let request = prop_oneof![
        Just(Request::Short),
        Just(Request::Long),
        Just(Request::Segmented),
        Just(Request::WithoutEnd),
    ];
    let arrival = prop_oneof![
        (0..2000_u16).prop_map(Arrival::Plain),
        (0..4_u8, 0..3_u8).prop_map(|(flow, number)| Arrival::Segment(flow, number)),
        Just(Arrival::Tagged),
        a::<u16>().prop_map(Arrival::Pause),
        Just(Arrival::Long),
    ];
    prop_oneof![
        2 => (a::<prop::sample::Index>(), a::<u8>()).prop_map(|(reg, index)| Act::Read(reg, index)),
        2 => (a::<prop::sample::Index>(), a::<u8>(), a::<u32>())
            .prop_map(|(reg, index, value)| Act::Write(reg, index, value)),
        1 => (0..1024_u16, a::<u32>()).prop_map(|(dword, value)| Act::Config(4 * dword, value)),
        1 => (0..256_u16, a::<u32>()).prop_map(|(dword, value)| Act::MsiX(4 * dword, value)),
        1 => (0..0x1000_u32, a::<u32>()).prop_map(|(place, value)| Act::Window(place, value)),
        6 => (0..QUEUES, 0..20_u8).prop_map(|(queue, count)| Act::Post(queue, count)),
        6 => (0..QUEUES, request).prop_map(|(queue, request)| Act::Send(queue, request)),
        10 => arrival.prop_map(Act::Arrive),
        4 => (0..200_000_u32).prop_map(Act::Pass),
        6 => Just(Act::Step),
        1 => a::<bool>().prop_map(Act::Carrier),
        1 => a::<bool>().prop_map(Act::Plug),
        2 => a::<bool>().prop_map(Act::Busy),
    ]
}

/// A port with four queues each way, no two of them alike, and moderated vectors.
fn busy_world() -> World {
    let mut world = World::msix();
    let low = |address: u64| u32::try_from(address).unwrap();
    for (reg, index, value) in [
        (Reg::GPIE, 0, 0x8000_0010 | 1 << 7),
        (Reg::FCTRL, 0, 0x702),
        (Reg::RXCTRL, 0, 1),
        (Reg::HLREG0, 0, 0x7),
        (Reg::MAXFRS, 0, 9000 << 16),
        (Reg::MRQC, 0, 1 | 3 << 16),
        (Reg::RDRXCTL, 0, 1 << 25),
        (Reg::RSCCTL, 1, 1 | 3 << 2),
        (Reg::RSCINT, 1, 1),
        (Reg::VLNCTRL, 0, 0x8100),
        (Reg::MFLCN, 0, 0xC),
        (Reg::FDIRCTRL, 0, 1),
        (Reg::TIMINCA, 0, 1 << 24 | 0xCC_CCCC),
        (Reg::TCPTIMER, 0, 1 | 1 << 8 | 1 << 9 | 1 << 11),
        (Reg::DMATXCTL, 0, 0x8100_0001),
        (Reg::RTTDQSEL, 0, 2),
        (Reg::RTTBCNRC, 0, 0x8000_0000 | 4 << 14),
        (Reg::TDWBAL, 3, low(HEAD) | 1),
        (Reg::EIMS_EX, 0, u32::MAX),
        (Reg::EIMS, 0, 0xFFFF_0000),
    ] {
        world.set_at(reg, index, value);
    }
    for index in 0..Reg::RETA.count() {
        world.set_at(Reg::RETA, index, 0x0302_0100);
    }
    for index in 0..Reg::RSSRK.count() {
        world.set_at(Reg::RSSRK, index, 0x6D5A_56DA);
    }
    for queue in 0..QUEUES {
        let (q, at) = (usize::from(queue), u64::from(queue) * RING);
        let vector = 0x8080 | u32::from(queue) | u32::from(queue) << 8;
        let ivar = world.get_at(Reg::IVAR, q / 2) | vector << (16 * (q % 2));
        world.set_at(Reg::IVAR, q / 2, ivar);
        world.set_at(Reg::EITR, q, 25 << 3);
        world.set_at(Reg::RDBAL, q, low(RX_RINGS + at));
        world.set_at(Reg::RDLEN, q, SLOTS * 16);
        world.set_at(
            Reg::SRRCTL,
            q,
            [0x0200_0002, 0x0200_0402, 0x0A00_0402, 0x1200_0001][q],
        );
        world.set_at(Reg::RXDCTL, q, ENABLE);
        world.set_at(Reg::TDBAL, q, low(TX_RINGS + at));
        world.set_at(Reg::TDLEN, q, SLOTS * 16);
        world.set_at(Reg::TXDCTL, q, ENABLE | [0, 8 << 16, 0, 0][q]);
    }
    world
}

/// What a driver would remember, and what is seen of an act.
struct Bench {
    world: World,
    posted: [u32; QUEUES as usize],
    handed: [u32; QUEUES as usize],
}

impl Bench {
    fn new() -> Self {
        Self {
            world: busy_world(),
            posted: [0; QUEUES as usize],
            handed: [0; QUEUES as usize],
        }
    }

    /// The same surroundings with another port, which was restored.
    fn moved(&self, nanos: u64) -> Self {
        let file = self.world.port.save(self.world.now).to_bytes();
        let mut world = World::cold();
        world.now = crate::Time::from_nanos(nanos);
        world.bus.poke(
            TestBus::BASE,
            &self.world.bus.peek(TestBus::BASE, 0x10_0000),
        );
        world.wire.busy = self.world.wire.busy;
        let state = State::from_bytes(&file).unwrap();
        world.port.restore(state, world.now).unwrap();
        Self { world, ..*self }
    }

    /// What is seen of an act: its answer, the accesses to memory, the frames that leave, the signals, and how long the
    /// port can then be left alone.
    fn does(&mut self, act: &Act) -> String {
        let answer = self.act(act);
        let World {
            bus,
            wire,
            port,
            now,
            ..
        } = &mut self.world;
        let (reads, writes, signals) = (bus.take_reads(), bus.take_writes(), bus.take_signals());
        // Where the packet buffer's memory begins anew is seen by nobody.
        let writes = joined(writes);
        let frames = std::mem::take(&mut wire.frames);
        let rest = port.deadline().map(|deadline| deadline.since(*now));
        format!("{act:?}: {answer} {reads:x?} {writes:x?} {signals:?} {frames:x?} {rest:?}")
    }

    fn act(&mut self, act: &Act) -> String {
        let world = &mut self.world;
        match *act {
            Act::Read(reg, index) => {
                let reg = *reg.get(Reg::ALL);
                format!(
                    "{reg:?} {:#x}",
                    world.get_at(reg, usize::from(index) % reg.count())
                )
            }
            Act::Write(reg, index, value) => {
                let reg = *reg.get(Reg::ALL);
                world.set_at(reg, usize::from(index) % reg.count(), value);
                format!("{reg:?}")
            }
            Act::Config(offset, value) => {
                // Without the bits that stop everything: power, mastering, reset.
                if ![0x04, 0x44, 0x70, 0xA8].contains(&offset) {
                    world.config_write32(offset, value);
                }
                format!("{:#x}", world.config_read32(offset))
            }
            Act::MsiX(offset, value) => {
                let data = value.to_le_bytes();
                world.call(|port, context| {
                    port.bar_write(Bar::MsiX, offset.into(), &data, context);
                });
                String::new()
            }
            Act::Window(place, value) => {
                let data = value.to_le_bytes();
                let mut back = [0; 4];
                let offset = 0x2_0000 + u64::from(place);
                world.call(|port, context| {
                    port.bar_write(Bar::Csr, offset, &data, context);
                    port.bar_read(Bar::Csr, offset, &mut back, context);
                });
                format!("{back:?}")
            }
            Act::Post(queue, count) => self.post(queue, count),
            Act::Send(queue, request) => self.send(queue, request),
            Act::Arrive(arrival) => {
                let frame = frame(arrival);
                let verdict =
                    world.call(|port, context| port.receive(&RxFrame::new(&frame), context));
                format!("{verdict:?}")
            }
            Act::Pass(nanos) => {
                world.pass_nanos(nanos.into());
                format!("{}", world.step())
            }
            Act::Step => format!("{}", world.step()),
            Act::Carrier(carrier) => {
                world.carrier(carrier);
                String::new()
            }
            Act::Plug(copper) => {
                world.plug(if copper { Module::BaseT } else { Module::Sr });
                String::new()
            }
            Act::Busy(busy) => {
                world.wire.busy = busy;
                String::new()
            }
        }
    }

    fn post(&mut self, queue: u8, count: u8) -> String {
        let q = usize::from(queue);
        for _ in 0..count {
            let slot = u64::from(self.posted[q] % SLOTS);
            let place = RX_RINGS + u64::from(queue) * RING + 16 * slot;
            let buffer = BUFFERS + 0x1000 * (32 * u64::from(queue) + slot);
            self.world.bus.poke(place, &buffer.to_le_bytes());
            self.world
                .bus
                .poke(place + 8, &(buffer + 0xC00).to_le_bytes());
            self.posted[q] += 1;
        }
        self.world.set_at(Reg::RDT, q, self.posted[q] % SLOTS);
        String::new()
    }

    fn send(&mut self, queue: u8, request: Request) -> String {
        const DATA: u64 = 3 << 20 | 1 << 29;
        const END: u64 = 1 << 24 | 1 << 25 | 1 << 27;
        const SEGMENT: u64 = 1 << 31 | 2 << 40;
        let (q, buffer) = (usize::from(queue), BUFFERS + 0xA_0000);
        let context = (
            14 << 9 | 20,
            2 << 20 | 1 << 29 | 1 << 10 | 1 << 11 | 20 << 40 | 500 << 48,
        );
        let descriptors: &[(u64, u64)] = match request {
            Request::Short => &[(buffer, 80 | DATA | END | 80 << 46)],
            Request::Long => &[
                (buffer, 700 | DATA | 1400 << 46),
                (buffer + 0x1000, 700 | DATA | END),
            ],
            Request::Segmented => &[
                context,
                (buffer, 54 | DATA | SEGMENT | 20_000 << 46),
                (buffer + 0x1000, 20_000 | DATA | END),
            ],
            Request::WithoutEnd => &[(buffer, 100 | DATA)],
        };
        let mut head = frame(Arrival::Segment(0, 0));
        head.resize(100, 0);
        self.world.bus.poke(buffer, &head);
        for (low, high) in descriptors {
            let slot = u64::from(self.handed[q] % SLOTS);
            let place = TX_RINGS + u64::from(queue) * RING + 16 * slot;
            self.world.bus.poke(place, &low.to_le_bytes());
            self.world.bus.poke(place + 8, &high.to_le_bytes());
            self.handed[q] += 1;
        }
        self.world.set_at(Reg::TDT, q, self.handed[q] % SLOTS);
        String::new()
    }
}

/// Ranges that follow one another as one.
fn joined(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.into_iter().fold(Vec::new(), |mut joined, range| {
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
        joined
    })
}

fn frame(arrival: Arrival) -> Vec<u8> {
    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    let mut frame = Vec::new();
    match arrival {
        Arrival::Plain(len) => {
            let builder =
                PacketBuilder::ethernet2(PEER, MAC).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            let payload = vec![0x5A; len.into()];
            builder.udp(len, 9).write(&mut frame, &payload).unwrap();
        }
        Arrival::Segment(flow, number) => {
            let builder =
                PacketBuilder::ethernet2(PEER, MAC).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            let tcp = builder
                .tcp(flow.into(), 80, 1000 * u32::from(number), 77)
                .ack(5);
            tcp.write(&mut frame, &[number; 1000]).unwrap();
        }
        Arrival::Tagged => {
            let builder = PacketBuilder::ethernet2(PEER, MAC)
                .single_vlan(etherparse::VlanId::try_new(7).unwrap())
                .ipv6([1; 16], [2; 16], 64);
            builder.udp(1, 2).write(&mut frame, &[3; 300]).unwrap();
        }
        Arrival::Pause(quanta) => {
            let [a, b] = quanta.to_be_bytes();
            frame = vec![
                1, 0x80, 0xC2, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 8, 0, 1, a, b,
            ];
            frame.resize(60, 0);
        }
        Arrival::Long => {
            let builder =
                PacketBuilder::ethernet2(PEER, MAC).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            builder.udp(5, 6).write(&mut frame, &[9; 6000]).unwrap();
        }
    }
    frame
}

/// Runs two benches side by side, and compares what is seen of each act, and memory and state at the end.
fn run_side_by_side(one: &mut Bench, other: &mut Bench, acts: &[Act]) {
    for act in acts {
        assert_eq!(one.does(act), other.does(act));
    }
    let memory = |bench: &Bench| bench.world.bus.peek(TestBus::BASE, 0x10_0000);
    assert!(memory(one) == memory(other), "memory differs");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_restored_port_goes_on_as_the_one_that_was_saved(
        before in vec(act(), 0..150),
        after in vec(act(), 1..100),
    ) {
        let mut one = Bench::new();
        for act in &before {
            one.does(act);
        }
        let mut other = one.moved(one.world.now.as_nanos());

        run_side_by_side(&mut one, &mut other, &after);

        let states = [&one, &other].map(|bench| bench.world.port.save(bench.world.now).to_bytes());
        prop_assert_eq!(
            String::from_utf8(states[0].clone()).unwrap(),
            String::from_utf8(states[1].clone()).unwrap()
        );
    }

    #[test]
    fn a_port_goes_on_by_another_clock(
        before in vec(act(), 0..100),
        after in vec(act(), 1..60),
        now in prop_oneof![500_000_000..2_000_000_000_u64, Just(u64::MAX / 2)],
    ) {
        let mut one = Bench::new();
        for act in &before {
            one.does(act);
        }
        let mut other = one.moved(now);

        run_side_by_side(&mut one, &mut other, &after);
    }

    #[test]
    fn bytes_that_are_no_state_are_refused_and_change_nothing(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bench = Bench::new();
        bench.does(&Act::Arrive(Arrival::Long));
        let before = bench.world.port.save(bench.world.now).to_bytes();
        let mut file = before.clone();
        *place.get_mut(&mut file) = byte;

        let restored = State::from_bytes(&file)
            .and_then(|state| bench.world.port.restore(state, bench.world.now));

        let now = bench.world.port.save(bench.world.now).to_bytes();
        prop_assert!(restored.is_ok() || now == before);
    }
}

fn refused(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut bench = Bench::new();
    bench.does(&Act::Post(1, 10));
    bench.does(&Act::Arrive(Arrival::Segment(1, 0)));
    let file = bench.world.port.save(bench.world.now).to_bytes();
    let start = file.iter().position(|byte| *byte == b'\n').unwrap();
    let mut value = serde_json::from_slice(&file[start..]).unwrap();
    change(&mut value);
    let file = [&file[..start], b"\n", &serde_json::to_vec(&value).unwrap()].concat();
    let restored =
        State::from_bytes(&file).and_then(|state| bench.world.port.restore(state, bench.world.now));
    restored.unwrap_err().field
}

#[test]
fn a_field_that_no_port_can_have_is_named() {
    use serde_json::json;
    let fields = [
        refused(|state| state["registers"]["values"]["CTRL"] = json!([1, 2])),
        refused(|state| state["registers"]["values"]["XYZZY"] = json!([1])),
        refused(|state| {
            state["receive"]["queues"]["128"] = state["receive"]["queues"]["1"].clone();
        }),
        refused(|state| state["receive"]["queues"]["1"]["head"] = json!(-1)),
        refused(|state| state["receive"]["queues"]["1"]["fetched"] = json!(vec![[0, 0]; 33])),
        refused(|state| state["transmit"]["queues"]["0"]["head"] = json!(32)),
        refused(|state| state["transmit"]["turn"] = json!(128)),
        refused(|state| state["timesync"]["clock"]["phase"] = json!(6400 * 255)),
        refused(|state| state["card"]["nvm"]["image"] = json!("00")),
        refused(|state| state["pci"]["config"]["0"] = json!(0)),
        refused(|state| state["link"]["module"] = json!("xfp")),
        refused(|state| state["interrupts"]["credits"]["64"] = json!({"credits": 0, "since": 0})),
        refused(|state| state["spare"] = json!(1)),
        refused(|state| drop(state.as_object_mut().unwrap().remove("leds"))),
        refused(|state| state["place"]["lan_id"] = json!("Port1")),
    ];

    assert_eq!(
        fields,
        [
            "registers.values.CTRL",
            "registers.values.XYZZY",
            "receive.queues.128",
            "receive.queues.1.head",
            "receive.queues.1.fetched",
            "transmit.queues.0.head",
            "transmit.turn",
            "timesync.clock.phase",
            "card.nvm.image",
            "pci.config.0",
            "link.module",
            "interrupts.credits.64",
            "spare",
            ".",
            "place",
        ]
    );
}

#[test]
fn what_is_no_state_or_of_another_version_is_said() {
    let [magic, version, end] = [
        State::from_bytes(b"\x7FELF"),
        State::from_bytes(format!("ixgbe port state {}\n{{}}", VERSION + 1).as_bytes()),
        State::from_bytes(b"ixgbe port state 1"),
    ]
    .map(|result| result.unwrap_err());

    assert_eq!(magic.field, "magic");
    assert_eq!(version.field, "version");
    assert!(version.problem.contains("reads version 1"), "{version}");
    assert_eq!(end.field, "version");
}

/// Never edited: what was saved once is read for ever.
const VERSION_1: &[u8] = include_bytes!("fixtures/version-1.state");

#[test]
fn a_state_of_version_1_is_read_and_goes_on() {
    let mut world = World::cold();
    let state = State::from_bytes(VERSION_1).unwrap();

    world.port.restore(state, world.now).unwrap();

    let statistics = [Reg::GPRC, Reg::GPTC, Reg::QPRC].map(|reg| world.port.register(reg, 0));
    assert_eq!(statistics, [8, 3, 8]);
    assert!(world.port.link_is_up());
    let heads = [0, 1, 2, 3].map(|queue| world.port.register(Reg::RDH, queue));
    assert_eq!(heads, [1, 10, 1, 2]);
    // The large receive that was begun in the third descriptor of queue 1 ends.
    world.pass_nanos(100_000);
    world.step();
    let status = world.bus.peek(RX_RINGS + RING + 2 * 16 + 8, 1);
    assert_eq!(status[0] & 3, 3, "DD and EOP");
    // The packet that was being cut goes on where it stood.
    assert_eq!(world.wire.frames.len(), 39, "one of 40 was sent");
    assert_eq!(
        world.wire.frames[0][38..42],
        500_u32.to_be_bytes(),
        "sequence number"
    );
}

#[test]
fn the_semaphores_and_the_nvm_of_a_card_come_with_each_of_its_ports() {
    let [mut first, _] = World::pair();
    first.set(Reg::GSSR, 0x5);
    first.set(Reg::EEWR, 0xBEEF_0000 | 0x30 << 2 | 1);
    let file = first.port.save(first.now).to_bytes();
    let [mut other, mut sibling] = World::pair();

    other
        .port
        .restore(State::from_bytes(&file).unwrap(), other.now)
        .unwrap();

    assert_eq!(sibling.get(Reg::GSSR), 0x5);
    sibling.set(Reg::EERD, 0x30 << 2 | 1);
    assert_eq!(sibling.get(Reg::EERD) >> 16, 0xBEEF);
    let single = Port::new(PortConfig {
        lan_id: LanId::Port0,
        ..PortConfig::new(MAC)
    });
    let mut single = World {
        port: single,
        ..World::cold()
    };
    let refused = single
        .port
        .restore(State::from_bytes(&file).unwrap(), single.now);
    assert_eq!(refused.unwrap_err().field, "place");
}

#[test]
fn an_interrupt_pin_that_is_active_is_told_to_another_client() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 1 << 20);
    world.set(Reg::EICS, 1 << 20);
    world.signals();
    let state = world.port.save(world.now);
    let mut other = World::cold();

    other.port.restore(state, other.now).unwrap();
    other.call(|port, context| port.renew_signals(context));

    assert_eq!(other.signals(), [crate::bus::Signal::IntxAssert]);
}

/// How the fixture of a version was made: with `WRITE_STATE_FIXTURE` in the environment that of this one is written.
#[test]
fn a_card_with_everything_under_way_is_saved_the_same_after_it_was_restored() {
    let mut bench = Bench::new();
    for act in [
        Act::Post(0, 10),
        Act::Post(1, 10),
        Act::Post(2, 10),
        Act::Post(3, 10),
        Act::Arrive(Arrival::Plain(1)),
        Act::Arrive(Arrival::Plain(2)),
        Act::Send(0, Request::Short),
        Act::Step,
        Act::Send(1, Request::Long),
        Act::Step,
        Act::Send(2, Request::Segmented),
        Act::Step,
        Act::Arrive(Arrival::Segment(0, 0)),
        Act::Arrive(Arrival::Segment(1, 0)),
        Act::Arrive(Arrival::Segment(2, 0)),
        Act::Arrive(Arrival::Segment(3, 0)),
        Act::Arrive(Arrival::Long),
        Act::Arrive(Arrival::Long),
        Act::Arrive(Arrival::Long),
        Act::Arrive(Arrival::Tagged),
    ] {
        bench.does(&act);
    }
    let file = bench.world.port.save(bench.world.now).to_bytes();
    if std::env::var_os("WRITE_STATE_FIXTURE").is_some() {
        let path = format!("src/state/fixtures/version-{VERSION}.state");
        std::fs::write(path, &file).unwrap();
    }

    let other = bench.moved(bench.world.now.as_nanos());

    let again = other.world.port.save(other.world.now).to_bytes();
    assert_eq!(String::from_utf8(again), String::from_utf8(file));
}
