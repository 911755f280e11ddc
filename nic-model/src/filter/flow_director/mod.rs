//! Flow Director: thousands of flows, each to its queue (7.1.2.7).
//!
//! Commands complete at once: FDIRCMD.CMD reads 0 after the write, FDIRCTRL.INIT_DONE 1 (8.2.3.21). The table is that
//! of the card in size and in its counters; a chain longer than FDIRCTRL.MAX_LENGTH is reported, not refused.

mod hash;
mod saved;
mod table;

use ixgbe_spec::{
    descriptor::rx::Status,
    register::{
        Reg,
        bits::{eicr, fdircmd as command, fdirctrl as control, fdirhash, fdirm as mask},
    },
};

use hash::{Hasher, Hashes, Tuple};
pub(crate) use saved::Saved;
use table::{Addition, Filter, Table};

use crate::{
    hw::Hw,
    regs::RegisterFile,
    rx::header::{Headers, L3, L4, Tag, word},
};

/// FDIRCMD: the fields that say what becomes of a packet, and whose it is.
const ACTION: u32 = 7 << command::FLOW_TYPE_SHIFT
    | command::DROP
    | command::INT
    | command::QUEUE_EN
    | 0x7F << command::QUEUE_SHIFT
    | 0x7F << command::POOL_SHIFT;

/// Flow types: L4 protocol and IPv6 flag.
const UDP: u8 = 1;
const TCP: u8 = 2;
const SCTP: u8 = 3;
const IPV6: u8 = 4;

/// What a matching filter wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The frame goes to this queue.
    Queue(u8),
    /// The frame goes to the drop queue.
    Drop(u8),
    /// The other stages choose the queue.
    Continue,
}

/// What the Flow Director has to say about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Where to.
    pub(crate) action: Action,
    /// The frame interrupts at once.
    pub(crate) immediate: bool,
    /// For the descriptor: status bits and the filter's id, if they are to be reported.
    pub(crate) report: Option<(Status, u32)>,
}

/// The Flow Director of a port.
#[derive(Debug, Default)]
pub(crate) struct FlowDirector {
    /// There once FDIRCTRL allots memory.
    enabled: Option<Enabled>,
}

#[derive(Debug)]
struct Enabled {
    table: Table,
    hasher: Hasher,
    perfect: bool,
}

impl FlowDirector {
    /// The state after a reset.
    pub(crate) fn reset(&mut self) {
        let Self { enabled } = self;
        *enabled = None;
    }

    /// Whether it looks at frames.
    pub(crate) const fn is_on(&self) -> bool {
        self.enabled.is_some()
    }

    /// Software has written one of the Flow Director's registers.
    pub(crate) fn written(&mut self, reg: Reg, old: u32, new: u32, hw: &mut Hw<'_>) {
        match reg {
            Reg::FDIRCTRL => self.initialise(new, hw.regs),
            Reg::FDIRHKEY | Reg::FDIRSKEY => {
                if let Some(enabled) = &mut self.enabled {
                    enabled.hasher = hasher(hw.regs);
                }
            }
            Reg::FDIRCMD => self.command(old, new, hw),
            _ => {}
        }
    }

    fn initialise(&mut self, value: u32, regs: &mut RegisterFile) {
        let perfect = value & control::PERFECT_MATCH != 0;
        let allocation = value & control::PBALLOC;
        if allocation == 0 {
            self.enabled = None;
            regs.set(Reg::FDIRCTRL, 0, value & !control::INIT_DONE);
            return;
        }
        let (buckets, capacity) = size(allocation, perfect);
        self.enabled = Some(Enabled {
            table: Table::new(buckets, capacity),
            hasher: hasher(regs),
            perfect,
        });
        regs.set(Reg::FDIRCTRL, 0, value | control::INIT_DONE);
        regs.set(Reg::FDIRFREE, 0, u32::from(capacity));
        regs.set(Reg::FDIRLEN, 0, 0);
    }

    fn command(&mut self, old: u32, new: u32, hw: &mut Hw<'_>) {
        let cmd = new & command::CMD;
        // The status bit is the card's; the command is complete when it can be read.
        let mut result = new & !(command::CMD | command::FILTER_VALID | command::COLLISION);
        if let Some(enabled) = &mut self.enabled {
            if new & !old & command::CLEARHT != 0 {
                enabled.table.clear();
            }
            match cmd {
                command::CMD_ADD => enabled.add(new, hw),
                command::CMD_REMOVE => enabled.remove(hw),
                command::CMD_QUERY => result |= enabled.query(hw.regs),
                _ => {}
            }
            let free = u32::from(enabled.table.free());
            let collisions = u32::from(enabled.table.collisions()) << 16;
            hw.regs.set(Reg::FDIRFREE, 0, collisions | free);
        }
        hw.regs.set(Reg::FDIRCMD, 0, result);
    }

