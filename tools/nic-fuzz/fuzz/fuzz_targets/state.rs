//! `nic_fuzz::state` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| nic_fuzz::state::run(input));
