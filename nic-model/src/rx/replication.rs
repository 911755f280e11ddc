//! Copies of a frame for VM pools, and frames that other pools of the port have sent (7.10.3).

use ixgbe_spec::{
    descriptor::rx::{PacketType, Status},
    register::{Reg, bits::rxctrl::RXEN},
};
use serde::{Deserialize, Serialize};

use super::{
    Admitted, DropReason, Receive, Verdict,
    header::{Headers, L3, L4, WINDOW},
    mac::Health,
    settings, traffic_class, window,
};
use crate::{
    filter::{Kind, Mac, Match, Number, Replica, pool::PoolSet},
    hw::Hw,
    observe::Event,
    pool_statistics,
    wire::RxFrame,
};

/// Where a frame has come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The network.
    Network,
    /// Another pool of this port, by the switch inside.
    Pool,
}

/// The DMA counters of a delivered packet (8.2.3.23).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Counters {
    /// Those of a frame from the network, or of the first of its copies.
    #[default]
    First,
    /// Those of its further copies.
    Further,
    /// Those of the first copy of a frame of another pool.
    FirstLocal,
    /// Those of its further copies.
    FurtherLocal,
}

impl Counters {
    /// The registers: packets, and bytes 31:0 and 35:32.
    pub(super) const fn registers(self) -> (Reg, (Reg, Reg)) {
        match self {
            Self::First => (Reg::RXDGPC, (Reg::RXDGBCL, Reg::RXDGBCH)),
            Self::Further => (Reg::RXDDGPC, (Reg::RXDDGBCL, Reg::RXDDGBCH)),
            Self::FirstLocal => (Reg::RXLPBKGPC, (Reg::RXLPBKGBCL, Reg::RXLPBKGBCH)),
            Self::FurtherLocal => (Reg::RXDLPBKGPC, (Reg::RXDLPBKGBCL, Reg::RXDLPBKGBCH)),
        }
    }

    /// Those of a copy; `so_far` is the best that became of the copies before it.
    const fn of(origin: Origin, so_far: Verdict) -> Self {
        match (origin, so_far) {
            (Origin::Network, Verdict::Dropped(_)) => Self::First,
            (Origin::Network, _) => Self::Further,
            (Origin::Pool, Verdict::Dropped(_)) => Self::FirstLocal,
            (Origin::Pool, _) => Self::FurtherLocal,
        }
    }
}

impl Receive {
    /// Delivers a copy of a frame to each of `pools`. Returns the best that became of one of them.
    pub(super) fn replicate(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        admitted: &Admitted<'_>,
        pools: PoolSet,
        hw: &mut Hw<'_>,
    ) -> Verdict {
        let number = if pools.len() > 1 {
            Number::Several
        } else {
            Number::One
        };
        let mut best = Verdict::Dropped(DropReason::Pool);
        for pool in pools.iter() {
            let replica = Replica { pool, number };
            let counters = Counters::of(admitted.origin, best);
            let verdict = self.take(frame, window, admitted, (replica, counters), hw);
            hw.dma.tell(move || Event::Replica { pool, verdict });
            if admitted.health == Health::Good && !matches!(verdict, Verdict::Dropped(_)) {
                pool_statistics::received(pool, admitted.mac.kind(), frame.len(), hw.regs);
            }
            best = match (best, verdict) {
                (Verdict::Delivered { .. }, _) => best,
                (Verdict::Buffered, Verdict::Dropped(_)) => best,
                _ => verdict,
            };
        }
        best
    }

    /// Takes a frame that a pool of this port has sent, for the pools in `pools` (7.10.3.4). Its L3 and L4 headers are
    /// not looked at: it goes to the first queue of each pool, or where an ethertype filter says.
    pub(crate) fn loop_back(&mut self, bytes: &[u8], pools: PoolSet, hw: &mut Hw<'_>) {
        if hw.regs.get(Reg::RXCTRL, 0) & RXEN == 0 {
            return;
        }
        let frame = RxFrame::new(bytes);
        let mut copy = [0; WINDOW];
        let window = window(&frame, &mut copy);
        let mut headers = Headers::default();
        headers.parse(window, frame.len(), &settings(hw.regs));
        let Some(mac) = window.first_chunk().copied().map(Mac::new) else {
            return;
        };
        let class = traffic_class(headers.tag, hw.regs);
        let headers = Headers {
            l3: L3::None,
            l4: L4::None,
            packet_type: PacketType::empty(),
            ..headers
        };
        let admitted = Admitted {
            class,
            headers: &headers,
            mac,
            accepted: match mac.kind() {
                Kind::Unicast => Match::Exact,
                Kind::Multicast | Kind::Broadcast => Match::Inexact,
            },
            health: Health::Good,
            stamped: false,
            security: Status::empty(),
            origin: Origin::Pool,
        };
        let frame = &frame;
        hw.dma.tell(move || Event::Arrived { frame });
        // What becomes of the copies, receive counts.
        let verdict = self.replicate(frame, window, &admitted, pools, hw);
        hw.dma.tell(move || Event::Received { frame, verdict });
    }
}
