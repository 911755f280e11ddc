//! The contexts of exchanges whose data is placed directly, and the registers by which software sets them (7.13.3).
//!
//! A context has two halves: the filter unit's, which says what frame comes next, and the DMA unit's, which says where
//! its payload goes. Access is indirect and complete at once.

use ixgbe_spec::register::{
    Reg,
    bits::{fcbuff, fcdmarw, fcflt, fcfltrw},
};
use serde::{Deserialize, Serialize};

use crate::{
    bus::Iova,
    regs::RegisterFile,
    state::{
        StateError,
        sparse::{self, Sparse},
    },
};

/// Number of contexts; their index is the exchange id.
const CONTEXTS: usize = 512;

/// Sizes of a user buffer (FCBUFF.BUFFSIZE).
const SIZES: [usize; 4] = [4 << 10, 8 << 10, 16 << 10, 64 << 10];

/// What frame an exchange expects.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterContext {
    pub valid: bool,
    /// A frame has come, and the sequence fields mean something.
    pub first: bool,
    pub seq_id: u8,
    /// The sequence count that comes next.
    pub seq_cnt: u16,
    /// The relative offset that comes next.
    pub parameter: u32,
}

/// Where the payload of an exchange goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DmaContext {
    pub valid: bool,
    /// The first frame of the exchange was placed.
    pub begun: bool,
    /// The exchange was begun by the other end.
    pub target: bool,
    /// Where the address of the current buffer lies; those of the next ones follow.
    pub list: u64,
    /// Buffers that are left, the current one included.
    pub count: u16,
    /// BUFFSIZE.
    pub size: u8,
    /// First free byte of the current buffer.
    pub offset: usize,
    /// Bytes in the last buffer (LASTSIZE).
    pub last: u16,
}

/// Both halves.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(super) filter: FilterContext,
    pub(super) dma: DmaContext,
}

/// The contexts of a port. None is there until software writes one.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    all: Vec<Context>,
}

/// The saved form of the contexts.
pub(crate) type Saved = Sparse<Context>;

impl Contexts {
    /// The saved form.
    pub fn save(&self) -> Saved {
        let Self { all } = self;
        sparse::changed(all)
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// A context that there is not, or that says what none can.
    pub fn restore(saved: Saved) -> Result<Self, StateError> {
        let mut all = Vec::new();
        if !saved.is_empty() {
            all.resize(CONTEXTS, Context::default());
        }
        sparse::restore(saved, &mut all, |context, place| {
            let Context { filter: _, dma } = context;
            let size = SIZES.get(usize::from(dma.size)).copied().unwrap_or(0);
            StateError::unless(size > 0, "dma.size", "no size of a buffer")?;
            let inside = dma.offset <= usize::from(u16::MAX);
            StateError::unless(inside, "dma.offset", "no buffer is so long")?;
            StateError::unless(dma.count <= 256, "dma.count", "a list has fewer buffers")?;
            *place = context;
            Ok(())
        })?;
        Ok(Self { all })
    }

    pub fn clear(&mut self) {
        let Self { all } = self;
        all.clear();
    }

    /// The context of an exchange.
    pub fn get(&mut self, exchange: u16) -> Option<&mut Context> {
        self.all.get_mut(usize::from(exchange))
    }

    /// FCFLTRW was written.
    pub fn filter_accessed(&mut self, regs: &mut RegisterFile) {
        use fcfltrw::{RE, RVALDT, SELECT, WE};
        let access = regs.get(Reg::FCFLTRW, 0);
        let filter = &mut self.selected(access & SELECT).filter;
        if access & WE != 0 {
            let new = FilterContext::from_registers(regs);
            if access & RVALDT == 0 {
                *filter = new;
            } else {
                filter.valid = new.valid;
            }
        }
        if access & RE != 0 {
            filter.to_registers(regs);
        }
        regs.set(Reg::FCFLTRW, 0, access & !(WE | RE | RVALDT));
    }

    /// FCDMARW was written.
    pub fn dma_accessed(&mut self, regs: &mut RegisterFile) {
        use fcdmarw::{RE, SELECT, WE};
        let access = regs.get(Reg::FCDMARW, 0);
        let dma = &mut self.selected(access & SELECT).dma;
        if access & WE != 0 {
            *dma = DmaContext::from_registers(regs);
        }
        regs.set(Reg::FCDMARW, 0, access & !(WE | RE));
        if access & RE != 0 {
            dma.to_registers(access & SELECT, regs);
        }
    }

    fn selected(&mut self, select: u32) -> &mut Context {
        self.all.resize(CONTEXTS, Context::default());
        &mut self.all[select as usize % CONTEXTS]
    }
}

impl FilterContext {
    fn from_registers(regs: &RegisterFile) -> Self {
        let flags = regs.get(Reg::FCFLT, 0);
        Self {
            valid: flags & fcflt::VALID != 0,
            first: flags & fcflt::FIRST != 0,
            seq_id: (flags >> fcflt::SEQ_ID_SHIFT & 0xFF) as u8,
            seq_cnt: (flags >> fcflt::SEQ_CNT_SHIFT) as u16,
            parameter: regs.get(Reg::FCPARAM, 0),
        }
    }