    /// Looks a frame up and counts the result; `None` if it is no candidate or the Flow Director is off.
    #[inline]
    pub(crate) fn lookup(
        &mut self,
        window: &[u8],
        headers: &Headers,
        pool: u8,
        regs: &mut RegisterFile,
    ) -> Option<Outcome> {
        let enabled = self.enabled.as_ref()?;
        let tuple = Masks::new(regs).tuple_of_frame(window, headers, pool, regs)?;
        if enabled.table.is_empty()
            && regs.get(Reg::FDIRCTRL, 0) & control::REPORT_STATUS_ALWAYS == 0
        {
            regs.count(Reg::FDIRMISS, 0, 1);
            return None;
        }
        enabled.lookup(&tuple, regs)
    }
}

/// Buckets and filters of the memory that FDIRCTRL allots: 64, 128 or 256 KB are 8K, 16K or 32K signatures, or a quarter as
/// many perfect filters, one entry reserved.
fn size(allocation: u32, perfect: bool) -> (usize, u16) {
    let buckets = 0x1000 << allocation >> if perfect { 2 } else { 0 };
    (buckets, u16::try_from(buckets - 1).unwrap_or(u16::MAX))
}

fn hasher(regs: &RegisterFile) -> Hasher {
    Hasher::new(regs.get(Reg::FDIRHKEY, 0), regs.get(Reg::FDIRSKEY, 0))
}

impl Enabled {
    fn lookup(&self, tuple: &Tuple, regs: &mut RegisterFile) -> Option<Outcome> {
        let settings = regs.get(Reg::FDIRCTRL, 0);
        let hashes = self.hasher.hash(tuple);
        let bucket = self.table.bucket(hashes.bucket);
        let mut length = 0u32;
        let found = self.table.chain(bucket).find(|filter| {
            length += 1;
            if self.perfect {
                filter.tuple == *tuple
            } else {
                filter.id & 0x7FFF == hashes.signature
            }
        });
        let Some(filter) = found else {
            regs.count(Reg::FDIRMISS, 0, 1);
            return self.miss(settings, bucket, hashes);
        };
        regs.count(Reg::FDIRMATCH, 0, 1);
        let queue = (filter.command >> command::QUEUE_SHIFT & 0x7F) as u8;
        let action = if filter.command & command::DROP != 0 {
            Action::Drop((settings >> control::DROP_Q_SHIFT & 0x7F) as u8)
        } else if filter.command & command::QUEUE_EN != 0 {
            Action::Queue(queue)
        } else {
            Action::Continue
        };
        let mut status = Status::FLM;
        status.set(Status::FDIR_DROP, filter.command & command::DROP != 0);
        status.set(Status::FDIR_COLLISION, filter.collision);
        let max_length = settings >> control::MAX_LENGTH_SHIFT & 0xF;
        status.set(
            Status::FDIR_LENGTH,
            max_length != 0 && length > 2 * max_length,
        );
        Some(Outcome {
            action,
            immediate: filter.command & command::INT != 0,
            report: (settings & (control::REPORT_STATUS | control::REPORT_STATUS_ALWAYS) != 0)
                .then(|| (status, u32::from(bucket) << 16 | u32::from(filter.id))),
        })
    }

    /// With REPORT_STATUS_ALWAYS a frame without a filter carries its hashes.
    fn miss(&self, settings: u32, bucket: u16, hashes: Hashes) -> Option<Outcome> {
        let id = if self.perfect { 0 } else { hashes.signature };
        (settings & control::REPORT_STATUS_ALWAYS != 0).then(|| Outcome {
            action: Action::Continue,
            immediate: false,
            report: Some((Status::empty(), u32::from(bucket) << 16 | u32::from(id))),
        })
    }

    /// Bucket and id of the filter that FDIRHASH names.
    fn named(&self, regs: &RegisterFile) -> (u16, u16) {
        let hash = regs.get(Reg::FDIRHASH, 0);
        (
            self.table.bucket((hash & 0xFFFF) as u16),
            (hash >> 16) as u16,
        )
    }

