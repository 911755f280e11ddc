//! The fields of descriptors as a table: where each lies, and what becomes of it.
//!
//! The layouts themselves are in [`super::rx`] and [`super::tx`]; this table is what the coverage page is made of.

use crate::register::Gap;

/// A descriptor format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Legacy receive (7.1.5).
    LegacyReceive,
    /// Advanced receive, as the driver writes it (7.1.6.1).
    AdvancedReceiveRead,
    /// Advanced receive, as the card writes it back (7.1.6.2).
    AdvancedReceiveWriteBack,
    /// Legacy transmit (7.2.3.2.2).
    LegacyTransmit,
    /// Advanced transmit context (7.2.3.2.3).
    TransmitContext,
    /// Advanced transmit data (7.2.3.2.4).
    TransmitData,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does what the datasheet says; the test that shows it.
    Works(&'static str),
    /// It does not; why.
    Not(Gap),
}

/// A field of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The descriptor.
    pub format: Format,
    /// The datasheet's name.
    pub name: &'static str,
    /// Its lowest bit, of 128.
    pub first: u8,
    /// Its highest bit.
    pub last: u8,
    /// What becomes of it.
    pub state: State,
}

macro_rules! fields {
    ($($format:ident { $($first:literal ..= $last:literal $name:literal $kind:ident $text:literal;)* })*) => {
        &[$($(Field {
            format: Format::$format,
            name: $name,
            first: $first,
            last: $last,
            state: fields!(@ $kind $text),
        }),*),*]
    };
    (@ works $test:literal) => { State::Works($test) };
    (@ enough $why:literal) => { State::Not(Gap::Enough($why)) };
    (@ missing $what:literal) => { State::Not(Gap::Missing($what)) };
}

