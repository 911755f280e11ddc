//! The short way ends as the long way does: one card takes the same frames by each.

use proptest::prelude::*;

use super::*;

/// What a register may hold: mostly what it holds after a reset, else one of some values.
fn mostly(reg: Reg, index: usize, values: &'static [u32]) -> impl Strategy<Value = Setting> {
    prop::option::weighted(0.2, prop::sample::select(values)).prop_map(move |value| Setting {
        reg,
        index,
        value,
    })
}

#[derive(Clone, Debug)]
struct Setting {
    reg: Reg,
    index: usize,
    value: Option<u32>,
}

/// Registers that have a say in what becomes of a frame.
fn settings() -> impl Strategy<Value = Vec<Setting>> {
    const TWO_QUEUES: u32 = 0x0101_0100;
    let filters = vec![
        mostly(Reg::FCTRL, 0, &[0, 1 << 1, 1 << 8, 1 << 9, 0x302, 0x700]).boxed(),
        mostly(Reg::RAH, 0, &[0x0100, 1 << 31 | 0x0200]).boxed(),
        mostly(Reg::ETQF, 2, &[1 << 31 | 0x88B5, 1 << 31 | 0x0800]).boxed(),
        mostly(Reg::ETQS, 2, &[1 << 31 | 1 << 16]).boxed(),
        mostly(Reg::SYNQF, 0, &[1 | 1 << 1]).boxed(),
        mostly(Reg::FTQF, 7, &[1 << 31 | 0x1F << 25 | 1 << 30]).boxed(),
        mostly(Reg::L34T_IMIR, 7, &[1 << 21]).boxed(),
        mostly(Reg::VLNCTRL, 0, &[1 << 30 | 0x8100, 0x88B5]).boxed(),
        mostly(Reg::VT_CTL, 0, &[1]).boxed(),
    ];
    let classes = vec![
        mostly(Reg::MRQC, 0, &[0x1, 0x0037_0001, 0x0001_0001, 0x4, 0x8]).boxed(),
        mostly(Reg::RETA, 0, &[TWO_QUEUES]).boxed(),
        mostly(Reg::RTRUP2TC, 0, &[1, 0o7777]).boxed(),
        mostly(Reg::IMIRVP, 0, &[1 << 3]).boxed(),
    ];
    let mac = vec![
        mostly(Reg::HLREG0, 0, &[0, 2, 4, 6, 1 << 27 | 2]).boxed(),
        mostly(Reg::MAXFRS, 0, &[0, 0x40 << 16, 0x2600 << 16]).boxed(),
        mostly(Reg::RXCTRL, 0, &[0]).boxed(),
        mostly(Reg::RFCTL, 0, &[1 << 5, 1 << 10, 1 << 11, 1 << 16]).boxed(),
        mostly(Reg::RXCSUM, 0, &[1 << 12, 1 << 13, 3 << 12]).boxed(),
        mostly(Reg::PSRTYPE, 0, &[0x1330]).boxed(),
        mostly(Reg::TSYNCRXCTL, 0, &[1 << 4 | 4 << 1]).boxed(),
    ];
    let queue = vec![
        mostly(Reg::RQSMR, 0, &[3, 0x0403]).boxed(),
        mostly(Reg::RXDSTATCTRL, 0, &[3, 1 << 4]).boxed(),
        mostly(Reg::IVAR, 0, &[0x80, 0x8300_0080]).boxed(),
        mostly(Reg::GPIE, 0, &[1 << 4]).boxed(),
        mostly(Reg::RSCCTL, 0, &[1, 1 | 3 << 2]).boxed(),
        mostly(Reg::QDE, 0, &[1 << 16 | 1]).boxed(),
    ];
    (filters, classes, mac, queue).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

/// A queue's SRRCTL and RXDCTL.
fn queue() -> impl Strategy<Value = (u32, u32)> {
    let srrctl = (
        prop::sample::select(&[0, 1, 1, 1, 1, 2, 4, 5, 3]),
        1..=2_u32,
        prop::bool::weighted(0.2),
        prop::sample::select(&[0_u32, 0, 1]),
    )
        .prop_map(|(format, kilobytes, drops, low_water)| {
            format << 25 | 4 << 8 | kilobytes | u32::from(drops) << 28 | low_water << 22
        });
    (srrctl, prop::sample::select(&[0_u32, 0, VME, 1 << 15 | 80]))
}

#[derive(Clone, Debug)]
enum Act {
    Receive {
        bytes: Vec<u8>,
        /// Where the frame lies in two parts.
        cut: Option<prop::sample::Index>,
        fcs: Fcs,
    },
    /// The driver gives `n` descriptors more to each queue.
    Post(u16),
    Step,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let mac = prop::sample::select(&[
        OWN,
        OWN,
        OWN,
        [0xFF; 6],
        [1, 0, 0x5E, 0, 0, 1],
        [2, 0, 0, 0, 0, 7],
    ]);
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(any::<u8>(), 1400..1500),
    ];
    let kind = 0..8_u8;
    (mac, payload, kind, prop::bool::weighted(0.2)).prop_map(|(mac, payload, kind, damaged)| {
        let mut frame = match kind {
            0..=2 => udp(&payload),
            3..=4 => tcp(&payload),
            5 => tagged(udp(&payload), 0x6001),
            6 => [&[0; 12][..], &[0, 46], &payload[..]].concat(),
            _ => frame_to(OWN, 14 + payload.len()),
        };
        frame[..6].copy_from_slice(&mac);
        if damaged {
            let last = frame.len() - 1;
            frame[last] ^= 1;
            frame[20.min(last)] ^= 0x20;
        }
        if frame.len() < 60 && !damaged {
            frame.resize(60, 0);
        }
        frame
    })
}

