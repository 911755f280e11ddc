//! What a supervisor is told of the server's state, as systemd wants it (`sd_notify(3)`).
//!
//! The socket is connected before the sandbox is entered, which lets nobody connect any more. Not there: the watchdog
//! (`WATCHDOG_USEC`), and supervisors that listen by vsock.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Names the supervisor's socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whoever waits for the server to be ready, if somebody does.
#[derive(Debug)]
pub struct Supervisor(Option<UnixDatagram>);

impl Supervisor {
    /// Connects to the supervisor that the environment names. One that cannot be reached is told in the log, and nothing
    /// else comes of it: what was started by it in another way runs on.
    #[must_use]
    pub fn connect() -> Self {
        let Some(address) = env::var_os(VARIABLE).filter(|address| !address.is_empty()) else {
            return Self(None);
        };
        match connect_to(&address) {
            Ok(socket) => Self(Some(socket)),
            Err(error) => {
                tracing::warn!(
                    "cannot reach the supervisor at {} ({VARIABLE}), which will not learn that the server is ready: {error}",
                    address.display()
                );
                Self(None)
            }
        }
    }

    /// Clients can connect, and what is not needed is given up.
    pub fn ready(&self, ports: usize) {
        self.tell(&format!("READY=1\nSTATUS=Serving {ports} port(s)\n"));
    }

    /// The server ends because it was told to.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    fn tell(&self, text: &str) {
        let Some(socket) = &self.0 else { return };
        if let Err(error) = socket.send(text.as_bytes()) {
            tracing::warn!("cannot tell the supervisor ({VARIABLE}): {error}");
        }
    }
}

fn connect_to(address: &OsString) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(OsStr::new(address))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not stop the server.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
