//! Calls of a port, and what they return, as a recording holds them.

use std::{fmt, str::FromStr};

use ixgbe_spec::register::Reg;
use nic_model::{
    Bar, ErrorMessage, LEDS, Led, Light,
    bus::Iova,
    record::{Answer, Call},
};

use crate::{
    code::{Broken, Fields, put, put_bytes, put_size},
    fault,
};

/// Longest read of a BAR or of configuration space: more than the largest region has.
const MAX_READ: usize = 1 << 20;

const BARS: [Bar; 4] = [Bar::Csr, Bar::Io, Bar::MsiX, Bar::Rom];

/// Writes a call behind its tag.
pub(crate) fn encode(to: &mut Vec<u8>, call: &Call<'_>) {
    let place = |value: Option<usize>| value.unwrap_or(usize::MAX);
    match *call {
        Call::ConfigRead { offset, len } => {
            to.push(0);
            put(to, offset.into());
            put_size(to, len);
        }
        Call::ConfigWrite { offset, data } => {
            to.push(1);
            put(to, offset.into());
            put_bytes(to, data);
        }
        Call::BarRead { bar, offset, len } => {
            to.push(2);
            put_size(to, place(BARS.iter().position(|other| *other == bar)));
            put(to, offset);
            put_size(to, len);
        }
        Call::BarWrite { bar, offset, data } => {
            to.push(3);
            put_size(to, place(BARS.iter().position(|other| *other == bar)));
            put(to, offset);
            put_bytes(to, data);
        }
        Call::Reset => to.push(4),
        Call::Mapped { iova, len } => {
            to.push(5);
            put(to, iova.0);
            put(to, len);
        }
        Call::Unmapped { iova, len } => {
            to.push(6);
            put(to, iova.0);
            put(to, len);
        }
        Call::Carrier(carrier) => {
            to.push(7);
            to.push(carrier.into());
        }
        Call::Module(module) => {
            to.push(8);
            put_bytes(to, module.name().as_bytes());
        }
        Call::Leds => to.push(9),
        Call::TakeCounter {
            counter,
            index,
            value,
        } => {
            to.push(10);
            put(to, counter.offset(index).into());
            put(to, value.into());
        }
        Call::TakeCounter36 {
            low,
            high,
            index,
            value,
        } => {
            to.push(11);
            put(to, low.offset(index).into());
            put(to, high.offset(index).into());
            put(to, value);
        }
        Call::HardwareError(error) => {
            to.push(12);
            put_bytes(to, error.name().as_bytes());
        }
        Call::Receive => to.push(13),
        Call::Step => to.push(14),
        Call::Restore { state } => {
            to.push(15);
            put_bytes(to, state);
        }
        Call::RenewSignals => to.push(16),
        Call::AddFault { id, fault } => {
            to.push(17);
            put(to, id);
            fault::encode(to, &fault);
        }
        Call::ClearFaults(id) => {
            to.push(if id.is_some() { 19 } else { 18 });
            if let Some(id) = id {
                put(to, id);
            }
        }
    }
}

