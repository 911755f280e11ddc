//! The other side: a program that asks a server.

use std::{
    borrow::Cow,
    io::{self, BufReader},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nic_model::{HardwareError, Module, fault::Fault};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use wire::Damage;

use crate::{
    fault::{
        ActiveFault, AddFaultParameters, ClearFaultsParameters, FaultAdded, Faults, FaultsCleared,
    },
    frame::{self, FrameError},
    look::{
        activity::Activity,
        copies::{AccountAction, Copies, CopiesParameters},
        judge::{Fate, Fates},
        memory::{Mappings, MemoryRead, NvmContents, ReadMemoryParameters},
        record::RecordedCalls,
        registers::{RegisterValue, Registers, RegistersParameters},
        state::{self, LoadParameters, SavedState},
        trace::{TraceFilter, Traced},
    },
    protocol::{
        Call, CaptureParameters, Captured, Checked, ControlError, ErrorInjected, INTERFACE, Info,
        InjectErrorParameters, InjectParameters, Injected, Led, Leds, Link, PlainParameters,
        ReplyMessage, SetLinkParameters, SetModuleParameters, Stats,
    },
};

/// How long a reply may take: longer than a server waits for its worker.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the server gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no server answers at {}; is vfio-user-ixgbe running, and with this --control path?", path.display())]
    NoServer {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("may not use the control socket {}; run as the user of the server", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] FrameError),
    /// The server does not answer.
    #[error(
        "no answer on the control socket; is it that of vfio-user-ixgbe, and does the server run?"
    )]
    Silent,
    /// The server closed the connection.
    #[error("the server closed the control connection; it has ended, or serves too many clients")]
    Closed,
    /// The server refuses, by the interface.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// The server does not know this interface or method.
    #[error(
        "the server does not know {method} ({error}); use the ixgbectl that came with the server"
    )]
    Unknown {
        /// The method.
        method: String,
        /// The server's error.
        error: String,
    },
    /// The reply is not what the interface says.
    #[error(
        "the server's reply to {method} is not understood; use the ixgbectl that came with the server"
    )]
    Reply {
        /// The method.
        method: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    message: Vec<u8>,
    port: Option<u32>,
}

