//! `nic_fuzz::recording` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| nic_fuzz::recording::run(input));