/// Every field, format by format, in the order of its bits: bits, name, state, and the test or the reason.
pub const FIELDS: &[Field] = fields! {
    LegacyReceive {
        0..=63 "Buffer Address" works "a_legacy_ring_gets_legacy_descriptors";
        64..=79 "Length" works "a_legacy_ring_takes_a_long_frame_in_pieces";
        80..=95 "Fragment Checksum" works "a_legacy_descriptor_has_the_sum_of_a_fragment";
        96..=96 "DD" works "a_legacy_ring_gets_legacy_descriptors";
        97..=97 "EOP" works "a_legacy_ring_takes_a_long_frame_in_pieces";
        98..=98 "Status, reserved" enough "written back as 0";
        99..=99 "VP" works "a_legacy_ring_gets_legacy_descriptors";
        100..=100 "UDPCS" works "a_udp_packet_in_a_legacy_ring_has_its_checksum_looked_at";
        101..=101 "L4CS" works "a_legacy_ring_gets_legacy_descriptors";
        102..=102 "IPCS" works "a_legacy_ring_gets_legacy_descriptors";
        103..=103 "PIF" works "a_multicast_that_only_the_hash_lets_in_is_passed_inexactly";
        104..=104 "RXE" works "a_legacy_descriptor_has_the_error_of_a_bad_frame_that_is_stored";
        105..=109 "Errors, reserved" enough "written back as 0";
        110..=110 "TCPE" works "a_legacy_ring_gets_legacy_descriptors";
        111..=111 "IPE" works "a_legacy_descriptor_has_the_error_of_a_bad_ip_header";
        112..=127 "VLAN Tag" works "a_legacy_ring_gets_legacy_descriptors";
    }
    AdvancedReceiveRead {
        0..=63 "Packet Buffer Address" works "a_frame_lies_in_the_posted_buffer_and_its_descriptor_is_done";
        64..=127 "Header Buffer Address" works "recognised_headers_go_into_the_header_buffer";
    }
    AdvancedReceiveWriteBack {
        0..=3 "RSS Type" works "frames_go_to_the_queue_of_their_rss_hash";
        4..=16 "Packet Type" works "an_ethertype_filter_gives_queue_and_type";
        17..=20 "RSCCNT" works "segments_that_follow_one_another_become_one_packet";
        21..=30 "HDR_LEN" works "recognised_headers_go_into_the_header_buffer";
        31..=31 "SPH" works "headers_longer_than_their_buffer_are_told";
        32..=63 "RSS Hash, Fragment Checksum and IP identification, Flow Director Filter ID" works
            "a_fragment_has_its_sum_and_identification_if_software_asks_for_it";
        64..=64 "DD" works "a_frame_lies_in_the_posted_buffer_and_its_descriptor_is_done";
        65..=65 "EOP" works "a_long_frame_spans_descriptors_that_name_their_successor";
        66..=66 "FLM" works "a_reported_match_has_hash_and_signature_in_the_descriptor";
        67..=67 "VP" works "a_tag_is_stripped_into_the_descriptor_if_the_queue_says_so";
        68..=68 "UDPCS, or the low bit of NEXTP" works "right_checksums_are_good";
        69..=69 "L4CS, or the next bit of NEXTP" works "right_checksums_are_good";
        70..=70 "IPCS, or the next bit of NEXTP" works "right_checksums_are_good";
        71..=71 "PIF, or the next bit of NEXTP" works "a_multicast_that_only_the_hash_lets_in_is_passed_inexactly";
        72..=72 "A bit of NEXTP" works "a_long_frame_spans_descriptors_that_name_their_successor";
        73..=73 "VEXT, or a bit of NEXTP" works "an_outer_tag_is_told_of";
        74..=74 "UDPV, or a bit of NEXTP" works "no_udp_checksum_is_fine_over_ipv4_and_an_error_over_ipv6";
        75..=75 "LLINT, or a bit of NEXTP" works "a_packet_of_a_filter_with_immediate_interrupt_says_so";
        76..=79 "The high bits of NEXTP" works "a_large_receive_goes_on_in_the_descriptor_that_nextp_names";
        80..=80 "TS" works "a_received_event_is_stamped_with_time_source_and_sequence";
        81..=81 "SECP" works "a_packet_that_openssl_made_is_opened_in_place";
        82..=82 "LB" works "a_frame_for_another_pool_stays_inside_and_says_where_it_comes_from";
        83..=83 "Extended status, reserved" enough "written back as 0";
        84..=86 "FDIRERR" works "a_report_tells_of_a_filter_deep_in_a_long_chain";
        87..=87 "HBO" works "headers_longer_than_their_buffer_are_told";
        88..=92 "SECERR and reserved" works "each_kind_of_error_is_told_and_the_frame_is_left_alone";
        93..=93 "RXE" works "a_bad_frame_that_is_stored_has_the_error_bit_and_its_wrong_fcs";
        94..=94 "L4E" works "wrong_checksums_are_errors";
        95..=95 "IPE" works "wrong_checksums_are_errors";
        96..=111 "PKT_LEN" works "a_long_frame_spans_descriptors_that_name_their_successor";
        112..=127 "VLAN Tag" works "a_tag_is_stripped_into_the_descriptor_if_the_queue_says_so";
    }
    LegacyTransmit {
        0..=63 "Buffer Address" works "legacy_descriptors_send_and_are_done";
        64..=79 "Length" works "legacy_descriptors_send_and_are_done";
        80..=87 "CSO" works "a_legacy_checksum_goes_where_the_descriptor_says";
        88..=88 "EOP" works "legacy_descriptors_send_and_are_done";
        89..=89 "IFCS" works "a_frame_with_the_drivers_own_fcs_goes_out_only_if_it_is_right";
        90..=90 "IC" works "a_legacy_checksum_goes_where_the_descriptor_says";
        91..=91 "RS" works "legacy_descriptors_send_and_are_done";
        92..=92 "Command, reserved" enough "not looked at";
        93..=93 "DEXT" works "descriptors_of_mixed_kinds_are_passed";
        94..=94 "VLE" works "the_tag_has_the_ethertype_of_dmatxctl";
        95..=95 "Command, reserved" enough "not looked at";
        96..=96 "DD" works "legacy_descriptors_send_and_are_done";
        97..=103 "Status, reserved" enough "written back as they were";
        104..=111 "CSS" works "a_legacy_checksum_goes_where_the_descriptor_says";
        112..=127 "VLAN" works "the_tag_has_the_ethertype_of_dmatxctl";
    }
    TransmitContext {
        0..=8 "IPLEN" works "inserted_checksums_are_those_of_etherparse_and_smoltcp";
        9..=15 "MACLEN" works "the_tag_of_the_context_is_inserted_and_offsets_follow";
        16..=31 "VLAN" works "the_tag_of_the_context_is_inserted_and_offsets_follow";
        32..=41 "IPsec SA Index" works "a_packet_is_protected_as_openssl_does_it";
        42..=47 "FCoEF" works "a_part_of_a_sequence_neither_begins_nor_ends_it";
        48..=63 "Reserved" enough "not looked at";
        64..=72 "IPS_ESP_LEN" works "the_l4_checksum_ends_before_the_esp_trailer";
        73..=73 "TUCMD.SNAP" enough "MACLEN tells where the IP header is, with SNAP or without";
        74..=74 "TUCMD.IPV4" works "a_udp_checksum_over_ipv6_is_inserted";
        75..=76 "TUCMD.L4T" works "an_sctp_packet_gets_its_crc32c";
        77..=78 "TUCMD: ESP and encryption" works "a_packet_is_protected_as_openssl_does_it";
        79..=79 "TUCMD.FCOE" works "a_frame_gets_its_delimiters_and_its_crc";
        80..=83 "Reserved" enough "not looked at";
        84..=87 "DTYP" works "a_ring_full_of_contexts_is_passed_a_bounded_number_at_a_time";
        88..=92 "Reserved" enough "not looked at";
        93..=93 "DEXT" works "descriptors_of_mixed_kinds_are_passed";
        94..=99 "Reserved" enough "not looked at";
        100..=102 "IDX" works "contexts_stay_until_they_are_overwritten_or_the_queue_is_disabled";
        103..=103 "Reserved" enough "not looked at";
        104..=111 "L4LEN" works "a_large_packet_is_cut_into_segments_that_are_counted_one_by_one";
        112..=127 "MSS" works "a_large_packet_is_cut_into_segments_that_are_counted_one_by_one";
    }
    TransmitData {
        0..=63 "Address" works "a_frame_goes_out_and_its_descriptor_is_done";
        64..=79 "DTALEN" works "a_frame_in_several_buffers_goes_out_as_one_without_a_copy_of_its_payload";
        80..=81 "Reserved" enough "not looked at";
        82..=82 "MAC.LinkSec" enough "there is no LinkSec, and no driver sets it";
        83..=83 "MAC.1588" works "a_packet_that_asks_for_it_is_stamped_with_the_time_at_which_it_leaves";
        84..=87 "DTYP" works "descriptors_of_mixed_kinds_are_passed";
        88..=88 "DCMD.EOP" works "a_packet_without_its_end_waits_for_the_driver";
        89..=89 "DCMD.IFCS" works "a_frame_with_the_drivers_own_fcs_goes_out_only_if_it_is_right";
        90..=90 "Reserved" enough "not looked at";
        91..=91 "DCMD.RS" works "descriptors_without_rs_are_not_written_back";
        92..=92 "Reserved" enough "not looked at";
        93..=93 "DCMD.DEXT" works "descriptors_of_mixed_kinds_are_passed";
        94..=94 "DCMD.VLE" works "the_tag_of_the_context_is_inserted_and_offsets_follow";
        95..=95 "DCMD.TSE" works "a_large_packet_is_cut_into_segments_that_are_counted_one_by_one";
        96..=96 "STA.DD" works "a_frame_goes_out_and_its_descriptor_is_done";
        97..=99 "STA, reserved" enough "written back as they were";
        100..=102 "IDX" works "contexts_stay_until_they_are_overwritten_or_the_queue_is_disabled";
        103..=103 "CC" works "a_packet_without_check_context_leaves_as_it_is";
        104..=104 "POPTS.IXSM" works "ip_and_udp_checksums_are_inserted";
        105..=105 "POPTS.TXSM" works "a_tcp_checksum_is_inserted_without_the_ip_checksum";
        106..=106 "POPTS.IPSEC" works "while_the_block_is_off_a_packet_leaves_as_the_driver_made_it";
        107..=109 "POPTS, reserved" enough "not looked at";
        110..=127 "PAYLEN" works "a_large_packet_is_cut_into_segments_that_are_counted_one_by_one";
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_descriptor_are_its_16_bytes_without_gaps() {
        let formats = [
            Format::LegacyReceive,
            Format::AdvancedReceiveRead,
            Format::AdvancedReceiveWriteBack,
            Format::LegacyTransmit,
            Format::TransmitContext,
            Format::TransmitData,
        ];
        let ends = formats.map(|format| {
            FIELDS
                .iter()
                .filter(|field| field.format == format)
                .fold(0, |next, field| {
                    assert_eq!(field.first, next, "{field:?}");
                    field.last + 1
                })
        });
        assert_eq!(ends, [128; 6]);
    }
}
