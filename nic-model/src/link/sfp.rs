//! The memory of the SFP+ module in the cage (SFF-8472).

use std::sync::LazyLock;

/// What is in the cage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Module {
    /// Nothing.
    Absent,
    /// An SFP+ module for 10GBASE-SR, of the vendor whose modules every 82599 driver accepts.
    #[default]
    Sr,
}

impl Module {
    pub(super) fn memory(self) -> Option<&'static Memory> {
        static SR: LazyLock<Memory> = LazyLock::new(Memory::sr);
        match self {
            Self::Absent => None,
            Self::Sr => Some(&SR),
        }
    }
}

/// The two pages of 256 bytes.
#[derive(Debug)]
pub(super) struct Memory {
    /// Device address 0xA0: what the module is.
    identity: [u8; 256],
    /// Device address 0xA2: its measurements.
    diagnostics: [u8; 256],
}

impl Memory {
    /// The page at a device address (bit 0, read or write, does not matter).
    pub(super) fn page(&self, device: u8) -> Option<&[u8; 256]> {
        match device & 0xFE {
            0xA0 => Some(&self.identity),
            0xA2 => Some(&self.diagnostics),
            _ => None,
        }
    }

    fn sr() -> Self {
        Self {
            identity: sr_identity(),
            diagnostics: sr_diagnostics(),
        }
    }
}

fn sr_identity() -> [u8; 256] {
    let mut page = [0; 256];
    // SFP, by two-wire interface; LC connector; 10GBASE-SR; 64B/66B; 10.3 GBd.
    put(&mut page, 0, &[0x03, 0x04, 0x07, 0x10]);
    put(&mut page, 11, &[0x06, 103]);
    // Reach: 80 m on OM2, 30 m on OM1, (no copper,) 300 m on OM3.
    put(&mut page, 16, &[8, 3, 0, 30]);
    put(&mut page, 20, b"Intel Corp      ");
    put(&mut page, 37, &[0x00, 0x1B, 0x21]);
    put(&mut page, 40, b"E10GSFPSR       ");
    put(&mut page, 56, b"A   ");
    put(&mut page, 60, &850_u16.to_be_bytes());
    page[63] = sum(&page[..63]);
    // Transmit disable, transmit fault and loss of signal are there.
    put(&mut page, 64, &[0x00, 0x1A]);
    put(&mut page, 68, b"MODEL0000000001 ");
    put(&mut page, 84, b"260101  ");
    // Diagnostics: there, internally calibrated, average power; alarm and warning flags; revision 10.2.
    put(&mut page, 92, &[0x68, 0x80, 0x05]);
    page[95] = sum(&page[64..95]);
    page
}

fn sr_diagnostics() -> [u8; 256] {
    // Per quantity: high alarm, low alarm, high warning, low warning.
    const THRESHOLDS: [[u16; 4]; 5] = [
        // Temperature, 1/256 degree (two's complement): 78, -13, 73, -8.
        [0x4E00, 0xF300, 0x4900, 0xF800],
        // Supply, 100 uV: 3.7, 2.9, 3.6, 3.0 V.
        [37_000, 29_000, 36_000, 30_000],
        // Laser bias, 2 uA: 11.8, 4.0, 10.8, 5.0 mA.
        [5_900, 2_000, 5_400, 2_500],
        // Transmitted power, 0.1 uW: 0.8, 0.15, 0.7, 0.2 mW.
        [8_000, 1_500, 7_000, 2_000],
        // Received power, 0.1 uW: 1.0, 0.01, 0.8, 0.03 mW.
        [10_000, 100, 8_000, 300],
    ];
    // 35 degrees, 3.3 V, 6 mA, 0.5 mW, 0.5 mW.
    const MEASURED: [u16; 5] = [0x2300, 33_000, 3_000, 5_000, 5_000];
    // Calibration by the module itself: all slopes are 1.
    const SLOPES: [usize; 4] = [76, 80, 84, 88];

    let mut page = [0; 256];
    for (row, thresholds) in THRESHOLDS.iter().enumerate() {
        for (column, threshold) in thresholds.iter().enumerate() {
            put(&mut page, 8 * row + 2 * column, &threshold.to_be_bytes());
        }
    }
    for slope in SLOPES {
        put(&mut page, slope, &[1, 0]);
    }
    // Received power is a polynomial, here the first power with the factor 1.0.
    put(&mut page, 68, &1.0_f32.to_be_bytes());
    page[95] = sum(&page[..95]);
    for (n, measured) in MEASURED.iter().enumerate() {
        put(&mut page, 96 + 2 * n, &measured.to_be_bytes());
    }
    page
}

fn put(page: &mut [u8; 256], at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Check code: the low 8 bits of the sum.
fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}
