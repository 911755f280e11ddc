//! AES-GCM with a key of 128 bits, the one algorithm of the card (7.12.2).

use std::fmt;

use aes_gcm::{Aes128Gcm, KeyInit, aead::AeadInOut};

/// Length of the integrity check value, in bytes.
pub(crate) const ICV_LEN: usize = 16;
/// Length of the initialisation vector that is in each packet, in bytes.
pub(super) const IV_LEN: usize = 8;
/// Length of the part of the nonce that is in the SA, in bytes.
pub(super) const SALT_LEN: usize = 4;

/// Salt and initialisation vector (RFC 4106, 4).
pub(super) type Nonce = [u8; SALT_LEN + IV_LEN];

/// A packet is not what its sender made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forged;

/// A key, ready for use.
#[derive(Clone)]
pub(super) struct Cipher(Aes128Gcm);

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

impl Cipher {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        Self(Aes128Gcm::new(&(*key).into()))
    }

    /// Encrypts `text` and returns the check value over `covered` and the result. `None` if it is longer than the cipher
    /// can take, which no frame is.
    pub(super) fn seal(
        &self,
        nonce: &Nonce,
        covered: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; ICV_LEN]> {
        let tag = self
            .0
            .encrypt_inout_detached(&(*nonce).into(), covered, text.into());
        tag.ok().map(Into::into)
    }

    /// Checks `icv` and decrypts `text`, which stays as it is if the check fails.
    pub(super) fn open(
        &self,
        nonce: &Nonce,
        covered: &[u8],
        text: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), Forged> {
        self.0
            .decrypt_inout_detached(&(*nonce).into(), covered, text.into(), &(*icv).into())
            .map_err(|_| Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| byte(pair).unwrap()).collect();
        bytes.try_into().unwrap()
    }

    /// "Test Vectors for the Galois/Counter Mode of Operation in IPsec" (draft-mcgrew-gcm-test), a DNS query in ESP.
    #[test]
    fn the_published_esp_packet_comes_out() {
        let key = bytes("feffe9928665731c 6d6a8f9467308308");
        let nonce = bytes("cafebabe facedbaddecaf888");
        let header: [u8; 8] = bytes("0000a5f8 0000000a");
        let mut text: [u8; 64] = bytes(
            "4500003e698f0000 80114dccc0a80102 c0a801010a980035 002a2343b2d00100
             0001000000000000 0373697009637962 6572636974790264 6b00000100010001"
                .replace('\n', "")
                .as_str(),
        );
        let plain = text;

        let cipher = Cipher::new(&key);
        let icv = cipher.seal(&nonce, &header, &mut text).unwrap();

        let expected: [u8; 64] = bytes(
            "deb22cd9b07c72c1 6e3a65beeb8df304 a5a5897d33ae530f 1ba76d5d114d2a5c
             3de81827c10e9a4f 51330d0eec416642 cfbb85a5b47e48a4 ec3b9ba95d918bd1"
                .replace('\n', "")
                .as_str(),
        );
        assert_eq!(text, expected);
        assert_eq!(icv, bytes("83b70d3aa8bc6ee4 c309e9d85a41ad4a"));
        assert_eq!(cipher.open(&nonce, &header, &mut text, &icv), Ok(()));
        assert_eq!(text, plain);
    }

    #[test]
    fn a_forged_text_is_told_and_left_alone() {
        let cipher = Cipher::new(&[7; 16]);
        let mut text = *b"some bytes";
        let icv = cipher.seal(&[1; 12], b"covered", &mut text).unwrap();
        text[3] ^= 1;
        let forged = text;
        assert_eq!(
            cipher.open(&[1; 12], b"covered", &mut text, &icv),
            Err(Forged)
        );
        assert_eq!(text, forged);
    }
}
