//! FC frames: their CRC, the contexts of exchanges and the user buffers (7.13.3).

use ixgbe_spec::descriptor::rx::PacketType;
use proptest::prelude::*;

use super::*;
use crate::fcoe::tests::{
    END_SEQUENCE, EOF_NI, EOF_T, FROM_RESPONDER, Fc, RELATIVE_OFFSET, SOF_N3, crc32,
};

/// Where the user buffers and their list lie.
const USER: u64 = BUFFERS + 0x40_0000;
const LIST: u64 = USER - 0x1000;

const FCOE_FILTER: u32 = 1 << 31 | 1 << 27 | 0x8906;
const WE: u32 = 1 << 14;
const RE: u32 = 1 << 15;
const CRC_LIKE_ETHERNET: u32 = 1 << 7;
const LASTSEQH: u32 = 1 << 3;
const ALLH: u32 = 1 << 4;
const ICRC: u32 = 1 << 6;

const XID: u16 = 0x1A5;
/// Ethernet, FCoE and FC header.
const HEADERS: usize = 14 + 14 + 24;

/// The user buffers of an exchange.
struct Buffers {
    /// BUFFSIZE.
    size: u32,
    count: u32,
    offset: u32,
    last: u32,
}

const TWO_PAGES: Buffers = Buffers {
    size: 0,
    count: 2,
    offset: 0x100,
    last: 0x800,
};

impl Bench {
    /// Receive as Linux sets it up for FCoE, with queue 0.
    fn with_fcoe() -> Self {
        let mut bench = Self::with_queue();
        bench.write(Reg::ETQF, 2, FCOE_FILTER);
        bench.write(Reg::FCRXCTRL, 0, CRC_LIKE_ETHERNET);
        bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 2);
        bench.write(Reg::MAXFRS, 0, 9710 << 16);
        bench
    }

    /// Sets the contexts of an exchange as Linux does. Buffer `n` lies at `USER + n * 64 KB`.
    fn exchange(&mut self, xid: u16, buffers: &Buffers, fcbuff: u32) {
        for n in 0..16 {
            self.bus
                .poke(LIST + 8 * n, &(USER + (n << 16)).to_le_bytes());
        }
        let xid = u32::from(xid);
        let flags = 1 | buffers.size << 3 | buffers.count << 8 | buffers.offset << 16;
        self.write(Reg::FCPTRL, 0, u32::try_from(LIST).unwrap());
        self.write(Reg::FCPTRH, 0, 0);
        self.write(Reg::FCBUFF, 0, flags | fcbuff);
        self.write(Reg::FCDMARW, 0, xid | WE | buffers.last << 16);
        self.write(Reg::FCPARAM, 0, 0);
        self.write(Reg::FCFLT, 0, 1);
        self.write(Reg::FCFLTRW, 0, xid | WE);
    }

    fn arrives(&mut self, frame: &Fc) -> Verdict {
        self.receive(&RxFrame::new(&frame.bytes()))
    }

    fn fc_status(&self, n: u64) -> Status {
        self.written_back(0, n).status()
    }

    fn user(&self, n: u64, offset: u64, len: usize) -> Vec<u8> {
        self.bus.peek(USER + (n << 16) + offset, len)
    }
}

/// The frames of a sequence with `payload` in pieces of `size` bytes.
fn sequence(payload: &[u8], size: usize) -> Vec<Fc> {
    let count = payload.len().div_ceil(size);
    let pieces = payload.chunks(size).enumerate();
    let frame = |(n, piece): (usize, &[u8])| Fc {
        sof: if n == 0 { 0x2E } else { SOF_N3 },
        eof: if n + 1 == count { EOF_T } else { 0x41 },
        f_ctl: FROM_RESPONDER | RELATIVE_OFFSET | if n + 1 == count { END_SEQUENCE } else { 0 },
        seq_cnt: u16::try_from(n).unwrap(),
        parameter: u32::try_from(n * size).unwrap(),
        ..Fc::data(OWN, XID, piece)
    };
    pieces.map(frame).collect()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 13 + at / 256).to_le_bytes()[0])
        .collect()
}

