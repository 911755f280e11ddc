//! The rows.
//!
//! A row reads: name, chapter, access, state of the model, `at` its places (`offset + stride * count` for an array), then
//! what differs from the defaults: `alias` (none), `reset` (0), `write` (all bits).

use super::{Access, Block, Chapter, Coverage, Register};

macro_rules! block {
    ($offset:literal) => {
        Block {
            offset: $offset,
            stride: 4,
            count: 1,
        }
    };
    ($offset:literal + $stride:literal * $count:literal) => {
        Block {
            offset: $offset,
            stride: $stride,
            count: $count,
        }
    };
}

macro_rules! or {
    ($default:expr) => {
        $default
    };
    ($default:expr, $value:expr) => {
        $value
    };
}

macro_rules! registers {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident $chapter:ident $access:ident $coverage:ident
            at [$($at:literal $(+ $stride:literal * $count:literal)?),+]
            $(alias [$($alias:literal $(+ $alias_stride:literal * $alias_count:literal)?),+])?
            $(reset $reset:literal)?
            $(write $write:literal)?;
    )*) => {
        /// A register of the 82599, by the datasheet's name.
        #[expect(non_camel_case_types, reason = "the datasheet's names")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Reg {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Reg {
            /// Every register, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }

        pub(super) const COUNT: usize = Reg::ALL.len();

        pub(super) static ROWS: [Register; COUNT] = [$(
            Register {
                name: stringify!($name),
                doc: concat!($($doc),+),
                chapter: Chapter::$chapter,
                at: &[$(block!($at $(+ $stride * $count)?)),+],
                alias: &[$($(block!($alias $(+ $alias_stride * $alias_count)?)),+)?],
                reset: or!(0 $(, $reset)?),
                write_mask: or!(u32::MAX $(, $write)?),
                access: Access::$access,
                coverage: Coverage::$coverage,
            },
        )*];
    };
}

