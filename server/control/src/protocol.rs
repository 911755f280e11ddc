//! The messages of the interface, as varlink writes them.
//!
//! The IDL beside this file is what counts; the types here follow it field by field.

use std::{borrow::Cow, time::Duration};

use nic_model::{HardwareError, LedMode, Module, Port, wire::Fcs};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wire::{Damage, Short, file::Packet};

/// Name of the interface.
pub const INTERFACE: &str = "io.vfio-user-ixgbe.Control1";
/// The interface in varlink's own language.
pub const DESCRIPTION: &str = include_str!("io.vfio-user-ixgbe.Control1.varlink");
/// The interface that every varlink service has.
pub(crate) const SERVICE: &str = "org.varlink.service";
/// Its description, from the varlink specification.
pub(crate) const SERVICE_DESCRIPTION: &str = include_str!("org.varlink.service.varlink");

/// A call as it lies on the socket.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Call<'a> {
    /// Interface and method.
    #[serde(borrow)]
    pub(crate) method: Cow<'a, str>,
    /// An object, or nothing for a method without parameters.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<&'a RawValue>,
    /// No reply is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) oneway: bool,
    /// Many replies are wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) more: bool,
}

/// A reply as it lies on the socket.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct ReplyMessage<'a> {
    /// An object.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<&'a RawValue>,
    /// More replies follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) continues: bool,
    /// Name of an error; the parameters are then its.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Cow<'a, str>>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The state of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// The cable is in.
    Up,
    /// The cable is pulled.
    Down,
}

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The card's own statistics registers, by the driver's name for them.
    Hardware,
    /// What the model counts besides.
    Model,
    /// The cable.
    Wire,
}

impl Group {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Model => "model",
            Self::Wire => "wire",
        }
    }
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counter {
    /// Who counts.
    pub group: Group,
    /// What.
    pub name: Cow<'static, str>,
    /// How many. Varlink's integers end at 2^63 - 1, and so does what is shown of a counter.
    #[serde(serialize_with = "as_varlink_int")]
    pub value: u64,
}

impl Counter {
    /// A counter of this group, name and value.
    #[must_use]
    pub fn new(group: Group, name: impl Into<Cow<'static, str>>, value: u64) -> Self {
        Self {
            group,
            name: name.into(),
            value,
        }
    }

    /// The counters of a port: those of the datasheet, and those of the model behind `model.`.
    pub fn of_port(port: &Port) -> impl Iterator<Item = Self> {
        port.statistics().map(|(name, value)| {
            let group = if name.starts_with("model.") {
                Group::Model
            } else {
                Group::Hardware
            };
            Self::new(group, name, value)
        })
    }
}

pub(crate) fn as_varlink_int<S: serde::Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(i64::try_from(*value).unwrap_or(i64::MAX))
}

/// Which way a captured frame went, seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The port sent it.
    Transmit,
    /// The port received it.
    Receive,
}

impl From<wire::Direction> for Direction {
    fn from(direction: wire::Direction) -> Self {
        match direction {
            wire::Direction::Transmit => Self::Transmit,
            wire::Direction::Receive => Self::Receive,
        }
    }
}

impl From<Direction> for wire::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Transmit => Self::Transmit,
            Direction::Receive => Self::Receive,
        }
    }
}

/// A frame that passed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CapturedFrame {
    /// Which way.
    pub direction: Direction,
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Length of the frame, without FCS.
    pub length: u32,
    /// The frame, as far as the capture's snap length goes.
    #[serde(with = "crate::base64")]
    pub data: Vec<u8>,
    /// Queue of the port that it went to or came from, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// RSS hash of a frame that was received, if it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<u32>,
    /// What else there is to say: why a frame was dropped, or for what it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl CapturedFrame {
    /// Since 1970.
    #[must_use]
    pub fn since_1970(&self) -> Duration {
        Duration::from_nanos(self.time.try_into().unwrap_or(0))
    }

    /// What a capture file says of it. `interface` is that of its port in the file.
    #[must_use]
    pub fn packet(&self, interface: u32) -> Packet<'_> {
        Packet {
            interface,
            direction: self.direction.into(),
            time: self.since_1970(),
            original_len: usize::try_from(self.length).unwrap_or(self.data.len()),
            queue: self.queue,
            hash: self.hash,
            comment: self.note.as_deref(),
        }
    }
}

/// Reply of `Info`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Info {
    /// Version of the server.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The backend and how it is reached.
    pub wire: String,
    /// Whether the cable is in.
    pub cable: Link,
    /// Whether the port sees the other end.
    pub carrier: bool,
    /// Kind of the module in the cage.
    #[serde(with = "module")]
    pub module: Module,
    /// The port's own MAC address, as its driver has set it (`02:00:00:00:00:01`). Older servers do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Which port this is. A server that does not say so has one.
    #[serde(default)]
    pub port: u32,
    /// How many ports the server has.
    #[serde(default = "one")]
    pub ports: u32,
}

const fn one() -> u32 {
    1
}

