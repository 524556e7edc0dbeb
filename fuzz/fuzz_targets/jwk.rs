//! See `chancery_fuzz::jwk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|members: [Option<String>; 6]| chancery_fuzz::jwk(members));
