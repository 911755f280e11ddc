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
            Self::FLOP => Enough(
                "opcodes for flash chips of several makers; the card and its chip here agree on theirs",
            ),
            Self::GRC => Enough("wake-up without a driver, in power states that no client gives"),
            Self::VPDDIAG => {
                Enough("how the card's own reader got on with the VPD; drivers only dump it")
            }
            Self::TSSDP => Enough("the clock's pins lead nowhere"),
            Self::EITRSEL => {
                Enough("it chooses among moderation registers of VFs, of which none answers")
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
            Self::DROPEN => Enough(
                "the predecessor's bit for each queue, which became SRRCTL.DROP_EN and QDE; drivers only dump it",
            ),
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
            Self::SECTXBUFFAF | Self::SECTXMINIFG => {
                Enough("it paces a buffer that a frame passes in no time here")
            }
            Self::TXLLQ => Enough("every queue is served with the least latency"),
            Self::GCR | Self::GCR_EXT => Enough(
                "PCIe time-outs and VFs; Linux and DPDK set them, and nothing here times out",
            ),
            Self::PHYADR | Self::PHYDAT | Self::PHYCTL => {
                Enough("a window into the PCIe PHY, which is not there; no driver uses it")
            }
            Self::PCIE_DIAG => {
                Enough("state of the PCIe core, which Linux dumps and does not judge")
            }
            Self::PICAUSE | Self::PIENA => Enough("errors inside the PCIe core, which has none"),
            Self::CDQ_MBR => Enough("a limit of requests on PCIe, of which there are none"),
            Self::FACTPS => Enough(
                "power of the functions; Linux asks for MNGCG with pass-through firmware only",
            ),
            Self::FLEX_MNG | Self::HSMCR | Self::FWSTS | Self::SWSR | Self::LSWFW => Enough(
                "mailbox of the firmware; HICR says that none runs, so Linux writes at most its version",
            ),
            Self::FWRESETCNT | Self::HFDR => {
                Enough("resets and debugging of firmware, which is not there")
            }
            Self::PCS1GCFIG | Self::PCS1GDBG | Self::PCS1GANNP | Self::PCS1GANLPNP => {
                Enough("details of 1G link, which Linux dumps; PCS1GLSTA tells the link's state")
            }
            Self::PCS1GLCTL | Self::PCS1GANA => Enough(
                "1G negotiation and its PAUSE bits, written by drivers; the partner agrees to anything",
            ),
            Self::HLREG1 | Self::PAP | Self::MACA | Self::APAE | Self::ARD | Self::AIS => {
                Enough("MAC registers of the 82598 and earlier, which Linux dumps")
            }
            Self::MLADD | Self::TREG | Self::MACS | Self::MACC | Self::MPVC | Self::SGMIIC => {
                Enough(
                    "test modes of the MAC; Linux dumps the first three, nobody writes any on this card",
                )
            }
            Self::PCSS1 | Self::PCSS2 | Self::XPCSS | Self::KRPCSS | Self::FECS1 | Self::FECS2 => {
                Enough("states of lanes; LINKS and LINKS2 are what drivers decide on")
            }
            Self::ANLPNP1 | Self::ANLPNP2 | Self::KRPCSFC => {
                Enough("next pages and error correction of a backplane; an SFP+ port has none")
            }
            Self::SERDESC | Self::ATLASCTL | Self::CORECTL | Self::SMADARCTL => {
                Enough("tuning of the analogue part, of which there is none")
            }
            Self::AUTOC3 => Enough("timers of backplane negotiation; an SFP+ port has none"),
            Self::MDFTC1 | Self::MDFTC2 | Self::MDFTFIFO1 | Self::MDFTFIFO2 | Self::MDFTS => {
                Enough("a trap for MAC debugging that Linux dumps and nobody arms")
            }
            Self::TIPG => {
                Enough("the gap between frames on a fibre, of which there is none; Linux dumps it")
            }
            Self::FREQOUT0 | Self::FREQOUT1 => {
                Enough("a clock at a pin that leads nowhere; no driver sets it")
            }
            Self::GSCL | Self::GSCN => {
                Enough("counters of PCIe events, of which there are none; no driver looks")
            }
            Self::CIAA | Self::CIAD => Enough(
                "a window into the configuration space of VFs, of which no client reaches any",
            ),
            Self::PCIEECCCTL | Self::ECC_STATUS | Self::ECC_CTRL => {
                Enough("ECC of the PCIe core's memories, which have no errors")
            }
            Self::GTV | Self::FUNCTAG | Self::GLT | Self::MISC_REG => {
                Enough("settings of the PCIe core from the NVM; no driver touches them")
            }
            Self::DCA_RXCTRL | Self::DCA_TXCTRL => Enough(
                "where data goes in the host's caches, and relaxed ordering; Linux and DPDK set it",
            ),
            Self::DCA_ID | Self::DCA_CTRL => Enough(
                "where data goes in the host's caches; Linux sets it if the host's chipset does DCA",
            ),
            Self::RDSTAT | Self::RDSTATCTL | Self::RDHMPN | Self::RIC_DW | Self::RDPROBE => {
                Enough("a window into descriptor memory, which Linux dumps and does not judge")
            }
            Self::TXBUFCTRL | Self::TXBUFDATA => Enough(
                "a window into the transmit packet buffers: frames leave as they are fetched, so that they are empty",
            ),
            Self::MAVTV
            | Self::MFUTP
            | Self::BMCIP
            | Self::MDEF
            | Self::MDEF_EXT
            | Self::METF
            | Self::MFVAL
            | Self::MANC2H
            | Self::MIPAF
            | Self::MMAL
            | Self::MMAH
            | Self::FTFT => Enough(
                "filters of a management controller, of which there is none: they pass nothing anywhere",
            ),
            Self::MANC => Enough(
                "what a management controller may receive; Linux and DPDK ask for RCV_TCO_EN, which is off",
            ),
            Self::MNGPRC | Self::MNGPDC | Self::MNGPTC => {
                Enough("packets of a management controller, of which there is none: always 0")
            }
            Self::RXMEMWRAP | Self::RDMAM | Self::RDMAD => {
                Enough("diagnosis of descriptor memory; no driver looks")
            }
            Self::RXRDWRPTR => Enough(
                "more pointers of the receive packet buffers; RXRDPTR, RXWRPTR and RXUSED tell what waits",
            ),
            Self::TXWRPTR | Self::TXRDPTR | Self::TXRDWRPTR | Self::TXUSED => Enough(
                "pointers of the transmit packet buffers, which are empty: frames leave as they are fetched",
            ),
            Self::RXDATAWRPTR | Self::RXDESCWRPTR | Self::RXDATARDPTR | Self::RXDESCRDPTR => {
                Enough("pointers of the receive engine; no driver looks")
            }
            Self::TXDATAWRPTR | Self::TXDESCWRPTR | Self::TXDATARDPTR | Self::TXDESCRDPTR => {
                Enough("pointers of the transmit engine; no driver looks")
            }
            Self::VTEIAC | Self::VTIVAR | Self::VTIVAR_MISC => {
                Enough("which vectors of a VF its causes signal; no client reaches a VF's function")
            }
            Self::LBDRPEN => Enough(
                "no manual and no driver uses it; the way between pools loses nothing, SRRCTL.DROP_EN apart",
            ),
            Self::PFFLPL | Self::PFFLPH => Enough(
                "source pruning by pool, of a successor (X550); here VMTXSW says which pools hear themselves",
            ),
            Self::MMNGC => {
                Enough("no management controller vetoes a reset; Linux looks and reads 0")
            }
            Self::ILLERRC | Self::ERRBC | Self::MSPDC | Self::MRFC => Enough(
                "faults of symbols on a fibre, of which there is none; Linux and DPDK read 0",
            ),
            Self::EEMNGDATA | Self::FLMNGCTL | Self::FLMNGDATA | Self::FLMNGCNT => Enough(
                "the way of management firmware to NVM and flash, which Linux dumps; no firmware runs",
            ),
            Self::MNGTXMAP => Enough("there is no management controller"),
            _ => match row.chapter {
                Chapter::Dca => Enough("hints where data goes in the host's caches"),
                Chapter::Diagnostic => {
                    Enough("windows into the card's own memories, which drivers only dump")
                }
                Chapter::Fcoe => Enough("of a successor, which compares more in its DDP contexts"),
                Chapter::Security => Enough(
                    "LinkSec, which no kernel's driver uses on this card, and DPDK for who calls functions of this driver alone",
                ),
                Chapter::Pcie => {
                    Enough("tuning and diagnosis of the PCIe link, which is a socket here")
                }
                Chapter::Firmware => Enough("no management firmware runs"),
                Chapter::Mac => {
                    Enough("tuning and status of a serial link that is made of nothing")
                }
                Chapter::Nvm => Enough("firmware's own ways to NVM and flash; none runs"),
                Chapter::Virtualisation => Missing("its effect"),
                Chapter::Wakeup => Missing("its effect"),
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