/// FCSTAT and FCERR of a descriptor.
fn fcoe_bits(status: Status) -> Status {
    status & (Status::FCSTAT_DDP | Status::from_bits_retain(7 << 20) | Status::FCEOFE)
}

#[test]
fn a_frame_without_a_context_is_in_the_ring_and_its_crc_was_checked() {
    let mut bench = Bench::with_fcoe();
    let frame = Fc::response(OWN, XID);

    assert_eq!(bench.arrives(&frame), DELIVERED);

    assert_eq!(bench.data(0, 0), frame.bytes());
    assert_eq!(
        bench.fc_status(0),
        Status::DD | Status::EOP | Status::FCEOFS
    );
    let info = bench.written_back(0, 0).info();
    assert_eq!(
        info.packet_type(),
        PacketType::L2 | PacketType::from_bits_retain(2)
    );
    assert_eq!(bench.get(Reg::FCCRC), 0);
    assert_eq!(bench.get(Reg::FCOEPRC), 1);
    // FC header, 24 bytes of payload, CRC.
    assert_eq!(bench.get(Reg::FCOEDWRC), (24 + 24 + 4) / 4);
}

#[test]
fn delimiters_are_told_by_their_places_in_rsoff_and_reoff() {
    let mut bench = Bench::with_fcoe();
    let frame = Fc::response(OWN, XID);
    bench.write(Reg::REOFF, 0, u32::from_le_bytes([EOF_T, EOF_NI, 0, 0]));
    bench.arrives(&frame);
    bench.write(Reg::RSOFF, 0, 0);

    bench.arrives(&frame);

    let told = [0, 1].map(|n| bench.fc_status(n) & (Status::FCEOFS | Status::FCEOFE));
    assert_eq!(told, [Status::empty(), Status::FCEOFE]);
}

#[test]
fn a_wrong_fc_crc_is_told_and_counted() {
    let mut bench = Bench::with_fcoe();
    let mut bytes = Fc::response(OWN, XID).bytes();
    bytes[60] ^= 1;

    assert_eq!(bench.receive(&RxFrame::new(&bytes)), DELIVERED);

    assert_eq!(bench.data(0, 0), bytes);
    assert_eq!(fcoe_bits(bench.fc_status(0)), Status::FCERR_BAD_CRC);
    assert_eq!(bench.get(Reg::FCCRC), 1);
    assert_eq!(bench.get(Reg::FCOEDWRC), 0);
}

#[test]
fn the_fc_crc_can_come_with_its_most_significant_byte_first() {
    let mut bench = Bench::with_fcoe();
    bench.write(Reg::FCRXCTRL, 0, 0);
    let frame = Fc::response(OWN, XID);
    let mut swapped = frame.bytes();
    let at = swapped.len() - 8;
    swapped[at..at + 4].copy_from_slice(&crc32(&frame.fc()).to_be_bytes());

    bench.receive(&RxFrame::new(&swapped));
    bench.arrives(&frame);

    assert_eq!(fcoe_bits(bench.fc_status(0)), Status::empty());
    assert_eq!(fcoe_bits(bench.fc_status(1)), Status::FCERR_BAD_CRC);
}

#[test]
fn without_the_bit_of_the_ethertype_filter_the_crc_is_nobodys_affair() {
    let mut bench = Bench::with_fcoe();
    bench.write(Reg::ETQF, 2, FCOE_FILTER & !(1 << 27));
    let mut bytes = Fc::response(OWN, XID).bytes();
    bytes[60] ^= 1;

    bench.receive(&RxFrame::new(&bytes));

    assert_eq!(bench.fc_status(0), Status::DD | Status::EOP);
    assert_eq!(bench.get(Reg::FCCRC), 0);
    assert_eq!(bench.get(Reg::FCOEPRC), 0);
}

