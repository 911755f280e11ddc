//! One client's connection, from the server's side.

use std::{
    io::BufReader,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
};

use nic_model::HardwareError;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, recv},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use crate::{
    capture::{self, MAX_SNAP},
    fault::{self, AddFaultParameters, ClearFaultsParameters},
    frame::{self, FrameError},
    look::{
        Question,
        activity::Presence,
        record,
        registers::{Chosen, RegistersParameters},
        state::LoadParameters,
        trace::{self, TraceFilter},
    },
    protocol::{
        Call, CaptureParameters, ControlError, DESCRIPTION, INTERFACE, InjectErrorParameters,
        InjectParameters, PlainParameters, ReplyMessage, SERVICE, SERVICE_DESCRIPTION,
        SetLinkParameters, SetModuleParameters,
    },
    queue::{Item, Receiver, Source},
    worker::{Handle, Reply, Request},
};

/// Serves a client until it goes.
pub(crate) fn serve(stream: &UnixStream, ports: &[Handle]) -> Result<(), FrameError> {
    let mut session = Session {
        stream,
        ports,
        presence: Presence::default(),
    };
    let mut reader = BufReader::new(stream);
    let mut message = Vec::new();
    while frame::read(&mut reader, &mut message)? {
        let call: Call<'_> = match serde_json::from_slice(&message) {
            Ok(call) => call,
            // What is no call cannot be answered; nothing sensible follows it.
            Err(_) => return Ok(()),
        };
        session.answer(&call)?;
    }
    Ok(())
}

struct Session<'a> {
    stream: &'a UnixStream,
    ports: &'a [Handle],
    /// What this client looks on at is observed as long as this is there.
    presence: Presence,
}

/// An error reply: its name and parameters.
struct Failure {
    error: String,
    parameters: serde_json::Value,
}

impl Failure {
    fn of_service(error: &str, parameters: serde_json::Value) -> Self {
        Self {
            error: format!("{SERVICE}.{error}"),
            parameters,
        }
    }

    fn unknown_method(call: &Call<'_>) -> Self {
        Self::of_service("MethodNotFound", json!({ "method": call.method }))
    }

    fn parameter(error: &serde_json::Error) -> Self {
        Self::of_service(
            "InvalidParameter",
            json!({ "parameter": error.to_string() }),
        )
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let (name, parameters) = match error {
            ControlError::FrameLength { index, length } => {
                ("FrameLength", json!({ "index": index, "length": length }))
            }
            ControlError::NoSuchPort { port, ports } => {
                ("NoSuchPort", json!({ "port": port, "ports": ports }))
            }
            ControlError::LinkDown => ("LinkDown", json!({})),
            ControlError::UnknownModule { module } => {
                ("UnknownModule", json!({ "module": module }))
            }
            ControlError::UnknownError { error } => {
                let known = HardwareError::ALL.map(HardwareError::name);
                (
                    "UnknownError",
                    json!({ "error": error, "known": known.as_slice() }),
                )
            }
            ControlError::UnknownFault { fault } => (
                "UnknownFault",
                json!({ "fault": fault, "known": fault::names() }),
            ),
            ControlError::BadFault { reason } => ("BadFault", json!({ "reason": reason })),
            ControlError::TooManyFaults => ("TooManyFaults", json!({})),
            ControlError::NoSuchFault { id } => ("NoSuchFault", json!({ "id": id })),
            ControlError::UnknownRegister { name } => ("UnknownRegister", json!({ "name": name })),
            ControlError::NotMapped { iova } => ("NotMapped", json!({ "iova": iova })),
            ControlError::BadState { field, problem } => {
                ("BadState", json!({ "field": field, "problem": problem }))
            }
            ControlError::TooMuch => ("TooMuch", json!({})),
            ControlError::Stopped => ("Stopped", json!({})),
            ControlError::NotRecordable { why } => ("NotRecordable", json!({ "why": why })),
            ControlError::TooManyTraces => ("TooManyTraces", json!({})),
            ControlError::TooManyCaptures => ("TooManyCaptures", json!({})),
            ControlError::NotAnswering => ("NotAnswering", json!({})),
        };
        Self {
            error: format!("{INTERFACE}.{name}"),
            parameters,
        }
    }
}

/// What a method gives back.
enum Outcome {
    /// One reply.
    One(Box<RawValue>),
    /// Frames or events as they come.
    Stream(Box<dyn Streamed>),
}

