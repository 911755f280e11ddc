//! FC frames as the standard has them, for the tests of both directions.

pub(crate) const SOF_I3: u8 = 0x2E;
pub(crate) const SOF_N3: u8 = 0x36;
pub(crate) const EOF_N: u8 = 0x41;
pub(crate) const EOF_T: u8 = 0x42;
pub(crate) const EOF_NI: u8 = 0x49;

pub(crate) const END_SEQUENCE: u32 = 1 << 19;
pub(crate) const SEQUENCE_INITIATIVE: u32 = 1 << 16;
pub(crate) const FROM_RESPONDER: u32 = 1 << 23;
pub(crate) const RELATIVE_OFFSET: u32 = 1 << 3;

/// An FC frame from one N_Port to another in an Ethernet frame.
#[derive(Clone, Debug)]
pub(crate) struct Fc {
    pub to: [u8; 6],
    pub sof: u8,
    pub eof: u8,
    pub r_ctl: u8,
    pub f_ctl: u32,
    pub seq_id: u8,
    pub df_ctl: u8,
    pub seq_cnt: u16,
    pub ox_id: u16,
    pub rx_id: u16,
    pub parameter: u32,
    pub payload: Vec<u8>,
}

impl Fc {
    /// FCP data that answers exchange `ox_id`, the first frame of its sequence.
    pub(crate) fn data(to: [u8; 6], ox_id: u16, payload: &[u8]) -> Self {
        Self {
            to,
            sof: SOF_I3,
            eof: EOF_N,
            r_ctl: 1,
            f_ctl: FROM_RESPONDER | RELATIVE_OFFSET,
            seq_id: 0x21,
            df_ctl: 0,
            seq_cnt: 0,
            ox_id,
            rx_id: 0xFFFF,
            parameter: 0,
            payload: payload.to_vec(),
        }
    }

    /// The response that ends exchange `ox_id`.
    pub(crate) fn response(to: [u8; 6], ox_id: u16) -> Self {
        Self {
            eof: EOF_T,
            r_ctl: 7,
            f_ctl: FROM_RESPONDER | END_SEQUENCE,
            ..Self::data(to, ox_id, &[0; 24])
        }
    }

    /// The headers in front of the FC frame.
    pub(crate) fn ethernet(&self) -> Vec<u8> {
        let mut bytes = [&self.to[..], &[2, 0, 0, 0, 0, 9], &[0x89, 0x06]].concat();
        bytes.extend([0; 13]);
        bytes.push(self.sof);
        bytes
    }

    /// The FC frame without its CRC.
    pub(crate) fn fc(&self) -> Vec<u8> {
        let mut bytes = vec![self.r_ctl, 1, 2, 3, 0, 4, 5, 6];
        bytes.extend((8 << 24 | self.f_ctl).to_be_bytes());
        bytes.extend([self.seq_id, self.df_ctl]);
        bytes.extend(
            [self.seq_cnt, self.ox_id, self.rx_id]
                .map(u16::to_be_bytes)
                .concat(),
        );
        bytes.extend(self.parameter.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let fc = self.fc();
        let mut bytes = self.ethernet();
        bytes.extend(&fc);
        bytes.extend(crc32(&fc).to_le_bytes());
        bytes.extend([self.eof, 0, 0, 0]);
        bytes
    }
}

/// The CRC of Ethernet and Fibre Channel by its definition: polynomial division, bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let feedback = (crc ^ u32::from(byte >> bit)) & 1;
            crc = (crc >> 1) ^ (feedback * 0xEDB8_8320);
        }
    }
    !crc
}

#[test]
fn the_crc_of_the_tests_gives_the_published_check_value() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
