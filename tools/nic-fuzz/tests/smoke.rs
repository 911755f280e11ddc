//! The fuzzers' targets on stable Rust: their corpora, and random bytes.

use std::{fs, path::Path};

use nic_fuzz::{TARGETS, capture, card, recording, rings, state};
use proptest::{collection::vec, prelude::*};

#[test]
fn every_input_of_the_corpora_passes() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");

    for (name, run) in TARGETS {
        let mut inputs = 0;
        for input in fs::read_dir(corpora.join(name)).unwrap() {
            run(&fs::read(input.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has no corpus");
    }
}

#[test]
fn frames_come_through_in_both_directions() {
    let input = include_bytes!("../fuzz/corpus/rings/both-ways");

    let tally = rings::drive(input);

    assert_eq!(
        tally,
        rings::Tally {
            received: 12,
            sent: 6
        }
    );
}

#[test]
fn every_target_has_a_program_of_the_fuzzers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();

    for (name, _) in TARGETS {
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).is_file());
        assert!(manifest.contains(&format!("name = \"{name}\"")));
    }
}

/// Whole acts rather than bytes: each begins with what chooses it.
fn acts(kinds: u8, count: usize) -> impl Strategy<Value = Vec<u8>> {
    let act =
        (0..kinds, vec(any::<u8>(), 1..12)).prop_map(|(kind, rest)| [vec![kind], rest].concat());
    vec(act, 1..count).prop_map(|acts| acts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_driver_takes_the_card_down_while_memory_changes_under_it(how in 0..4_u8, rest in acts(12, 200)) {
        card::run(&[vec![how], rest].concat());
    }

    #[test]
    fn no_state_takes_the_card_down_that_is_restored_from_it(
        changes in vec((any::<u16>(), 0..8_u8, prop_oneof![any::<u64>(), 0..300_u64]), 1..6),
        rest in acts(12, 60),
    ) {
        let changes = changes.into_iter().flat_map(|(place, kind, number)| {
            let place = (place % 2000).to_le_bytes();
            [place.to_vec(), vec![kind], number.to_le_bytes().to_vec()].concat()
        });
        state::run(&[vec![1], changes.collect(), vec![0, 0, 255, 1], rest].concat());
    }

    #[test]
    fn each_buffer_is_completed_once_and_nothing_else_is_written(input in acts(6, 300)) {
        rings::run(&input);
    }

    #[test]
    fn any_bytes_are_replayed_or_refused(
        how in 0..4_u8,
        records in vec((0x20..0x40_u8, 0..16_u8, vec(any::<u8>(), 0..12)), 0..60),
    ) {
        let records = records.into_iter();
        let rest = records.flat_map(|(tag, kind, rest)| [vec![tag, kind], rest].concat());
        recording::run(&[vec![how], rest.collect()].concat());
    }

    #[test]
    fn a_changed_byte_of_a_file_is_replayed_or_refused(place: prop::sample::Index, byte: u8) {
        let mut input = include_bytes!("../fuzz/corpus/recording/whole-file").to_vec();
        let place = 1 + place.index(input.len() - 1);
        input[place] = byte;

        recording::run(&input);
    }

    #[test]
    fn any_bytes_behind_a_captures_header_are_read_or_refused(
        kind in 0..3_usize,
        rest in vec(any::<u8>(), 0..400),
    ) {
        let headers: [&[u8]; 3] = [
            &[],
            &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0],
            &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
              255, 255, 255, 255, 255, 255, 255, 255, 28, 0, 0, 0],
        ];
        capture::run(&[headers[kind], &rest].concat());
    }
}
