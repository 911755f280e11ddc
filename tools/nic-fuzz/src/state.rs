//! Saved states that say anything, and the card that comes of those that are taken.
//!
//! The first byte of an input: 0 if the rest is a file, else the rest begins with changes to a state that a card has saved, and
//! goes on with what its driver then does. A change is the place of a value in the state (2 bytes), its kind and a
//! number (8 bytes). A change of kind 255 is none, and ends them.

use nic_model::{Port, PortConfig, State, Time};
use serde_json::Value;

use crate::{bytes::Bytes, card};

/// What a card has saved that was in the middle of everything.
const SAVED: &str = include_str!("../../../nic-model/src/state/fixtures/version-1.state");
/// Changes of one input.
const MAX_CHANGES: usize = 32;

/// Restores what the input says, and drives what comes of it.
///
/// # Panics
/// If a state that is refused has changed the port, or the card never rests.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    if bytes.byte() == 0 {
        let _ = restore(bytes.0);
        return;
    }
    let file = changed(&mut bytes);
    if let Some(port) = restore(&file) {
        card::drive(port, bytes.byte(), &mut bytes);
    }
}

/// The card of a file, if it is one.
fn restore(file: &[u8]) -> Option<Port> {
    let now = Time::from_nanos(1_000_000_000);
    let state = State::from_bytes(file).ok()?;
    let mut port = Port::new(PortConfig::new([2, 0, 0, 0, 0, 1]));
    let before = port.save(now).to_bytes();
    match port.restore(state, now) {
        Ok(()) => Some(port),
        Err(error) => {
            let after = port.save(now).to_bytes();
            assert!(before == after, "{error}, but the port has changed");
            None
        }
    }
}

/// The saved state with the input's changes.
fn changed(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let (version, json) = SAVED.split_once('\n').unwrap_or_default();
    let mut state: Value = serde_json::from_str(json).unwrap_or_default();
    for _ in 0..MAX_CHANGES {
        let (place, kind) = (bytes.word(), bytes.byte());
        if kind == u8::MAX || bytes.is_empty() {
            break;
        }
        let number = u64::from_le_bytes(bytes.array());
        let mut left = usize::from(place);
        change(&mut state, &mut left, &mut |value| {
            *value = match kind % 8 {
                0 => Value::Null,
                1 => Value::Bool(number % 2 == 1),
                2 => Value::from(number.cast_signed()),
                3 => Value::Array(vec![
                    value.clone();
                    usize::try_from(number % 70).unwrap_or(0)
                ]),
                4 => Value::from(number.to_string()),
                5 => Value::from(number % 256),
                6 => Value::from(number % 65_536),
                _ => Value::from(number),
            };
        });
    }
    [version.as_bytes(), b"\n", state.to_string().as_bytes()].concat()
}

/// Changes value number `left`, counted through the state; the lists of registers count as one.
fn change(value: &mut Value, left: &mut usize, act: &mut dyn FnMut(&mut Value)) -> bool {
    if *left == 0 {
        act(value);
        return true;
    }
    *left -= 1;
    match value {
        Value::Object(fields) => fields.iter_mut().any(|(_, value)| change(value, left, act)),
        Value::Array(values) if values.len() < 100 => {
            values.iter_mut().any(|value| change(value, left, act))
        }
        _ => false,
    }
}
