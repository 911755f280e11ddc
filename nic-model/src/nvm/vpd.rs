//! Vital product data: what the card says about itself in words, an area of the NVM (6.4, 9.3.12). A part of it, which
//! begins with a tag of its own, is for software to write.

use std::ops::Range;

/// Bytes that the address of the capability reaches.
const AREA: usize = 0x8000;

/// Name of the product, the string that `lspci -vv` shows.
const PRODUCT: &[u8] = b"Intel(R) Ethernet Server Adapter X520-2";
const PART_NUMBER: &[u8] = b"E68793-006";

const TAG_IDENTIFIER: u8 = 0x82;
const TAG_READ_ONLY: u8 = 0x90;
const TAG_READ_WRITE: u8 = 0x91;
const TAG_END: u8 = 0x78;
/// Bit of a tag that two bytes of length follow; in other tags the length is in the low bits.
const TAG_IS_LARGE: u8 = 0x80;

/// Bytes that software may write: the keyword RW, its length, and as many free bytes as that says.
const WRITABLE: u8 = 64;

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
    image.extend_from_slice(&[TAG_READ_WRITE, WRITABLE, 0]);
    image.extend_from_slice(&[b'R', b'W', WRITABLE - 3]);
    image.extend(std::iter::repeat_n(0, usize::from(WRITABLE) - 3));
    image.push(TAG_END);
    image
}

/// The bytes of an area that software may write: what follows the tag for it. `byte` reads the area.
pub(super) fn writable(byte: impl Fn(usize) -> u8) -> Range<usize> {
    let mut at = 0;
    while at < AREA {
        let tag = byte(at);
        let (start, len) = if tag & TAG_IS_LARGE == 0 {
            (at + 1, usize::from(tag & 0x7))
        } else {
            let len = u16::from_le_bytes([byte(at + 1), byte(at + 2)]);
            (at + 3, usize::from(len))
        };
        match tag {
            TAG_READ_WRITE => return start..start + len,
            TAG_END => break,
            _ => at = start + len,
        }
    }
    0..0
}

fn short(len: usize) -> u8 {
    u8::try_from(len).expect("the strings are short")
}