fn act() -> impl Strategy<Value = Act> {
    let fcs = prop_oneof![9 => Just(Fcs::Good), 1 => Just(Fcs::Bad)];
    prop_oneof![
        12 => (bytes(), prop::option::weighted(0.3, any::<prop::sample::Index>()), fcs)
            .prop_map(|(bytes, cut, fcs)| Act::Receive { bytes, cut, fcs }),
        2 => (1..8_u16).prop_map(Act::Post),
        1 => Just(Act::Step),
    ]
}

impl Bench {
    /// As [`Bench::receive`], by the short way if the registers allow it.
    fn receive_express(&mut self, frame: &RxFrame<'_>) -> Verdict {
        let express = Express::survey(&mut self.rx, &self.regs);
        let verdict = self.with_hw(|rx, hw| rx.receive(frame, express.as_ref(), hw));
        self.rx.settle(&mut self.regs);
        verdict
    }

    /// Whether a frame goes the short way.
    fn goes_short(&mut self, bytes: &[u8]) -> bool {
        let frame = RxFrame::new(bytes);
        let Some(express) = Express::survey(&mut self.rx, &self.regs) else {
            return false;
        };
        let mut headers = Headers::default();
        headers.parse(bytes, bytes.len(), &super::super::settings(&self.regs));
        self.with_hw(|rx, hw| rx.express(&express, &frame, bytes, &headers, hw))
            .is_some()
    }

    fn set_up(settings: &[Setting], queues: [(u32, u32); 2], refused: bool) -> Self {
        let mut bench = Self::new();
        for (q, (srrctl, rxdctl)) in queues.into_iter().enumerate() {
            bench.write(Reg::RXDCTL, q, rxdctl);
            bench.queue(q, srrctl);
            bench.post(q, 0, 6);
        }
        for setting in settings {
            if let Some(value) = setting.value {
                bench.write(setting.reg, setting.index, value);
            }
        }
        if refused {
            bench.bus.refuse(buffer(0, 2)..buffer(0, 2) + 100);
            bench
                .bus
                .refuse_writes(descriptor(1, 3)..descriptor(1, 3) + 16);
        }
        bench
    }

