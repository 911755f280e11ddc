//! The DMA unit: payload goes to the user buffers of its context (7.13.3.4).

use std::ops::Range;

use ixgbe_spec::{descriptor::rx::Status, register::Reg};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    Fcoe,
    context::DmaContext,
    filter::{Arrival, Data, Way},
};
use crate::{
    bus::{DmaError, Iova, Requester},
    hw::Hw,
    observe::{Direction, Event, Purpose, Transfer},
    rx::payload::Payload,
};

/// Buffers over which the longest frame can lie.
const MOST_BUFFERS: usize = 8;
/// Bytes of an address in the list.
const ADDRESS: usize = 8;

/// What the ring gets of a frame.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Posting {
    /// What its descriptor says along with the [`Arrival`].
    #[serde(with = "crate::state::status")]
    pub(crate) status: Status,
    /// How much of it.
    pub(crate) extent: Extent,
}

/// How much of a frame the ring gets.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// The headers: so many bytes.
    Headers(usize),
    /// Nothing, and no descriptor.
    Nothing,
}

/// A piece of payload for one buffer.
struct Piece {
    /// Number of the buffer from the current one on.
    buffer: usize,
    /// Place in it.
    offset: usize,
    /// Bytes of the payload.
    bytes: Range<usize>,
}

impl Fcoe {
    /// Does what a frame asks of its DMA context.
    ///
    /// # Errors
    /// [`DmaError::Pending`] if the addresses of the buffers are not there yet; nothing has happened then.
    pub(crate) fn place(
        &mut self,
        arrival: &Arrival,
        (head, body): (&[u8], &[u8]),
        hw: &mut Hw<'_>,
    ) -> Result<Posting, DmaError> {
        let whole = |status| {
            Ok(Posting {
                status,
                extent: Extent::Whole,
            })
        };
        let Some(context) = arrival.exchange().and_then(|id| self.contexts.get(id)) else {
            return whole(Status::empty());
        };
        let dma = &mut context.dma;
        match arrival.way {
            Way::Ring | Way::Exchange(_) => whole(Status::empty()),
            Way::Response(_) if dma.valid => {
                dma.valid = false;
                whole(Status::empty())
            }
            Way::Response(_) => whole(Status::FCERR_DMA_INVALID),
            Way::Buffers(_) if !dma.valid => {
                whole(Status::FCSTAT_NO_DDP | Status::FCERR_DMA_INVALID)
            }
            Way::Buffers(data) if !data.begins && !dma.begun => {
                whole(Status::FCSTAT_NO_DDP | Status::FCERR_FIRST_MISSED)
            }
            Way::Buffers(data) => {
                let payload = Payload::new(head, body, None, &[]);
                match dma.place(&payload, &data, hw) {
                    Ok(()) => Ok(Posting {
                        status: Status::FCSTAT_DDP,
                        extent: if data.posts_header {
                            Extent::Headers(data.from.into())
                        } else {
                            Extent::Nothing
                        },
                    }),
                    Err(DmaError::Pending) => Err(DmaError::Pending),
                    Err(DmaError::Refused { .. }) => {
                        dma.valid = false;
                        whole(Status::FCSTAT_NO_DDP | Status::FCERR_NO_DMA_RESOURCES)
                    }
                }
            }
        }
    }

    /// A frame is lost after the filter unit has seen it: what follows it would be placed wrongly.
    pub(crate) fn lost(&mut self, arrival: &Arrival, hw: &mut Hw<'_>) {
        hw.regs.count(Reg::FCOERPDC, 0, 1);
        if let Some(context) = arrival.exchange().and_then(|id| self.contexts.get(id)) {
            context.dma.valid = false;
        }
    }
}

impl DmaContext {
    /// Writes payload to the buffers and goes on behind it.
    ///
    /// # Errors
    /// [`DmaError::Pending`], or [`DmaError::Refused`] if the buffers are too short or their addresses cannot be read;
    /// nothing is written and the context is as before.
    fn place(&mut self, frame: &Payload<'_>, data: &Data, hw: &mut Hw<'_>) -> Result<(), DmaError> {
        let mut after = *self;
        let refused = DmaError::Refused {
            iova: self.list().0,
        };
        let Some(pieces) = after.pieces(data.len.into()) else {
            hw.regs.count(Reg::FCLAST, 0, 1);
            return Err(refused);
        };
        let buffers = pieces.last().map_or(0, |piece| piece.buffer + 1);
        let mut list = [0; MOST_BUFFERS * ADDRESS];
        let addresses = list.get_mut(..buffers * ADDRESS).ok_or(refused)?;
        if !addresses.is_empty() {
            let result = hw.dma.read(Requester::Pf, self.list(), addresses);
            let len = addresses.len();
            hw.dma
                .tell(|| transfer(Purpose::BufferList, self.list(), len, result));
            result.inspect_err(|error| {
                if *error != DmaError::Pending {
                    hw.faults.buffer_dma += 1;
                }
            })?;
        }
        for piece in pieces {
            let address = addresses.as_chunks().0.get(piece.buffer).copied();
            let buffer = Iova(u64::from_le_bytes(address.unwrap_or_default()));
            let from = usize::from(data.from) + piece.bytes.start;
            let written = buffer.checked_add(piece.offset as u64).map(|place| {
                let len = piece.bytes.len();
                let result = frame.copy(from..from + len, &mut hw.dma, Requester::Pf, place);
                hw.dma
                    .tell(move || transfer(Purpose::DirectData, place, len, result));
                result
            });
            // A write that nobody claims is lost without a trace on the bus: the card goes on.
            if !matches!(written, Some(Ok(()))) {
                hw.faults.buffer_dma += 1;
            }
        }
        *self = after;
        self.begun = true;
        Ok(())
    }

    /// Takes room for `len` bytes; `None` if there is not so much.
    fn pieces(&mut self, len: usize) -> Option<SmallVec<[Piece; MOST_BUFFERS]>> {
        let mut pieces = SmallVec::new();
        let (mut at, mut buffer) = (0, 0);
        // Each turn takes bytes or ends a buffer, of which there are at most 256.
        while at < len {
            let here = self.room().min(len - at);
            if here == 0 {
                self.next_buffer()?;
                buffer += 1;
                continue;
            }
            pieces.push(Piece {
                buffer,
                offset: self.offset,
                bytes: at..at + here,
            });
            at += here;
            self.offset += here;
        }
        Some(pieces)
    }
}

/// An access, as it is told.
const fn transfer(
    purpose: Purpose,
    iova: Iova,
    len: usize,
    result: Result<(), DmaError>,
) -> Event<'static> {
    Transfer::told(Direction::Receive, None, purpose, (iova, len), result)
}
