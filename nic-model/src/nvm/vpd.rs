//! Vital product data: what the card says about itself in words, an area of the NVM (6.4, 9.3.12).

/// Name of the product, the string that `lspci -vv` shows.
const PRODUCT: &[u8] = b"Intel(R) Ethernet Server Adapter X520-2";
const PART_NUMBER: &[u8] = b"E68793-006";

const TAG_IDENTIFIER: u8 = 0x82;
const TAG_READ_ONLY: u8 = 0x90;
const TAG_END: u8 = 0x78;

/// Builds the area. `serial` goes into the SN keyword, as hexadecimal digits of the MAC address.
pub(super) fn image(mac: [u8; 6]) -> Vec<u8> {
    let serial = mac.map(|byte| format!("{byte:02X}")).concat();
    let mut fields = Vec::new();
    for (keyword, text) in [
        (b"PN", PART_NUMBER),
        (b"EC", b"G33410-000"),
        (b"SN", serial.as_bytes()),
    ] {
        fields.extend_from_slice(keyword);
        fields.push(short(text.len()));
        fields.extend_from_slice(text);
    }
    // The checksum byte makes the sum of all bytes up to and with it 0.
    fields.extend_from_slice(b"RV\x01\x00");

    let mut image = vec![TAG_IDENTIFIER, short(PRODUCT.len()), 0];
    image.extend_from_slice(PRODUCT);
    image.extend_from_slice(&[TAG_READ_ONLY, short(fields.len()), 0]);
    image.extend_from_slice(&fields);
    let sum = image.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = image.last_mut() {
        *checksum = sum.wrapping_neg();
    }
    image.push(TAG_END);
    image
}

fn short(len: usize) -> u8 {
    u8::try_from(len).expect("the strings are short")
}
