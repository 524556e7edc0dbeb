//! See `chancery_fuzz::pem`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| chancery_fuzz::pem(octets));
