//! PEM, and what comes in it from clients: certification requests, certificates, public keys. DER goes
//! in as it is, too, since libFuzzer is no friend of base64.
#![no_main]

use chancery::{
    domain::key::PublicKey,
    x509::{Certificate, csr::CertificationRequest, pem},
};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if let Ok(text) = std::str::from_utf8(octets) {
        let _ = pem::decode("CERTIFICATE", text);
        let _ = CertificationRequest::from_pem(text);
    }
    let _ = CertificationRequest::from_pem(&pem::encode("CERTIFICATE REQUEST", octets));
    let _ = Certificate::from_der(octets);
    let _ = PublicKey::from_spki_der(octets);
});