/// Parameters of `Info`, `Stats`, `Check` and `Leds`. In all parameters `port` is the port that is meant; nothing stands for port 0, and is
/// what servers of one port understand, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlainParameters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// Reply of `Stats`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stats {
    /// All counters.
    pub counters: Vec<Counter>,
}

/// What one sees of an LED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Light {
    /// It is dark.
    Off,
    /// It is lit.
    On,
    /// It is lit and dark in turns.
    Blinking,
}

impl Light {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Blinking => "blinking",
        }
    }
}

impl From<nic_model::Light> for Light {
    fn from(light: nic_model::Light) -> Self {
        match light {
            nic_model::Light::Off => Self::Off,
            nic_model::Light::On => Self::On,
            nic_model::Light::Blinking => Self::Blinking,
        }
    }
}

/// An LED.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Led {
    /// What it is to show, by the datasheet's name.
    pub mode: Cow<'static, str>,
    /// What it shows.
    pub light: Light,
    /// How often software has turned it on by a mode.
    #[serde(serialize_with = "as_varlink_int")]
    pub turned_on: u64,
}

impl From<nic_model::Led> for Led {
    fn from(led: nic_model::Led) -> Self {
        Self {
            mode: LedMode::name(led.mode).into(),
            light: led.light.into(),
            turned_on: led.turned_on,
        }
    }
}

/// A rule of the datasheet that the client's driver has broken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Name of the rule.
    pub rule: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// Where the datasheet has the rule.
    pub section: Cow<'static, str>,
    /// The queue or register.
    pub subject: String,
    /// What has happened.
    pub what: String,
    /// When it happened first, in nanoseconds since the start of the port.
    #[serde(serialize_with = "as_varlink_int")]
    pub time_nanos: u64,
    /// How often it happened.
    #[serde(serialize_with = "as_varlink_int")]
    pub times: u64,
    /// All of it with what led there, in lines for people.
    pub report: String,
}

impl Finding {
    /// A finding that was made `times` times.
    #[must_use]
    pub fn new(finding: &nic_model::check::Finding, times: u64) -> Self {
        let rule = finding.rule;
        Self {
            rule: rule.name().into(),
            severity: rule.severity().into(),
            section: rule.section().into(),
            subject: finding.subject.to_string(),
            what: finding.what.clone(),
            time_nanos: finding.time.as_nanos(),
            times,
            report: finding.to_string(),
        }
    }
}

/// How bad the breach of a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works today.
    Warning,
    /// It does harm.
    Error,
}

impl From<nic_model::check::Severity> for Severity {
    fn from(severity: nic_model::check::Severity) -> Self {
        match severity {
            nic_model::check::Severity::Warning => Self::Warning,
            nic_model::check::Severity::Error => Self::Error,
        }
    }
}

/// Reply of `Check`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Checked {
    /// Whether there is a checker.
    pub checking: bool,
    /// What it has found, oldest first.
    pub findings: Vec<Finding>,
}

/// Reply of `Leds`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Leds {
    /// LED0 to LED3.
    pub leds: Vec<Led>,
}

/// Parameters of `Inject` and of `Judge`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct InjectParameters {
    #[serde(with = "crate::base64::list")]
    pub(crate) frames: Vec<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bad_fcs: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runts: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

impl InjectParameters {
    /// For frames with this damage, to a port.
    pub(crate) fn new(frames: Vec<Vec<u8>>, damage: Damage, port: Option<u32>) -> Self {
        Self {
            frames,
            bad_fcs: (damage.fcs == Fcs::Bad).then_some(true),
            runts: (damage.short == Short::Runt).then_some(true),
            port,
        }
    }

    /// What is to be wrong with the frames.
    pub(crate) fn damage(&self) -> Damage {
        Damage {
            fcs: match self.bad_fcs {
                Some(true) => Fcs::Bad,
                _ => Fcs::Good,
            },
            short: match self.runts {
                Some(true) => Short::Runt,
                _ => Short::Padded,
            },
        }
    }
}

/// Reply of `Inject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Injected {
    /// How many frames, from the first on, will arrive.
    pub accepted: usize,
}

/// Parameters of `Capture`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct CaptureParameters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snap_length: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// One of the replies of `Capture`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Captured {
    /// Frames since the reply before.
    pub frames: Vec<CapturedFrame>,
    /// Frames that were missed since the capture started.
    pub lost: u64,
}

/// Parameters of `SetLink`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetLinkParameters {
    pub(crate) state: Link,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// Parameters of `SetModule`: a text, as the kinds that there are grow in number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetModuleParameters {
    pub(crate) module: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// Parameters of `InjectError`: a text, as the kinds that there are grow in number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InjectErrorParameters {
    pub(crate) error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// Reply of `InjectError`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ErrorInjected {
    /// The message to the root complex by which the card tells of the error, if it does.
    pub message: Option<Cow<'static, str>>,
}