#[test]
fn data_in_order_goes_to_the_user_buffers_and_only_the_response_to_the_ring() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let payload = pattern(0xF00 + 0x500);

    for frame in sequence(&payload, 2112) {
        assert_eq!(bench.arrives(&frame), DELIVERED);
    }
    assert_eq!(bench.get(Reg::RDH), 0);
    bench.arrives(&Fc::response(OWN, XID));

    assert_eq!(bench.user(0, 0x100, 0xF00), payload[..0xF00]);
    assert_eq!(bench.user(1, 0, 0x500), payload[0xF00..]);
    assert_eq!(bench.user(0, 0, 0x100), [0; 0x100]);
    assert_eq!(bench.user(1, 0x500, 0x100), [0; 0x100]);
    assert_eq!(bench.data(0, 0), Fc::response(OWN, XID).bytes());
    assert_eq!(fcoe_bits(bench.fc_status(0)), Status::FCSTAT_FCP_RSP);
    assert_eq!(bench.written_back(0, 0).hash.get(), 0x1400);
    assert_eq!(bench.get(Reg::FCOEPRC), 4);
    // Three headers with CRCs and the payload, then the response.
    assert_eq!(bench.get(Reg::FCOEDWRC), (3 * 28 + 0x1400 + 52) / 4);
}

#[test]
fn the_response_ends_the_context() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    bench.arrives(&Fc::response(OWN, XID));

    bench.arrives(&Fc::data(OWN, XID, &pattern(64)));

    assert_eq!(fcoe_bits(bench.fc_status(1)), Status::FCSTAT_NO_MATCH);
    assert_eq!(bench.data(0, 1), Fc::data(OWN, XID, &pattern(64)).bytes());
    bench.write(Reg::FCFLTRW, 0, u32::from(XID) | RE);
    bench.write(Reg::FCDMARW, 0, u32::from(XID) | RE);
    assert_eq!(bench.get(Reg::FCFLT) & 1, 0);
    assert_eq!(bench.get(Reg::FCBUFF) & 1, 0);
}

#[test]
fn software_reads_how_far_a_context_has_come() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let frames = sequence(&pattern(0x1000), 0x800);
    bench.arrives(&frames[0]);
    bench.arrives(&frames[1]);

    bench.write(Reg::FCFLTRW, 0, u32::from(XID) | RE);
    bench.write(Reg::FCDMARW, 0, u32::from(XID) | RE);

    // Valid, first; sequence 0x21, two frames.
    assert_eq!(bench.get(Reg::FCFLT), 2 << 16 | 0x21 << 8 | 3);
    assert_eq!(bench.get(Reg::FCPARAM), 0x1000);
    // One buffer is left, and 0x100 bytes in it are taken.
    assert_eq!(bench.get(Reg::FCBUFF), 0x100 << 16 | 1 << 8 | 1);
    assert_eq!(bench.get(Reg::FCPTRL), u32::try_from(LIST).unwrap() + 8);
    assert_eq!(bench.get(Reg::FCDMARW), 0x800 << 16 | u32::from(XID));
}

#[test]
fn a_context_that_software_invalidates_takes_nothing_more() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let frames = sequence(&pattern(128), 64);
    bench.arrives(&frames[0]);

    bench.write(Reg::FCFLT, 0, 0);
    bench.write(Reg::FCFLTRW, 0, u32::from(XID) | WE);
    bench.arrives(&frames[1]);

    assert_eq!(bench.data(0, 0), frames[1].bytes());
    assert_eq!(fcoe_bits(bench.fc_status(0)), Status::FCSTAT_NO_MATCH);
    assert_eq!(bench.user(0, 0x140, 64), [0; 64]);
}

#[test]
fn fast_re_validation_keeps_what_the_context_expects() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let frames = sequence(&pattern(128), 64);
    bench.arrives(&frames[0]);
    let access = |bench: &mut Bench, valid| {
        bench.write(Reg::FCFLT, 0, valid);
        bench.write(Reg::FCPARAM, 0, 0);
        bench.write(Reg::FCFLTRW, 0, u32::from(XID) | WE | 1 << 13);
    };

    access(&mut bench, 0);
    access(&mut bench, 1);
    bench.arrives(&frames[1]);

    assert_eq!(bench.user(0, 0x100, 128), pattern(128));
}