registers! {
    // General control (8.2.3.1).
    /// Device Control: GIO master disable (2), link reset (3), device reset (26); the resets clear themselves.
    CTRL General ReadWrite Works at [0x00000] alias [0x00004] write 0x0400_000C;
    /// Device Status: LAN id (3:2), link up (7), VFs (17:10, 18), GIO master enable status (19).
    STATUS General ReadOnly Works at [0x00008] reset 0x0008_0000;
    /// Extended Device Control: PFRSTD (14, clears itself), NS_DIS (16), RO_DIS (17), extended VLAN (26), driver loaded (28).
    CTRL_EXT General ReadWrite Works at [0x00018];
    /// Extended SDP Control: pins (7:0), their direction (15:8, 1 is out), native functions. The NVM makes SDP3 an output.
    ESDP General ReadWrite Works at [0x00020] reset 0x0000_0800;
    /// I2C Control: clock in (0), clock out (1), data in (2), data out (3). Also EODSDP.
    I2CCTL General Effect Works at [0x00028] reset 0x0000_000F;
    /// Time Sync SDP; of the successor, kept as storage.
    TSSDP General ReadWrite Stored at [0x0003C];
    /// LED Control: a byte for each LED, mode (3:0), global blink mode (5, of the first), invert (6), blink (7).
    LEDCTL General ReadWrite Works at [0x00200] reset 0x0504_8100;
    /// Extended VLAN Ether Type: outer tag (31:16), used with CTRL_EXT.EXTENDED_VLAN.
    EXVET General ReadWrite Works at [0x05078] reset 0x8100_0000;

    // Timers (8.2.3.14).
    /// Free Running Timer: microseconds.
    FRTIMER Time Effect Works at [0x00048];
    /// TCP Timer: duration in ms (7:0), kick start (8), count enable (9), count finished (10), loop (11).
    TCPTIMER Time Effect Works at [0x0004C];

    // Time synchronisation (8.2.3.16).
    /// Rx Time Sync Control: valid (0), type (3:1), enable (4).
    TSYNCRXCTL TimeSync ReadWrite Works at [0x05188] write 0x0000_001E;
    /// Rx Timestamp Attributes Low: first four bytes of the message's source id, as they were on the cable.
    RXSATRL TimeSync ReadOnly Works at [0x051A0];
    /// Rx Timestamp Attributes High: last two bytes of the source id (15:0), sequence id (31:16), as on the cable.
    RXSATRH TimeSync ReadOnly Works at [0x051A8];
    /// Rx Timestamp Low.
    RXSTMPL TimeSync ReadOnly Works at [0x051E8];
    /// Rx Timestamp High; its read frees the timestamp.
    RXSTMPH TimeSync ReadOnly Works at [0x051A4];
    /// Rx Message Type: version 1 control (7:0), version 2 message id (15:8), UDP port (31:16).
    RXMTRL TimeSync ReadWrite Works at [0x05120] reset 0x013F_0000;
    /// Tx Time Sync Control: valid (0), enable (4).
    TSYNCTXCTL TimeSync ReadWrite Works at [0x08C00] write 0x0000_0010;
    /// Tx Timestamp Low.
    TXSTMPL TimeSync ReadOnly Works at [0x08C04];
    /// Tx Timestamp High; its read frees the timestamp.
    TXSTMPH TimeSync ReadOnly Works at [0x08C08];
    /// System Time Low; its read latches the high half.
    SYSTIML TimeSync Effect Works at [0x08C0C];
    /// System Time High.
    SYSTIMH TimeSync Effect Works at [0x08C10];
    /// Increment Attributes: value (23:0), period (31:24).
    TIMINCA TimeSync ReadWrite Works at [0x08C14];
    /// Time Adjustment Low.
    TIMADJL TimeSync ReadWrite Works at [0x08C18];
    /// Time Adjustment High: sign (31); its write adds the adjustment to the system time.
    TIMADJH TimeSync ReadWrite Works at [0x08C1C];
    /// Time Sync Auxiliary Control: target time 0 (0) and 1 (1) are awaited, stamps 0 (8) and 1 (10) enabled, taken (9, 11).
    TSAUXC TimeSync ReadWrite Works at [0x08C20] write 0xFFFF_F5FF;
    /// Target Time 0 Low.
    TRGTTIML0 TimeSync ReadWrite Works at [0x08C24];
    /// Target Time 0 High.
    TRGTTIMH0 TimeSync ReadWrite Works at [0x08C28];
    /// Target Time 1 Low.
    TRGTTIML1 TimeSync ReadWrite Works at [0x08C2C];
    /// Target Time 1 High.
    TRGTTIMH1 TimeSync ReadWrite Works at [0x08C30];
    /// Clock Out / Frequency Out 0.
    FREQOUT0 TimeSync ReadWrite Stored at [0x08C34];
    /// Frequency Out 1.
    FREQOUT1 TimeSync ReadWrite Stored at [0x08C38];
    /// Auxiliary Timestamp 0 Low.
    AUXSTMPL0 TimeSync ReadOnly Works at [0x08C3C];
    /// Auxiliary Timestamp 0 High; its read frees the timestamp.
    AUXSTMPH0 TimeSync ReadOnly Works at [0x08C40];
    /// Auxiliary Timestamp 1 Low.
    AUXSTMPL1 TimeSync ReadOnly Works at [0x08C44];
    /// Auxiliary Timestamp 1 High; its read frees the timestamp.
    AUXSTMPH1 TimeSync ReadOnly Works at [0x08C48];

    // EEPROM and flash (8.2.3.2).
    /// EEPROM/Flash Control: SPI pins (3:0), write enable (5:4), request and grant (6, 7), present (8), auto-read done (9), size (14:11).
    EEC Nvm ReadWrite Works at [0x10010] reset 0x0000_3F10 write 0x0000_0077;
    /// EEPROM Read: start (0), done (1), word address (15:2), data (31:16).
    EERD Nvm Effect Works at [0x10014];
    /// EEPROM Write: start (0), done (1), word address (15:2), data (31:16).
    EEWR Nvm Effect Works at [0x10018] reset 0x0000_0002;
    /// Flash Access: SPI pins (3:0), request and grant (4, 5), busy (30), erase (31, clears itself).
    FLA Nvm ReadWrite Works at [0x1001C] reset 0x0000_0008 write 0x8000_0017;
    /// Manageability EEPROM Control: configuration done of port 0 (18) and 1 (19).
    EEMNGCTL Nvm ReadWrite Works at [0x10110] reset 0x000C_0000 write 0xFFF3_FFFF;
    /// Manageability EEPROM Data.
    EEMNGDATA Nvm ReadWrite Stored at [0x10114];
    /// Manageability Flash Control.
    FLMNGCTL Nvm ReadWrite Stored at [0x10118];
    /// Manageability Flash Data.
    FLMNGDATA Nvm ReadWrite Stored at [0x1011C];
    /// Manageability Flash Read Counter.
    FLMNGCNT Nvm ReadWrite Stored at [0x10120];
    /// Flash Opcodes.
    FLOP Nvm ReadWrite Stored at [0x1013C];
    /// General Receive Control: manageability enable (0), advanced power management (1).
    GRC Nvm ReadWrite Stored at [0x10200];
    /// Vital Product Data Diagnostic 0 and 1.
    VPDDIAG Nvm ReadOnly Stored at [0x10204 + 4 * 2];
    /// Shared RAM Release.
    SRAMREL Nvm ReadWrite Stored at [0x10210];

    // Semaphores, firmware and host interface.
    /// Software Semaphore: SMBI (0, set by its read), SWESMBI (1), WMNG (2).
    SWSM Firmware Effect Works at [0x10140];
    /// Firmware Semaphore: mode (3:1), valid (15).
    FWSM Firmware ReadOnly Works at [0x10148] reset 0x0000_8000;
    /// Function Active and Power State.
    FACTPS Firmware ReadOnly Stored at [0x10150];
    /// Software-Firmware Synchronisation: ownership of shared resources.
    GSSR Firmware ReadWrite Works at [0x10160];
    /// Shared memory of host interface and firmware.
    FLEX_MNG Firmware ReadWrite Stored at [0x15800 + 4 * 448];
    /// Host Interface Control: enabled (0), command (1), status valid (2). Not enabled: there is no firmware to talk to.
    HICR Firmware ReadOnly Works at [0x15F00];
    /// Host Slave Mode Control 0 and 1.
    HSMCR Firmware ReadWrite Stored at [0x15F04 + 4 * 2];
    /// Firmware Status: reset indication (9).
    FWSTS Firmware WriteOneToClear Stored at [0x15F0C];
    /// Software Status.
    SWSR Firmware ReadWrite Stored at [0x15F10];
    /// Link establishment state machine lock of software and firmware.
    LSWFW Firmware ReadWrite Stored at [0x15F14];
    /// Firmware Reset Count.
    FWRESETCNT Firmware ReadOnly Stored at [0x15F40];
    /// Host Flash Data.
    HFDR Firmware ReadWrite Stored at [0x15FE8];

    // PCIe (8.2.3.4).
    /// PCIe Control: completion timeout (15:12), resend (16).
    GCR Pcie ReadWrite Stored at [0x11000];
    /// PCIe Timer Value.
    GTV Pcie ReadWrite Stored at [0x11004];
    /// Function Tag.
    FUNCTAG Pcie ReadWrite Stored at [0x11008];
    /// PCIe Latency Timer.
    GLT Pcie ReadWrite Stored at [0x1100C];
    /// PCIe Statistic Control 1 to 8.
    GSCL Pcie ReadWrite Stored at [0x11010 + 4 * 4, 0x11030 + 4 * 4];
    /// PCIe Statistic Counters.
    GSCN Pcie ReadOnly Stored at [0x11020 + 4 * 4];
    /// PCIe PHY Address.
    PHYADR Pcie ReadWrite Stored at [0x11040];
    /// PCIe PHY Data.
    PHYDAT Pcie ReadWrite Stored at [0x11044];
    /// PCIe PHY Control.
    PHYCTL Pcie ReadWrite Stored at [0x11048];
    /// PCIe Control Extended: VT mode (1:0), buffers clear (30), MSI-X of VFs (31).
    GCR_EXT Pcie ReadWrite Stored at [0x11050];
    /// Mirrored Revision Id.
    MREVID Pcie ReadOnly Works at [0x11064] reset 0x0000_0001;
    /// PCIe ECC Control.
    PCIEECCCTL Pcie ReadWrite Stored at [0x1106C];
    /// Config Indirect Access Address (configuration space of VFs).
    CIAA Pcie ReadWrite Stored at [0x11088];
    /// Config Indirect Access Data.
    CIAD Pcie ReadWrite Stored at [0x1108C];
    /// PCIe Diagnostic.
    PCIE_DIAG Pcie ReadOnly Stored at [0x11090 + 4 * 8];
    /// PCIe Interrupt Cause. Also GHECCR of the predecessor.
    PICAUSE Pcie ReadOnly Stored at [0x110B0];
    /// Context of the queue diagnostics' mailbox.
    CDQ_MBR Pcie ReadWrite Stored at [0x110B4];
    /// PCIe Interrupt Enable.
    PIENA Pcie ReadWrite Stored at [0x110B8];
    /// PCIe ECC Status.
    ECC_STATUS Pcie WriteOneToClear Stored at [0x110E0];
    /// PCIe Miscellaneous.
    MISC_REG Pcie ReadWrite Stored at [0x110F0];
    /// BAR Control: size of the flash's window, 64 KB shifted by (10:8), CSR size (13).
    BARCTRL Pcie ReadOnly Works at [0x110F4] reset 0x0000_0200;
    /// PCIe ECC Control 0 and 1.
    ECC_CTRL Pcie ReadWrite Stored at [0x11100 + 4 * 2];

    // Interrupts (8.2.3.5).
    /// Extended Interrupt Cause: queues or vectors (15:0), other causes (29:16), TCP timer (30), other (31).
    EICR Interrupt Effect Works at [0x00800];
    /// Extended Interrupt Cause Set; reads as EICR without its side effect.
    EICS Interrupt Effect Works at [0x00808];
    /// Extended Interrupt Auto Clear.
    EIAC Interrupt ReadWrite Works at [0x00810];
    /// Extended Interrupt Throttle: interval (11:3, 2.048 us), LLI moderation (15), LLI credits (20:16), counter (27:21), CNT_WDIS (31).
    EITR Interrupt Effect Works at [0x00820 + 4 * 24, 0x12300 + 4 * 105];
    /// Extended Interrupt Mask Set and Read.
    EIMS Interrupt Effect Works at [0x00880];
    /// Extended Interrupt Mask Clear; reads as EIMS.
    EIMC Interrupt Effect Works at [0x00888];
    /// Extended Interrupt Auto Mask.
    EIAM Interrupt Effect Works at [0x00890];
    /// MSI-X to EITR Select (for VFs 32 to 63).
    EITRSEL Interrupt ReadWrite Stored at [0x00894];
    /// General Purpose Interrupt Enable: the interrupt mode.
    GPIE Interrupt ReadWrite Works at [0x00898];
    /// Interrupt Vector Allocation, two queues each: rx even, tx even, rx odd, tx odd; vector (5:0), valid (7).
    IVAR Interrupt ReadWrite Works at [0x00900 + 4 * 64];
    /// Miscellaneous Interrupt Vector Allocation: TCP timer (7:0), other causes (15:8).
    IVAR_MISC Interrupt ReadWrite Works at [0x00A00];
    /// Extended Interrupt Cause Set, per MSI-X vector.
    EICS_EX Interrupt Effect Works at [0x00A90 + 4 * 2];
    /// Extended Interrupt Mask Set/Read, per MSI-X vector.
    EIMS_EX Interrupt Effect Works at [0x00AA0 + 4 * 2];
    /// Extended Interrupt Mask Clear, per MSI-X vector; reads as EIMS_EX.
    EIMC_EX Interrupt Effect Works at [0x00AB0 + 4 * 2];
    /// Extended Interrupt Auto Mask, per MSI-X vector.
    EIAM_EX Interrupt Effect Works at [0x00AD0 + 4 * 2];
    /// MSI-X Pending Bits Clear; elements 0 and 1 are the PF's.
    PBACL Interrupt Effect Works at [0x110C0 + 4 * 8] alias [0x11068];
    /// Receive Side Coalescing Interrupt.
    RSCINT Interrupt ReadWrite Works at [0x12000 + 4 * 128] reset 0x0000_0001;
    /// Low Latency Interrupt Threshold: frames from this size (11:0) on are not urgent to 5-tuple filters that look at it.
    LLITHRESH Interrupt ReadWrite Works at [0x0EC90];
    /// Immediate Interrupt Rx; of the predecessor, kept as storage.
    IMIR Interrupt ReadWrite Stored at [0x05A80 + 4 * 8];
    /// Immediate Interrupt Rx Extended; of the predecessor, kept as storage.
    IMIREXT Interrupt ReadWrite Stored at [0x05AA0 + 4 * 8];
    /// Immediate Interrupt Rx VLAN Priority: the least priority (2:0) of an urgent frame, enable (3).
    IMIRVP Interrupt ReadWrite Works at [0x05AC0];

    // MAC, link and SFP+ (8.2.3.22).
    /// PCS_1G Global Configuration.
    PCS1GCFIG Mac ReadWrite Stored at [0x04200];
    /// PCS_1G Link Control.
    PCS1GLCTL Mac ReadWrite Stored at [0x04208];
    /// PCS_1G Link Status: link (0), sync (4), auto-negotiation complete (16).
    PCS1GLSTA Mac ReadOnly Works at [0x0420C];
    /// PCS_1G Debug 0 and 1.
    PCS1GDBG Mac ReadOnly Stored at [0x04210 + 4 * 2];
    /// PCS_1G Auto-Negotiation Advertisement: symmetric pause (7), asymmetric pause (8).
    PCS1GANA Mac ReadWrite Stored at [0x04218];
    /// PCS_1G Auto-Negotiation Link Partner Ability.
    PCS1GANLP Mac ReadOnly Works at [0x0421C];
    /// PCS_1G Auto-Negotiation Next Page Transmit.
    PCS1GANNP Mac ReadWrite Stored at [0x04220];
    /// PCS_1G Auto-Negotiation Link Partner's Next Page.
    PCS1GANLPNP Mac ReadOnly Stored at [0x04224];
    /// MAC Core Control 0: CRC (0, 1), jumbo (2), padding (10), loopback (15), length errors (27).
    HLREG0 Mac ReadWrite Works at [0x04240] reset 0x0801_0403;
    /// MAC Core Status 1.
    HLREG1 Mac ReadOnly Stored at [0x04244];
    /// Pause and Pace: pause time (15:0).
    PAP Mac ReadWrite Stored at [0x04248] reset 0x0000_FFFF;
    /// MDI Auto-Scan Command and Address.
    MACA Mac ReadWrite Stored at [0x0424C];
    /// Auto-Scan PHY Address Enable.
    APAE Mac ReadWrite Stored at [0x04250];
    /// Auto-Scan Read Data.
    ARD Mac ReadOnly Stored at [0x04254];
    /// Auto-Scan Interrupt Status.
    AIS Mac ReadOnly Stored at [0x04258];
    /// MDI Single Command and Address: command (30) clears itself.
    MSCA Mac ReadWrite Works at [0x0425C];
    /// MDI Single Read and Write Data: write (15:0), read (31:16).
    MSRWD Mac ReadWrite Works at [0x04260] write 0x0000_FFFF;
    /// Low MAC Address.
    MLADD Mac ReadWrite Stored at [0x04264];
    /// Max Frame Size: from destination address to FCS, without VLAN tags (31:16). Also MHADD.
    MAXFRS Mac ReadWrite Works at [0x04268] reset 0x05EE_0000;
    /// Test register.
    TREG Mac ReadWrite Stored at [0x0426C];
    /// XGXS Status 1: local fault, link.
    PCSS1 Mac ReadOnly Stored at [0x04288];
    /// XGXS Status 2.
    PCSS2 Mac ReadOnly Stored at [0x0428C];
    /// 10GBASE-X PCS Status.
    XPCSS Mac ReadOnly Stored at [0x04290];
    /// SerDes Interface Control.
    SERDESC Mac ReadWrite Stored at [0x04298];
    /// FIFO Status/Control of the MAC.
    MACS Mac ReadWrite Stored at [0x0429C];
    /// Auto-Negotiation Control: force link up (0), PMA (9:7), restart (12, clears itself), link mode (15:13).
    AUTOC Mac ReadWrite Works at [0x042A0] reset 0xC09C_6000;
    /// Link Status: up since the last read (7), speed (29:28), up (30), backplane negotiated (31).
    LINKS Mac Effect Works at [0x042A4];
    /// Auto-Negotiation Control 2: 10G serial PMA (17:16), link disable (30:28).
    AUTOC2 Mac ReadWrite Works at [0x042A8] reset 0x000A_0000;
    /// Auto-Negotiation Control 3.
    AUTOC3 Mac ReadWrite Stored at [0x042AC];
    /// Auto-Negotiation Link Partner's Control 1: pause (11:10), state (19:16).
    ANLP1 Mac ReadOnly Works at [0x042B0] reset 0x0004_0000;
    /// Auto-Negotiation Link Partner's Control 2: what a backplane's partner can (7:5).
    ANLP2 Mac ReadOnly Works at [0x042B4];
    /// MAC FIFO diagnostics 1.
    MDFTC1 Mac ReadWrite Stored at [0x042B8];
    /// MAC FIFO diagnostics 2.
    MDFTC2 Mac ReadWrite Stored at [0x042C0];
    /// MAC FIFO diagnostics, FIFO 1.
    MDFTFIFO1 Mac ReadOnly Stored at [0x042C4];
    /// MAC FIFO diagnostics, FIFO 2.
    MDFTFIFO2 Mac ReadOnly Stored at [0x042C8];
    /// MAC FIFO diagnostics, status.
    MDFTS Mac ReadOnly Stored at [0x042CC];
    /// MAC Manageability Control: veto (0).
    MMNGC Mac ReadOnly Stored at [0x042D0];
    /// Auto-Negotiation Link Partner's Next Page 1.
    ANLPNP1 Mac ReadOnly Stored at [0x042D4];
    /// Auto-Negotiation Link Partner's Next Page 2.
    ANLPNP2 Mac ReadOnly Stored at [0x042D8];
    /// KR PCS and FEC Control.
    KRPCSFC Mac ReadWrite Stored at [0x042E0];
    /// KR PCS Status.
    KRPCSS Mac ReadOnly Stored at [0x042E4];
    /// FEC Status 1.
    FECS1 Mac ReadOnly Stored at [0x042E8];
    /// FEC Status 2.
    FECS2 Mac ReadOnly Stored at [0x042EC];
    /// SGMII Control.
    SGMIIC Mac ReadWrite Stored at [0x04314];
    /// MAC internal counter control.
    MPVC Mac ReadWrite Stored at [0x04318];
    /// Link Status 2: the partner negotiates (6).
    LINKS2 Mac ReadOnly Works at [0x04324];
    /// MAC Control: force link up (0); of later chips, kept as storage.
    MACC Mac ReadWrite Stored at [0x04330];
    /// Analog core control of the predecessor, kept as storage.
    ATLASCTL Mac ReadWrite Stored at [0x04800];
    /// Core Analog Configuration: takes the SFP+ initialisation list.
    CORECTL Mac ReadWrite Stored at [0x14F00];
    /// Core Common Configuration.
    SMADARCTL Mac ReadWrite Stored at [0x14F10];
    /// Inter-packet gap of the predecessor, kept as storage.
    TIPG Mac ReadWrite Stored at [0x0CB00];

    // Flow control (8.2.3.3).
    /// Priority Flow Control Type Opcode.
    PFCTOP FlowControl ReadWrite Works at [0x03008] reset 0x0101_8808;
    /// Flow Control Transmit Timer Value, two traffic classes each.
    FCTTV FlowControl ReadWrite Works at [0x03200 + 4 * 4];
    /// Flow Control Address of the predecessor, kept as storage.
    FCADBUL FlowControl ReadWrite Stored at [0x03210];
    /// Flow Control Address of the predecessor, kept as storage.
    FCADBUH FlowControl ReadWrite Stored at [0x03214];
    /// Flow Control Receive Threshold Low: threshold (18:5), XON enable (31).
    FCRTL FlowControl ReadWrite Works at [0x03220 + 4 * 8] write 0x8007_FFF0;
    /// Flow Control Receive Threshold High: threshold (18:5), flow control enable (31).
    FCRTH FlowControl ReadWrite Works at [0x03260 + 4 * 8] write 0x8007_FFF0;
    /// Flow Control Refresh Threshold.
    FCRTV FlowControl ReadWrite Works at [0x032A0];
    /// Flow Control Configuration: transmit 802.3x (3), by priority (4). Also RMCS.
    FCCFG FlowControl ReadWrite Works at [0x03D00];
    /// MAC Flow Control: pass MAC control frames (0), discard pause (1), receive by priority (2), receive link (3).
    MFLCN FlowControl ReadWrite Works at [0x04294];
    /// Flow control MAC address of the predecessor, kept as storage.
    FCAMACL FlowControl ReadWrite Stored at [0x04328];
    /// Flow control MAC address of the predecessor, kept as storage.
    FCAMACH FlowControl ReadWrite Stored at [0x0432C];
    /// Transmit Flow Control Status: the traffic classes that may send (7:0).
    TFCS FlowControl ReadOnly Works at [0x0CE00] reset 0x0000_00FF;

    // Receive filters and address tables (8.2.3.7).
    /// Filter Control: bad packets (1), multicast and unicast promiscuous (8, 9), broadcast (10), pause frames (12, 13).
    FCTRL Filter ReadWrite Works at [0x05080];
    /// VLAN Control: ether type (15:0), CFI (28, 29), filter (30).
    VLNCTRL Filter ReadWrite Works at [0x05088] reset 0x0000_8100;
    /// Multicast Control: bits of the address that select (1:0), filter enable (2).
    MCSTCTRL Filter ReadWrite Works at [0x05090];
    /// Receive user priority to packet buffer of the predecessor, kept as storage.
    RUPPBMR Filter ReadWrite Stored at [0x050A0];
    /// Receive filter validation.
    RFVAL Filter ReadOnly Stored at [0x050A4];
    /// EType Queue Filter: type (15:0), pool (25:20), `FCoE` (27), 1588 (30), enable (31).
    ETQF Filter ReadWrite Works at [0x05128 + 4 * 8];
    /// EType Queue Select: queue (22:16), LLI (29), enable (31).
    ETQS Filter ReadWrite Works at [0x0EC00 + 4 * 8];
    /// SYN Packet Queue Filter: enable (0), queue (7:1), priority (31).
    SYNQF Filter ReadWrite Works at [0x0EC30];
    /// Multicast Table Array.
    MTA Filter ReadWrite Works at [0x05200 + 4 * 128];
    /// Receive Address Low: bytes 0 to 3.
    RAL Filter ReadWrite Works at [0x0A200 + 8 * 128] alias [0x05400 + 8 * 16];
    /// Receive Address High: bytes 4 and 5 (15:0), valid (31).
    RAH Filter ReadWrite Works at [0x0A204 + 8 * 128] alias [0x05404 + 8 * 16] write 0x8000_FFFF;
    /// MAC Pool Select: pools 31:0 and 63:32 for each receive address.
    MPSAR Filter ReadWrite Works at [0x0A600 + 4 * 256];
    /// VLAN Filter Table: a bit for each VLAN id.
    VFTA Filter ReadWrite Works at [0x0A000 + 4 * 128];
    /// Unicast Table Array.
    PFUTA Filter ReadWrite Works at [0x0F400 + 4 * 128];
    /// Multiple Receive Queues Command: mode (3:0), hashed fields (31:16).
    MRQC Filter ReadWrite Works at [0x0EC80] alias [0x05818];
    /// VMDq Control of the predecessor, kept as storage.
    VMD_CTL Filter ReadWrite Stored at [0x0581C];
    /// RSS Queues per Traffic Class.
    RQTC Filter ReadWrite Works at [0x0EC70] reset 0x4444_4444;
    /// Redirection Table: four entries each.
    RETA Filter ReadWrite Works at [0x0EB00 + 4 * 32] alias [0x05C00 + 4 * 32];
    /// RSS Random Key: byte 0 of the key in bits 7:0 of element 0.
    RSSRK Filter ReadWrite Works at [0x0EB80 + 4 * 10] alias [0x05C80 + 4 * 10];
    /// 5-tuple filter: source address.
    SAQF Filter ReadWrite Works at [0x0E000 + 4 * 128];
    /// 5-tuple filter: destination address.
    DAQF Filter ReadWrite Works at [0x0E200 + 4 * 128];
    /// 5-tuple filter: source (15:0) and destination port (31:16).
    SDPQF Filter ReadWrite Works at [0x0E400 + 4 * 128];
    /// 5-tuple filter: protocol (1:0), priority (4:2), pool (13:8), masks (30:25), enable (31).
    FTQF Filter ReadWrite Works at [0x0E600 + 4 * 128];
    /// 5-tuple filter: size and flags (19:12), LLI (20), queue (27:21).
    L34T_IMIR Filter ReadWrite Works at [0x0E800 + 4 * 128];
    /// Flow Director Control: memory (1:0), initialised (3), perfect match (4), report (5, 7), drop queue (14:8), flexible offset (20:16).
    FDIRCTRL Filter ReadWrite Works at [0x0EE00] write 0xFFFF_FFF7;
    /// Flow Director Source IPv6, dwords 0 to 2.
    FDIRSIPV6 Filter ReadWrite Works at [0x0EE0C + 4 * 3];
    /// Flow Director Source IPv4, and last dword of the IPv6 address.
    FDIRIPSA Filter ReadWrite Works at [0x0EE18];
    /// Flow Director Destination IPv4.
    FDIRIPDA Filter ReadWrite Works at [0x0EE1C];
    /// Flow Director Ports: source (15:0), destination (31:16).
    FDIRPORT Filter ReadWrite Works at [0x0EE20];
    /// Flow Director VLAN (15:0) and flexible bytes (31:16).
    FDIRVLAN Filter ReadWrite Works at [0x0EE24];
    /// Flow Director Hash (15:0) and signature or software index (31:16).
    FDIRHASH Filter ReadWrite Works at [0x0EE28];
    /// Flow Director Command: command (1:0) clears itself.
    FDIRCMD Filter ReadWrite Works at [0x0EE2C];
    /// Flow Director Filters Free (15:0), collisions (30:16).
    FDIRFREE Filter ReadWrite Works at [0x0EE38];
    /// Flow Director Destination IPv4 Mask; 1 is ignored.
    FDIRDIP4M Filter ReadWrite Works at [0x0EE3C];
    /// Flow Director Source IPv4 Mask; 1 is ignored.
    FDIRSIP4M Filter ReadWrite Works at [0x0EE40];
    /// Flow Director TCP Port Mask: source (15:0), destination (31:16).
    FDIRTCPM Filter ReadWrite Works at [0x0EE44];
    /// Flow Director UDP Port Mask.
    FDIRUDPM Filter ReadWrite Works at [0x0EE48];
    /// Flow Director Length: longest bucket (5:0), its hash (30:16).
    FDIRLEN Filter ReadClear Works at [0x0EE4C];
    /// Flow Director Usage: added (15:0), removed (31:16).
    FDIRUSTAT Filter ReadClear Works at [0x0EE50];
    /// Flow Director Failed Usage: adds (7:0), removes (15:8).
    FDIRFSTAT Filter ReadClear Works at [0x0EE54];
    /// Flow Director Matches.
    FDIRMATCH Filter ReadClear Works at [0x0EE58];
    /// Flow Director Misses.
    FDIRMISS Filter ReadClear Works at [0x0EE5C];
    /// Flow Director Bucket Hash Key.
    FDIRHKEY Filter ReadWrite Works at [0x0EE68] reset 0x8000_0001;
    /// Flow Director Signature Hash Key.
    FDIRSKEY Filter ReadWrite Works at [0x0EE6C] reset 0x8080_0101;
    /// Flow Director Mask: fields that perfect match ignores.
    FDIRM Filter ReadWrite Works at [0x0EE70];
    /// Flow Director IPv6 Mask: bytes of source (15:0) and destination (31:16).
    FDIRIP6M Filter ReadWrite Works at [0x0EE74];
    /// Flow Director SCTP Port Mask; of later chips, kept as storage.
    FDIRSCTPM Filter ReadWrite Stored at [0x0EE78];

    // Receive DMA (8.2.3.8).
    /// Receive Control: enable (0), descriptor monitor bypass (1).
    RXCTRL Receive ReadWrite Works at [0x03000] write 0x0000_0003;
    /// Receive DMA Control: CRC strip (1), DMA initialised (3), RSC first size (21:17), RSC completes on a change of ACK (25).
    RDRXCTL Receive ReadWrite Works at [0x02F00] reset 0x0010_0008 write 0xFFFF_FFF7;
    /// Queue Drop Enable: enable (0), hide VLAN (1), queue (14:8), write (16), read (17).
    QDE Receive Effect Works at [0x02F04];
    /// RSC Data Buffer Control: small disable (6:0), ACK disable (7).
    RSCDBU Receive ReadWrite Works at [0x03028];
    /// Receive Packet Buffer Size in KB (19:10).
    RXPBSIZE Receive ReadWrite Works at [0x03C00 + 4 * 8] reset 0x0008_0000 write 0x000F_FC00;
    /// Drop Enable Control.
    DROPEN Receive ReadWrite Stored at [0x03D04];
    /// Receive Checksum Control: IP payload checksum (12), packet checksum disable (13).
    RXCSUM Receive ReadWrite Works at [0x05000];
    /// Receive Filter Control: what is not parsed.
    RFCTL Receive ReadWrite Works at [0x05008];
    /// Receive FEC Error: packet buffer ECC.
    RXFECCERR0 Receive ReadWrite Stored at [0x051B8];
    /// Packet Split Receive Type: header types (12:4), queues of the pool (31:29).
    PSRTYPE Receive ReadWrite Works at [0x0EA00 + 4 * 64] alias [0x05480 + 4 * 16];
    /// Receive Descriptor Base Address Low.
    RDBAL Receive ReadWrite Works at [0x01000 + 0x40 * 64, 0x0D000 + 0x40 * 64] write 0xFFFF_FF80;
    /// Receive Descriptor Base Address High.
    RDBAH Receive ReadWrite Works at [0x01004 + 0x40 * 64, 0x0D004 + 0x40 * 64];
    /// Receive Descriptor Length: bytes, a multiple of 128.
    RDLEN Receive ReadWrite Works at [0x01008 + 0x40 * 64, 0x0D008 + 0x40 * 64] write 0x000F_FF80;
    /// Receive Descriptor Head.
    RDH Receive ReadWrite Works at [0x01010 + 0x40 * 64, 0x0D010 + 0x40 * 64] write 0x0000_FFFF;
    /// Split Receive Control: packet buffer in KB (4:0), header buffer (13:8), threshold (24:22), type (27:25), drop (28).
    SRRCTL Receive ReadWrite Works at [0x01014 + 0x40 * 64, 0x0D014 + 0x40 * 64] alias [0x02100 + 4 * 16] reset 0x0000_0402;
    /// Receive Descriptor Tail: one past the last descriptor that the driver has provided.
    RDT Receive ReadWrite Works at [0x01018 + 0x40 * 64, 0x0D018 + 0x40 * 64] write 0x0000_FFFF;
    /// Receive Descriptor Control: long packets (15, 13:0), enable (25), VLAN strip (30). A software flush (26) has nothing to do.
    RXDCTL Receive ReadWrite Works at [0x01028 + 0x40 * 64, 0x0D028 + 0x40 * 64] write 0xFBFF_FFFF;
    /// RSC Control: enable (0), descriptors (3:2).
    RSCCTL Receive ReadWrite Works at [0x0102C + 0x40 * 64, 0x0D02C + 0x40 * 64];

    // Transmit DMA (8.2.3.9). The predecessor's DTXCTL (0x7E00), TDSTAT (0x7C00), TDHMPN (0x7F08), TIC_DW (0x7F10) and
    // TDPROBE (0x7F20), which register dumps still read, lie in the blocks of queues 112, 120 and 124 and are not there.
    /// DMA Tx Control: enable (0), no snoop (1), double VLAN (3), VLAN ether type (31:16).
    DMATXCTL Transmit ReadWrite Works at [0x04A80] reset 0x8100_0000;
    /// DMA Tx TCP Flags Low: masks for the first (11:0) and middle (27:16) segments.
    DTXTCPFLGL Transmit ReadWrite Works at [0x04A88] reset 0x0F76_0FF6 write 0x0FFF_0FFF;
    /// DMA Tx TCP Flags High: mask for the last segment (11:0).
    DTXTCPFLGH Transmit ReadWrite Works at [0x04A8C] reset 0x0000_0F7F write 0x0000_0FFF;
    /// DMA Tx TCP Max Allow Size Requests.
    DTXMXSZRQ Transmit ReadWrite Stored at [0x08100] reset 0x0000_0010;
    /// Multiple Transmit Queues Command.
    MTQC Transmit ReadWrite Works at [0x08120];
    /// Strict Low Latency Tx Queues.
    TXLLQ Transmit ReadWrite Stored at [0x082E0 + 4 * 4];
    /// Transmit Packet Buffer Size in KB (19:10).
    TXPBSIZE Transmit ReadWrite Stored at [0x0CC00 + 4 * 8] reset 0x0002_8000 write 0x000F_FC00;
    /// Transmit Packet Buffer Threshold in KB; after reset 150 in element 0.
    TXPBTHRESH Transmit ReadWrite Stored at [0x04950 + 4 * 8];
    /// Manageability Transmit TC Mapping.
    MNGTXMAP Transmit ReadWrite Stored at [0x0CD10];
    /// Transmit Descriptor Base Address Low.
    TDBAL Transmit ReadWrite Works at [0x06000 + 0x40 * 128] write 0xFFFF_FF80;
    /// Transmit Descriptor Base Address High.
    TDBAH Transmit ReadWrite Works at [0x06004 + 0x40 * 128];
    /// Transmit Descriptor Length: bytes, a multiple of 128.
    TDLEN Transmit ReadWrite Works at [0x06008 + 0x40 * 128] write 0x000F_FF80;
    /// Transmit Descriptor Head.
    TDH Transmit ReadWrite Works at [0x06010 + 0x40 * 128] write 0x0000_FFFF;
    /// Transmit Descriptor Tail: one past the last descriptor that the driver has provided.
    TDT Transmit ReadWrite Works at [0x06018 + 0x40 * 128] write 0x0000_FFFF;
    /// Transmit Descriptor Control: prefetch (6:0), host (14:8) and write-back (22:16) threshold, enable (25), software
    /// flush (26, clears itself).
    TXDCTL Transmit ReadWrite Works at [0x06028 + 0x40 * 128];
    /// Tx Descriptor Completion Write-Back Address Low: head write-back enable (0).
    TDWBAL Transmit ReadWrite Works at [0x06038 + 0x40 * 128];
    /// Tx Descriptor Completion Write-Back Address High.
    TDWBAH Transmit ReadWrite Works at [0x0603C + 0x40 * 128];

    // Data centre bridging (8.2.3.10).
    /// Receive User Priority to Traffic Class, 3 bits each.
    RTRUP2TC Dcb ReadWrite Works at [0x03020];
    /// Receive arbiter start control.
    STARCTRL Dcb ReadWrite Stored at [0x03024];
    /// Receive Packet Plane Control and Status.
    RTRPCS Dcb ReadWrite Stored at [0x02430];
    /// Receive Packet Plane T4 Configuration.
    RTRPT4C Dcb ReadWrite Stored at [0x02140 + 4 * 8];
    /// Receive Packet Plane T4 Status.
    RTRPT4S Dcb ReadOnly Stored at [0x02160 + 4 * 8];
    /// Transmit Descriptor Plane Control and Status: classes by credits (0), VMs by weight (1), recycle (4), arbiter disable (6).
    RTTDCS Dcb ReadWrite Works at [0x04900] reset 0x00C0_0000;
    /// Transmit Descriptor Plane Queue Select: the queue, or pool, of RTTDT1C, RTTDT1S and RTTBCNRC.
    RTTDQSEL Dcb ReadWrite Works at [0x04904] write 0x0000_007F;
    /// Transmit Descriptor Plane T1 Configuration: credits of a queue or pool (13:0).
    RTTDT1C Dcb ReadWrite Works at [0x04908];
    /// Transmit Descriptor Plane T1 Status.
    RTTDT1S Dcb ReadOnly Works at [0x0490C];
    /// Transmit Descriptor Plane T2 Configuration, as RTTPT2C.
    RTTDT2C Dcb ReadWrite Works at [0x04910 + 4 * 8];
    /// Transmit Descriptor Plane T2 Status.
    RTTDT2S Dcb ReadOnly Works at [0x04930 + 4 * 8];
    /// Transmit Rate Scheduler Memory: what a queue may make up for (10:0), in KB. Also RTTBCNRM.
    RTTQCNRM Dcb ReadWrite Works at [0x04980];
    /// Transmit Rate Scheduler Control: rate factor (23:0, 14 bits of it after the point), enable (31).
    RTTBCNRC Dcb ReadWrite Works at [0x04984];
    /// Transmit Rate Scheduler Status.
    RTTBCNRS Dcb ReadOnly Stored at [0x04988];
    /// Transmit Rate Drift. Also RTTBCNRD.
    RTTQCNRR Dcb ReadWrite Stored at [0x0498C];
    /// Transmit Descriptor Plane ECC.
    RTTDTECC Dcb ReadWrite Stored at [0x04990];
    /// Congestion notification tag.
    RTTQCNTG Dcb ReadWrite Stored at [0x04A90];
    /// Congestion notification control.
    RTTQCNCR Dcb ReadWrite Stored at [0x08B00];
    /// Transmit User Priority to Traffic Class, 3 bits each.
    RTTUP2TC Dcb ReadWrite Works at [0x0C800];
    /// Transmit Packet Plane Control and Status: classes by credits (5), arbiter disable (6), recycle (8). Also PDPMCS.
    RTTPCS Dcb ReadWrite Works at [0x0CD00] reset 0x8900_0000;
    /// Transmit Packet Plane T2 Configuration: refill (8:0), bandwidth group (11:9), most credits (23:12), group strict (30),
    /// link strict (31).
    RTTPT2C Dcb ReadWrite Works at [0x0CD20 + 4 * 8];
    /// Transmit Packet Plane T2 Status.
    RTTPT2S Dcb ReadOnly Works at [0x0CD40 + 4 * 8];

    // Direct cache access (8.2.3.11).
    /// Rx DCA Control.
    DCA_RXCTRL Dca ReadWrite Stored at [0x0100C + 0x40 * 64, 0x0D00C + 0x40 * 64] alias [0x02200 + 4 * 16] reset 0x0000_1000;
    /// Tx DCA Control.
    DCA_TXCTRL Dca ReadWrite Stored at [0x0600C + 0x40 * 128] reset 0x0000_2A00;
    /// DCA Requester Id Information.
    DCA_ID Dca ReadOnly Stored at [0x11070];
    /// DCA Control: disabled (0), mode (4:1).
    DCA_CTRL Dca ReadWrite Stored at [0x11074] reset 0x0000_0001;

    // Security (8.2.3.12, 8.2.3.13).
    /// Security Tx Control: block off (0), stop (1), store and forward (2).
    SECTXCTRL Security ReadWrite Works at [0x08800] reset 0x0000_0001;
    /// Security Tx Status: ready (0), offload not available (1).
    SECTXSTAT Security ReadOnly Works at [0x08804] reset 0x0000_0001;
    /// Security Tx Buffer Almost Full.
    SECTXBUFFAF Security ReadWrite Stored at [0x08808] reset 0x0000_0250;
    /// Security Tx Buffer Minimum IFG.
    SECTXMINIFG Security ReadWrite Stored at [0x08810] reset 0x0000_1001;
    /// Security Rx Control: block off (0), stop (1).
    SECRXCTRL Security ReadWrite Works at [0x08D00] reset 0x0000_0001;
    /// Security Rx Status: ready (0), offload not available (1).
    SECRXSTAT Security ReadOnly Works at [0x08D04] reset 0x0000_0001;
    /// IPsec Tx Index: enable (0), entry (12:3), read (30), write (31); the last two clear themselves.
    IPSTXIDX Security ReadWrite Works at [0x08900];
    /// IPsec Tx Salt.
    IPSTXSALT Security ReadWrite Works at [0x08904];
    /// IPsec Tx Key: its last four bytes in the first register.
    IPSTXKEY Security ReadWrite Works at [0x08908 + 4 * 4];
    /// IPsec Rx Index: enable (0), table (2:1), entry (12:3), read (30), write (31); the last two clear themselves.
    IPSRXIDX Security ReadWrite Works at [0x08E00];
    /// IPsec Rx IP Address, in the order of the wire; of IPv4, in the last register.
    IPSRXIPADDR Security ReadWrite Works at [0x08E04 + 4 * 4];
    /// IPsec Rx SPI, in the order of the wire.
    IPSRXSPI Security ReadWrite Works at [0x08E14];
    /// IPsec Rx IP Index: entry of the IP table (6:0).
    IPSRXIPIDX Security ReadWrite Works at [0x08E18];
    /// IPsec Rx Key: its last four bytes in the first register.
    IPSRXKEY Security ReadWrite Works at [0x08E1C + 4 * 4];
    /// IPsec Rx Salt.
    IPSRXSALT Security ReadWrite Works at [0x08E2C];
    /// IPsec Rx Mode: valid (0), ESP (2), decrypt (3), IPv6 (4).
    IPSRXMOD Security ReadWrite Works at [0x08E30];
    /// LinkSec Tx: capabilities, control, SCI, SA, packet numbers, keys.
    LSECTX Security ReadWrite Stored at [0x08A00 + 4 * 15];
    /// LinkSec Tx counters: untagged, encrypted, protected packets; encrypted, protected octets.
    LSECTXCNT Security ReadClear Stored at [0x08A3C + 4 * 5];
    /// LinkSec Rx: capabilities, control, SCI, SAs, packet numbers, keys.
    LSECRX Security ReadWrite Stored at [0x08F00 + 4 * 16];
    /// LinkSec Rx counters.
    LSECRXCNT Security ReadClear Stored at [0x08F40 + 4 * 17];

    // FCoE (8.2.3.15).
    /// FC Receive Control: which headers are posted (2 to 5), ignore (6) and byte order (7) of the CRC, version (11:8).
    FCRXCTRL Fcoe ReadWrite Works at [0x05100];
    /// FC Filter: valid (0), first (1), sequence id (15:8) and count (31:16) of the context that FCFLTRW selects.
    FCFLT Fcoe ReadWrite Works at [0x05108];
    /// FC Source MAC; of a successor, kept as storage.
    FCSMAC Fcoe ReadWrite Stored at [0x0510C];
    /// FC Filter Read/Write Control: context (8:0), re-validation (13), write (14), read (15).
    FCFLTRW Fcoe ReadWrite Works at [0x05110];
    /// FC Destination Id; of a successor, kept as storage.
    FCD_ID Fcoe ReadWrite Stored at [0x05114];
    /// FC Offset Parameter: relative offset that is expected in the context.
    FCPARAM Fcoe ReadWrite Works at [0x051D8];
    /// FC User Descriptor Pointer Low: where the list of user buffers of a context lies.
    FCPTRL Fcoe ReadWrite Works at [0x02410];
    /// FC User Descriptor Pointer High.
    FCPTRH Fcoe ReadWrite Works at [0x02414];
    /// FC Buffer Control: valid (0), size (4:3) and number (15:8) of user buffers, target (7), offset in the first (31:16).
    FCBUFF Fcoe ReadWrite Works at [0x02418];
    /// FC Receive DMA Read/Write: context (8:0), write (14), read (15), bytes in the last buffer (31:16).
    FCDMARW Fcoe ReadWrite Works at [0x02420];
    /// `FCoE` Redirection Control: enable (0).
    FCRECTL Fcoe ReadWrite Works at [0x0ED00];
    /// `FCoE` Redirection Table: queue (6:0) for each value of the exchange id's low 3 bits.
    FCRETA Fcoe ReadWrite Works at [0x0ED10 + 4 * 8];
    /// Tx FC End of Frame Flags: the codes EOFn, EOFt, EOFni and EOFa.
    TEOFF Fcoe ReadWrite Works at [0x04A94] reset 0x5049_4241;
    /// Tx FC Start of Frame Flags: the codes SOFi2, SOFi3, SOFn2 and SOFn3.
    TSOFF Fcoe ReadWrite Works at [0x04A98] reset 0x3635_2E2D;
    /// Rx FC End of Frame Flags: as TEOFF.
    REOFF Fcoe ReadWrite Works at [0x05158] reset 0x5049_4241;
    /// Rx FC Start of Frame Flags: as TSOFF.
    RSOFF Fcoe ReadWrite Works at [0x051F8] reset 0x3635_2E2D;

    // Virtualisation (8.2.3.17, 8.2.3.27).
    /// Virtual Control: enable (0), default pool (12:7), no default pool (29), replication (30).
    VT_CTL Virtualisation ReadWrite Works at [0x051B0];
    /// VF Rx Enable.
    PFVFRE Virtualisation ReadWrite Works at [0x051E0 + 4 * 2];
    /// VF Tx Enable.
    PFVFTE Virtualisation ReadWrite Works at [0x08110 + 4 * 2];
    /// VM Tx Switch Loopback Enable.
    VMTXSW Virtualisation ReadWrite Works at [0x05180 + 4 * 2];
    /// Pool source pruning Low.
    PFFLPL Virtualisation ReadWrite Stored at [0x050B0];
    /// Pool source pruning High.
    PFFLPH Virtualisation ReadWrite Stored at [0x050B4];
    /// VM L2 Control: untagged (24), hashes (25, 26), broadcast (27), every multicast (28). Also PFVML2FLT.
    VMOLR Virtualisation ReadWrite Works at [0x0F000 + 4 * 64];
    /// VM VLAN Pool Filter: VLAN id (11:0), enable (31).
    VLVF Virtualisation ReadWrite Works at [0x0F100 + 4 * 64];
    /// VM VLAN Pool Filter Bitmap: pools 31:0 and 63:32 of each entry.
    VLVFB Virtualisation ReadWrite Works at [0x0F200 + 4 * 128];
    /// Mirror Rule Control: pool (0), uplink (1), downlink (2), VLAN (3), pool of the copies (13:8).
    MRCTL Virtualisation ReadWrite Works at [0x0F600 + 4 * 4];
    /// Mirror Rule VLAN.
    VMRVLAN Virtualisation ReadWrite Works at [0x0F610 + 4 * 8];
    /// Mirror Rule Pool.
    VMRVM Virtualisation ReadWrite Works at [0x0F630 + 4 * 8];
    /// VM VLAN Insert: tag (15:0), always (30), never (31).
    VMVIR Virtualisation ReadWrite Works at [0x08000 + 4 * 64];
    /// VF Anti-Spoof: 8 pools each, MAC (7:0), VLAN (15:8).
    PFVFSPOOF Virtualisation ReadWrite Works at [0x08200 + 4 * 8];
    /// DMA Tx General Switch Control: loopback (0).
    PFDTXGSWC Virtualisation ReadWrite Works at [0x08220];
    /// VM Anti-Spoof Counting.
    VMECM Virtualisation ReadWrite Works at [0x08790 + 4 * 2];
    /// Local Loopback Drop Enable.
    LBDRPEN Virtualisation ReadWrite Stored at [0x0CA00];
    /// VF Function Level Resets that happened.
    PFVFLRE Virtualisation ReadOnly Works at [0x00600, 0x001C0];
    /// VF Function Level Reset Clear.
    PFVFLREC Virtualisation Effect Works at [0x00700 + 4 * 2];
    /// PF Mailbox Interrupt Causes: requests (15:0), acknowledgements (31:16).
    PFMBICR Virtualisation WriteOneToClear Works at [0x00710 + 4 * 4];
    /// PF Mailbox Interrupt Mask: the VFs that may interrupt, 32 each; elements 2 and 3 are storage.
    PFMBIMR Virtualisation ReadWrite Works at [0x00720 + 4 * 4] reset 0xFFFF_FFFF;
    /// PF Mailbox: message (0), acknowledgement (1), memory is the VF's (2) or the PF's (3), taken from the VF (4).
    PFMAILBOX Virtualisation Effect Works at [0x04B00 + 4 * 64];
    /// VF Mailbox, as the PF sees it: as PFMAILBOX (3:0), the PF's message (4) and acknowledgement (5), its reset (6, 7).
    VFMAILBOX Virtualisation Effect Works at [0x04C00 + 4 * 64] reset 0x0000_0040;
    /// PF Mailbox Memory: 16 dwords for each VF.
    PFMBMEM Virtualisation ReadWrite Works at [0x13000 + 4 * 1024];
    /// VF Control, as the PF sees it: reset (26).
    VTCTRL Virtualisation Effect Works at [0x00300 + 4 * 64];
    /// VF Interrupt Cause, as the PF sees it.
    VTEICR Virtualisation Effect Works at [0x00B00 + 4 * 64] write 0x7;
    /// VF Interrupt Cause Set, as the PF sees it.
    VTEICS Virtualisation Effect Works at [0x00C00 + 4 * 64] write 0x7;
    /// VF Interrupt Mask Set, as the PF sees it.
    VTEIMS Virtualisation Effect Works at [0x00D00 + 4 * 64] write 0x7;
    /// VF Interrupt Mask Clear, as the PF sees it.
    VTEIMC Virtualisation Effect Works at [0x00E00 + 4 * 64] write 0x7;
    /// VF Interrupt Auto Clear, as the PF sees it.
    VTEIAC Virtualisation ReadWrite Stored at [0x00F00 + 4 * 64];
    /// VF Interrupt Auto Mask, as the PF sees it.
    VTEIAM Virtualisation ReadWrite Works at [0x04D00 + 4 * 64];
    /// VF Interrupt Vector Allocation, as the PF sees it.
    VTIVAR Virtualisation ReadWrite Stored at [0x12500 + 4 * 64];
    /// VF Miscellaneous Interrupt Vector Allocation, as the PF sees it.
    VTIVAR_MISC Virtualisation ReadWrite Stored at [0x04E00 + 4 * 64];

    // Power management, wake-up and manageability (8.2.3.18, 8.2.3.19).
    /// Wake Up Control: PME enable (1), PME status (2).
    WUC Wakeup ReadWrite Works at [0x05800] reset 0x0000_0010;
    /// Wake Up Filter Control.
    WUFC Wakeup ReadWrite Works at [0x05808];
    /// Wake Up Status.
    WUS Wakeup WriteOneToClear Works at [0x05810];
    /// IP Address Valid.
    IPAV Wakeup ReadWrite Works at [0x05838];
    /// IPv4 Address Table.
    IP4AT Wakeup ReadWrite Works at [0x05840 + 8 * 4];
    /// IPv6 Address Table.
    IP6AT Wakeup ReadWrite Works at [0x05880 + 4 * 4];
    /// Wake Up Packet Length.
    WUPL Wakeup ReadOnly Works at [0x05900];
    /// Wake Up Packet Memory.
    WUPM Wakeup ReadOnly Works at [0x05A00 + 4 * 32];
    /// Flexible Host Filter Table.
    FHFT Wakeup ReadWrite Works at [0x09000 + 4 * 256];
    /// Flexible Host Filter Table, extended.
    FHFT_EXT Wakeup ReadWrite Works at [0x09800 + 4 * 128];
    /// Flexible TCO Filter Table.
    FTFT Wakeup ReadWrite Stored at [0x09400 + 4 * 256];
    /// Management VLAN TAG Value.
    MAVTV Wakeup ReadWrite Stored at [0x05010 + 4 * 8];
    /// Management Flex UDP/TCP Ports.
    MFUTP Wakeup ReadWrite Stored at [0x05030 + 4 * 8];
    /// BMC IP.
    BMCIP Wakeup ReadWrite Stored at [0x05050 + 4 * 4];
    /// Manageability Decision Filters, extended.
    MDEF_EXT Wakeup ReadWrite Stored at [0x05160 + 4 * 8];
    /// Management Ethernet Type Filters.
    METF Wakeup ReadWrite Stored at [0x05190 + 4 * 4];
    /// Management Control.
    MANC Wakeup ReadWrite Stored at [0x05820];
    /// Manageability Filters Valid.
    MFVAL Wakeup ReadWrite Stored at [0x05824];
    /// Management Control to Host.
    MANC2H Wakeup ReadWrite Stored at [0x05860];
    /// Manageability Decision Filters.
    MDEF Wakeup ReadWrite Stored at [0x05890 + 4 * 8];
    /// Manageability IP Address Filter.
    MIPAF Wakeup ReadWrite Stored at [0x058B0 + 4 * 16];
    /// Manageability MAC Address Low.
    MMAL Wakeup ReadWrite Stored at [0x05910 + 8 * 4];
    /// Manageability MAC Address High.
    MMAH Wakeup ReadWrite Stored at [0x05914 + 8 * 4];

    // Statistics (8.2.3.23).
    /// CRC Error Count.
    CRCERRS Statistics ReadClear Works at [0x04000];
    /// Illegal Byte Error Count.
    ILLERRC Statistics ReadClear Stored at [0x04004];
    /// Error Byte Count.
    ERRBC Statistics ReadClear Stored at [0x04008];
    /// MAC Short Packet Discard Count.
    MSPDC Statistics ReadClear Stored at [0x04010];
    /// MAC Local Fault Count.
    MLFC Statistics ReadClear Works at [0x04034];
    /// MAC Remote Fault Count.
    MRFC Statistics ReadClear Stored at [0x04038];
    /// Receive Length Error Count.
    RLEC Statistics ReadClear Works at [0x04040];
    /// Packets Received, 64 Bytes.
    PRC64 Statistics ReadClear Works at [0x0405C];
    /// Packets Received, 65 to 127 Bytes.
    PRC127 Statistics ReadClear Works at [0x04060];
    /// Packets Received, 128 to 255 Bytes.
    PRC255 Statistics ReadClear Works at [0x04064];
    /// Packets Received, 256 to 511 Bytes.
    PRC511 Statistics ReadClear Works at [0x04068];
    /// Packets Received, 512 to 1023 Bytes.
    PRC1023 Statistics ReadClear Works at [0x0406C];
    /// Packets Received, 1024 Bytes to the maximum.
    PRC1522 Statistics ReadClear Works at [0x04070];
    /// Good Packets Received Count.
    GPRC Statistics ReadClear Works at [0x04074];
    /// Broadcast Packets Received Count.
    BPRC Statistics ReadClear Works at [0x04078];
    /// Multicast Packets Received Count.
    MPRC Statistics ReadClear Works at [0x0407C];
    /// Good Packets Transmitted Count.
    GPTC Statistics ReadClear Works at [0x04080];
    /// Good Octets Received Count Low.
    GORCL Statistics ReadClear Works at [0x04088];
    /// Good Octets Received Count High (3:0).
    GORCH Statistics ReadClear Works at [0x0408C];
    /// Good Octets Transmitted Count Low.
    GOTCL Statistics ReadClear Works at [0x04090];
    /// Good Octets Transmitted Count High (3:0).
    GOTCH Statistics ReadClear Works at [0x04094];
    /// Receive Undersize Count.
    RUC Statistics ReadClear Works at [0x040A4];
    /// Receive Fragment Count.
    RFC Statistics ReadClear Works at [0x040A8];
    /// Receive Oversize Count.
    ROC Statistics ReadClear Works at [0x040AC];
    /// Receive Jabber Count.
    RJC Statistics ReadClear Works at [0x040B0];
    /// Management Packets Received Count.
    MNGPRC Statistics ReadClear Stored at [0x040B4];
    /// Management Packets Dropped Count.
    MNGPDC Statistics ReadClear Stored at [0x040B8];
    /// Management Packets Transmitted Count.
    MNGPTC Statistics ReadClear Stored at [0x0CF90];
    /// Total Octets Received Low.
    TORL Statistics ReadClear Works at [0x040C0];
    /// Total Octets Received High (3:0).
    TORH Statistics ReadClear Works at [0x040C4];
    /// Total Packets Received.
    TPR Statistics ReadClear Works at [0x040D0];
    /// Total Packets Transmitted.
    TPT Statistics ReadClear Works at [0x040D4];
    /// Packets Transmitted, 64 Bytes.
    PTC64 Statistics ReadClear Works at [0x040D8];
    /// Packets Transmitted, 65 to 127 Bytes.
    PTC127 Statistics ReadClear Works at [0x040DC];
    /// Packets Transmitted, 128 to 255 Bytes.
    PTC255 Statistics ReadClear Works at [0x040E0];
    /// Packets Transmitted, 256 to 511 Bytes.
    PTC511 Statistics ReadClear Works at [0x040E4];
    /// Packets Transmitted, 512 to 1023 Bytes.
    PTC1023 Statistics ReadClear Works at [0x040E8];
    /// Packets Transmitted, 1024 Bytes or more.
    PTC1522 Statistics ReadClear Works at [0x040EC];
    /// Multicast Packets Transmitted Count.
    MPTC Statistics ReadClear Works at [0x040F0];
    /// Broadcast Packets Transmitted Count.
    BPTC Statistics ReadClear Works at [0x040F4];
    /// XSUM Error Count: packets with a wrong IPv4, TCP or UDP checksum.
    XEC Statistics ReadClear Works at [0x04120];
    /// Missed Packets Count, per packet buffer.
    MPC Statistics ReadClear Works at [0x03FA0 + 4 * 8];
    /// Receive No Buffers Count of the predecessor.
    RNBC Statistics ReadClear Stored at [0x03FC0 + 4 * 8];
    /// Priority XON Received Count; 16 bits.
    PXONRXCNT Statistics ReadClear Works at [0x04140 + 4 * 8];
    /// Priority XOFF Received Count; 16 bits.
    PXOFFRXCNT Statistics ReadClear Works at [0x04160 + 4 * 8];
    /// Priority XON Transmitted Count; 16 bits.
    PXONTXC Statistics ReadClear Works at [0x03F00 + 4 * 8];
    /// Priority XOFF Transmitted Count; 16 bits.
    PXOFFTXC Statistics ReadClear Works at [0x03F20 + 4 * 8];
    /// Priority XON Received Count of the predecessor.
    PXONRXC Statistics ReadClear Stored at [0x0CF00 + 4 * 8];
    /// Priority XOFF Received Count of the predecessor.
    PXOFFRXC Statistics ReadClear Stored at [0x0CF20 + 4 * 8];
    /// Priority XON to XOFF Count; 16 bits.
    PXON2OFFCNT Statistics ReadClear Works at [0x03240 + 4 * 8];
    /// Link XON Received Count; 16 bits.
    LXONRXCNT Statistics ReadClear Works at [0x041A4];
    /// Link XOFF Received Count; 16 bits.
    LXOFFRXCNT Statistics ReadClear Works at [0x041A8];
    /// Link XON Transmitted Count; 16 bits.
    LXONTXC Statistics ReadClear Works at [0x03F60];
    /// Link XOFF Transmitted Count; 16 bits.
    LXOFFTXC Statistics ReadClear Works at [0x03F68];
    /// Link XON Received Count of the predecessor.
    LXONRXC Statistics ReadClear Stored at [0x0CF60];
    /// Link XOFF Received Count of the predecessor.
    LXOFFRXC Statistics ReadClear Stored at [0x0CF68];
    /// Good Rx Non-Filtered Packet Count.
    RXNFGPC Statistics ReadClear Works at [0x041B0];
    /// Good Rx Non-Filtered Byte Count Low.
    RXNFGBCL Statistics ReadClear Works at [0x041B4];
    /// Good Rx Non-Filtered Byte Count High (3:0).
    RXNFGBCH Statistics ReadClear Works at [0x041B8];
    /// DMA Rx Statistics Control: the queue that is counted (3:0), all queues (4).
    RXDSTATCTRL Statistics ReadWrite Works at [0x02F40];
    /// DMA Good Rx Packet Count.
    RXDGPC Statistics ReadClear Works at [0x02F50];
    /// DMA Good Rx Byte Count Low.
    RXDGBCL Statistics ReadClear Works at [0x02F54];
    /// DMA Good Rx Byte Count High (3:0).
    RXDGBCH Statistics ReadClear Works at [0x02F58];
    /// DMA Duplicated Good Rx Packet Count.
    RXDDGPC Statistics ReadClear Works at [0x02F5C];
    /// DMA Duplicated Good Rx Byte Count Low.
    RXDDGBCL Statistics ReadClear Works at [0x02F60];
    /// DMA Duplicated Good Rx Byte Count High (3:0).
    RXDDGBCH Statistics ReadClear Works at [0x02F64];
    /// DMA Good Rx Loopback Packet Count.
    RXLPBKGPC Statistics ReadClear Works at [0x02F68];
    /// DMA Good Rx Loopback Byte Count Low.
    RXLPBKGBCL Statistics ReadClear Works at [0x02F6C];
    /// DMA Good Rx Loopback Byte Count High (3:0).
    RXLPBKGBCH Statistics ReadClear Works at [0x02F70];
    /// DMA Duplicated Good Rx Loopback Packet Count.
    RXDLPBKGPC Statistics ReadClear Works at [0x02F74];
    /// DMA Duplicated Good Rx Loopback Byte Count Low.
    RXDLPBKGBCL Statistics ReadClear Works at [0x02F78];
    /// DMA Duplicated Good Rx Loopback Byte Count High (3:0).
    RXDLPBKGBCH Statistics ReadClear Works at [0x02F7C];
    /// DMA Good Tx Packet Count.
    TXDGPC Statistics ReadClear Works at [0x087A0];
    /// DMA Good Tx Byte Count Low.
    TXDGBCL Statistics ReadClear Works at [0x087A4];
    /// DMA Good Tx Byte Count High (3:0).
    TXDGBCH Statistics ReadClear Works at [0x087A8];
    /// Switch Security Violation Packet Count.
    SSVPC Statistics ReadClear Works at [0x08780];
    /// FC CRC Error Count; 16 bits.
    FCCRC Statistics ReadClear Works at [0x05118];
    /// `FCoE` Rx Packets Dropped Count.
    FCOERPDC Statistics ReadClear Works at [0x0241C];
    /// FC Last Error Count.
    FCLAST Statistics ReadClear Works at [0x02424];
    /// `FCoE` Packets Received Count.
    FCOEPRC Statistics ReadClear Works at [0x02428];
    /// `FCoE` DWords Received Count.
    FCOEDWRC Statistics ReadClear Works at [0x0242C];
    /// `FCoE` Packets Transmitted Count.
    FCOEPTC Statistics ReadClear Works at [0x08784];
    /// `FCoE` DWords Transmitted Count.
    FCOEDWTC Statistics ReadClear Works at [0x08788];
    /// Receive Queue Statistic Mapping: four queues each, statistic (3:0).
    RQSMR Statistics ReadWrite Works at [0x02300 + 4 * 32];
    /// Transmit Queue Statistic Mapping: four queues each, statistic (3:0).
    TQSM Statistics ReadWrite Works at [0x08600 + 4 * 32];
    /// Queue Packets Received Count.
    QPRC Statistics ReadClear Works at [0x01030 + 0x40 * 16];
    /// Queue Bytes Received Count Low.
    QBRC_L Statistics ReadClear Works at [0x01034 + 0x40 * 16];
    /// Queue Bytes Received Count High (3:0).
    QBRC_H Statistics ReadClear Works at [0x01038 + 0x40 * 16];
    /// Queue Packets Received Drop Count.
    QPRDC Statistics ReadClear Works at [0x01430 + 0x40 * 16];
    /// Queue Packets Transmitted Count.
    QPTC Statistics ReadClear Works at [0x08680 + 4 * 16] alias [0x06030 + 0x40 * 16];
    /// Queue Bytes Transmitted Count Low.
    QBTC_L Statistics ReadClear Works at [0x08700 + 8 * 16];
    /// Queue Bytes Transmitted Count High (3:0).
    QBTC_H Statistics ReadClear Works at [0x08704 + 8 * 16];
    /// Good packets of the VF, or VM pool, received; neither cleared by a read nor saturating.
    PVFGPRC Statistics ReadOnly Works at [0x0101C + 0x40 * 64];
    /// Good octets of the VF received Low.
    PVFGORC_LSB Statistics ReadOnly Works at [0x01020 + 0x40 * 64];
    /// Good octets of the VF received High.
    PVFGORC_MSB Statistics ReadOnly Works at [0x0D020 + 0x40 * 64];
    /// Multicast packets of the VF received.
    PVFMPRC Statistics ReadOnly Works at [0x0D01C + 0x40 * 64];
    /// Good packets of the VF transmitted.
    PVFGPTC Statistics ReadOnly Works at [0x08300 + 4 * 64];
    /// Good octets of the VF transmitted Low.
    PVFGOTC_LSB Statistics ReadOnly Works at [0x08400 + 8 * 64];
    /// Good octets of the VF transmitted High.
    PVFGOTC_MSB Statistics ReadOnly Works at [0x08404 + 8 * 64];

    // Diagnostics (8.2.3.26).
    /// Receive DMA statistics.
    RDSTAT Diagnostic ReadOnly Stored at [0x02C00 + 4 * 8];
    /// Receive DMA statistics control.
    RDSTATCTL Diagnostic ReadWrite Stored at [0x02C20];
    /// Receive descriptor handler memory page. Also DRECCCTL.
    RDHMPN Diagnostic ReadWrite Stored at [0x02F08];
    /// Receive descriptor handler internal cache.
    RIC_DW Diagnostic ReadWrite Stored at [0x02F10 + 4 * 4];
    /// Receive probe mode status. Also RDDCC.
    RDPROBE Diagnostic ReadWrite Stored at [0x02F20];
    /// Receive DMA memory access control.
    RDMAM Diagnostic ReadWrite Stored at [0x02F30];
    /// Receive DMA memory access data.
    RDMAD Diagnostic ReadWrite Stored at [0x02F34];
    /// Receive packet buffer write pointers, in lines of 16 bytes.
    RXWRPTR Diagnostic ReadOnly Works at [0x03100 + 4 * 8];
    /// Receive packet buffer use, in lines of 16 bytes.
    RXUSED Diagnostic ReadOnly Works at [0x03120 + 4 * 8];
    /// Receive packet buffer read pointers, in lines of 16 bytes.
    RXRDPTR Diagnostic ReadOnly Works at [0x03140 + 4 * 8];
    /// Receive packet buffer read-write pointers.
    RXRDWRPTR Diagnostic ReadOnly Stored at [0x03160 + 4 * 8];
    /// Receive packet buffer memory wrap.
    RXMEMWRAP Diagnostic ReadOnly Stored at [0x03190];
    /// Receive packet buffer ECC.
    PBRXECC Diagnostic ReadWrite Stored at [0x03300];
    /// Receive packet buffer access control: line (14:0), packet buffer (18:16).
    RXBUFCTRL Diagnostic ReadWrite Works at [0x03600];
    /// Receive packet buffer access data: the line that RXBUFCTRL chooses.
    RXBUFDATA Diagnostic ReadOnly Works at [0x03610 + 4 * 4];
    /// Receive data write pointers.
    RXDATAWRPTR Diagnostic ReadOnly Stored at [0x03700 + 4 * 4];
    /// Receive descriptor write pointers.
    RXDESCWRPTR Diagnostic ReadOnly Stored at [0x03710 + 4 * 4];
    /// Receive data read pointers.
    RXDATARDPTR Diagnostic ReadOnly Stored at [0x03720 + 4 * 4];
    /// Receive descriptor read pointers.
    RXDESCRDPTR Diagnostic ReadOnly Stored at [0x03730 + 4 * 4];
    /// Receive data buffer ECC.
    RXDBUECC Diagnostic ReadWrite Stored at [0x03F70];
    /// Receive data buffer ECC status.
    RXDBUEST Diagnostic ReadClear Works at [0x03F74];
    /// Transmit packet buffer write pointers.
    TXWRPTR Diagnostic ReadOnly Stored at [0x0C100 + 4 * 8];
    /// Transmit packet buffer use.
    TXUSED Diagnostic ReadOnly Stored at [0x0C120 + 4 * 8];
    /// Transmit packet buffer read pointers.
    TXRDPTR Diagnostic ReadOnly Stored at [0x0C140 + 4 * 8];
    /// Transmit packet buffer read-write pointers.
    TXRDWRPTR Diagnostic ReadOnly Stored at [0x0C160 + 4 * 8];
    /// Transmit packet buffer ECC.
    PBTXECC Diagnostic ReadWrite Stored at [0x0C300];
    /// Transmit packet buffer access control.
    TXBUFCTRL Diagnostic ReadWrite Stored at [0x0C600];
    /// Transmit packet buffer access data.
    TXBUFDATA Diagnostic ReadWrite Stored at [0x0C610 + 4 * 4];
    /// Transmit data write pointers.
    TXDATAWRPTR Diagnostic ReadOnly Stored at [0x0C700 + 4 * 4];
    /// Transmit descriptor write pointers.
    TXDESCWRPTR Diagnostic ReadOnly Stored at [0x0C710 + 4 * 4];
    /// Transmit data read pointers.
    TXDATARDPTR Diagnostic ReadOnly Stored at [0x0C720 + 4 * 4];
    /// Transmit descriptor read pointers.
    TXDESCRDPTR Diagnostic ReadOnly Stored at [0x0C730 + 4 * 4];
    /// Transmit data buffer ECC.
    TXDBUECC Diagnostic ReadWrite Stored at [0x0CF70];
    /// Transmit data buffer ECC status.
    TXDBUEST Diagnostic ReadClear Works at [0x0CF74];
}