/// Replies that come one after another.
trait Streamed {
    /// Readable when there is something.
    fn event_fd(&self) -> BorrowedFd<'_>;

    /// Takes note of that. To be called before [`Streamed::take`].
    fn clear_event(&self);

    /// Lets nothing more in; what is there can still be taken.
    fn close(&self);

    /// The first reply, which says that the stream runs.
    fn first(&self) -> Box<RawValue>;

    /// The next reply, and whether there is something in it.
    fn take(&self) -> (Box<RawValue>, Filled, Source);
}

/// Whether there is something in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// There is.
    Some,
    /// There is not.
    Not,
}

impl<T: Item> Streamed for Receiver<T> {
    fn event_fd(&self) -> BorrowedFd<'_> {
        Self::event_fd(self)
    }

    fn clear_event(&self) {
        Self::clear_event(self);
    }

    fn close(&self) {
        Self::close(self);
    }

    fn first(&self) -> Box<RawValue> {
        to_raw(&T::reply(Vec::new(), 0))
    }

    fn take(&self) -> (Box<RawValue>, Filled, Source) {
        let (items, source) = Self::take(self);
        let filled = if items.is_empty() {
            Filled::Not
        } else {
            Filled::Some
        };
        (to_raw(&T::reply(items, self.lost())), filled, source)
    }
}

