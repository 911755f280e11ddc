//! The state of the port, taken out and put in: `Save`, `Load`.

use nic_model::{State, StateError};
use serde::{Deserialize, Serialize};

use super::View;
use crate::{frame::MAX_MESSAGE, protocol::ControlError};

/// Reply of `Save`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SavedState {
    /// The bytes of a file, which are text.
    pub state: String,
}

/// Parameters of `Load`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadParameters {
    pub(crate) state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// Whether a state fits a message.
pub(crate) fn fits(state: &[u8]) -> bool {
    // As JSON it is longer by its quotation marks.
    let quotes = state.iter().filter(|byte| **byte == b'"').count();
    state.len() + quotes + 1024 <= MAX_MESSAGE
}

impl SavedState {
    /// The words of a state.
    ///
    /// # Errors
    /// [`ControlError::TooMuch`]
    pub(crate) fn of(state: &State) -> Result<Self, ControlError> {
        let bytes = state.to_bytes();
        if !fits(&bytes) {
            return Err(ControlError::TooMuch);
        }
        let state = String::from_utf8(bytes).map_err(|_| ControlError::TooMuch)?;
        Ok(Self { state })
    }
}

impl LoadParameters {
    /// The state that is to be loaded.
    ///
    /// # Errors
    /// [`ControlError::BadState`]: it is none.
    pub(crate) fn state(&self) -> Result<State, ControlError> {
        State::from_bytes(self.state.as_bytes()).map_err(refused)
    }
}

/// Puts a state into the port. Who looks on stays; its client is told of interrupts that are active.
///
/// # Errors
/// [`ControlError::BadState`]: it is not of such a port, which is as before.
pub(crate) fn load(state: State, view: &mut View<'_>) -> Result<(), ControlError> {
    let restored = view.port.restore(state, view.context.now);
    restored.map_err(refused)?;
    view.port.renew_signals(&view.context);
    Ok(())
}

fn refused(error: StateError) -> ControlError {
    ControlError::BadState {
        field: error.field,
        problem: error.problem,
    }
}
