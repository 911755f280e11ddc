//! Tables as drivers write them, and packets that OpenSSL made.

use ixgbe_spec::{
    descriptor::{
        rx::Status,
        tx::{Context, ContextHigh, ContextLow},
    },
    register::{
        Reg,
        bits::{ipsidx, ipsrxmod},
    },
};
use proptest::prelude::*;

use super::{IpSec, Protection, Security, packet::Inner};
use crate::regs::RegisterFile;

const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const SALT: [u8; 4] = [0xA1, 0xA2, 0xA3, 0xA4];
const SPI: [u8; 4] = [0, 0, 0xC0, 0xDE];
const TO4: [u8; 4] = [198, 51, 100, 7];
const TO6: [u8; 16] = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 2];
const ESP: u32 = ipsrxmod::VALID | ipsrxmod::ESP;

/// The same UDP datagram in four packets: as a driver hands it over, and on the wire. Python's `cryptography` made them.
const ESP_V4: [&str; 2] = [
    "0200000000010200000000020800451000441234400040323c08c0000201c63364070000c0de00000005112233445566\
     7788003514e9000d000068656c6c6f01011100000000000000000000000000000000",
    "0200000000010200000000020800451000441234400040323c08c0000201c63364070000c0de00000005112233445566\
     7788599656a1b30648e3facac3bfaa73d83a0f08ba1af719d658f58d0d84b321cf7d",
];
const ESP_V6_NOT_ENCRYPTED: [&str; 2] = [
    "02000000000102000000000286dd60a123450030323f20010db800000000000000000000000120010db8000000000000\
     0000ffff00020000c0de000000051122334455667788003514e9000d000068656c6c6f01011100000000000000000000\
     000000000000",
    "02000000000102000000000286dd60a123450030323f20010db800000000000000000000000120010db8000000000000\
     0000ffff00020000c0de000000051122334455667788003514e9000d000068656c6c6f010111d01ebe98c5829258760c\
     848de2eb15a0",
];
const AH_V4: [&str; 2] = [
    "0200000000010200000000020800451000451234400040333c06c0000201c6336407110700000000c0de000000051122\
     33445566778800000000000000000000000000000000003514e9000d000068656c6c6f",
    "0200000000010200000000020800451000451234400040333c06c0000201c6336407110700000000c0de000000051122\
     33445566778821c0a2a7770fe8bf1e00305eb359ef18003514e9000d000068656c6c6f",
];
const AH_V6: [&str; 2] = [
    "02000000000102000000000286dd60a123450035333f20010db800000000000000000000000120010db8000000000000\
     0000ffff0002110800000000c0de00000005112233445566778800000000000000000000000000000000000000000035\
     14e9000d000068656c6c6f",
    "02000000000102000000000286dd60a123450035333f20010db800000000000000000000000120010db8000000000000\
     0000ffff0002110800000000c0de000000051122334455667788132c059d3672b41cf80adcf6b641453b000000000035\
     14e9000d000068656c6c6f",
];
const IP_START: usize = 14;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex
        .chars()
        .map(|digit| digit.to_digit(16).unwrap())
        .collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

/// The tables, and the registers before them.
#[derive(Default)]
struct Bench {
    ipsec: IpSec,
    regs: RegisterFile,
}

impl Bench {
    fn write(&mut self, reg: Reg, index: usize, value: u32) {
        let new = self.regs.write(reg, index, value);
        self.ipsec.written(reg, new, &mut self.regs);
    }

    /// The key as Linux writes it: from its last word to its first, each in big-endian order.
    fn secret(&mut self, key: Reg, salt: Reg) {
        for (index, word) in KEY.as_chunks::<4>().0.iter().rev().enumerate() {
            self.write(key, index, u32::from_be_bytes(*word));
        }
        self.write(salt, 0, u32::from_be_bytes(SALT));
    }

    fn add_transmit_sa(&mut self, index: u32) {
        self.secret(Reg::IPSTXKEY, Reg::IPSTXSALT);
        self.write(Reg::IPSTXIDX, 0, ipsidx::EN | index << 3 | ipsidx::WRITE);
    }

    fn add_receive_sa(&mut self, index: u32, ip_index: u32, address: [u8; 16], mode: u32) {
        for (word, bytes) in address.as_chunks::<4>().0.iter().enumerate() {
            self.write(Reg::IPSRXIPADDR, word, u32::from_le_bytes(*bytes));
        }
        self.write(Reg::IPSRXIDX, 0, ip_index << 3 | 1 << 1 | ipsidx::WRITE);
        self.write(Reg::IPSRXSPI, 0, u32::from_le_bytes(SPI));
        self.write(Reg::IPSRXIPIDX, 0, ip_index);
        self.write(Reg::IPSRXIDX, 0, index << 3 | 2 << 1 | ipsidx::WRITE);
        self.secret(Reg::IPSRXKEY, Reg::IPSRXSALT);
        self.write(Reg::IPSRXMOD, 0, mode);
        self.write(Reg::IPSRXIDX, 0, index << 3 | 3 << 1 | ipsidx::WRITE);
    }