#[test]
fn headers_are_posted_as_fcrxctrl_says() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    bench.write(Reg::FCRXCTRL, 0, CRC_LIKE_ETHERNET | LASTSEQH);
    let frames = sequence(&pattern(192), 64);
    for frame in &frames {
        bench.arrives(frame);
    }
    bench.write(Reg::FCRXCTRL, 0, CRC_LIKE_ETHERNET | ALLH);
    let next = Fc {
        parameter: 192,
        seq_id: 9,
        seq_cnt: 3,
        ..Fc::data(OWN, XID, &pattern(64))
    };
    bench.arrives(&next);

    assert_eq!(bench.get(Reg::RDH), 2);
    assert_eq!(bench.data(0, 0), frames[2].bytes()[..HEADERS]);
    assert_eq!(
        bench.fc_status(0),
        Status::DD | Status::EOP | Status::FCSTAT_DDP | Status::FCEOFS
    );
    assert_eq!(bench.written_back(0, 0).hash.get(), 192);
    assert_eq!(bench.data(0, 1), next.bytes()[..HEADERS]);
    assert_eq!(bench.written_back(0, 1).hash.get(), 256);
    assert_eq!(bench.user(0, 0x100, 192), pattern(192));
}

#[test]
fn headers_keep_neither_the_tag_that_is_stripped_nor_a_checksum() {
    let mut bench = Bench::with_fcoe();
    bench.write(Reg::RXDCTL, 0, bench.get(Reg::RXDCTL) | VME);
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) & !(1 << 1));
    bench.write(Reg::FCRXCTRL, 0, CRC_LIKE_ETHERNET | ALLH);
    bench.exchange(XID, &TWO_PAGES, 0);
    let frame = Fc::data(OWN, XID, &pattern(256));

    bench.receive(&RxFrame::new(&tagged(frame.bytes(), 0x6123)));

    assert_eq!(bench.data(0, 0), frame.bytes()[..HEADERS]);
    assert_eq!(bench.written_back(0, 0).vlan.get(), 0x6123);
    assert_eq!(bench.user(0, 0x100, 256), pattern(256));
}

#[test]
fn fill_bytes_and_optional_headers_are_no_payload() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let mut frame = Fc::data(OWN, XID, &pattern(16 + 64));
    // A network header of 16 bytes; two fill bytes at the end.
    frame.df_ctl = 0x20;
    frame.f_ctl |= 2;

    bench.arrives(&frame);
    bench.arrives(&Fc::response(OWN, XID));

    assert_eq!(bench.user(0, 0x100, 62), pattern(80)[16..78]);
    assert_eq!(bench.user(0, 0x100 + 62, 2), [0; 2]);
    assert_eq!(bench.written_back(0, 0).hash.get(), 62);
}

#[test]
fn a_frame_in_two_parts_is_placed_as_one() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let bytes = Fc::data(OWN, XID, &pattern(300)).bytes();
    let (head, body) = bytes.split_at(100);

    bench.receive(&RxFrame {
        head,
        body,
        ..RxFrame::new(&[])
    });

    assert_eq!(bench.user(0, 0x100, 300), pattern(300));
    assert_eq!(bench.get(Reg::FCCRC), 0);
}

#[test]
fn a_target_takes_data_by_its_own_exchange_id() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 1 << 7);
    let from_originator = Fc {
        f_ctl: RELATIVE_OFFSET,
        ox_id: 7,
        rx_id: XID,
        ..Fc::data(OWN, XID, &pattern(64))
    };

    bench.arrives(&Fc::data(OWN, XID, &pattern(64)));
    bench.arrives(&from_originator);

    assert_eq!(fcoe_bits(bench.fc_status(0)), Status::FCSTAT_NO_MATCH);
    assert_eq!(bench.get(Reg::RDH), 1);
    assert_eq!(bench.user(0, 0x100, 64), pattern(64));
}

