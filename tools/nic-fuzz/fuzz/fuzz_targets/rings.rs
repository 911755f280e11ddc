//! `nic_fuzz::rings` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| nic_fuzz::rings::run(input));