impl Session<'_> {
    fn answer(&mut self, call: &Call<'_>) -> Result<(), FrameError> {
        let outcome = self.dispatch(call);
        if call.oneway {
            return Ok(());
        }
        match outcome {
            Ok(Outcome::One(parameters)) => self.reply(&parameters, false),
            Ok(Outcome::Stream(streamed)) => self.stream(&*streamed),
            Err(failure) => {
                let parameters = to_raw(&failure.parameters);
                self.send(&ReplyMessage {
                    parameters: Some(&parameters),
                    continues: false,
                    error: Some(failure.error.into()),
                })
            }
        }
    }

    /// How many ports there are.
    fn count(&self) -> u32 {
        u32::try_from(self.ports.len()).unwrap_or(u32::MAX)
    }

    /// The worker of the port that a call names; without a name, of the first.
    fn worker(&self, port: Option<u32>) -> Result<&Handle, ControlError> {
        let port = port.unwrap_or(0);
        let index = usize::try_from(port).ok();
        let worker = index.and_then(|index| self.ports.get(index));
        worker.ok_or_else(|| ControlError::NoSuchPort {
            port,
            ports: self.count(),
        })
    }

    fn dispatch(&self, call: &Call<'_>) -> Result<Outcome, Failure> {
        let (interface, method) = call.method.rsplit_once('.').unwrap_or(("", &call.method));
        let reply = match (interface, method) {
            (SERVICE, "GetInfo") => return one(&service_info()),
            (SERVICE, "GetInterfaceDescription") => return one(&interface_description(call)?),
            (INTERFACE, "Info") => {
                let PlainParameters { port } = parameters(call)?;
                self.worker(port)?.ask(Request::Info {
                    port: port.unwrap_or(0),
                    ports: self.count(),
                })?
            }
            (INTERFACE, "Stats") => {
                let PlainParameters { port } = parameters(call)?;
                self.worker(port)?.ask(Request::Stats)?
            }
            (INTERFACE, "Leds") => {
                let PlainParameters { port } = parameters(call)?;
                self.worker(port)?.ask(Request::Leds)?
            }
            (INTERFACE, "Check") => {
                let PlainParameters { port } = parameters(call)?;
                self.worker(port)?.ask(Request::Check)?
            }
            (INTERFACE, "Inject") => {
                let parameters: InjectParameters = parameters(call)?;
                let damage = parameters.damage();
                self.worker(parameters.port)?
                    .ask(Request::Inject(parameters.frames, damage))?
            }
            (INTERFACE, "Capture") => return self.capture(call),
            (INTERFACE, "Trace") => return self.trace(call),
            (INTERFACE, "Record") => return self.record(call),
            (INTERFACE, "Activity") => {
                let PlainParameters { port } = parameters(call)?;
                let question = Question::Activity(Arc::downgrade(&self.presence));
                self.worker(port)?.ask(Request::Look(Box::new(question)))?
            }
            (INTERFACE, "Load") => {
                let asked: LoadParameters = parameters(call)?;
                let worker = self.worker(asked.port)?;
                let question = Question::Load(Box::new(asked.state()?));
                worker.ask(Request::Look(Box::new(question)))?
            }
            (INTERFACE, "Registers") => return self.registers(call),
            (INTERFACE, "SetLink") => {
                let SetLinkParameters { state, port } = parameters(call)?;
                self.worker(port)?.ask(Request::SetLink(state))?
            }
            (INTERFACE, "SetModule") => {
                let SetModuleParameters { module, port } = parameters(call)?;
                let unknown = |_| ControlError::UnknownModule {
                    module: module.clone(),
                };
                let module = module.parse().map_err(unknown)?;
                self.worker(port)?.ask(Request::SetModule(module))?
            }
            (INTERFACE, "InjectError") => {
                let InjectErrorParameters { error, port } = parameters(call)?;
                let unknown = |_| ControlError::UnknownError {
                    error: error.clone(),
                };
                let error = error.parse().map_err(unknown)?;
                self.worker(port)?.ask(Request::InjectError(error))?
            }
            (INTERFACE, "AddFault") => {
                let parameters: AddFaultParameters = parameters(call)?;
                let fault = parameters.fault()?;
                self.worker(parameters.port)?
                    .ask(Request::AddFault(fault))?
            }
            (INTERFACE, "Faults") => {
                let PlainParameters { port } = parameters(call)?;
                self.worker(port)?.ask(Request::Faults)?
            }
            (INTERFACE, "ClearFaults") => {
                let ClearFaultsParameters { id, port } = parameters(call)?;
                self.worker(port)?.ask(Request::ClearFaults(id))?
            }
            (INTERFACE, method) => {
                let text = call.parameters.map_or("{}", RawValue::get);
                let (port, question) = Question::parse(method, text)
                    .ok_or_else(|| Failure::unknown_method(call))?
                    .map_err(|error| Failure::parameter(&error))?;
                self.worker(port)?.ask(Request::Look(Box::new(question)))?
            }
            (SERVICE, _) => return Err(Failure::unknown_method(call)),
            _ => {
                let interface = json!({ "interface": interface });
                return Err(Failure::of_service("InterfaceNotFound", interface));
            }
        };
        match reply {
            Reply::Info(info) => one(&info),
            Reply::Stats(stats) => one(&stats),
            Reply::Leds(leds) => one(&leds),
            Reply::Checked(checked) => one(&checked),
            Reply::Injected(injected) => one(&injected),
            Reply::ErrorInjected(injected) => one(&injected),
            Reply::FaultAdded(added) => one(&added),
            Reply::Faults(faults) => one(&faults),
            Reply::FaultsCleared(cleared) => one(&cleared),
            Reply::Seen(seen) => Ok(Outcome::One(seen.told()?)),
            // Only `Session::registers` asks for them.
            Reply::Registers(_) | Reply::Done => one(&json!({})),
        }
    }

    fn registers(&self, call: &Call<'_>) -> Result<Outcome, Failure> {
        let asked: RegistersParameters = parameters(call)?;
        let chosen = Chosen::find(&asked)?;
        let reply = self
            .worker(asked.port)?
            .ask(Request::Registers(chosen.clone()))?;
        let values = match reply {
            Reply::Registers(values) => values,
            _ => Vec::new(),
        };
        one(&chosen.tell(&values))
    }

    fn capture(&self, call: &Call<'_>) -> Result<Outcome, Failure> {
        if !call.more || call.oneway {
            return Err(Failure::of_service("ExpectedMore", json!({})));
        }
        let CaptureParameters { snap_length, port } = parameters(call)?;
        let worker = self.worker(port)?;
        let snap_length = snap_length
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(MAX_SNAP);
        let (recorder, recorded) =
            capture::record(snap_length).map_err(|_| ControlError::NotAnswering)?;
        worker.ask(Request::Capture(recorder))?;
        Ok(Outcome::Stream(Box::new(recorded)))
    }

    fn trace(&self, call: &Call<'_>) -> Result<Outcome, Failure> {
        if !call.more || call.oneway {
            return Err(Failure::of_service("ExpectedMore", json!({})));
        }
        let filter: TraceFilter = parameters(call)?;
        let worker = self.worker(filter.port)?;
        let (tracer, traces) = trace::trace(&filter)?;
        worker.ask(Request::Look(Box::new(Question::Trace(tracer))))?;
        Ok(Outcome::Stream(Box::new(traces)))
    }

    fn record(&self, call: &Call<'_>) -> Result<Outcome, Failure> {
        if !call.more || call.oneway {
            return Err(Failure::of_service("ExpectedMore", json!({})));
        }
        let PlainParameters { port } = parameters(call)?;
        let worker = self.worker(port)?;
        let (start, calls) = record::record().map_err(|_| ControlError::NotAnswering)?;
        worker.ask(Request::Record(start))?;
        Ok(Outcome::Stream(Box::new(calls)))
    }

    /// Sends frames until the client closes its side, or the worker ends.
    fn stream(&mut self, streamed: &dyn Streamed) -> Result<(), FrameError> {
        self.reply(&streamed.first(), true)?;
        let mut client = Client::Listening;
        let mut timeout = PollTimeout::NONE;
        loop {
            client = self.wait(streamed, client, timeout)?;
            streamed.clear_event();
            if client == Client::Done {
                streamed.close();
            }
            let (parameters, filled, source) = streamed.take();
            let empty = filled == Filled::Not;
            let last = empty && (source == Source::Gone || client == Client::Done);
            if last || !empty {
                self.reply(&parameters, !last)?;
            }
            if last {
                return Ok(());
            }
            // After a full reply there may be more, which no event tells again.
            timeout = if empty {
                PollTimeout::NONE
            } else {
                PollTimeout::ZERO
            };
        }
    }

    /// Sleeps until there are frames or the client has closed its side.
    fn wait(
        &self,
        streamed: &dyn Streamed,
        client: Client,
        timeout: PollTimeout,
    ) -> Result<Client, FrameError> {
        if client == Client::Done {
            return Ok(client);
        }
        let events = match client {
            Client::Listening => PollFlags::POLLIN,
            // Its next call waits; only its end is news.
            Client::Talking | Client::Done => PollFlags::empty(),
        };
        let mut fds = [
            PollFd::new(self.stream.as_fd(), events),
            PollFd::new(streamed.event_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(FrameError::Io(errno.into())),
        }
        let seen = fds[0].revents().unwrap_or(PollFlags::empty());
        if seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            return Ok(Client::Done);
        }
        if seen.contains(PollFlags::POLLIN) {
            let peeked = recv(
                self.stream.as_raw_fd(),
                &mut [0],
                MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
            );
            return Ok(match peeked {
                Ok(0) => Client::Done,
                _ => Client::Talking,
            });
        }
        Ok(client)
    }

    fn reply(&mut self, parameters: &RawValue, continues: bool) -> Result<(), FrameError> {
        self.send(&ReplyMessage {
            parameters: Some(parameters),
            continues,
            error: None,
        })
    }

    fn send(&mut self, reply: &ReplyMessage<'_>) -> Result<(), FrameError> {
        let message = serde_json::to_vec(reply).map_err(std::io::Error::from)?;
        frame::write(&mut self.stream, message)?;
        Ok(())
    }
}