/// Reads what [`encode`] has written.
pub(crate) fn decode<'a>(from: &mut Fields<'a>) -> Result<Call<'a>, Broken> {
    let bar =
        |from: &mut Fields<'a>| from.choice("BAR", |number| BARS.get(usize::from(number)).copied());
    Ok(
        match from.choice("call", |tag| (tag <= 19).then_some(tag))? {
            0 => Call::ConfigRead {
                offset: from.narrow("offset in configuration space")?,
                len: from.at_most(MAX_READ, "length of a read of configuration space")?,
            },
            1 => Call::ConfigWrite {
                offset: from.narrow("offset in configuration space")?,
                data: from.bytes("data written to configuration space")?,
            },
            2 => Call::BarRead {
                bar: bar(from)?,
                offset: from.number("offset in a BAR")?,
                len: from.at_most(MAX_READ, "length of a read of a BAR")?,
            },
            3 => Call::BarWrite {
                bar: bar(from)?,
                offset: from.number("offset in a BAR")?,
                data: from.bytes("data written to a BAR")?,
            },
            4 => Call::Reset,
            5 => Call::Mapped {
                iova: Iova(from.number("address that is mapped")?),
                len: from.number("length that is mapped")?,
            },
            6 => Call::Unmapped {
                iova: Iova(from.number("address that is unmapped")?),
                len: from.number("length that is unmapped")?,
            },
            7 => Call::Carrier(from.choice("carrier", flag)?),
            8 => Call::Module(named(from, "module")?),
            9 => Call::Leds,
            10 => {
                let (counter, index) = register(from, "counter")?;
                Call::TakeCounter {
                    counter,
                    index,
                    value: from.narrow("value of a counter")?,
                }
            }
            11 => {
                let (low, index) = register(from, "low register of a counter")?;
                let field = "high register of a counter";
                let place = from.offset();
                let (high, beside) = register(from, field)?;
                if beside != index {
                    return Err(Fields::unknown(field, place, high.offset(beside).into()));
                }
                Call::TakeCounter36 {
                    low,
                    high,
                    index,
                    value: from.number("value of a counter")?,
                }
            }
            12 => Call::HardwareError(named(from, "error of the hardware")?),
            13 => Call::Receive,
            14 => Call::Step,
            15 => Call::Restore {
                state: from.bytes("saved state")?,
            },
            16 => Call::RenewSignals,
            17 => Call::AddFault {
                id: from.number("number of a fault")?,
                fault: fault::decode(from)?,
            },
            18 => Call::ClearFaults(None),
            _ => Call::ClearFaults(Some(from.number("number of a fault")?)),
        },
    )
}

pub(crate) const fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

pub(crate) fn named<T: FromStr>(from: &mut Fields<'_>, field: &'static str) -> Result<T, Broken> {
    let place = from.offset();
    let name = from.bytes(field)?;
    let found = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
    found.ok_or_else(|| Fields::unknown(field, place, name.len() as u64))
}

fn register(from: &mut Fields<'_>, field: &'static str) -> Result<(Reg, usize), Broken> {
    let place = from.offset();
    let offset: u32 = from.narrow(field)?;
    Reg::decode(offset).ok_or_else(|| Fields::unknown(field, place, offset.into()))
}

/// What a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned<'a> {
    Nothing,
    Bytes(&'a [u8]),
    More(bool),
    Leds(u32),
    Restored(bool),
    Message(Option<ErrorMessage>),
    Count(u64),
}

const MESSAGES: [Option<ErrorMessage>; 4] = [
    None,
    Some(ErrorMessage::Correctable),
    Some(ErrorMessage::NonFatal),
    Some(ErrorMessage::Fatal),
];

impl<'a> Returned<'a> {
    pub(crate) fn of(answer: &Answer<'a>) -> Self {
        match *answer {
            Answer::Nothing => Self::Nothing,
            Answer::Bytes(bytes) => Self::Bytes(bytes),
            Answer::More(more) => Self::More(more),
            Answer::Leds(leds) => Self::of_leds(leds),
            Answer::Restored(restored) => Self::Restored(restored),
            Answer::Message(message) => Self::Message(message),
            Answer::Count(count) => Self::Count(count),
        }
    }

    /// What was seen of the LEDs, in short.
    pub(crate) fn of_leds(leds: &[Led; LEDS]) -> Self {
        let mut sum = crc32fast::Hasher::new();
        for Led {
            mode,
            light,
            turned_on,
        } in leds
        {
            sum.update(mode.name().as_bytes());
            sum.update(&[match light {
                Light::Off => 0,
                Light::On => 1,
                Light::Blinking => 2,
            }]);
            sum.update(&turned_on.to_le_bytes());
        }
        Self::Leds(sum.finalize())
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        match *self {
            Self::Nothing => to.push(0),
            Self::Bytes(bytes) => {
                to.push(1);
                put_bytes(to, bytes);
            }
            Self::More(more) => to.push(2 + u8::from(more)),
            Self::Leds(sum) => {
                to.push(4);
                put(to, sum.into());
            }
            Self::Restored(restored) => to.push(6 + u8::from(restored)),
            Self::Message(message) => {
                to.push(5);
                let place = MESSAGES.iter().position(|other| *other == message);
                put_size(to, place.unwrap_or(0));
            }
            Self::Count(count) => {
                to.push(8);
                put(to, count);
            }
        }
    }

