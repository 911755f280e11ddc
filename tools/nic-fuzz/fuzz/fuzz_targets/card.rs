//! `nic_fuzz::card` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| nic_fuzz::card::run(input));
