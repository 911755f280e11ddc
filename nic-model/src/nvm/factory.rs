//! What the factory writes into the NVM.

use ixgbe_spec::nvm::{
    CHECKSUM, CORE_SECTION_POINTER, DEVICE_CAPS, ETRACK_ID, FIRMWARE_POINTER, PBA, PBA_IS_STRING,
    PBA_POINTER, SFP_INIT_POINTER, VPD_POINTER, WORDS, firmware, sfp_init,
};

use super::{image::checksum, vpd};
use crate::port::PortConfig;

/// Number of the printed board assembly.
const BOARD: &[u8; 10] = b"E68793-006";
/// Identification of the image, which drivers show as the firmware's version.
const ETRACK: u32 = 0x8000_06DA;

/// Version of the firmware's patch.
const PATCH_VERSION: u16 = 6;

/// Core sections of the ports.
const CORE_SECTIONS: [u16; 2] = [0x0100, 0x0110];
const BOARD_BLOCK: u16 = 0x0120;
const SFP_LIST: u16 = 0x0140;
const SFP_DATA: u16 = 0x0160;
const FIRMWARE: u16 = 0x0180;
const PATCH: u16 = 0x01A0;
const VPD_AREA: u16 = 0x01C0;

/// Builds the words of a card with these ports. Those that nothing here sets are 0xFFFF, which every driver takes for "not there", except for the
/// control words in the header.
pub(super) fn words(ports: &[&PortConfig]) -> Vec<u16> {
    let mut words = vec![0xFFFF; WORDS];
    put(&mut words, 0x00, &[0, 0, 0]);
    put(&mut words, 0x38, &[0]);

    for port in ports {
        let [a, b, c, d, e, f] = port.mac;
        let mac = [[a, b], [c, d], [e, f]].map(u16::from_le_bytes);
        let section = CORE_SECTIONS[port.lan_id.index()];
        let pointer = CORE_SECTION_POINTER + port.lan_id.index();
        put(&mut words, pointer, &[section]);
        put(&mut words, usize::from(section), &[3]);
        put(&mut words, usize::from(section) + 1, &mac);
    }

    put(&mut words, PBA, &[PBA_IS_STRING]);
    put(&mut words, PBA_POINTER, &[BOARD_BLOCK]);
    // The block's length counts its own word.
    let mut board = vec![6];
    board.extend(BOARD.chunks(2).map(|two| match two {
        [first, second] => u16::from_be_bytes([*first, *second]),
        _ => 0,
    }));
    put(&mut words, usize::from(BOARD_BLOCK), &board);

    let serial = ports.first().map_or([0; 6], |port| port.mac);
    let vpd: Vec<u16> = vpd::image(serial)
        .chunks(2)
        .map(|two| match two {
            [low, high] => u16::from_le_bytes([*low, *high]),
            [low] => u16::from(*low),
            _ => 0,
        })
        .collect();
    put(&mut words, VPD_POINTER, &[VPD_AREA]);
    put(&mut words, usize::from(VPD_AREA), &vpd);

    put(&mut words, SFP_INIT_POINTER, &[SFP_LIST]);
    put(
        &mut words,
        usize::from(SFP_LIST),
        &[
            0,
            sfp_init::DIRECT_ATTACH,
            SFP_DATA,
            sfp_init::DIRECT_ATTACH + 1,
            SFP_DATA,
            sfp_init::OPTICS,
            SFP_DATA,
            sfp_init::OPTICS + 1,
            SFP_DATA,
            sfp_init::END,
        ],
    );
    // Nothing to initialise.
    put(&mut words, usize::from(SFP_DATA), &[0, sfp_init::END]);

    // Everything that can be taken away is there.
    put(&mut words, DEVICE_CAPS, &[0]);
    let [l, m, n, o] = ETRACK.to_le_bytes();
    put(
        &mut words,
        ETRACK_ID,
        &[[l, m], [n, o]].map(u16::from_le_bytes),
    );
    put(&mut words, FIRMWARE_POINTER, &[FIRMWARE]);
    put(
        &mut words,
        usize::from(FIRMWARE) + firmware::PATCH_POINTER,
        &[PATCH],
    );
    put(
        &mut words,
        usize::from(PATCH) + firmware::PATCH_VERSION,
        &[PATCH_VERSION],
    );

    let checksum = checksum(&words);
    put(&mut words, CHECKSUM, &[checksum]);
    words
}

fn put(words: &mut [u16], at: usize, values: &[u16]) {
    for (word, value) in words.iter_mut().skip(at).zip(values) {
        *word = *value;
    }
}
