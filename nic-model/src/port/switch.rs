//! The switch between the VM pools of a port (7.10.3.4), and what it does not let pools send (7.10.3.9).
//!
//! Choices where the datasheet leaves one:
//! - What a pool may not send (PFVFTE, anti-spoofing) is taken from its ring, lost, and counted.
//! - Frames without VLAN tag pass VLAN anti-spoofing.
//! - While the switch loops back, the model completes checksums and segments itself.

use ixgbe_spec::register::{
    Reg,
    bits::{pfdtxgswc::LBE, rxctrl::RXEN},
};

use super::egress::Cable;
use crate::{
    filter::{
        Mac,
        pool::{self, PoolSet},
        selection::{self, Frame, Targets},
    },
    hw::Hw,
    pool_statistics,
    regs::RegisterFile,
    rx::{
        Receive,
        header::{Headers, Tag, WINDOW},
        settings,
    },
    tx::{self, Egress, Reach},
    wire::{Capabilities, TxFrame, WireBusy},
};

/// Bytes of a frame that hold both addresses and a tag, an outer one before it.
const L2_LEN: usize = 22;

/// Whether transmitted frames pass the switch: their queues belong to pools.
pub(super) fn is_on(regs: &RegisterFile) -> bool {
    pool::in_force(regs).is_some() && tx::pool_of_queue(0, regs).is_some()
}

/// Where the frames of pools go: the cable, and other pools.
pub(super) struct Switch<'a> {
    cable: Cable<'a>,
    rx: &'a mut Receive,
    /// PFDTXGSWC.LBE, with a link and receive enabled.
    loops_back: bool,
}

impl<'a> Switch<'a> {
    /// The switch between a cable and the port's receive side.
    pub(super) fn new(cable: Cable<'a>, rx: &'a mut Receive, regs: &RegisterFile) -> Self {
        let loops_back = regs.get(Reg::PFDTXGSWC, 0) & LBE != 0
            && regs.get(Reg::RXCTRL, 0) & RXEN != 0
            && cable.link_up;
        Self {
            cable,
            rx,
            loops_back,
        }
    }

    fn targets(&self, mac: Mac, tag: Option<Tag>, source: u8, regs: &RegisterFile) -> Targets {
        match pool::in_force(regs) {
            Some(existing) if self.loops_back => {
                let frame = Frame {
                    mac,
                    tag,
                    ethertype: None,
                };
                selection::from_pool(&frame, source, existing, regs)
            }
            _ => Targets {
                pools: PoolSet::EMPTY,
                network: true,
            },
        }
    }
}

impl Egress for Switch<'_> {
    fn capabilities(&self) -> Capabilities {
        if self.loops_back {
            Capabilities::default()
        } else {
            self.cable.capabilities()
        }
    }

    fn send(
        &mut self,
        frame: &TxFrame<'_>,
        queue: usize,
        hw: &mut Hw<'_>,
    ) -> Result<Reach, WireBusy> {
        let Some(source) = tx::pool_of_queue(queue, hw.regs) else {
            return self.cable.send(frame, queue, hw);
        };
        let reach = self.send_from(source, frame, queue, hw)?;
        if reach != Reach::Nowhere {
            pool_statistics::sent(source, frame, hw.regs);
        }
        Ok(reach)
    }
}

impl Switch<'_> {
    /// Sends a frame of a queue of pool `source`.
    fn send_from(
        &mut self,
        source: u8,
        frame: &TxFrame<'_>,
        queue: usize,
        hw: &mut Hw<'_>,
    ) -> Result<Reach, WireBusy> {
        // What is decided on is what leaves: the client can change its pages at any time.
        let copy;
        let frame = if frame.head.len() < L2_LEN && !frame.payload.is_empty() {
            copy = frame.to_vec();
            &TxFrame {
                head: &copy,
                payload: &[],
                offload: frame.offload,
            }
        } else {
            frame
        };
        let window = frame.head.get(..WINDOW).unwrap_or(frame.head);
        let mut headers = Headers::default();
        headers.parse(window, frame.len(), &settings(hw.regs));
        let Some((to, from)) = addresses(window) else {
            return Ok(lost(hw));
        };
        if !PoolSet::of_pair(Reg::PFVFTE, 0, hw.regs).contains(source) {
            return Ok(lost(hw));
        }
        if spoofs(source, from, headers.tag, hw.regs) {
            if PoolSet::of_pair(Reg::VMECM, 0, hw.regs).contains(source) {
                hw.regs.count(Reg::SSVPC, 0, 1);
            }
            return Ok(lost(hw));
        }
        let targets = self.targets(to, headers.tag, source, hw.regs);
        if targets.pools.is_empty() {
            return if targets.network {
                self.cable.send(frame, queue, hw)
            } else {
                Ok(Reach::Inside)
            };
        }
        // The way inside drops nothing for want of room (7.10.3.4).
        if !self.rx.has_room() {
            return Err(WireBusy);
        }
        let copy = frame.to_vec();
        let reach = if targets.network {
            let frame = TxFrame {
                head: &copy,
                payload: &[],
                offload: frame.offload,
            };
            self.cable.send(&frame, queue, hw)?
        } else {
            Reach::Inside
        };
        self.rx.loop_back(&copy, targets.pools, hw);
        Ok(reach)
    }
}

/// What becomes of a frame that must not be sent.
fn lost(hw: &mut Hw<'_>) -> Reach {
    hw.faults.pool += 1;
    Reach::Nowhere
}

/// Destination and source address.
fn addresses(window: &[u8]) -> Option<(Mac, Mac)> {
    let (to, rest) = window.split_first_chunk()?;
    Some((Mac::new(*to), Mac::new(*rest.first_chunk()?)))
}

/// Whether a frame has a source address or a VLAN that is not its pool's, where PFVFSPOOF asks for it.
fn spoofs(source: u8, from: Mac, tag: Option<Tag>, regs: &RegisterFile) -> bool {
    let control = regs.get(Reg::PFVFSPOOF, usize::from(source / 8));
    let [by_mac, by_vlan] = [0, 8].map(|shift| control >> (shift + source % 8) & 1 == 1);
    let foreign_mac = || !pool::of_address(from, regs).is_some_and(|pools| pools.contains(source));
    let foreign_vlan = || tag.is_some_and(|tag| !pool::of_vlan(tag.id(), regs).contains(source));
    by_mac && foreign_mac() || by_vlan && foreign_vlan()
}
