//! What a signer says: frames, one after the other.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| chancery::hsm::read_as_the_front_does(octets));