/// What a context does with a frame that it does not expect after a first one of 64 bytes.
fn unexpected(change: impl FnOnce(&mut Fc)) -> (Status, bool) {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let [first, mut second] = sequence(&pattern(128), 64).try_into().unwrap();
    bench.arrives(&first);
    change(&mut second);
    bench.arrives(&second);
    assert_eq!(bench.data(0, 0), second.bytes());
    assert_eq!(bench.user(0, 0x140, 64), [0; 64]);
    bench.write(Reg::FCFLTRW, 0, u32::from(XID) | RE);
    (
        fcoe_bits(bench.fc_status(0)),
        bench.get(Reg::FCFLT) & 1 == 1,
    )
}

#[test]
fn a_frame_out_of_order_is_in_the_ring_and_ends_the_context() {
    let lost = (Status::FCSTAT_NO_DDP | Status::FCERR_OUT_OF_ORDER, false);

    assert_eq!(unexpected(|frame| frame.seq_cnt = 2), lost);
    assert_eq!(unexpected(|frame| frame.seq_id = 3), lost);
    assert_eq!(unexpected(|frame| frame.parameter = 128), lost);
}

#[test]
fn an_aborted_or_encrypted_sequence_is_in_the_ring_and_ends_the_context() {
    let aborted = Status::FCSTAT_NO_DDP | Status::FCERR_FILTER;

    assert_eq!(unexpected(|frame| frame.f_ctl |= 1 << 4), (aborted, false));
    assert_eq!(
        unexpected(|frame| frame.eof = EOF_NI),
        (aborted | Status::FCEOFE, false)
    );
    assert_eq!(
        unexpected(|frame| frame.df_ctl = 0x40),
        (Status::FCSTAT_NO_DDP, false)
    );
}

#[test]
fn a_code_that_data_does_not_have_is_told_without_a_context_too() {
    let mut bench = Bench::with_fcoe();
    let frame = Fc {
        eof: EOF_NI,
        ..Fc::response(OWN, XID)
    };

    bench.arrives(&frame);

    assert_eq!(
        fcoe_bits(bench.fc_status(0)),
        Status::FCERR_FILTER | Status::FCEOFE
    );
}

#[test]
fn a_dma_context_that_is_written_anew_amid_an_exchange_places_nothing() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let [first, second] = sequence(&pattern(128), 64).try_into().unwrap();
    bench.arrives(&first);
    bench.write(Reg::FCDMARW, 0, u32::from(XID) | WE | 0x1000 << 16);

    bench.arrives(&second);

    let missed = Status::FCSTAT_NO_DDP | Status::FCERR_FIRST_MISSED;
    assert_eq!(fcoe_bits(bench.fc_status(0)), missed);
    assert_eq!(bench.data(0, 0), second.bytes());
    bench.write(Reg::FCDMARW, 0, u32::from(XID) | RE);
    assert_eq!(bench.get(Reg::FCBUFF) & 1, 1, "it stays as it is");
}

#[test]
fn other_frames_of_the_exchange_pass_and_leave_the_context() {
    let pass = (Status::FCSTAT_NO_DDP, true);

    // Unsolicited data; no relative offset.
    assert_eq!(unexpected(|frame| frame.r_ctl = 4), pass);
    assert_eq!(unexpected(|frame| frame.f_ctl &= !RELATIVE_OFFSET), pass);
}

#[test]
fn a_wrong_crc_does_not_reach_the_context_unless_it_is_ignored() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    let frame = Fc::data(OWN, XID, &pattern(64));
    let mut bytes = frame.bytes();
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;

    bench.receive(&RxFrame::new(&bytes));
    bench.write(Reg::FCRXCTRL, 0, CRC_LIKE_ETHERNET | ICRC);
    bench.receive(&RxFrame::new(&bytes));

    assert_eq!(fcoe_bits(bench.fc_status(0)), Status::FCERR_BAD_CRC);
    assert_eq!(bench.get(Reg::RDH), 1);
    assert_eq!(bench.user(0, 0x100, 64), pattern(64));
    assert_eq!(bench.get(Reg::FCCRC), 2);
}