/// A kind of module by its name.
mod module {
    use nic_model::Module;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(module: &Module, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(module.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Module, D::Error> {
        let name = String::deserialize(from)?;
        name.parse().map_err(de::Error::custom)
    }
}

/// An error of the interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// A frame is too short or too long for any cable.
    #[error("frame {index} (from 0) has {length} bytes; 14 to 16383 can be injected")]
    FrameLength {
        /// Its place in the call, from 0.
        index: usize,
        /// Its length.
        length: usize,
    },
    /// There is no such port.
    #[error("the server has no port {port}; it has {ports}, counted from 0")]
    NoSuchPort {
        /// What was asked for.
        port: u32,
        /// How many there are.
        ports: u32,
    },
    /// The cable is pulled.
    #[error("the link is down, so nothing can arrive; `ixgbectl link up` first")]
    LinkDown,
    /// There is no such kind of module.
    #[error("there is no module {module}; there are {}", Module::ALL.map(Module::name).join(", "))]
    UnknownModule {
        /// What was asked for.
        module: String,
    },
    /// There is no such kind of error.
    #[error("there is no error {error}; there are {}", HardwareError::ALL.map(HardwareError::name).join(", "))]
    UnknownError {
        /// What was asked for.
        error: String,
    },
    /// There is no such kind of fault.
    #[error("there is no fault {fault}; there are {}", crate::fault::names().join(", "))]
    UnknownFault {
        /// What was asked for.
        fault: String,
    },
    /// There can be no such fault.
    #[error("there can be no such fault: {reason}")]
    BadFault {
        /// Why not.
        reason: String,
    },
    /// As many faults as there may be are at work.
    #[error("too many faults are at work; `ixgbectl fault clear` ends them")]
    TooManyFaults,
    /// There is no fault with this number.
    #[error("there is no fault {id}; `ixgbectl fault list` shows them")]
    NoSuchFault {
        /// What was asked for.
        id: u64,
    },
    /// There is no such register.
    #[error("there is no register {name}; `ixgbectl regs` lists them")]
    UnknownRegister {
        /// What was asked for.
        name: String,
    },
    /// Memory is not mapped, or not by a file.
    #[error("client memory at {iova} is not mapped for reading, or only messages reach it")]
    NotMapped {
        /// The first address that is not.
        iova: String,
    },
    /// More was asked for than fits a message, or frames that were injected before still wait for the port.
    #[error("that is too much for one call; ask for less at a time, or again later")]
    TooMuch,
    /// As many traces run as may.
    #[error("too many traces run already; end one of them")]
    TooManyTraces,
    /// The port cannot be recorded from now on.
    #[error("the port cannot be recorded from now on: {why}")]
    NotRecordable {
        /// Why.
        why: String,
    },
    /// As many captures run as may.
    #[error("too many captures run already; end one of them")]
    TooManyCaptures,
    /// The client of the port has stopped the card, to move it: what would change the card has to wait.
    #[error(
        "the card is stopped, since its client moves it; again when it runs, or at the server that it has moved to"
    )]
    Stopped,
    /// What was to be loaded is no state, or not of such a port. The port is as before.
    #[error("the state cannot be loaded: {field}: {problem}")]
    BadState {
        /// The field that is wrong.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The worker did not answer in time, or is ending.
    #[error("the server's worker does not answer; it is ending or stuck (see its log)")]
    NotAnswering,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
    }

    #[test]
    fn a_counter_beyond_varlinks_integers_is_shown_as_the_largest() {
        let counter = Counter::new(Group::Model, "huge", u64::MAX);

        assert_eq!(round_trip(&counter).value, i64::MAX.cast_unsigned());
    }

    #[test]
    fn an_unknown_parameter_is_refused() {
        let parsed = serde_json::from_str::<CaptureParameters>(r#"{"snaplength": 3}"#);

        assert!(parsed.is_err());
    }

    proptest! {
        #[test]
        fn injected_frames_are_read_as_they_were_written(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..10),
            fcs in prop_oneof![Just(Fcs::Good), Just(Fcs::Bad)],
            short in prop_oneof![Just(Short::Padded), Just(Short::Runt)],
        ) {
            let damage = Damage { fcs, short };
            let parameters = InjectParameters::new(frames, damage, Some(3));

            prop_assert_eq!(parameters.damage(), damage);
            prop_assert_eq!(round_trip(&parameters), parameters);
        }

        #[test]
        fn captured_frames_are_read_as_they_were_written(
            sent: bool,
            time: i64,
            length: u32,
            data in prop::collection::vec(any::<u8>(), 0..200),
            queue: Option<u32>,
            hash: Option<u32>,
            note in prop::option::of(".{0,20}"),
            lost in 0..i64::MAX.cast_unsigned(),
        ) {
            let direction = if sent { Direction::Transmit } else { Direction::Receive };
            let frames = vec![CapturedFrame { direction, time, length, data, queue, hash, note }];
            let captured = Captured { frames, lost };

            prop_assert_eq!(round_trip(&captured), captured);
        }

        #[test]
        fn any_text_is_a_call_or_none(text in ".{0,100}") {
            let call = serde_json::from_str::<Call<'_>>(&text);

            prop_assert!(call.is_err() || text.contains("method"));
        }
    }
}
