//! What the fuzz targets do, with inputs that are made from good ones in the same way at each run: a
//! reader that panics on what a client sends is found without a nightly compiler, too.

use std::fs;

use chancery::x509::pem;

use crate::corpus::Corpus;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

const ROUNDS: usize = 4_000;

/// A generator that gives the same numbers at each run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// One of the good inputs with up to four things wrong.
fn damaged(good: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut octets = good[numbers.below(good.len())].clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(octets.len().max(1));
        match numbers.below(6) {
            0 if at < octets.len() => octets[at] = u8::try_from(numbers.below(256)).unwrap(),
            1 if at < octets.len() => octets[at] ^= 1 << numbers.below(8),
            2 => octets.truncate(at.max(1)),
            3 => octets.insert(at.min(octets.len()), b"\0\x7f\x80\xff\"{}[]\\-"[numbers.below(11)]),
            4 => {
                let other = &good[numbers.below(good.len())];
                octets.extend_from_slice(&other[numbers.below(other.len())..]);
            }
            _ => {
                let part = octets[at.min(octets.len())..].to_vec();
                octets.extend_from_slice(&part[..part.len().min(64)]);
            }
        }
    }
    octets
}

#[test]
fn no_body_of_a_request_makes_a_reader_panic() {
    let requests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/requests");
    let good: Vec<_> = fs::read_dir(requests)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let mut numbers = Numbers(0x5eed);
    (0..ROUNDS).for_each(|_| targets::body(&damaged(&good, &mut numbers)));
}

#[test]
fn no_certificate_request_or_key_makes_a_reader_panic() {
    let corpus = Corpus::of_this_run();
    let pems: Vec<_> = corpus.certificates.iter().map(|issued| corpus.pem(issued.name)).collect();
    let ders = pems.iter().map(|text| pem::decode(&["CERTIFICATE"], text).unwrap());
    let good: Vec<_> = ders.chain(pems.iter().map(|text| text.clone().into_bytes())).collect();
    let mut numbers = Numbers(0x5eed);
    (0..ROUNDS).for_each(|_| targets::pem(&damaged(&good, &mut numbers)));
}

#[test]
fn no_jwk_and_no_path_makes_a_reader_panic() {
    let words = ["EC", "RSA", "P-256", "P-521", "AQAB", "acme", "acme.dmv.kms", "..", "é", "x-1_"];
    let good: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let mut numbers = Numbers(0x5eed);
    for _ in 0..ROUNDS {
        let mut text = || String::from_utf8_lossy(&damaged(&good, &mut numbers)).into_owned();
        targets::path(&text());
        targets::jwk([(); 6].map(|()| Some(text()).filter(|text| text.len() > 1)));
    }
}
