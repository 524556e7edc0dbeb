//! See `chancery_fuzz::path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| chancery_fuzz::path(text));