    fn act_by(&mut self, act: &Act, express: bool) -> Option<Verdict> {
        match act {
            Act::Receive { bytes, cut, fcs } => {
                // The first part holds the Ethernet header at least, as wires have it.
                let first = bytes.len().min(14);
                let cut = cut.map_or(bytes.len(), |cut| {
                    first + cut.index(bytes.len() - first + 1)
                });
                let (head, body) = bytes.split_at(cut);
                let frame = RxFrame {
                    head,
                    body,
                    fcs: *fcs,
                    ..RxFrame::new(&[])
                };
                return Some(if express {
                    self.receive_express(&frame)
                } else {
                    self.receive(&frame)
                });
            }
            Act::Post(n) => {
                for q in 0..2 {
                    let head = u16::try_from(self.regs.get(Reg::RDH, q)).unwrap();
                    let tail = u16::try_from(self.regs.get(Reg::RDT, q)).unwrap();
                    let free = (head + 15 - tail) % 16;
                    self.post(q, tail, tail + free.min(*n).min(16 - tail));
                }
            }
            Act::Step => {
                self.step();
            }
        }
        None
    }

    /// All that can be seen of it.
    fn state(&self) -> String {
        let registers: Vec<_> = Reg::ALL
            .iter()
            .map(|reg| (*reg, self.regs.all(*reg)))
            .filter(|(_, values)| values.iter().any(|value| *value != 0))
            .collect();
        let waiting = self.rx.levels();
        format!(
            "{registers:x?} {:?} {:?} {waiting:?}",
            self.irq, self.faults
        )
    }
}

proptest! {
    #[test]
    fn both_ways_end_in_the_same_state(
        settings in settings(),
        queues in [queue(), queue()],
        refused in prop::bool::weighted(0.2),
        acts in prop::collection::vec(act(), 1..25),
    ) {
        let mut short = Bench::set_up(&settings, queues, refused);
        let mut long = Bench::set_up(&settings, queues, refused);

        for act in &acts {
            let verdict = short.act_by(act, true);
            prop_assert_eq!(verdict, long.act_by(act, false), "{:?}", act);
        }

        prop_assert_eq!(short.state(), long.state());
        let memory = |bench: &Bench| bench.bus.peek(TestBus::BASE, 0x10_0000);
        prop_assert!(memory(&short) == memory(&long), "client memory differs");
    }
}

#[test]
fn a_frame_of_an_ordinary_driver_goes_the_short_way() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::HLREG0, 0, 2);
    // The long way fetches the descriptors.
    bench.receive(&RxFrame::new(&udp(&[0; 32])));

    assert!(bench.goes_short(&udp(&[1; 32])));
    assert!(bench.goes_short(&tcp(&[2; 1400])));
    assert!(bench.goes_short(&frame_to([0xFF; 6], 60)));
    assert_eq!(bench.get(Reg::GPRC), 1, "not settled yet");
    bench.rx.settle(&mut bench.regs);
    assert_eq!((bench.get(Reg::GPRC), bench.get(Reg::RDH)), (4, 4));
}

#[test]
fn what_needs_another_stage_goes_the_long_way() {
    let with = |reg, index, value| {
        let mut bench = Bench::with_queue();
        bench.write(Reg::HLREG0, 0, 2);
        bench.receive(&RxFrame::new(&udp(&[0; 32])));
        bench.write(reg, index, value);
        bench.goes_short(&udp(&[1; 32]))
    };

    assert!(with(Reg::MTA, 0, 1), "a filter that it does not meet");
    assert!(!with(Reg::ETQF, 7, 1 << 31));
    assert!(!with(Reg::FTQF, 127, 1 << 31));
    assert!(!with(Reg::SYNQF, 0, 1));
    assert!(!with(Reg::FDIRCTRL, 0, 1));
    assert!(!with(Reg::HLREG0, 0, 0), "the FCS is kept");
    assert!(!with(Reg::TSYNCRXCTL, 0, 1 << 4));
    assert!(!with(Reg::RAH, 0, 0x0100), "not the station's address");
    assert!(!with(Reg::SRRCTL, 0, 5 << 25 | 2), "header split");
    assert!(!with(Reg::RSCCTL, 0, 1));
    assert!(
        !with(Reg::RXDCTL, 0, ENABLE | 1 << 15 | 40),
        "too long for the queue"
    );
}