/// What a client that captures does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// It listens.
    Listening,
    /// It has sent its next call, which waits for the end of the capture.
    Talking,
    /// It has closed its side, and takes what is left.
    Done,
}

fn one<T: Serialize>(reply: &T) -> Result<Outcome, Failure> {
    Ok(Outcome::One(to_raw(reply)))
}

fn to_raw<T: Serialize>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("the protocol's types have string keys")
}

/// The parameters of a call; nothing stands for an empty object.
fn parameters<T: DeserializeOwned>(call: &Call<'_>) -> Result<T, Failure> {
    let text = call.parameters.map_or("{}", RawValue::get);
    serde_json::from_str(text).map_err(|error| Failure::parameter(&error))
}

fn service_info() -> serde_json::Value {
    json!({
        "vendor": "vfio-user-ixgbe",
        "product": "vfio-user-ixgbe",
        "version": env!("CARGO_PKG_VERSION"),
        "url": "",
        "interfaces": [SERVICE, INTERFACE],
    })
}

fn interface_description(call: &Call<'_>) -> Result<serde_json::Value, Failure> {
    #[derive(Deserialize)]
    struct Parameters {
        interface: String,
    }
    let Parameters { interface } = parameters(call)?;
    let description = match interface.as_str() {
        SERVICE => SERVICE_DESCRIPTION,
        INTERFACE => DESCRIPTION,
        _ => {
            let interface = json!({ "interface": interface });
            return Err(Failure::of_service("InterfaceNotFound", interface));
        }
    };
    Ok(json!({ "description": description }))
}
