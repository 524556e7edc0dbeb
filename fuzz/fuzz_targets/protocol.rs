//! What a signer says: frames, one after the other, and what the front does with them.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    chancery::hsm::handle_as_the_front_does(octets);
});