    fn receiver(address: [u8; 16], mode: u32) -> Self {
        let mut bench = Self::default();
        bench.add_receive_sa(1023, 127, address, mode);
        bench
    }

    fn open(&self, frame: &mut [u8], ip_end: usize) -> Option<(Status, Option<Inner>)> {
        let opened = self.ipsec.open(frame, IP_START, ip_end)?;
        Some((opened.status, opened.inner))
    }
}

/// An IPv4 address in the table of IP addresses.
fn v4() -> [u8; 16] {
    let mut address = [0; 16];
    address[12..].copy_from_slice(&TO4);
    address
}

fn security(sa: u16, esp: bool, encrypt: bool) -> Security {
    Security::of(&Context {
        low: ContextLow::new().with_ipsec_sa_index(sa),
        high: ContextHigh::new()
            .with_ipsec_esp(esp)
            .with_ipsec_encrypt(encrypt),
    })
}

fn protected(plain: &str, security: Security) -> Vec<u8> {
    let mut bench = Bench::default();
    bench.add_transmit_sa(1023);
    let mut frame = bytes(plain);
    let protection = Protection::new(&bench.ipsec, security, &frame, IP_START).unwrap();
    protection.apply(&mut frame).unwrap();
    frame
}

#[test]
fn a_packet_is_protected_as_openssl_does_it() {
    let cases = [
        (ESP_V4, security(1023, true, true)),
        (ESP_V6_NOT_ENCRYPTED, security(1023, true, false)),
        (AH_V4, security(1023, false, false)),
        (AH_V6, security(1023, false, false)),
    ];
    for ([plain, wire], security) in cases {
        assert_eq!(protected(plain, security), bytes(wire), "{security:?}");
    }
}

#[test]
fn a_packet_that_openssl_made_is_opened_in_place() {
    let cases = [
        (ESP_V4, v4(), ESP | ipsrxmod::DECRYPT, 50, 63),
        (ESP_V6_NOT_ENCRYPTED, TO6, ESP | ipsrxmod::IPV6, 70, 83),
        (AH_V4, v4(), ipsrxmod::VALID, 70, 83),
        (AH_V6, TO6, ipsrxmod::VALID | ipsrxmod::IPV6, 94, 107),
    ];
    for ([plain, wire], address, mode, start, end) in cases {
        let bench = Bench::receiver(address, mode);
        let mut frame = bytes(wire);
        let (changed, len) = (bytes(plain), frame.len());
        assert_eq!(
            bench.open(&mut frame, len),
            Some((
                Status::SECP,
                Some(Inner {
                    protocol: 17,
                    start,
                    end
                })
            ))
        );
        // The check value stays; all else is as the sender had it.
        let differs = (0..len).filter(|at| frame[*at] != changed[*at]).count();
        assert!(differs <= 16, "{differs} bytes differ");
        assert_eq!(frame[start..end], changed[start..end]);
    }
}

#[test]
fn each_kind_of_error_is_told_and_the_frame_is_left_alone() {
    let wire = bytes(ESP_V4[1]);
    let len = wire.len();
    let bench = Bench::receiver(v4(), ESP | ipsrxmod::DECRYPT);
    let authenticates = Bench::receiver(v4(), ipsrxmod::VALID);

    let mut forged = wire.clone();
    forged[55] ^= 1;
    let before = forged.clone();
    let error = Status::SECP | Status::SECERR_AUTHENTICATION;
    assert_eq!(bench.open(&mut forged, len), Some((error, None)));
    assert_eq!(forged, before);

    let error = Status::SECP | Status::SECERR_PROTOCOL;
    let mut frame = wire.clone();
    assert_eq!(authenticates.open(&mut frame, len), Some((error, None)));

    let error = Status::SECP | Status::SECERR_LENGTH;
    assert_eq!(bench.open(&mut frame, len + 1), Some((error, None)));
    assert_eq!(bench.open(&mut frame, 60), Some((error, None)));
    assert_eq!(frame, wire);
}

#[test]
fn a_packet_without_an_association_goes_by() {
    let wire = bytes(ESP_V4[1]);
    let unknown = |bench: &Bench| {
        let mut frame = wire.clone();
        bench.open(&mut frame, wire.len()).is_none() && frame == wire
    };
    let mut other_address = v4();
    other_address[15] ^= 1;

    assert!(!unknown(&Bench::receiver(v4(), ESP | ipsrxmod::DECRYPT)));
    assert!(unknown(&Bench::receiver(
        other_address,
        ESP | ipsrxmod::DECRYPT
    )));
    assert!(unknown(&Bench::receiver(v4(), ESP | ipsrxmod::IPV6)));
    assert!(unknown(&Bench::receiver(v4(), ipsrxmod::ESP)));
    // As drivers forget an association: with an entry of zeros.
    let mut forgotten = Bench::receiver(v4(), ESP);
    forgotten.write(Reg::IPSRXMOD, 0, 0);
    forgotten.write(Reg::IPSRXIDX, 0, 1023 << 3 | 3 << 1 | ipsidx::WRITE);
    assert!(unknown(&forgotten));
}

