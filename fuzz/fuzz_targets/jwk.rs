//! The members of a public JWK.
#![no_main]

use chancery::domain::jwk::{JwkMembers, parse_public};

libfuzzer_sys::fuzz_target!(|members: [Option<String>; 6]| {
    let [kty, crv, x, y, n, e] = members;
    let _ = parse_public(&JwkMembers { kty, crv, x, y, n, e, ..JwkMembers::default() });
});