    pub(crate) fn decode(from: &mut Fields<'a>) -> Result<Self, Broken> {
        Ok(
            match from.choice("kind of answer", |tag| (tag <= 8).then_some(tag))? {
                0 => Self::Nothing,
                1 => Self::Bytes(from.bytes("data that was read")?),
                2 => Self::More(false),
                3 => Self::More(true),
                4 => Self::Leds(from.narrow("LEDs")?),
                6 => Self::Restored(false),
                7 => Self::Restored(true),
                8 => Self::Count(from.number("number of faults")?),
                _ => Self::Message(from.choice("message to the root complex", |number| {
                    MESSAGES.get(usize::from(number)).copied()
                })?),
            },
        )
    }
}

impl fmt::Display for Returned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("the end of the call"),
            Self::Bytes(bytes) => {
                write!(f, "the value {}", Value(bytes))
            }
            Self::More(true) => f.write_str("the end of the call, with more to do"),
            Self::More(false) => f.write_str("the end of the call, with nothing more to do"),
            Self::Leds(sum) => write!(f, "LEDs (sum {sum:08x})"),
            Self::Restored(true) => f.write_str("the state restored"),
            Self::Restored(false) => f.write_str("the state refused"),
            Self::Count(count) => write!(f, "{count} faults"),
            Self::Message(None) => f.write_str("no message to the root complex"),
            Self::Message(Some(message)) => write!(f, "the message {}", message.name()),
        }
    }
}

/// Bytes of an access: as the number that they are if they are at most eight.
struct Value<'a>(&'a [u8]);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= 8 {
            f.write_str("0x")?;
            self.0
                .iter()
                .rev()
                .try_for_each(|byte| write!(f, "{byte:02x}"))
        } else {
            let sum = crc32fast::hash(self.0);
            write!(f, "of {} bytes (sum {sum:08x})", self.0.len())
        }
    }
}