impl Client {
    /// Connects to the control socket at `path`.
    ///
    /// # Errors
    /// [`ClientError::NoServer`] or [`ClientError::NotAllowed`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed {
                path: path.to_owned(),
            },
            _ => ClientError::NoServer {
                path: path.to_owned(),
                source,
            },
        })?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(FrameError::Io)?;
        Ok(Self {
            reader: BufReader::with_capacity(64 << 10, stream),
            message: Vec::new(),
            port: None,
        })
    }

    /// From now on asks for this port of the server, counted from 0; `None` is port 0.
    pub const fn select(&mut self, port: Option<u32>) {
        self.port = port;
    }

    /// Who answers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn info(&mut self) -> Result<Info, ClientError> {
        self.call("Info", &PlainParameters { port: self.port })
    }

    /// All counters.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stats(&mut self) -> Result<Stats, ClientError> {
        self.call("Stats", &PlainParameters { port: self.port })
    }

    /// Looks at the LEDs. Those that show activity show what has passed since the last look of anybody.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn leds(&mut self) -> Result<Vec<Led>, ClientError> {
        let Leds { leds } = self.call("Leds", &PlainParameters { port: self.port })?;
        Ok(leds)
    }

    /// What the driver checker has found.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn check(&mut self) -> Result<Checked, ClientError> {
        self.call("Check", &PlainParameters { port: self.port })
    }

    /// Lets `frames` arrive, and returns how many of them, from the first on, found room. All of them together must
    /// fit a message: [`MAX_INJECT_BYTES`](crate::MAX_INJECT_BYTES).
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn inject(&mut self, frames: &[Vec<u8>]) -> Result<usize, ClientError> {
        self.inject_damaged(frames, Damage::default())
    }

    /// As [`Client::inject`], for frames with something wrong.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn inject_damaged(
        &mut self,
        frames: &[Vec<u8>],
        damage: Damage,
    ) -> Result<usize, ClientError> {
        let parameters = InjectParameters::new(frames.to_vec(), damage, self.port);
        let Injected { accepted } = self.call("Inject", &parameters)?;
        Ok(accepted)
    }

    /// Puts the cable in or pulls it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn set_link(&mut self, state: Link) -> Result<(), ClientError> {
        let port = self.port;
        let _: serde_json::Map<_, _> = self.call("SetLink", &SetLinkParameters { state, port })?;
        Ok(())
    }

    /// Draws the module out of the cage and plugs in this one. One of the same kind stays where it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn set_module(&mut self, module: Module) -> Result<(), ClientError> {
        let parameters = SetModuleParameters {
            module: module.name().to_owned(),
            port: self.port,
        };
        let _: serde_json::Map<_, _> = self.call("SetModule", &parameters)?;
        Ok(())
    }

    /// Lets the card have an error. Returns the name of the message to the root complex by which the card tells of it, if
    /// it does; no client gets that message.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn inject_error(&mut self, error: HardwareError) -> Result<Option<String>, ClientError> {
        let error = error.name().to_owned();
        let ErrorInjected { message } = self.call(
            "InjectError",
            &InjectErrorParameters {
                error,
                port: self.port,
            },
        )?;
        Ok(message.map(Into::into))
    }

    /// Lets cable or card have a fault from now on. Returns the number that it has at its port.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn add_fault(&mut self, fault: &Fault) -> Result<u64, ClientError> {
        let parameters = AddFaultParameters::new(fault, self.port);
        let FaultAdded { id } = self.call("AddFault", &parameters)?;
        Ok(id)
    }

    /// The faults that were asked for and not cleared, with how often each has happened.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn faults(&mut self) -> Result<Vec<ActiveFault>, ClientError> {
        let Faults { faults } = self.call("Faults", &PlainParameters { port: self.port })?;
        Ok(faults)
    }

    /// Ends the fault of this number, or all of them, and returns how many there were.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn clear_faults(&mut self, id: Option<u64>) -> Result<u64, ClientError> {
        let port = self.port;
        let FaultsCleared { cleared } =
            self.call("ClearFaults", &ClearFaultsParameters { id, port })?;
        Ok(cleared)
    }

    /// Starts to capture the first `snap_length` bytes (or all) of the frames that pass. When this returns, the capture
    /// runs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn capture(self, snap_length: Option<u32>) -> Result<Capturing, ClientError> {
        let port = self.port;
        self.stream("Capture", &CaptureParameters { snap_length, port })
    }

    /// The account of copies: begins or ends it if asked to, and shows it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn copies(&mut self, action: Option<AccountAction>) -> Result<Copies, ClientError> {
        let port = self.port;
        self.call("Copies", &CopiesParameters { action, port })
    }

    /// What the port does, added up since somebody looks: from the first call on, until this client is dropped.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn activity(&mut self) -> Result<Activity, ClientError> {
        let parameters = PlainParameters { port: self.port };
        self.call("Activity", &parameters)
    }

    /// All elements of the registers with these names, as they stand: nothing is cleared by it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn registers(&mut self, names: &[&str]) -> Result<Vec<RegisterValue>, ClientError> {
        let parameters = RegistersParameters {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            port: self.port,
        };
        let Registers { registers } = self.call("Registers", &parameters)?;
        Ok(registers)
    }

    /// The client's memory, by address.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn memory(&mut self) -> Result<Mappings, ClientError> {
        self.call("Memory", &PlainParameters { port: self.port })
    }

    /// Reads `length` bytes of the client's memory, at most [`MAX_READ`](crate::MAX_READ).
    ///
    /// # Errors
    /// [`ClientError`]; [`ControlError::NotMapped`] where there is no memory.
    pub fn read_memory(&mut self, iova: u64, length: u32) -> Result<Vec<u8>, ClientError> {
        let parameters = ReadMemoryParameters {
            iova,
            length,
            port: self.port,
        };
        let MemoryRead { data } = self.call("ReadMemory", &parameters)?;
        Ok(data)
    }

    /// What the NVM holds.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn nvm(&mut self) -> Result<NvmContents, ClientError> {
        self.call("Nvm", &PlainParameters { port: self.port })
    }

    /// The state of the port, as a file holds it.
    ///
    /// # Errors
    /// [`ClientError`]; [`ControlError::TooMuch`] if it does not fit a message.
    pub fn save(&mut self) -> Result<String, ClientError> {
        let SavedState { state } = self.call("Save", &PlainParameters { port: self.port })?;
        Ok(state)
    }

    /// Puts a state that was saved into the port.
    ///
    /// # Errors
    /// [`ClientError`]; [`ControlError::BadState`] if it is none, and [`ControlError::TooMuch`] if it does not fit a message.
    /// The port is as before then.
    pub fn load(&mut self, state: &str) -> Result<(), ClientError> {
        if !state::fits(state.as_bytes()) {
            return Err(ControlError::TooMuch.into());
        }
        let parameters = LoadParameters {
            state: state.to_owned(),
            port: self.port,
        };
        let _: serde_json::Map<_, _> = self.call("Load", &parameters)?;
        Ok(())
    }

    /// Lets frames arrive one by one, at most [`MAX_JUDGED`](crate::MAX_JUDGED), and tells what became of each.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn judge(&mut self, frames: &[Vec<u8>], damage: Damage) -> Result<Vec<Fate>, ClientError> {
        let parameters = InjectParameters::new(frames.to_vec(), damage, self.port);
        let Fates { fates } = self.call("Judge", &parameters)?;
        Ok(fates)
    }

    /// Starts to record all that the port is given and does. When this returns, the recording runs.
    ///
    /// # Errors
    /// [`ClientError`]; [`ControlError::NotRecordable`] for a port that is recorded already, has faults
    /// of the card, or is one of a card's two.
    pub fn record(self) -> Result<Recording, ClientError> {
        let parameters = PlainParameters { port: self.port };
        self.stream("Record", &parameters)
    }

    /// Starts to tell events. When this returns, the trace runs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn trace(self, filter: &TraceFilter) -> Result<Tracing, ClientError> {
        let filter = TraceFilter {
            port: self.port,
            ..filter.clone()
        };
        self.stream("Trace", &filter)
    }

    /// Begins a call that is answered again and again.
    fn stream<P: Serialize, R: DeserializeOwned>(
        mut self,
        name: &str,
        parameters: &P,
    ) -> Result<Stream<R>, ClientError> {
        let method = method(name);
        self.send(&method, parameters, true)?;
        let (first, continues) = self.receive(&method)?;
        Ok(Stream {
            client: self,
            method,
            first: Some(first),
            continues,
            silence: Silence::Rest,
        })
    }

    fn call<P: Serialize, R: DeserializeOwned>(
        &mut self,
        name: &str,
        parameters: &P,
    ) -> Result<R, ClientError> {
        let method = method(name);
        self.send(&method, parameters, false)?;
        Ok(self.receive(&method)?.0)
    }

    fn send<P: Serialize>(
        &mut self,
        method: &str,
        parameters: &P,
        more: bool,
    ) -> Result<(), ClientError> {
        let failed = |source| ClientError::Reply {
            method: method.to_owned(),
            source,
        };
        let parameters = serde_json::value::to_raw_value(parameters).map_err(failed)?;
        let call = Call {
            method: Cow::Borrowed(method),
            parameters: Some(&parameters),
            oneway: false,
            more,
        };
        let message = serde_json::to_vec(&call).map_err(failed)?;
        frame::write(self.reader.get_mut(), message).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => ClientError::Closed,
            _ => FrameError::Io(error).into(),
        })
    }

    /// Reads a reply, and whether more follow.
    fn receive<R: DeserializeOwned>(&mut self, method: &str) -> Result<(R, bool), ClientError> {
        let failed = |source| ClientError::Reply {
            method: method.to_owned(),
            source,
        };
        match frame::read(&mut self.reader, &mut self.message) {
            Ok(true) => {}
            Ok(false) => return Err(ClientError::Closed),
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(ClientError::Silent);
            }
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(ClientError::Closed);
            }
            Err(error) => return Err(error.into()),
        }
        let reply: ReplyMessage<'_> = serde_json::from_slice(&self.message).map_err(failed)?;
        let parameters = reply.parameters.map_or("{}", RawValue::get);
        if let Some(error) = &reply.error {
            return Err(failure(method, error, parameters));
        }
        Ok((
            serde_json::from_str(parameters).map_err(failed)?,
            reply.continues,
        ))
    }
}