#[test]
fn the_last_entry_of_every_table_is_read_back() {
    let mut bench = Bench::receiver(TO6, ESP);
    bench.add_transmit_sa(1023);
    for reg in [Reg::IPSTXKEY, Reg::IPSRXKEY, Reg::IPSRXIPADDR] {
        (0..4).for_each(|index| bench.write(reg, index, 0));
    }
    for reg in [
        Reg::IPSTXSALT,
        Reg::IPSRXSALT,
        Reg::IPSRXSPI,
        Reg::IPSRXIPIDX,
        Reg::IPSRXMOD,
    ] {
        bench.write(reg, 0, 0);
    }
    bench.write(Reg::IPSTXIDX, 0, 1023 << 3 | ipsidx::READ);
    bench.write(Reg::IPSRXIDX, 0, 127 << 3 | 1 << 1 | ipsidx::READ);
    bench.write(Reg::IPSRXIDX, 0, 1023 << 3 | 2 << 1 | ipsidx::READ);
    bench.write(Reg::IPSRXIDX, 0, 1023 << 3 | 3 << 1 | ipsidx::READ);

    let read = |reg| [0, 1, 2, 3].map(|index| bench.regs.get(reg, index));
    let key = [0x0C0D_0E0F, 0x0809_0A0B, 0x0405_0607, 0x0001_0203];
    assert_eq!(read(Reg::IPSTXKEY), key);
    assert_eq!(read(Reg::IPSRXKEY), key);
    assert_eq!(read(Reg::IPSRXIPADDR), [0xB80D_0120, 0, 0, 0x0200_FFFF]);
    assert_eq!(bench.regs.get(Reg::IPSTXSALT, 0), 0xA1A2_A3A4);
    assert_eq!(bench.regs.get(Reg::IPSRXSALT, 0), 0xA1A2_A3A4);
    assert_eq!(bench.regs.get(Reg::IPSRXSPI, 0), 0xDEC0_0000);
    assert_eq!(bench.regs.get(Reg::IPSRXIPIDX, 0), 127);
    assert_eq!(bench.regs.get(Reg::IPSRXMOD, 0), ESP);
    // The commands are done at once.
    assert_eq!(bench.regs.get(Reg::IPSTXIDX, 0), 1023 << 3);
    assert_eq!(bench.regs.get(Reg::IPSRXIDX, 0), 1023 << 3 | 3 << 1);
}

#[test]
fn an_entry_beyond_the_ip_table_stores_nothing() {
    let mut bench = Bench::default();
    bench.add_receive_sa(0, 128, v4(), ESP);
    bench.write(Reg::IPSRXIDX, 0, 128 << 3 | 1 << 1 | ipsidx::READ);
    let mut frame = bytes(ESP_V4[1]);
    let len = frame.len();
    assert_eq!(bench.open(&mut frame, len), None);
}

proptest! {
    #[test]
    fn no_frame_panics_and_only_the_right_one_opens(
        flips in prop::collection::vec((0_usize..110, any::<u8>()), 0..4),
        cut in 0_usize..120,
        ip_start in 0_usize..60,
        ip_end in 0_usize..200,
        encrypted: bool,
        kind in 0_usize..4,
    ) {
        let (wire, address, mode) = [
            (ESP_V4[1], v4(), ESP | ipsrxmod::DECRYPT),
            (ESP_V6_NOT_ENCRYPTED[1], TO6, ESP | ipsrxmod::IPV6),
            (AH_V4[1], v4(), ipsrxmod::VALID),
            (AH_V6[1], TO6, ipsrxmod::VALID | ipsrxmod::IPV6),
        ][kind];
        let mut bench = Bench::receiver(address, mode);
        bench.add_transmit_sa(7);
        let whole = bytes(wire);
        let mut frame = whole.clone();
        for (at, with) in flips {
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= with;
            }
        }
        frame.truncate(cut);
        let mut out = frame.clone();
        let security = security(7, kind < 2, encrypted);
        if let Some(protection) = Protection::new(&bench.ipsec, security, &out, ip_start) {
            let _ = protection.apply(&mut out);
            protection.complete_segment(&mut out, usize::MAX, 6);
        }
        let opened = bench.ipsec.open(&mut frame, ip_start, ip_end);
        if opened.is_some_and(|opened| opened.inner.is_some()) {
            prop_assert_eq!((ip_start, ip_end), (IP_START, whole.len()));
        }
    }
}
