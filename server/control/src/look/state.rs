//! The state of the port, taken out and put in: `Save`, `Load`.

use nic_model::State;
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

/// The port's state as it is between two turns of the worker.
pub(crate) fn save(view: &View<'_>) -> Result<SavedState, ControlError> {
    let bytes = view.port.save(view.context.now).to_bytes();
    if !fits(&bytes) {
        return Err(ControlError::TooMuch);
    }
    let state = String::from_utf8(bytes).map_err(|_| ControlError::TooMuch)?;
    Ok(SavedState { state })
}

/// Puts a state into the port. Who looks on stays; its client is told of interrupts that are active.
pub(crate) fn load(asked: &LoadParameters, view: &mut View<'_>) -> Result<(), ControlError> {
    let state = State::from_bytes(asked.state.as_bytes());
    state
        .and_then(|state| view.port.restore(state, view.context.now))
        .map_err(|error| ControlError::BadState {
            field: error.field,
            problem: error.problem,
        })?;
    view.port.renew_signals(&view.context);
    Ok(())
}