fn method(name: &str) -> String {
    format!("{INTERFACE}.{name}")
}

/// The error that a reply tells.
fn failure(method: &str, error: &str, parameters: &str) -> ClientError {
    let name = error
        .strip_prefix(INTERFACE)
        .and_then(|rest| rest.strip_prefix('.'));
    let number = |key: &str| {
        serde_json::from_str::<serde_json::Value>(parameters)
            .ok()
            .and_then(|parameters| parameters.get(key)?.as_u64())
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(0)
    };
    let text = |key: &str| {
        serde_json::from_str::<serde_json::Value>(parameters)
            .ok()
            .and_then(|parameters| Some(parameters.get(key)?.as_str()?.to_owned()))
            .unwrap_or_default()
    };
    match name {
        Some("FrameLength") => ControlError::FrameLength {
            index: number("index"),
            length: number("length"),
        }
        .into(),
        Some("NoSuchPort") => ControlError::NoSuchPort {
            port: number("port").try_into().unwrap_or(u32::MAX),
            ports: number("ports").try_into().unwrap_or(u32::MAX),
        }
        .into(),
        Some("LinkDown") => ControlError::LinkDown.into(),
        Some("UnknownModule") => ControlError::UnknownModule {
            module: text("module"),
        }
        .into(),
        Some("UnknownError") => ControlError::UnknownError {
            error: text("error"),
        }
        .into(),
        Some("UnknownFault") => ControlError::UnknownFault {
            fault: text("fault"),
        }
        .into(),
        Some("BadFault") => ControlError::BadFault {
            reason: text("reason"),
        }
        .into(),
        Some("TooManyFaults") => ControlError::TooManyFaults.into(),
        Some("NoSuchFault") => ControlError::NoSuchFault {
            id: number("id").try_into().unwrap_or(u64::MAX),
        }
        .into(),
        Some("UnknownRegister") => ControlError::UnknownRegister { name: text("name") }.into(),
        Some("BadState") => ControlError::BadState {
            field: text("field"),
            problem: text("problem"),
        }
        .into(),
        Some("NotMapped") => ControlError::NotMapped { iova: text("iova") }.into(),
        Some("TooMuch") => ControlError::TooMuch.into(),
        Some("Stopped") => ControlError::Stopped.into(),
        Some("TooManyTraces") => ControlError::TooManyTraces.into(),
        Some("NotRecordable") => ControlError::NotRecordable { why: text("why") }.into(),
        Some("TooManyCaptures") => ControlError::TooManyCaptures.into(),
        Some("NotAnswering") => ControlError::NotAnswering.into(),
        _ => ClientError::Unknown {
            method: method.to_owned(),
            error: format!("{error} {parameters}"),
        },
    }
}

