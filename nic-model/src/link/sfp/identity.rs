//! Page 0xA0: what the module is (SFF-8472 chapters 5 to 8).

use super::{put, sum};
use crate::Module;

/// What differs from module to module.
pub(super) struct Identity {
    /// Byte 2: LC, RJ45 or a copper pigtail.
    connector: u8,
    /// Byte 3: 10G Ethernet compliance.
    ten_gigabit: u8,
    /// Byte 6: 1G Ethernet compliance.
    gigabit: u8,
    /// Byte 8: cable technology.
    cable: u8,
    /// Bytes 11 and 12: line code, and rate in 100 MBd.
    line: [u8; 2],
    /// Bytes 14 to 19: reach on single mode in km and in 100 m, on OM2 and OM1 in 10 m, on copper in m, on OM3 in 10 m.
    reach: [u8; 6],
    /// Bytes 40 to 55: part number.
    part: &'static [u8; 16],
    /// Bytes 60 and 61: wavelength in nm, or for a cable the specification that it follows.
    medium: [u8; 2],
    /// Byte 65: which of the pins loss of signal (bit 1), transmit fault (3) and transmit disable (4) there are.
    pins: u8,
    /// Bytes 92 to 94: kind of diagnostics, enhanced options, revision of SFF-8472; all 0 without diagnostics.
    diagnostics: [u8; 3],
}

const LC: u8 = 0x07;
const COPPER_PIGTAIL: u8 = 0x21;
const RJ45: u8 = 0x22;
const CODE_64B66B: u8 = 0x06;
const CODE_8B10B: u8 = 0x01;
const ALL_PINS: u8 = 0x1A;
/// There, internally calibrated, average power; alarm and warning flags; revision 10.2.
const DIAGNOSTICS: [u8; 3] = [0x68, 0x80, 0x05];

const SR: Identity = Identity {
    connector: LC,
    ten_gigabit: 0x10,
    gigabit: 0,
    cable: 0,
    line: [CODE_64B66B, 103],
    reach: [0, 0, 8, 3, 0, 30],
    part: b"E10GSFPSR       ",
    medium: 850_u16.to_be_bytes(),
    pins: ALL_PINS,
    diagnostics: DIAGNOSTICS,
};

const SR_DUAL_RATE: Identity = Identity {
    gigabit: 0x01,
    part: b"E10GSFPSRX      ",
    ..SR
};

const LR: Identity = Identity {
    ten_gigabit: 0x20,
    reach: [10, 100, 0, 0, 0, 0],
    part: b"E10GSFPLR       ",
    medium: 1310_u16.to_be_bytes(),
    ..SR
};

const DIRECT_ATTACH_PASSIVE: Identity = Identity {
    connector: COPPER_PIGTAIL,
    ten_gigabit: 0,
    gigabit: 0,
    cable: 0x04,
    line: [0, 103],
    reach: [0, 0, 0, 0, 3, 0],
    part: b"XDACBL3M        ",
    // SFF-8431 appendix E.
    medium: [0x01, 0],
    pins: 0,
    diagnostics: [0; 3],
};

const DIRECT_ATTACH_ACTIVE: Identity = Identity {
    cable: 0x08,
    reach: [0, 0, 0, 0, 7, 0],
    part: b"XDACBL7MA       ",
    // SFF-8431, limiting.
    medium: [0x04, 0],
    pins: ALL_PINS,
    ..DIRECT_ATTACH_PASSIVE
};

const SX: Identity = Identity {
    ten_gigabit: 0,
    gigabit: 0x01,
    line: [CODE_8B10B, 13],
    reach: [0, 0, 55, 27, 0, 0],
    part: b"E1GSFPSX        ",
    ..SR
};

const BASE_T: Identity = Identity {
    connector: RJ45,
    ten_gigabit: 0,
    gigabit: 0x08,
    line: [CODE_8B10B, 13],
    reach: [0, 0, 0, 0, 100, 0],
    part: b"E1GSFPT         ",
    medium: [0, 0],
    diagnostics: [0; 3],
    ..SR
};

/// The identity of a module, if there is one.
pub(super) const fn of(module: Module) -> Option<Identity> {
    match module {
        Module::Absent => None,
        Module::Sr => Some(SR),
        Module::SrDualRate => Some(SR_DUAL_RATE),
        Module::Lr => Some(LR),
        Module::DirectAttachPassive => Some(DIRECT_ATTACH_PASSIVE),
        Module::DirectAttachActive => Some(DIRECT_ATTACH_ACTIVE),
        Module::Sx => Some(SX),
        Module::BaseT => Some(BASE_T),
    }
}

impl Identity {
    /// The page. What lies past byte 95 is the vendor's, here 0.
    pub(super) fn page(&self) -> [u8; 256] {
        let Self {
            connector,
            ten_gigabit,
            gigabit,
            cable,
            line,
            reach,
            part,
            medium,
            pins,
            diagnostics,
        } = self;
        let mut page = [0; 256];
        // SFP, by two-wire interface.
        put(&mut page, 0, &[0x03, 0x04, *connector, *ten_gigabit]);
        put(&mut page, 6, &[*gigabit, 0, *cable]);
        put(&mut page, 11, line);
        put(&mut page, 14, reach);
        put(&mut page, 20, b"Intel Corp      ");
        put(&mut page, 37, &[0x00, 0x1B, 0x21]);
        put(&mut page, 40, *part);
        put(&mut page, 56, b"A   ");
        put(&mut page, 60, medium);
        page[63] = sum(&page[..63]);
        page[65] = *pins;
        put(&mut page, 68, b"MODEL0000000001 ");
        put(&mut page, 84, b"260101  ");
        put(&mut page, 92, diagnostics);
        page[95] = sum(&page[64..95]);
        page
    }
}