/// A call in words, with the register's name.
pub(crate) fn told(call: &Call<'_>) -> String {
    let place = |bar: Bar, offset: u64| match bar {
        Bar::Csr => {
            let register = u32::try_from(offset).ok().and_then(Reg::decode);
            match register {
                Some((reg, index)) if reg.count() > 1 => format!("{}[{index}]", reg.row().name),
                Some((reg, _)) => reg.row().name.to_owned(),
                None => format!("BAR 0 at {offset:#x}"),
            }
        }
        Bar::Io => format!("BAR 2 at {offset:#x}"),
        Bar::MsiX => format!("BAR 4 at {offset:#x}"),
        Bar::Rom => format!("the expansion ROM at {offset:#x}"),
    };
    match *call {
        Call::ConfigRead { offset, len } => {
            format!("a read of configuration space, {len} bytes at {offset:#x}")
        }
        Call::ConfigWrite { offset, data } => {
            format!(
                "a write of configuration space at {offset:#x} = {}",
                Value(data)
            )
        }
        Call::BarRead { bar, offset, .. } => format!("a read of {}", place(bar, offset)),
        Call::BarWrite { bar, offset, data } => {
            format!("a write of {} = {}", place(bar, offset), Value(data))
        }
        Call::Reset => "a reset by the bus".to_owned(),
        Call::Mapped { iova, len } => format!("memory mapped, {len:#x} bytes at {:#x}", iova.0),
        Call::Unmapped { iova, len } => {
            format!("memory unmapped, {len:#x} bytes at {:#x}", iova.0)
        }
        Call::Carrier(true) => "the carrier comes".to_owned(),
        Call::Carrier(false) => "the carrier goes".to_owned(),
        Call::Module(module) => format!("the module {module}"),
        Call::Leds => "a look at the LEDs".to_owned(),
        Call::TakeCounter { counter, .. } => format!("{} taken", counter.row().name),
        Call::TakeCounter36 { low, .. } => format!("{} taken", low.row().name),
        Call::HardwareError(error) => format!("the error {error}"),
        Call::Receive => "frames that arrive".to_owned(),
        Call::Step => "a step".to_owned(),
        Call::Restore { .. } => "a state restored".to_owned(),
        Call::RenewSignals => "interrupts told again".to_owned(),
        Call::AddFault { id, fault } => format!("fault {id}, {}", fault.kind),
        Call::ClearFaults(Some(id)) => format!("fault {id} cleared"),
        Call::ClearFaults(None) => "all faults cleared".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use nic_model::fault::{Fault, FaultKind, Target, Trigger};
    use nic_model::{HardwareError, Module};
    use proptest::prelude::*;

    use super::*;

    fn calls() -> Vec<Call<'static>> {
        vec![
            Call::ConfigRead {
                offset: 0x72,
                len: 2,
            },
            Call::ConfigWrite {
                offset: 4,
                data: &[6, 0],
            },
            Call::BarRead {
                bar: Bar::Rom,
                offset: 0x100,
                len: 8,
            },
            Call::BarWrite {
                bar: Bar::Csr,
                offset: 0x6018,
                data: &[1, 0, 0, 0],
            },
            Call::Reset,
            Call::Mapped {
                iova: Iova(0),
                len: u64::MAX,
            },
            Call::Unmapped {
                iova: Iova(u64::MAX),
                len: 1,
            },
            Call::Carrier(true),
            Call::Module(Module::BaseT),
            Call::Leds,
            Call::TakeCounter {
                counter: Reg::QPRC,
                index: 3,
                value: 17,
            },
            Call::TakeCounter36 {
                low: Reg::QBRC_L,
                high: Reg::QBRC_H,
                index: 3,
                value: 1 << 35,
            },
            Call::HardwareError(HardwareError::ReceiveEcc),
            Call::Receive,
            Call::Step,
            Call::Restore { state: b"state" },
            Call::RenewSignals,
            Call::AddFault {
                id: 300,
                fault: Fault {
                    kind: FaultKind::DmaError,
                    target: Target::default(),
                    trigger: Trigger::always(9),
                    delay: None,
                    every: None,
                },
            },
            Call::ClearFaults(None),
            Call::ClearFaults(Some(u64::MAX)),
        ]
    }

    #[test]
    fn every_call_is_read_as_it_was_written_and_has_words() {
        for call in calls() {
            let mut bytes = Vec::new();
            encode(&mut bytes, &call);

            let mut fields = Fields::new(&bytes, 0, 0);

            assert_eq!(decode(&mut fields), Ok(call));
            assert_eq!(fields.peek(), None, "{call:?}");
            assert!(!told(&call).is_empty());
        }
    }

    #[test]
    fn every_answer_is_read_as_it_was_written() {
        let answers = [
            Returned::Nothing,
            Returned::Bytes(&[1, 2]),
            Returned::More(false),
            Returned::More(true),
            Returned::Leds(7),
            Returned::Restored(true),
            Returned::Restored(false),
            Returned::Message(None),
            Returned::Message(Some(ErrorMessage::Fatal)),
            Returned::Count(64),
        ];
        for answer in answers {
            let mut bytes = Vec::new();
            answer.encode(&mut bytes);

            assert_eq!(Returned::decode(&mut Fields::new(&bytes, 0, 0)), Ok(answer));
        }
    }

    #[test]
    fn a_register_is_told_by_its_name() {
        let write = Call::BarWrite {
            bar: Bar::Csr,
            offset: Reg::TDT.offset(2).into(),
            data: &[5, 0, 0, 0],
        };

        assert_eq!(told(&write), "a write of TDT[2] = 0x00000005");
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_call_are_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&mut Fields::new(&bytes, 0, 0));
            let _ = Returned::decode(&mut Fields::new(&bytes, 0, 0));
        }
    }
}
