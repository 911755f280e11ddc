//! The card on its way to another server: stopped, saved, restored.

use nic_model::State;
use vfio_user::{
    Errno,
    server::{IovaRange, Migratable},
};

use crate::{device::Served, dirty_log::DirtyLog};

/// Whether a client has stopped the card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Motion {
    /// It works.
    #[default]
    Works,
    /// It does nothing.
    Stopped,
    /// It does nothing, and has the state of another one, whose client has to be told of its interrupts.
    Restored,
}

impl Migratable for Served<'_, '_> {
    fn stop(&mut self) -> Result<(), Errno> {
        if *self.motion == Motion::Works {
            *self.motion = Motion::Stopped;
        }
        if self.card.bus.has_unacknowledged_writes() {
            return Err(Errno::BUSY);
        }
        Ok(())
    }

    fn start(&mut self) {
        if std::mem::take(self.motion) == Motion::Restored {
            self.in_order(None, |card| {
                card.with(|port, context| port.renew_signals(context));
            });
        }
    }

    fn save(&mut self) -> Result<Vec<u8>, Errno> {
        // What the client has stored in mapped pages is part of the state.
        Ok(self.in_order(None, |card| {
            let mut state = card.port.save(card.now);
            // Vectors that could not be delivered here are pending there.
            state.add_pending_vectors(card.bus.irqs().msix_pending());
            state.to_bytes()
        }))
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Errno> {
        let restored = State::from_bytes(state).and_then(|state| {
            let now = self.card.now;
            self.in_order(None, |card| card.port.restore(state, now))
        });
        restored.map_err(|error| {
            tracing::warn!(%error, "what the client has written as the card's state is refused");
            Errno::INVAL
        })?;
        *self.motion = Motion::Restored;
        Ok(())
    }

    fn start_logging(&mut self, ranges: Vec<IovaRange>) -> Result<u64, Errno> {
        self.card.bus.dirty_log().start(ranges)?;
        Ok(DirtyLog::PAGE)
    }

    fn stop_logging(&mut self) {
        self.card.bus.dirty_log().stop();
    }

    fn take_log(
        &mut self,
        range: IovaRange,
        page_size: u64,
        bitmap: &mut [u64],
    ) -> Result<(), Errno> {
        self.card.bus.dirty_log().take(range, page_size, bitmap)
    }
}
