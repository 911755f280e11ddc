//! Frames that pass, as they lie on the cable.

use nic_model::wire::{Offload, RxFrame, TxFrame};

use crate::{
    queue::copy_tx,
    segment::{LargeFrame, complete_checksum},
};

/// Which way a frame goes, seen from the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the port to the wire.
    Transmit,
    /// From the wire to the port.
    Receive,
}

/// A frame that passes, as it lies on the cable. Its bytes are `head` followed by `body`.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// Which way.
    pub direction: Direction,
    /// First part.
    pub head: &'a [u8],
    /// Second part; empty for a frame in one piece.
    pub body: &'a [u8],
}

impl<'a> Passing<'a> {
    /// A frame that comes to the port.
    pub(crate) const fn received(frame: &RxFrame<'a>) -> Self {
        Self {
            direction: Direction::Receive,
            head: frame.head,
            body: frame.body,
        }
    }
}

/// Sees what the port sends as it lies on the cable: large TCP frames that the wire cuts as the segments that they
/// become, and with the checksums that the wire completes.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    scratch: Vec<u8>,
    header: Vec<u8>,
}

impl Sight {
    /// Shows the frame, or its segments, to `look`.
    pub(crate) fn sent(&mut self, frame: &TxFrame<'_>, look: &mut dyn FnMut(&Passing<'_>)) {
        let Self { scratch, header } = self;
        let mut sent = |head: &[u8], body: &[u8]| {
            look(&Passing {
                direction: Direction::Transmit,
                head,
                body,
            });
        };
        scratch.resize(frame.len(), 0);
        copy_tx(frame, scratch);
        match frame.offload {
            Offload::None => {}
            Offload::Checksum { start, offset } => {
                complete_checksum(scratch, start.into(), offset.into());
            }
            Offload::Segment { start, mss, .. } => {
                if let Ok(mut large) = LargeFrame::new(scratch, start.into(), mss.into()) {
                    while let Some(piece) = large.next_segment(scratch, header) {
                        sent(header, &scratch[piece]);
                    }
                    return;
                }
            }
        }
        sent(scratch, &[]);
    }
}
