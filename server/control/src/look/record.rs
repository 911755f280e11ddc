//! A recording of a port that runs already: `Record`.
//!
//! It begins with the port's state, which is restored first when the recording is done again, and with what the client has
//! mapped. Calls are handed over whole. A client that is too slow ends the recording, since one with a hole cannot be
//! done again.

use std::sync::{Arc, Mutex};

use nic_model::{
    LanId, State,
    bus::Iova,
    record::{Answer, Call},
};
use recording::{Header, PortHeader};
use serde::{Deserialize, Serialize};

use super::{View, lock, memory::Mapping};
use crate::{
    protocol::ControlError,
    queue::{self, Ending, Item, Limits, Receiver, Sender},
};

/// Bytes that are sent together.
const PIECE: usize = 128 << 10;
/// Bytes from which on calls are sent before the turn is over.
const ENOUGH: usize = 64 << 10;

/// A piece of the calls.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The header, alone.
    header: Option<Box<Header>>,
    bytes: Vec<u8>,
    /// Whether a call ends with it.
    whole: bool,
}

/// One of the replies of `Record`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct RecordedCalls {
    /// The header of the recording, in the first reply with calls: a JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Calls, as a recording holds them.
    #[serde(with = "crate::base64")]
    pub calls: Vec<u8>,
    /// Whether the last call is there to its end; if not, it goes on in the next reply.
    pub whole: bool,
    /// Calls that found no room: after the first the recording is over.
    pub lost: u64,
}

impl Item for Piece {
    const LIMITS: Limits = Limits {
        items: 32_768,
        // The longest block finds room when the client has taken all that was there.
        bytes: recording::MAX_BLOCK,
        reply_items: 1,
        reply_bytes: PIECE,
    };
    type Reply = RecordedCalls;

    fn size(&self) -> usize {
        self.bytes.len()
    }

    fn reply(pieces: Vec<Self>, lost: u64) -> RecordedCalls {
        let whole = pieces.last().is_none_or(|piece| piece.whole);
        let mut header = None;
        let mut calls = Vec::new();
        for piece in pieces {
            // It has strings and numbers only, so there is nothing in it that JSON cannot tell.
            let text = |header| serde_json::to_string(&header).ok();
            header = header.or(piece.header.and_then(text));
            calls.extend(piece.bytes);
        }
        RecordedCalls {
            header,
            calls,
            whole,
            lost,
        }
    }
}

/// Calls that wait for the end of the turn. It is in the worker's thread.
#[derive(Debug)]
struct Calls {
    bytes: Vec<u8>,
    pieces: Sender<Piece>,
    over: bool,
}

impl Calls {
    fn add(&mut self, call: &[u8]) {
        self.bytes.extend_from_slice(call);
        if self.bytes.len() >= ENOUGH {
            self.send();
        }
    }

    fn send(&mut self) {
        if self.bytes.is_empty() || self.over {
            self.bytes.clear();
            return;
        }
        // All of it or nothing.
        self.over = !self.pieces.has_room(self.bytes.len());
        if self.over {
            self.pieces.lose();
        }
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() && !self.over {
            let (piece, later) = rest.split_at(rest.len().min(PIECE));
            rest = later;
            // There may be too many pieces, and nothing may come behind one that is missing.
            self.over = !self.pieces.push(Piece {
                header: None,
                bytes: piece.to_vec(),
                whole: rest.is_empty(),
            });
        }
        self.bytes.clear();
    }
}

/// The worker's end of a recording that is to begin.
#[derive(Debug)]
pub(crate) struct Start {
    pieces: Sender<Piece>,
}

/// A recording's two ends.
///
/// # Errors
/// The system has no descriptor left.
pub(crate) fn record() -> std::io::Result<(Start, Receiver<Piece>)> {
    let (pieces, calls) = queue::queue()?;
    Ok((Start { pieces }, calls))
}

/// A recording that runs at a port.
#[derive(Debug)]
pub(crate) struct Running {
    calls: Arc<Mutex<Calls>>,
    ending: Ending,
}

impl Running {
    /// Begins.
    ///
    /// # Errors
    /// [`ControlError::NotRecordable`]
    pub(crate) fn begin(
        start: Start,
        view: &mut View<'_>,
        mappings: &[Mapping],
        wire: &str,
    ) -> Result<Self, ControlError> {
        let refused = |why: &str| ControlError::NotRecordable {
            why: why.to_owned(),
        };
        if view.port.is_recorded() {
            return Err(refused("it is recorded already"));
        }
        if view.port.has_faults() {
            return Err(refused(
                "it has faults, or what they have begun is under way, which a state does not hold; `ixgbectl fault clear` ends them",
            ));
        }
        let now = view.context.now;
        let mac = view
            .port
            .nvm()
            .image()
            .mac(LanId::Port0)
            .unwrap_or_default();
        let header = Header {
            program: concat!("vfio-user-ixgbe ", env!("CARGO_PKG_VERSION")).to_owned(),
            // What it was built of does not matter, since its state is restored; this is for people.
            ports: vec![PortHeader::new(mac, view.port, false, wire)],
        };
        // One of two ports shares what others write, so that a recording of it alone would not do the same again.
        let mut built = header.build().unwrap_or_default();
        let restored = built
            .first_mut()
            .is_some_and(|port| port.restore(view.port.save(now), now).is_ok());
        if !restored {
            return Err(refused(
                "it is one of a card's two; start the server with --record FILE",
            ));
        }
        start.pieces.push(Piece {
            header: Some(Box::new(header)),
            bytes: Vec::new(),
            whole: true,
        });
        let ending = start.pieces.ending();
        let calls = Arc::new(Mutex::new(Calls {
            bytes: Vec::new(),
            pieces: start.pieces,
            over: false,
        }));
        let mut recorder = recording::recorder(None, {
            let calls = Arc::clone(&calls);
            move |call| lock(&calls).add(call)
        });
        let state: State = view.port.save(now);
        let state = state.to_bytes();
        recorder.call(Some(now), &Call::Restore { state: &state });
        recorder.done(&Answer::Restored(true));
        for mapping in mappings {
            let (iova, len) = (
                Iova(mapping.iova),
                mapping.last.saturating_sub(mapping.iova),
            );
            let len = len.saturating_add(1);
            recorder.call(Some(now), &Call::Mapped { iova, len });
            recorder.done(&Answer::Nothing);
        }
        view.port.record(recorder);
        Ok(Self { calls, ending })
    }

    /// A turn of the worker is over. Returns whether the recording goes on.
    pub(crate) fn turn(&self) -> bool {
        let mut calls = lock(&self.calls);
        calls.send();
        !calls.over && !self.ending.has_come()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_call_that_found_no_room_nothing_comes() {
        let (Start { pieces }, received) = record().unwrap();
        let mut calls = Calls {
            bytes: Vec::new(),
            pieces,
            over: false,
        };
        let mut call = |byte: u8| {
            calls.add(&[byte]);
            calls.send();
            calls.over
        };

        let before = (0..Piece::LIMITS.items).filter(|_| call(1)).count();
        let over = call(2);
        let (first, _) = received.take();
        let after = call(3);
        let rest = std::iter::from_fn(|| received.take().0.pop());

        assert_eq!((before, over, after), (0, true, true));
        assert_eq!((first.len(), received.lost()), (1, 1));
        assert!(rest.into_iter().all(|piece| piece.bytes == [1]));
    }
}
