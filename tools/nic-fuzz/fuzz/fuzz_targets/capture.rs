//! `nic_fuzz::capture` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| nic_fuzz::capture::run(input));
