//! `IPsec` (7.12): the SA tables, and what the security block does to frames on their way out and in.
//!
//! On transmit the packet has its IPsec headers already, with sequence number and initialisation vector, and room for
//! the check value at its end (ESP) or in its header (AH). On receive an SA is found by SPI, destination address and IP
//! version; the frame goes to its ring decrypted, with all headers, padding and check value in their places, and its
//! descriptor says that the security block has worked on it. Transport and tunnel mode are the same to the block.
//!
//! Choices where the datasheet leaves one:
//! - A packet for which there is no SA, a fragment, one with a VLAN tag or SNAP, and one with IPv6 extension headers
//!   before the IPsec header go by untouched; so do all of them while the block is off.
//! - A received packet with an error is told as such, and keeps the bytes that it came with.
//! - A transmitted packet that is too short for what it asks for is not sent, and counts as a fault of the driver.
//!   While the block is off, it is sent as the driver made it.
//! - AH covers its authentication data, initialisation vector included, as 0; with IPv4 options it is not offloaded.
//! - The tables survive a reset by the driver, which clears them itself.
//!
//! # What is not implemented
//! - `LinkSec` (7.8), the other half of the security block: its registers are only stored.
//! - Segmentation of packets in tunnel mode, for which no driver asks.
//! - The switch between pools comes after the security block here: a pool gets another pool's packets protected.

mod cipher;
mod packet;
mod receive;
mod saved;
mod tables;
#[cfg(test)]
mod tests;
mod transmit;

use ixgbe_spec::register::{
    Reg,
    bits::{ipsidx, secrxctrl, sectxctrl},
};

pub(crate) use self::{
    packet::Protocol,
    saved::Saved,
    transmit::{Protection, Security},
};
use self::{
    packet::{Confidentiality, PacketError, Place},
    tables::{KeyEntry, ReceiveTables, SA_COUNT, Secret, SpiEntry},
};
use crate::regs::RegisterFile;

/// The SA tables of a port.
#[derive(Debug)]
pub(crate) struct IpSec {
    transmit: Box<[Secret]>,
    receive: ReceiveTables,
}

impl Default for IpSec {
    fn default() -> Self {
        Self {
            transmit: vec![Secret::default(); SA_COUNT].into(),
            receive: ReceiveTables::default(),
        }
    }
}

impl IpSec {
    /// Forgets all security associations.
    pub(crate) fn reset(&mut self) {
        let Self { transmit, receive } = self;
        transmit.fill(Secret::default());
        *receive = ReceiveTables::default();
    }

    /// Whether transmitted packets that ask for it are protected.
    pub(crate) fn transmits(regs: &RegisterFile) -> bool {
        regs.get(Reg::IPSTXIDX, 0) & ipsidx::EN != 0
            && regs.get(Reg::SECTXCTRL, 0) & sectxctrl::SECTX_DIS == 0
    }

    /// Whether received packets are looked up in the tables.
    pub(crate) fn receives(regs: &RegisterFile) -> bool {
        regs.get(Reg::IPSRXIDX, 0) & ipsidx::EN != 0
            && regs.get(Reg::SECRXCTRL, 0) & secrxctrl::SECRX_DIS == 0
    }

    /// Whether software has stopped transmit before the security block.
    #[inline]
    pub(crate) fn transmit_is_stopped(regs: &RegisterFile) -> bool {
        regs.get(Reg::SECTXCTRL, 0) & sectxctrl::TX_DIS != 0
    }

    /// Whether software has stopped receive before the security block.
    #[inline]
    pub(crate) fn receive_is_stopped(regs: &RegisterFile) -> bool {
        regs.get(Reg::SECRXCTRL, 0) & secrxctrl::RX_DIS != 0
    }

    /// Software has written `new` to a register of the chapter `Security`.
    pub(crate) fn written(&mut self, reg: Reg, new: u32, regs: &mut RegisterFile) {
        let index = (new >> ipsidx::INDEX_SHIFT & ipsidx::INDEX_MASK) as usize;
        match reg {
            Reg::IPSTXIDX => self.access_transmit(index, new, regs),
            Reg::IPSRXIDX => {
                let table = new >> ipsidx::TABLE_SHIFT & ipsidx::TABLE_MASK;
                self.access_receive(table, index, new, regs);
            }
            _ => return,
        }
        regs.set(reg, 0, new & !(ipsidx::READ | ipsidx::WRITE));
    }

    fn access_transmit(&mut self, index: usize, command: u32, regs: &mut RegisterFile) {
        let Some(entry) = self.transmit.get_mut(index) else {
            return;
        };
        if command & ipsidx::WRITE != 0 {
            *entry = Secret::new(words(Reg::IPSTXKEY, regs), regs.get(Reg::IPSTXSALT, 0));
        } else if command & ipsidx::READ != 0 {
            let (key, salt) = entry.registers();
            set_words(Reg::IPSTXKEY, key, regs);
            regs.set(Reg::IPSTXSALT, 0, salt);
        }
    }

    fn access_receive(&mut self, table: u32, index: usize, command: u32, regs: &mut RegisterFile) {
        let ReceiveTables { ips, spis, keys } = &mut self.receive;
        let writes = command & ipsidx::WRITE != 0;
        if !writes && command & ipsidx::READ == 0 {
            return;
        }
        match table {
            ipsidx::TABLE_IP => {
                if let Some(entry) = ips.get_mut(index) {
                    if writes {
                        let words = words(Reg::IPSRXIPADDR, regs).map(u32::to_le_bytes);
                        entry.copy_from_slice(words.as_flattened());
                    } else {
                        let (words, _) = entry.as_chunks();
                        if let Ok(words) = <[[u8; 4]; 4]>::try_from(words) {
                            set_words(Reg::IPSRXIPADDR, words.map(u32::from_le_bytes), regs);
                        }
                    }
                }
            }
            ipsidx::TABLE_SPI => {
                if let Some(entry) = spis.get_mut(index) {
                    if writes {
                        *entry = SpiEntry {
                            spi: regs.get(Reg::IPSRXSPI, 0).to_le_bytes(),
                            ip_index: regs.get(Reg::IPSRXIPIDX, 0),
                        };
                    } else {
                        regs.set(Reg::IPSRXSPI, 0, u32::from_le_bytes(entry.spi));
                        regs.set(Reg::IPSRXIPIDX, 0, entry.ip_index);
                    }
                }
            }
            ipsidx::TABLE_KEY => {
                if let Some(entry) = keys.get_mut(index) {
                    if writes {
                        let salt = regs.get(Reg::IPSRXSALT, 0);
                        *entry = KeyEntry {
                            secret: Secret::new(words(Reg::IPSRXKEY, regs), salt),
                            mode: regs.get(Reg::IPSRXMOD, 0),
                        };
                    } else {
                        let (key, salt) = entry.secret.registers();
                        set_words(Reg::IPSRXKEY, key, regs);
                        regs.set(Reg::IPSRXSALT, 0, salt);
                        regs.set(Reg::IPSRXMOD, 0, entry.mode);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The four elements of a register.
fn words(reg: Reg, regs: &RegisterFile) -> [u32; 4] {
    [0, 1, 2, 3].map(|index| regs.get(reg, index))
}

fn set_words(reg: Reg, words: [u32; 4], regs: &mut RegisterFile) {
    for (index, word) in words.into_iter().enumerate() {
        regs.set(reg, index, word);
    }
}