    fn to_registers(self, regs: &mut RegisterFile) {
        let flags = bit(self.valid, fcflt::VALID)
            | bit(self.first, fcflt::FIRST)
            | u32::from(self.seq_id) << fcflt::SEQ_ID_SHIFT
            | u32::from(self.seq_cnt) << fcflt::SEQ_CNT_SHIFT;
        regs.set(Reg::FCFLT, 0, flags);
        regs.set(Reg::FCPARAM, 0, self.parameter);
    }
}

impl DmaContext {
    fn from_registers(regs: &RegisterFile) -> Self {
        let flags = regs.get(Reg::FCBUFF, 0);
        let [low, high] = [Reg::FCPTRL, Reg::FCPTRH].map(|reg| regs.get(reg, 0));
        let count = (flags >> fcbuff::COUNT_SHIFT & 0xFF) as u16;
        Self {
            valid: flags & fcbuff::VALID != 0,
            begun: false,
            target: flags & fcbuff::WRCONTX != 0,
            list: u64::from(high) << 32 | u64::from(low),
            count: if count == 0 { 256 } else { count },
            size: (flags >> fcbuff::SIZE_SHIFT & 3) as u8,
            offset: (flags >> fcbuff::OFFSET_SHIFT) as usize,
            last: (regs.get(Reg::FCDMARW, 0) >> fcdmarw::LASTSIZE_SHIFT) as u16,
        }
    }

    fn to_registers(self, select: u32, regs: &mut RegisterFile) {
        let [a, b, c, d, e, f, g, h] = self.list.to_le_bytes();
        regs.set(Reg::FCPTRL, 0, u32::from_le_bytes([a, b, c, d]));
        regs.set(Reg::FCPTRH, 0, u32::from_le_bytes([e, f, g, h]));
        let offset = u32::from(u16::try_from(self.offset).unwrap_or(u16::MAX));
        let flags = bit(self.valid, fcbuff::VALID)
            | bit(self.target, fcbuff::WRCONTX)
            | u32::from(self.size) << fcbuff::SIZE_SHIFT
            | u32::from(self.count & 0xFF) << fcbuff::COUNT_SHIFT
            | offset << fcbuff::OFFSET_SHIFT;
        regs.set(Reg::FCBUFF, 0, flags);
        let last = u32::from(self.last) << fcdmarw::LASTSIZE_SHIFT;
        regs.set(Reg::FCDMARW, 0, select | last);
    }

    /// Bytes of the current buffer that are free.
    pub fn room(&self) -> usize {
        let size = SIZES.get(usize::from(self.size)).copied().unwrap_or(0);
        let end = match self.count {
            0 => 0,
            1 => size.min(usize::from(self.last)),
            _ => size,
        };
        end.saturating_sub(self.offset)
    }

    /// Goes on to the next buffer, if there is one.
    pub fn next_buffer(&mut self) -> Option<()> {
        if self.count <= 1 {
            return None;
        }
        self.count -= 1;
        self.list = self.list.wrapping_add(8);
        self.offset = 0;
        Some(())
    }

    /// Where the list of the buffers that are left lies.
    pub const fn list(&self) -> Iova {
        Iova(self.list)
    }
}

const fn bit(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}
