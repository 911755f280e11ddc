//! What is missing behind the registers that the model only stores.

use super::{Chapter, Coverage, Reg};

/// Why a register of [`Coverage::Stored`] is only stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// To hold what is written is all that a driver can notice; why.
    Enough(&'static str),
    /// On the card something follows from it; what is missing here.
    Missing(&'static str),
}

impl Gap {
    /// The reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Enough(reason) | Self::Missing(reason) => reason,
        }
    }
}

impl Reg {
    /// Why the register is only stored; `None` if it works.
    #[must_use]
    pub const fn gap(self) -> Option<Gap> {
        use Gap::{Enough, Missing};
        let row = self.row();
        if matches!(row.coverage, Coverage::Works) {
            return None;
        }
        Some(match self {
            Self::LEDCTL => Enough("there is no LED to see"),
            Self::TSSDP => Enough("the clock's pins lead nowhere"),
            Self::EITRSEL => {
                Enough("it chooses among moderation registers of VFs, which are missing")
            }
            Self::IMIR | Self::IMIREXT => {
                Enough("the predecessor's; here L34T_IMIR, ETQS and FDIRCMD tell what is urgent")
            }
            Self::RUPPBMR | Self::RFVAL | Self::VMD_CTL => {
                Enough("the predecessor's, which drivers only dump")
            }
            Self::FDIRSCTPM => Enough("later cards'; this one has no mask for the ports of SCTP"),
            Self::RXFECCERR0
            | Self::RXDBUECC
            | Self::TXDBUECC
            | Self::PBRXECC
            | Self::PBTXECC
            | Self::RTTDTECC => {
                Enough("memory here has no ECC errors but those that are asked for")
            }
            Self::DROPEN => Enough("the predecessor's; queues drop by SRRCTL.DROP_EN and QDE"),
            Self::TXPBSIZE | Self::TXPBTHRESH => {
                Enough("frames leave as they are fetched, so that none waits in a transmit buffer")
            }
            Self::RTRPCS | Self::RTRPT4C | Self::RTRPT4S => {
                Enough("the way to memory is never short, so that no class waits for another")
            }
            Self::STARCTRL => Enough("no driver knows what it does"),
            Self::RTTBCNRS => Enough("the state of a rate limit, which drivers only dump"),
            Self::RTTQCNRR | Self::RTTQCNTG | Self::RTTQCNCR => Enough(
                "congestion notification as drafted before its standard, which no driver uses",
            ),
            Self::FCADBUL | Self::FCADBUH | Self::FCAMACL | Self::FCAMACH => {
                Enough("no driver of this card sets them; PAUSE frames have their standard address")
            }
            Self::RNBC | Self::PXONRXC | Self::PXOFFRXC | Self::LXONRXC | Self::LXOFFRXC => {
                Enough("the predecessor's; this card counts in QPRDC, PXONRXCNT to LXOFFRXCNT")
            }
            Self::DTXMXSZRQ => Enough("it bounds requests on PCIe, of which there are none"),
            Self::TXLLQ => Enough("every queue is served with the least latency"),
            Self::MNGTXMAP => Enough("there is no management controller"),
            _ => match row.chapter {
                Chapter::Dca => Enough("hints where data goes in the host's caches"),
                Chapter::Diagnostic => {
                    Enough("windows into the card's own memories, which drivers only dump")
                }
                Chapter::Fcoe => Enough("of a successor, which compares more in its DDP contexts"),
                Chapter::Security => {
                    Enough("SECTXSTAT and SECRXSTAT say that LinkSec and IPsec are fused off")
                }
                Chapter::Pcie => {
                    Enough("tuning and diagnosis of the PCIe link, which is a socket here")
                }
                Chapter::Firmware => Enough("no management firmware runs"),
                Chapter::Mac => {
                    Enough("tuning and status of a serial link that is made of nothing")
                }
                Chapter::Nvm => Missing("these paths to NVM and flash"),
                Chapter::Virtualisation => Missing("virtual functions and their mailbox"),
                Chapter::Wakeup => Missing("wake-up and management filters"),
                Chapter::TimeSync => Enough("the clock's pins lead nowhere"),
                Chapter::Statistics => Missing("the function that it counts"),
                Chapter::Filter => Missing("its effect"),
                Chapter::General
                | Chapter::Interrupt
                | Chapter::Receive
                | Chapter::Transmit
                | Chapter::Dcb
                | Chapter::FlowControl
                | Chapter::Time => Missing("its effect"),
            },
        })
    }
}