    fn add(&mut self, new: u32, hw: &mut Hw<'_>) {
        let (bucket, id) = self.named(hw.regs);
        let tuple = if self.perfect {
            Masks::new(hw.regs).tuple_of_registers(new, hw.regs)
        } else {
            Tuple::default()
        };
        let filter = Filter {
            id,
            command: new & ACTION,
            tuple,
            collision: false,
        };
        let before = self.table.free();
        match self
            .table
            .add(bucket, filter, new & command::FILTER_UPDATE != 0)
        {
            Addition::Done | Addition::Collision => {
                let value = count_low(hw.regs.get(Reg::FDIRUSTAT, 0), 0xFFFF);
                hw.regs.set(Reg::FDIRUSTAT, 0, value);
            }
            Addition::Full => {
                let value = count_low(hw.regs.get(Reg::FDIRFSTAT, 0), 0xFF);
                hw.regs.set(Reg::FDIRFSTAT, 0, value);
                hw.irq.other(hw.regs, eicr::FLOW_DIR);
            }
        }
        let threshold = 16 * (hw.regs.get(Reg::FDIRCTRL, 0) >> control::FULL_THRESH_SHIFT);
        let free = u32::from(self.table.free());
        if free < threshold && u32::from(before) >= threshold {
            hw.irq.other(hw.regs, eicr::FLOW_DIR);
        }
        let length = u32::try_from(self.table.chain(bucket).count()).unwrap_or(u32::MAX);
        if length.min(0x3F) > hw.regs.get(Reg::FDIRLEN, 0) & 0x3F {
            hw.regs
                .set(Reg::FDIRLEN, 0, u32::from(bucket) << 16 | length.min(0x3F));
        }
    }

    fn remove(&mut self, hw: &mut Hw<'_>) {
        let (bucket, id) = self.named(hw.regs);
        if self.table.remove(bucket, id) {
            let value = count_high(hw.regs.get(Reg::FDIRUSTAT, 0), 16, 0xFFFF);
            hw.regs.set(Reg::FDIRUSTAT, 0, value);
        } else {
            let value = count_high(hw.regs.get(Reg::FDIRFSTAT, 0), 8, 0xFF);
            hw.regs.set(Reg::FDIRFSTAT, 0, value);
            hw.irq.other(hw.regs, eicr::FLOW_DIR);
        }
    }

    /// Bits to add to FDIRCMD: those of the filter, if it is there.
    fn query(&self, regs: &mut RegisterFile) -> u32 {
        let (bucket, id) = self.named(regs);
        let hash = regs.get(Reg::FDIRHASH, 0) & !fdirhash::BUCKET_VALID;
        let valid = self.table.chain(bucket).next().is_some();
        regs.set(
            Reg::FDIRHASH,
            0,
            hash | if valid { fdirhash::BUCKET_VALID } else { 0 },
        );
        self.table.get(bucket, id).map_or(0, |filter| {
            let collision = if filter.collision {
                command::COLLISION
            } else {
                0
            };
            filter.command | command::FILTER_VALID | collision
        })
    }
}

/// Adds one to the field in the low bits, which stays at `max`.
fn count_low(value: u32, max: u32) -> u32 {
    if value & max == max { value } else { value + 1 }
}

/// Adds one to the field at `shift`, which stays at `max`.
fn count_high(value: u32, shift: u32, max: u32) -> u32 {
    value & !(max << shift) | count_low(value >> shift & max, max) << shift
}

/// The masks, as what to keep of each field (8.2.3.21).
#[derive(Clone, Copy, Debug)]
struct Masks {
    fields: u32,
    source_ipv4: [u8; 4],
    destination_ipv4: [u8; 4],
    ipv6: u32,
    tcp: u32,
    udp: u32,
}

impl Masks {
    #[inline]
    fn new(regs: &RegisterFile) -> Self {
        // A bit of the port masks stands for the port's bit in reverse order.
        let ports = |reg| {
            let mask = !regs.get(reg, 0);
            mask.reverse_bits().rotate_left(16)
        };
        Self {
            fields: regs.get(Reg::FDIRM, 0),
            source_ipv4: (!regs.get(Reg::FDIRSIP4M, 0)).to_le_bytes(),
            destination_ipv4: (!regs.get(Reg::FDIRDIP4M, 0)).to_le_bytes(),
            ipv6: !regs.get(Reg::FDIRIP6M, 0),
            tcp: ports(Reg::FDIRTCPM),
            udp: ports(Reg::FDIRUDPM),
        }
    }

    fn masks(self, bit: u32) -> bool {
        self.fields & bit != 0
    }

