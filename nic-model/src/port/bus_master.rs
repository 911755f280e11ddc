//! The bus of a function that must not master it.

use crate::bus::{Bus, DmaError, Iova, Requester, Signal, Spans};

/// Refuses every access and signals nothing: bus mastering is off, or the function sleeps.
pub(super) struct NotMaster;

impl Bus for NotMaster {
    fn read(&self, _by: Requester, iova: Iova, _to: &mut [u8]) -> Result<(), DmaError> {
        refused(iova)
    }

    fn write(&self, _by: Requester, iova: Iova, _from: &[u8]) -> Result<(), DmaError> {
        refused(iova)
    }

    fn write_back(
        &self,
        _by: Requester,
        iova: Iova,
        _low: u64,
        _high: u64,
    ) -> Result<(), DmaError> {
        refused(iova)
    }

    fn gather<'a>(
        &'a self,
        _by: Requester,
        iova: Iova,
        _len: usize,
        _spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        refused(iova)
    }

    fn masters(&self) -> bool {
        false
    }

    fn retire(&self) {}

    fn signal(&self, _by: Requester, _signal: Signal) {}
}

fn refused(iova: Iova) -> Result<(), DmaError> {
    Err(DmaError::Refused { iova: iova.0 })
}
