//! Receive filters: who may come in, and to which queue (7.1.1, 7.1.2).

mod address;
mod ethertype;
mod five_tuple;
mod flow_director;
mod mirror;
pub(crate) mod pool;
pub(crate) mod rss;
pub(crate) mod selection;
mod vlan;

use ixgbe_spec::{
    descriptor::rx::{PacketType, RssType, Status},
    register::Reg,
};

pub use address::AddressMatch;
pub(crate) use address::{Kind, Mac, Match};
pub(crate) use ethertype::is_1588;

use address::AddressFilter;
use five_tuple::{FiveTupleFilters, Route};
pub(crate) use flow_director::Saved;
use flow_director::{Action, FlowDirector};
use pool::PoolSet;
use rss::{Choice, Rss};

use crate::{
    fcoe, hw::Hw, observe::Chooser, regs::RegisterFile, rx::header::Headers, state::StateError,
};

/// Where an admitted frame goes, and what its descriptor says about the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// VM pool; 0 without virtualisation (7.10.3).
    pub(crate) pool: u8,
    /// Receive queue.
    pub(crate) queue: u8,
    /// A Flow Director filter has sent it to the drop queue.
    pub(crate) drop: bool,
    /// It interrupts at once.
    pub(crate) immediate: bool,
    /// What `hash` is.
    pub(crate) rss_type: RssType,
    /// RSS hash or filter id.
    pub(crate) hash: u32,
    /// Packet type, if an ethertype filter says so.
    pub(crate) packet_type: Option<PacketType>,
    /// An ethertype filter says that it is an FC frame.
    pub(crate) fcoe: bool,
    /// Status bits of the Flow Director.
    pub(crate) status: Status,
    /// What has chosen the queue.
    pub(crate) chooser: Chooser,
}

/// The copy of a frame whose queue is to be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    /// Its pool; 0 without virtualisation.
    pub(crate) pool: u8,
    /// How many copies there are.
    pub(crate) number: Number,
}

/// How many copies of a frame are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// The frame itself. A filter may send it to any queue.
    One,
    /// One for each of several pools. A filter's queue counts for the copy of the pool that has the queue.
    Several,
}

/// The receive filters of a port.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    addresses: AddressFilter,
    five_tuples: FiveTupleFilters,
    flow_director: FlowDirector,
    rss: Rss,
}

impl Filters {
    /// The state after a reset. What is derived from registers is derived again when the next frame comes.
    pub(crate) fn reset(&mut self) {
        let Self {
            addresses,
            five_tuples,
            flow_director,
            rss,
        } = self;
        addresses.reset();
        five_tuples.reset();
        flow_director.reset();
        rss.reset();
    }

    /// The saved form: the filters of the Flow Director. The others are registers.
    pub(crate) fn save(&self) -> Saved {
        let Self {
            addresses: _,
            five_tuples: _,
            flow_director,
            rss: _,
        } = self;
        flow_director.save()
    }

    /// Of the saved form. What is derived from registers is derived again when the next frame comes.
    pub(crate) fn restore(saved: Saved, regs: &RegisterFile) -> Result<Self, StateError> {
        let mut filters = Self::default();
        filters.reset();
        filters.flow_director = FlowDirector::restore(saved, regs)?;
        Ok(filters)
    }

    /// Software has written a register.
    pub(crate) fn written(&mut self, reg: Reg, old: u32, new: u32, hw: &mut Hw<'_>) {
        match reg {
            Reg::RAL | Reg::RAH => self.addresses.changed(),
            Reg::FTQF => self.five_tuples.changed(),
            Reg::RSSRK => self.rss.key_changed(),
            _ => self.flow_director.written(reg, old, new, hw),
        }
    }

    /// Whether, and how, a frame to `mac` passes the address filter.
    #[inline]
    pub(crate) fn accept_address(&mut self, mac: Mac, regs: &RegisterFile) -> Option<Match> {
        self.addresses.accept(mac, regs)
    }

    /// Whether a frame passes the VLAN filter.
    #[inline]
    pub(crate) fn accept_vlan(&self, headers: &Headers, regs: &RegisterFile) -> bool {
        vlan::accepts(headers.tag, regs)
    }

    /// The pools of a frame from the network that passes the filters for addresses and VLANs; `None` without
    /// virtualisation.
    #[inline]
    pub(crate) fn pools(mac: Mac, headers: &Headers, regs: &RegisterFile) -> Option<PoolSet> {
        let existing = pool::in_force(regs)?;
        let frame = selection::Frame {
            mac,
            tag: headers.tag,
            ethertype: ethertype::pool(headers, regs),
        };
        Some(selection::from_network(&frame, existing, regs))
    }

    /// Whether another filter than RSS may have a say in the queue of a frame, or in its descriptor.
    pub(crate) fn choose_by_more_than_rss(&mut self, regs: &RegisterFile) -> bool {
        self.flow_director.is_on() || self.five_tuples.are_on(regs) || ethertype::is_on(regs)
    }

    /// The queue of a frame if none has, without virtualisation.
    #[inline]
    pub(crate) fn rss(
        &mut self,
        window: &[u8],
        headers: &Headers,
        class: u8,
        regs: &RegisterFile,
    ) -> Choice {
        self.rss.choose(window, headers, 0, class, regs)
    }

    /// The queue of a copy of an admitted frame: by ethertype, `FCoE` exchange, SYN or 5-tuple, Flow Director, or MRQC, in this order
    /// (7.1.2).
    pub(crate) fn choose(
        &mut self,
        window: &[u8],
        headers: &Headers,
        replica: Replica,
        class: u8,
        regs: &mut RegisterFile,
    ) -> Destination {
        let pool = replica.pool;
        let rss = self.rss.choose(window, headers, pool, class, regs);
        let mut destination = Destination {
            pool,
            queue: rss.queue,
            drop: false,
            immediate: false,
            rss_type: rss.rss_type,
            hash: rss.hash,
            packet_type: None,
            fcoe: false,
            status: Status::empty(),
            chooser: Chooser::Mrqc,
        };
        let flow_director = self.flow_director.lookup(window, headers, pool, regs);
        if let Some(outcome) = flow_director {
            match outcome.action {
                Action::Queue(queue) => {
                    destination.queue = queue;
                    destination.chooser = Chooser::FlowDirector;
                }
                Action::Drop(queue) => {
                    destination.queue = queue;
                    destination.drop = true;
                    destination.chooser = Chooser::FlowDirector;
                }
                Action::Continue => {}
            }
            destination.immediate = outcome.immediate;
            if let Some((status, id)) = outcome.report {
                destination.status = status;
                destination.rss_type = RssType::FlowDirector;
                destination.hash = id;
            }
        }
        let ethertype = ethertype::filter(headers, regs);
        destination.packet_type = ethertype.map(|(packet_type, _)| packet_type);
        destination.fcoe = ethertype.is_some() && ethertype::is_fcoe(headers, regs);
        let stronger = ethertype
            .and_then(|(_, route)| route)
            .or_else(|| {
                let queue = destination
                    .fcoe
                    .then(|| fcoe::redirection(window, headers, regs));
                queue.flatten().map(Route::to)
            })
            .or_else(|| self.five_tuples.route(window, headers, pool, regs));
        if let Some(route) = stronger {
            destination.queue = route.queue;
            destination.chooser = Chooser::Filter;
            destination.drop = false;
            destination.immediate |= route.immediate;
        }
        if replica.number == Number::Several && !rss::belongs(destination.queue, pool, regs) {
            destination.queue = rss.queue;
            destination.chooser = Chooser::Mrqc;
            destination.drop = false;
        }
        destination
    }
}
