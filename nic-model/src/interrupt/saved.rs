//! The saved form of the interrupts.

use serde::{Deserialize, Serialize};

use super::{
    Interrupts,
    credits::{Account, Credits},
    moderation::{Moderation, Vector},
};
use crate::{
    regs::RegisterFile,
    state::{Shift, StateError, sparse::Sparse},
    time::Time,
};

/// Causes, masks, and what moderation knows of each vector. The interval of credits follows from GPIE.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    vectors: u64,
    other: u32,
    vector_mask: u64,
    other_mask: u32,
    vector_auto_mask: u64,
    other_auto_mask: u32,
    vectors_sent: u64,
    other_sent: u32,
    single_sent: bool,
    unmoderated: u64,
    urgent: u64,
    credits: Sparse<Account>,
    moderation: Sparse<Vector>,
    deadline: Option<Time>,
}

impl Interrupts {
    /// The saved form.
    pub(crate) fn save(&self) -> Saved {
        let Self {
            vectors,
            other,
            vector_mask,
            other_mask,
            vector_auto_mask,
            other_auto_mask,
            vectors_sent,
            other_sent,
            single_sent,
            unmoderated,
            urgent,
            credits,
            moderation,
            deadline,
        } = self;
        Saved {
            vectors: *vectors,
            other: *other,
            vector_mask: *vector_mask,
            other_mask: *other_mask,
            vector_auto_mask: *vector_auto_mask,
            other_auto_mask: *other_auto_mask,
            vectors_sent: *vectors_sent,
            other_sent: *other_sent,
            single_sent: *single_sent,
            unmoderated: *unmoderated,
            urgent: *urgent,
            credits: credits.save(),
            moderation: moderation.save(),
            deadline: *deadline,
        }
    }

    /// Of the saved form.
    pub(crate) fn restore(
        saved: Saved,
        shift: Shift,
        regs: &RegisterFile,
    ) -> Result<Self, StateError> {
        let Saved {
            vectors,
            other,
            vector_mask,
            other_mask,
            vector_auto_mask,
            other_auto_mask,
            vectors_sent,
            other_sent,
            single_sent,
            unmoderated,
            urgent,
            credits,
            moderation,
            deadline,
        } = saved;
        Ok(Self {
            vectors,
            other,
            vector_mask,
            other_mask,
            vector_auto_mask,
            other_auto_mask,
            vectors_sent,
            other_sent,
            single_sent,
            unmoderated,
            urgent,
            credits: Credits::restore(credits, shift, regs)
                .map_err(|error| error.within("credits"))?,
            moderation: Moderation::restore(moderation, shift)
                .map_err(|error| error.within("moderation"))?,
            deadline: shift.maybe(deadline),
        })
    }
}