#[test]
fn payload_that_the_buffers_do_not_hold_is_in_the_ring_and_counted() {
    let mut bench = Bench::with_fcoe();
    let small = Buffers {
        size: 0,
        count: 1,
        offset: 0,
        last: 100,
    };
    bench.exchange(XID, &small, 0);
    let [first, second, third] = sequence(&pattern(192), 64).try_into().unwrap();

    bench.arrives(&first);
    bench.arrives(&second);
    bench.arrives(&third);
    bench.arrives(&Fc::response(OWN, XID));

    let no_room = Status::FCSTAT_NO_DDP | Status::FCERR_NO_DMA_RESOURCES;
    assert_eq!(fcoe_bits(bench.fc_status(0)), no_room);
    assert_eq!(bench.data(0, 0), second.bytes());
    let invalid = Status::FCSTAT_NO_DDP | Status::FCERR_DMA_INVALID;
    assert_eq!(fcoe_bits(bench.fc_status(1)), invalid);
    let response = Status::FCSTAT_FCP_RSP | Status::FCERR_DMA_INVALID;
    assert_eq!(fcoe_bits(bench.fc_status(2)), response);
    assert_eq!(bench.get(Reg::FCLAST), 1);
    assert_eq!(bench.user(0, 0, 64), pattern(64));
    assert_eq!(bench.user(0, 64, 100), [0; 100]);
}

#[test]
fn a_frame_that_finds_no_descriptor_is_counted_and_ends_the_dma_context() {
    let mut bench = Bench::with_fcoe();
    bench.queue(0, ONE_BUFFER | DROP_EN | 2);
    bench.write(Reg::RDT, 0, 0);
    bench.exchange(XID, &TWO_PAGES, 0);
    let other = Fc {
        r_ctl: 4,
        ..Fc::data(OWN, XID, &pattern(64))
    };

    assert_eq!(bench.arrives(&other), Verdict::Dropped(DropReason::Queue));
    bench.post(0, 0, 8);
    bench.arrives(&Fc::data(OWN, XID, &pattern(64)));

    assert_eq!(bench.get(Reg::FCOERPDC), 1);
    let invalid = Status::FCSTAT_NO_DDP | Status::FCERR_DMA_INVALID;
    assert_eq!(fcoe_bits(bench.fc_status(0)), invalid);
}

#[test]
fn headers_wait_for_descriptors_and_the_payload_is_placed_once() {
    let mut bench = Bench::with_fcoe();
    bench.write(Reg::RDT, 0, 0);
    bench.write(Reg::FCRXCTRL, 0, CRC_LIKE_ETHERNET | ALLH);
    bench.exchange(XID, &TWO_PAGES, 0);
    let frames = sequence(&pattern(128), 64);

    assert_eq!(bench.arrives(&frames[0]), Verdict::Buffered);
    assert_eq!(bench.arrives(&frames[1]), Verdict::Buffered);
    bench.step();
    bench.post(0, 0, 8);
    bench.step();

    assert_eq!(bench.data(0, 0), frames[0].bytes()[..HEADERS]);
    assert_eq!(bench.data(0, 1), frames[1].bytes()[..HEADERS]);
    assert_eq!(bench.user(0, 0x100, 128), pattern(128));
    assert_eq!(bench.user(0, 0x180, 64), [0; 64]);
    assert_eq!(bench.get(Reg::FCOEPRC), 2);
}

#[test]
fn a_list_of_buffers_that_comes_by_message_is_waited_for() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    bench.bus.delay(LIST..LIST + 16);
    let frames = sequence(&pattern(0x1000), 0x800);

    assert_eq!(bench.arrives(&frames[0]), Verdict::Buffered);
    assert_eq!(bench.arrives(&frames[1]), Verdict::Buffered);
    bench.bus.answer();
    bench.step();

    assert_eq!(bench.user(0, 0x100, 0xF00), pattern(0x1000)[..0xF00]);
    assert_eq!(bench.user(1, 0, 0x100), pattern(0x1000)[0xF00..]);
    assert_eq!(bench.get(Reg::RDH), 0);
}