    /// Clears what is masked.
    #[inline]
    fn apply(self, mut tuple: Tuple) -> Tuple {
        if tuple.flow_type & IPV6 == 0 {
            for (byte, keep) in tuple.source.iter_mut().zip(self.source_ipv4) {
                *byte &= keep;
            }
            for (byte, keep) in tuple.destination.iter_mut().zip(self.destination_ipv4) {
                *byte &= keep;
            }
        } else {
            for n in 0..16 {
                if self.ipv6 >> n & 1 == 0 {
                    tuple.source[n] = 0;
                }
                if self.ipv6 >> (16 + n) & 1 == 0 || self.masks(mask::DIPV6) {
                    tuple.destination[n] = 0;
                }
            }
        }
        let ports = match tuple.flow_type & 3 {
            TCP => self.tcp,
            UDP => self.udp,
            // SCTP has no mask of its own.
            _ if self.masks(mask::L4P) => 0,
            _ => u32::MAX,
        };
        tuple.source_port &= (ports & 0xFFFF) as u16;
        tuple.destination_port &= (ports >> 16) as u16;
        let mut vlan = 0xEFFF;
        if self.masks(mask::VLAN_ID) {
            vlan &= !0xFFF;
        }
        if self.masks(mask::VLAN_PRIORITY) {
            vlan &= !0xE000;
        }
        tuple.vlan &= vlan;
        if self.masks(mask::POOL) {
            tuple.pool = 0;
        }
        if self.masks(mask::FLEX) {
            tuple.flex = 0;
        }
        if self.masks(mask::L4P) {
            tuple.flow_type &= !3;
        }
        if self.masks(mask::L3P) {
            tuple.flow_type &= !IPV6;
        }
        tuple
    }

    /// The tuple of a frame, if it is a candidate: IP, not a fragment, and of a known L4 protocol unless that is masked.
    #[inline]
    fn tuple_of_frame(
        self,
        window: &[u8],
        headers: &Headers,
        pool: u8,
        regs: &RegisterFile,
    ) -> Option<Tuple> {
        let protocol = match headers.l4 {
            L4::Tcp => TCP,
            L4::Udp => UDP,
            L4::Sctp => SCTP,
            L4::None if self.masks(mask::L4P) => 0,
            L4::None => return None,
        };
        if headers.fragment {
            return None;
        }
        let (source, destination) = headers.addresses(window);
        let mut tuple = Tuple {
            vlan: headers.tag.map_or(0, Tag::tci),
            pool,
            flow_type: match headers.l3 {
                L3::None => return None,
                L3::Ipv4 => protocol,
                L3::Ipv6 => protocol | IPV6,
            },
            ..Tuple::default()
        };
        tuple.source[..source.len()].copy_from_slice(source);
        tuple.destination[..destination.len()].copy_from_slice(destination);
        if protocol != 0 {
            let l4 = usize::from(headers.l4_offset);
            tuple.source_port = word(window, l4)?;
            tuple.destination_port = word(window, l4 + 2)?;
        }
        let flex = (regs.get(Reg::FDIRCTRL, 0) >> control::FLEX_SHIFT & 0x1F) as usize;
        tuple.flex = word(window, 2 * flex).unwrap_or(0);
        Some(self.apply(tuple))
    }

    /// The tuple that software has laid out in the registers for a perfect match filter. Addresses and the flexible
    /// bytes are in network order from the low byte on, ports are numbers.
    fn tuple_of_registers(self, new: u32, regs: &RegisterFile) -> Tuple {
        let ports = regs.get(Reg::FDIRPORT, 0);
        let vlan = regs.get(Reg::FDIRVLAN, 0);
        let source = regs.get(Reg::FDIRIPSA, 0).to_le_bytes();
        let destination = regs.get(Reg::FDIRIPDA, 0).to_le_bytes();
        let mut tuple = Tuple {
            source_port: (ports & 0xFFFF) as u16,
            destination_port: (ports >> 16) as u16,
            vlan: (vlan & 0xFFFF) as u16,
            flex: ((vlan >> 16) as u16).swap_bytes(),
            pool: (new >> command::POOL_SHIFT & 0x7F) as u8,
            flow_type: (new >> command::FLOW_TYPE_SHIFT & 7) as u8,
            ..Tuple::default()
        };
        if tuple.flow_type & IPV6 == 0 {
            tuple.source[..4].copy_from_slice(&source);
            tuple.destination[..4].copy_from_slice(&destination);
        } else {
            for n in 0..3 {
                let part = regs.get(Reg::FDIRSIPV6, n).to_le_bytes();
                tuple.source[4 * n..4 * n + 4].copy_from_slice(&part);
            }
            tuple.source[12..].copy_from_slice(&source);
            tuple.destination[12..].copy_from_slice(&destination);
        }
        self.apply(tuple)
    }
}
