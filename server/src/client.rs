//! The client that is connected: its session, and the DMA messages that it has not answered.

use std::{io, os::unix::net::UnixStream};

use nic_model::Port;
use vfio_user::server::{DmaError, Limits, Progress, Session, SessionError};

use crate::{
    bus::ClientBus,
    device::{self, Card, InFlight, Served},
    doorbells::{Doorbells, Look, Mirror},
    events::{Registry, Source, Watched},
    message_dma::Command,
    moving::Motion,
};

/// Messages that are served in one turn. A burst of register writes does not keep frames waiting for longer.
const MESSAGES_PER_TURN: u32 = 128;

/// The client that is connected.
#[derive(Debug)]
pub struct Client {
    session: Watched<Session>,
    in_flight: InFlight,
    more: bool,
    /// The pages that this client may map: memory of its own, which no client after it shares.
    mirror: Option<Mirror>,
    motion: Motion,
}

impl Client {
    /// Begins a session with a client that may ring `doorbells` of the port.
    ///
    /// # Errors
    /// What the system says when the socket is added to the epoll set, or memory is made.
    pub fn new(
        socket: UnixStream,
        registry: &Registry,
        doorbells: Doorbells,
        port: &Port,
    ) -> io::Result<Self> {
        let mirror = match doorbells {
            Doorbells::Posted => None,
            Doorbells::Mapped => Some(Mirror::new(port)?),
        };
        let mapping = mirror.as_ref().map(Mirror::region).transpose()?;
        let limits = Limits {
            messages_per_turn: MESSAGES_PER_TURN,
            ..Limits::default()
        };
        let session = Session::new(socket, limits, device::description(mapping));
        Ok(Self {
            session: registry.watch(session, Source::Session)?,
            in_flight: InFlight::new(),
            more: false,
            mirror,
            motion: Motion::default(),
        })
    }

    /// Whether the client may ring doorbells that only [`Client::look`] finds.
    #[must_use]
    pub const fn has_mapped_doorbells(&self) -> bool {
        self.mirror.is_some()
    }

    /// Whether it has stopped the card, to move it: until it starts it again the card does nothing by itself.
    #[must_use]
    pub fn has_stopped_the_card(&self) -> bool {
        self.motion != Motion::Works
    }

    /// Takes over what the client has stored in pages that it maps; returns whether that was anything.
    pub fn look(&mut self, look: Look, card: &mut Card<'_>) -> bool {
        let mirror = self.mirror.as_mut();
        mirror.is_some_and(|mirror| mirror.look(look, card))
    }

    /// Shows the registers as they are now in the pages that the client maps.
    pub fn show(&mut self, port: &Port) {
        if let Some(mirror) = &mut self.mirror {
            mirror.show(port);
        }
    }

    /// Whether messages are left that no event announces.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.more
    }

    /// Messages from the client so far.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.session.get().counters().messages
    }

    /// Serves a bounded number of messages.
    ///
    /// # Errors
    /// Why the session is over.
    pub fn serve(&mut self, card: &mut Card<'_>) -> Result<(), SessionError> {
        let mut served = Served {
            card,
            in_flight: &mut self.in_flight,
            mirror: self.mirror.as_mut(),
            motion: &mut self.motion,
        };
        let Progress { more, .. } = self.session.get_mut().receive(&mut served)?;
        self.more = more;
        Ok(())
    }

    /// Sends the DMA messages that the bus has, as far as they may be under way, and whatever else waits.
    ///
    /// # Errors
    /// Why the session is over.
    pub fn send(&mut self, bus: &mut ClientBus) -> Result<(), SessionError> {
        let session = self.session.get_mut();
        while let Some(command) = bus.next_command() {
            let sent = match &command {
                Command::Read { iova, len, .. } => session.dma_read(*iova, *len),
                Command::Write { iova, data, .. } => session.dma_write(*iova, data),
            };
            match sent {
                Ok(id) => {
                    self.in_flight.insert(id, command.serial());
                }
                Err(DmaError::Busy) => {
                    bus.put_back(command);
                    break;
                }
                Err(_) => bus.refuse(&command),
            }
        }
        session.flush()?;
        let waits = session.wants_write();
        self.session
            .set_interest(true, waits)
            .map_err(|errno| SessionError::Socket(errno.into()))
    }
}