/// A capture that runs; each reply has the frames since the one before.
pub type Capturing = Stream<Captured>;

/// A recording that runs; each reply has the calls since the one before.
pub type Recording = Stream<RecordedCalls>;

/// A trace that runs; each reply has the events since the one before.
pub type Tracing = Stream<Traced>;

/// A call that the server answers again and again, until one side ends it.
#[derive(Debug)]
pub struct Stream<R> {
    client: Client,
    method: String,
    first: Option<R>,
    continues: bool,
    silence: Silence,
}

/// What it means that the server sends nothing between two replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// Nothing happens.
    Rest,
    /// It has been asked to end, and does not answer.
    Failure,
}

impl<R: DeserializeOwned> Stream<R> {
    /// What has come since the last call, when there is something; `None` when the server has ended.
    ///
    /// # Errors
    /// [`ClientError`]; the server ended without a last reply, or another reply was expected. [`ClientError::Silent`]: it
    /// falls silent in the middle of a reply, or after [`Stream::finish`].
    pub fn next_reply(&mut self) -> Result<Option<R>, ClientError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if !self.continues {
            return Ok(None);
        }
        if self.silence == Silence::Rest && !self.has_buffered() {
            self.wait()?;
        }
        let (reply, continues) = self.client.receive(&self.method)?;
        self.continues = continues;
        Ok(Some(reply))
    }

    /// Waits until something comes, however long.
    fn wait(&self) -> Result<(), ClientError> {
        loop {
            let mut fds = [PollFd::new(self.poll_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(FrameError::Io(errno.into()).into()),
            }
        }
    }

    /// Asks the server to end; what is under way still comes by [`Stream::next_reply`], and comes soon or not at all.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn finish(&mut self) -> io::Result<()> {
        self.silence = Silence::Failure;
        self.client.reader.get_ref().shutdown(Shutdown::Write)
    }

    /// Whether [`Stream::next_reply`] has something without waiting for [`Stream::poll_fd`].
    #[must_use]
    pub fn has_buffered(&self) -> bool {
        self.first.is_some() || !self.client.reader.buffer().is_empty()
    }

    /// Readable when something comes.
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.client.reader.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_asked_to_end_and_says_nothing_is_given_up() {
        let (near, _far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let mut stream: Recording = Stream {
            client: Client {
                reader: BufReader::new(near),
                message: Vec::new(),
                port: None,
            },
            method: method("Record"),
            first: None,
            continues: true,
            silence: Silence::Rest,
        };

        stream.finish().unwrap();
        let reply = stream.next_reply();

        assert!(matches!(reply, Err(ClientError::Silent)), "{reply:?}");
    }
}
