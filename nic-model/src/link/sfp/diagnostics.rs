//! Page 0xA2: what the module measures (SFF-8472 chapter 9).
//!
//! Values are those of a module at work. They follow what happens to it: without light from the other end there is no
//! received power, with TX_DISABLE no laser bias and no transmitted power; flags and the status byte say so.

use super::{Sfp, put, sum};
use crate::Module;

/// Temperature (1/256 degree, two's complement), supply (100 uV), laser bias (2 uA), transmitted and received power
/// (0.1 uW), in the page's order.
type Quantities = [u16; 5];

/// Places of the quantities.
const BIAS: usize = 2;
const SENT: usize = 3;
const RECEIVED: usize = 4;

/// Power of a dark fibre as detectors see it: -40 dBm.
const DARK: u16 = 1;

/// Status (byte 110): TX_DISABLE is high.
const TX_DISABLED: u8 = 1 << 7;
/// Status: loss of signal.
const RX_LOS: u8 = 1 << 1;

/// What differs from module to module.
pub(super) struct Diagnostics {
    high_alarm: Quantities,
    low_alarm: Quantities,
    high_warning: Quantities,
    low_warning: Quantities,
    /// With both ends at work.
    usual: Quantities,
}

// Temperatures: 78, -13, 73, -8, 35 degrees; supply: 3.7, 2.9, 3.6, 3.0, 3.3 V.
const SR: Diagnostics = Diagnostics {
    // Bias 11.8, 4.0, 10.8, 5.0, 6.0 mA; sent 0.8, 0.15, 0.7, 0.2, 0.5 mW; received 1.0, 0.01, 0.8, 0.03, 0.5 mW.
    high_alarm: [0x4E00, 37_000, 5_900, 8_000, 10_000],
    low_alarm: [0xF300, 29_000, 2_000, 1_500, 100],
    high_warning: [0x4900, 36_000, 5_400, 7_000, 8_000],
    low_warning: [0xF800, 30_000, 2_500, 2_000, 300],
    usual: [0x2300, 33_000, 3_000, 5_000, 5_000],
};

const LR: Diagnostics = Diagnostics {
    // Bias 85, 15, 80, 20, 36 mA; sent 2.2, 0.12, 1.8, 0.15, 0.62 mW; received 1.8, 0.01, 1.4, 0.03, 0.45 mW.
    high_alarm: [0x4E00, 37_000, 42_500, 22_000, 18_000],
    low_alarm: [0xF300, 29_000, 7_500, 1_200, 100],
    high_warning: [0x4900, 36_000, 40_000, 18_000, 14_000],
    low_warning: [0xF800, 30_000, 10_000, 1_500, 300],
    usual: [0x2480, 32_950, 18_000, 6_200, 4_500],
};

const SX: Diagnostics = Diagnostics {
    // Bias 12, 1.0, 10, 2.0, 4.2 mA; sent 0.63, 0.07, 0.5, 0.11, 0.28 mW; received 1.3, 0.01, 1.0, 0.02, 0.25 mW.
    high_alarm: [0x5A00, 37_000, 6_000, 6_300, 13_000],
    low_alarm: [0xF300, 29_000, 500, 700, 100],
    high_warning: [0x5500, 36_000, 5_000, 5_000, 10_000],
    low_warning: [0xF800, 30_000, 1_000, 1_100, 200],
    usual: [0x2140, 33_050, 2_100, 2_800, 2_500],
};

/// The diagnostics of a module that has some: an optical one.
pub(super) const fn of(module: Module) -> Option<Diagnostics> {
    match module {
        Module::Sr | Module::SrDualRate => Some(SR),
        Module::Lr => Some(LR),
        Module::Sx => Some(SX),
        Module::Absent
        | Module::DirectAttachPassive
        | Module::DirectAttachActive
        | Module::BaseT => None,
    }
}

impl Diagnostics {
    /// The page of a module in the surroundings that `sfp` tells.
    pub(super) fn page(&self, sfp: &Sfp) -> [u8; 256] {
        // Calibration by the module itself: all slopes are 1.
        const SLOPES: [usize; 4] = [76, 80, 84, 88];
        let Self {
            high_alarm,
            low_alarm,
            high_warning,
            low_warning,
            usual,
        } = self;
        let mut page = [0; 256];
        let thresholds = [high_alarm, low_alarm, high_warning, low_warning];
        for (column, thresholds) in thresholds.into_iter().enumerate() {
            for (row, threshold) in thresholds.iter().enumerate() {
                put(&mut page, 8 * row + 2 * column, &threshold.to_be_bytes());
            }
        }
        for slope in SLOPES {
            put(&mut page, slope, &[1, 0]);
        }
        // Received power is a polynomial, here the first power with the factor 1.0.
        put(&mut page, 68, &1.0_f32.to_be_bytes());
        page[95] = sum(&page[..95]);

        let mut measured = *usual;
        let mut status = 0;
        if !sfp.may_send {
            measured[BIAS] = 0;
            measured[SENT] = DARK;
            status |= TX_DISABLED;
        }
        if !sfp.receives {
            measured[RECEIVED] = DARK;
            status |= RX_LOS;
        }
        for (n, measured) in measured.iter().enumerate() {
            put(&mut page, 96 + 2 * n, &measured.to_be_bytes());
        }
        page[110] = status;
        let alarms = flags(&measured, high_alarm, low_alarm);
        put(&mut page, 112, &alarms.to_be_bytes());
        let warnings = flags(&measured, high_warning, low_warning);
        put(&mut page, 116, &warnings.to_be_bytes());
        page
    }
}

/// Two bits for each quantity from the top down: too high, too low.
fn flags(measured: &Quantities, high: &Quantities, low: &Quantities) -> u16 {
    // The temperature has a sign; an offset keeps the order.
    const SIGN: [u16; 5] = [0x8000, 0, 0, 0, 0];
    let mut flags = 0;
    for n in 0..measured.len() {
        let [measured, high, low] = [measured, high, low].map(|of| of[n] ^ SIGN[n]);
        if measured > high {
            flags |= 0x8000 >> (2 * n);
        }
        if measured < low {
            flags |= 0x4000 >> (2 * n);
        }
    }
    flags
}