#[test]
fn a_list_or_a_buffer_that_is_not_there_is_a_fault_and_no_more() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    bench.bus.refuse(LIST..LIST + 8);
    bench.arrives(&Fc::data(OWN, XID, &pattern(64)));
    let no_room = Status::FCSTAT_NO_DDP | Status::FCERR_NO_DMA_RESOURCES;
    assert_eq!(fcoe_bits(bench.fc_status(0)), no_room);
    assert_eq!(bench.faults.buffer_dma, 1);

    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    bench.bus.poke(LIST, &u64::MAX.to_le_bytes());
    bench.arrives(&Fc::data(OWN, XID, &pattern(64)));
    assert_eq!(bench.faults.buffer_dma, 1);
    assert_eq!(bench.get(Reg::RDH), 0);
}

#[test]
fn exchanges_are_spread_over_queues() {
    let mut bench = Bench::with_fcoe();
    bench.queue(3, ONE_BUFFER | 2);
    bench.post(3, 0, 8);
    bench.write(Reg::FCRETA, 5, 3);
    bench.write(Reg::FCRECTL, 0, 1);

    let fifth = bench.arrives(&Fc::response(OWN, 0x105));
    let fourth = bench.arrives(&Fc::response(OWN, 0x104));

    assert_eq!(fifth, Verdict::Delivered { queue: 3 });
    assert_eq!(fourth, Verdict::Delivered { queue: 0 });
}

#[test]
fn the_queue_of_the_ethertype_filter_comes_first() {
    let mut bench = Bench::with_fcoe();
    bench.queue(1, ONE_BUFFER | 2);
    bench.post(1, 0, 8);
    (0..8).for_each(|n| bench.write(Reg::FCRETA, n, 3));
    bench.write(Reg::FCRECTL, 0, 1);
    bench.write(Reg::ETQS, 2, 1 << 31 | 1 << 16);

    let verdict = bench.arrives(&Fc::response(OWN, XID));

    assert_eq!(verdict, Verdict::Delivered { queue: 1 });
}

#[test]
fn a_reset_ends_all_contexts() {
    let mut bench = Bench::with_fcoe();
    bench.exchange(XID, &TWO_PAGES, 0);
    bench.rx.fcoe.reset();

    bench.arrives(&Fc::data(OWN, XID, &pattern(64)));

    assert_eq!(fcoe_bits(bench.fc_status(0)), Status::FCSTAT_NO_MATCH);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in frames and contexts, nothing panics, and no byte lies outside of the user buffers.
    #[test]
    fn no_frame_and_no_context_writes_beyond_the_buffers(
        fcbuff in any::<u32>(),
        last in any::<u16>(),
        f_ctl in any::<u32>(),
        df_ctl in any::<u8>(),
        sizes in prop::collection::vec(0usize..9000, 1..6),
    ) {
        let mut bench = Bench::with_fcoe();
        bench.exchange(XID, &Buffers { size: 0, count: 0, offset: 0, last: last.into() }, fcbuff | 1);
        bench.bus.take_writes();
        let mut parameter = 0;
        for size in sizes {
            let frame = Fc {
                f_ctl: f_ctl & 0xFF_FFFF | FROM_RESPONDER | RELATIVE_OFFSET,
                df_ctl,
                parameter,
                ..Fc::data(OWN, XID, &pattern(size / 4 * 4))
            };
            bench.arrives(&frame);
            bench.write(Reg::FCFLTRW, 0, u32::from(XID) | RE);
            parameter = bench.get(Reg::FCPARAM);
        }
        let size = [4 << 10, 8 << 10, 16 << 10, 64 << 10][(fcbuff >> 3 & 3) as usize];
        for write in bench.bus.take_writes().iter().filter(|write| write.start >= USER) {
            prop_assert!((write.end - USER - 1) % (64 << 10) < size, "{write:x?}");
            prop_assert_eq!((write.start - USER) >> 16, (write.end - USER - 1) >> 16);
        }
    }
}
