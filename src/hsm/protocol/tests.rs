use super::*;
use crate::hsm::{
    Offer, fault::Class, fuzzing::handle_as_the_front_does, pin_attempts::PinFingerprint,
};

fn request() -> ToSigner {
    ToSigner::Request { id: 7, request: Request::Catalogue }
}

#[test]
fn a_message_survives_the_journey() {
    let frame = encode(&request(), TO_SIGNER_BYTES_MAX).unwrap();
    let read: Option<ToSigner> = read(&mut frame.as_slice(), TO_SIGNER_BYTES_MAX).unwrap();
    assert!(matches!(read, Some(ToSigner::Request { id: 7, request: Request::Catalogue })));
}

#[test]
fn a_closed_socket_is_an_end_and_a_cut_frame_is_an_error() {
    let frame = encode(&request(), TO_SIGNER_BYTES_MAX).unwrap();
    assert!(read::<ToSigner>(&mut [].as_slice(), TO_SIGNER_BYTES_MAX).unwrap().is_none());
    assert!(read::<ToSigner>(&mut &frame[..frame.len() - 1], TO_SIGNER_BYTES_MAX).is_err());
}

#[test]
fn lengths_beyond_the_limit_are_refused_before_anything_is_allocated() {
    assert!(announced_length([0, 0, 0, 0], 64).is_err());
    assert!(announced_length([0, 0, 0, 64], 64).is_ok());
    assert!(announced_length([0, 0, 0, 65], 64).is_err());
    assert!(announced_length([255; 4], FROM_SIGNER_BYTES_MAX).is_err());
    assert!(encode(&"x".repeat(100), 64).is_err());
}

#[test]
fn noise_is_no_message() {
    assert!(decode::<FromSigner>(&[]).is_err());
    assert!(decode::<FromSigner>(&[9, 9, 9]).is_err());
    let frame = encode(&request(), TO_SIGNER_BYTES_MAX).unwrap();
    assert!(decode::<ToSigner>(&[&frame[4..], &[0]].concat()).is_err());
    for first in 0..=255u8 {
        let noise: Vec<u8> = (0..64).map(|i: u8| first.wrapping_mul(i)).collect();
        let _ = decode::<FromSigner>(&noise);
    }
}

fn key(label: &str) -> ListedKey {
    ListedKey {
        label: label.to_owned(),
        id: vec![7; 20],
        public_key: if label.is_empty() { Err("unbound".to_owned()) } else { Ok(vec![9; 91]) },
        extractable: false,
    }
}

fn facts() -> TokenFacts {
    TokenFacts {
        serial: "e695a8a9605ea169".to_owned(),
        manufacturer: "SoftHSM project".to_owned(),
        model: "SoftHSM v2".to_owned(),
        hardware_version: "2.6".to_owned(),
        firmware_version: "2.6".to_owned(),
        is_hardware: false,
        offers: Offer::new(0x1041, 112, 521).into_iter().collect(),
        local_says_nothing: false,
    }
}

fn ready() -> Ready {
    Ready {
        facts: facts(),
        sessions: 2,
        hashing: vec![SignatureAlgorithm::EcdsaSha384],
        keys: vec![key("acme.kms.iaca"), key("")],
    }
}

/// One message of each kind.
fn honest() -> Vec<Vec<u8>> {
    let answers = [
        Answer::Missing,
        Answer::Listed(vec![key("a"), key("b")]),
        Answer::Changed(KeyChangeResult::Made(key("c"))),
        Answer::Changed(KeyChangeResult::Rejected { reason: "no".to_owned(), destroyed: true }),
        Answer::Failed(Fault::ours(Class::Device, "C_Sign", "gone")),
    ];
    let answers = answers.into_iter().map(|answer| FromSigner::Answer {
        id: 300,
        answer,
        usage: Usage { memory: 1 << 26, descriptors: 9, sessions: Some(4) },
    });
    let fingerprint = || PinFingerprint {
        serial: facts().serial,
        salt: "0f".repeat(16),
        check: 7,
        digest: Some("ab".repeat(32)),
    };
    let words = [
        LoginNotice::Begins { fingerprint: fingerprint(), wrong: WrongPinFlag::Unreliable },
        LoginNotice::Ended(LoginOutcome::Refused),
        LoginNotice::Refused(fingerprint()),
    ];
    [FromSigner::Ready(ready())]
        .into_iter()
        .chain(words.map(FromSigner::Login))
        .chain(answers)
        .map(|message| encode(&message, FROM_SIGNER_BYTES_MAX).unwrap()[4..].to_vec())
        .collect()
}

/// A deterministic generator (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

#[test]
fn a_hundred_thousand_damaged_messages_are_heard_without_a_panic() {
    let (honest, mut numbers) = (honest(), Numbers(0x5eed));
    let mut read = 0;
    for _ in 0..100_000 {
        let mut content = honest[numbers.below(honest.len())].clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(content.len());
            match numbers.below(5) {
                0 => content[at] = numbers.octet(),
                1 => content[at] ^= 1 << numbers.below(8),
                2 => content.truncate(at.max(1)),
                3 => content.insert(at, [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)]),
                _ => {
                    let other = &honest[numbers.below(honest.len())];
                    content.extend_from_slice(&other[..numbers.below(other.len())]);
                }
            }
        }
        let length = u32::try_from(content.len()).unwrap();
        read += handle_as_the_front_does(&[&length.to_be_bytes(), &content[..]].concat());
        let _ = decode::<ToSigner>(&content);
    }
    // Damage within a text still leaves a valid message.
    assert!((1_000..90_000).contains(&read), "{read}");
}

#[test]
fn a_list_of_more_than_a_token_may_hold_is_refused_before_it_takes_memory() {
    let listing = |count: usize| -> io::Result<FromSigner> {
        let keys = vec![key("x"); count];
        let message =
            FromSigner::Answer { id: 0, answer: Answer::Listed(keys), usage: Usage::default() };
        decode(&postcard::to_stdvec(&message).unwrap())
    };
    assert!(listing(KEYS_MAX).is_ok());
    assert!(listing(KEYS_MAX + 1).is_err());
    // An answer to request 0 with a list of 2^62 keys.
    let endless = [&[2, 0, 2][..], &[0x80; 8], &[0x40], &[0; 64]].concat();
    assert!(decode::<FromSigner>(&endless).is_err());
}

#[test]
fn what_no_token_says_of_itself_is_not_plausible() {
    assert!(ready().is_plausible());
    let of = |facts| Ready { facts, ..ready() };
    assert!(!of(TokenFacts { serial: "9".repeat(65), ..facts() }).is_plausible());
    assert!(!of(TokenFacts { model: "x".repeat(1 << 20), ..facts() }).is_plausible());
    // A TPM pads the field with zeros instead of blanks.
    assert!(of(TokenFacts { model: "SW   TPM\0\0".to_owned(), ..facts() }).is_plausible());
}
