//! A handle is invalid after another login and in another process: in any order of events, no signature is
//! requested with an outdated one.

use std::collections::{HashMap, HashSet};

use super::{faults::Disturbed, *};

/// A deterministic generator (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

const ROUNDS: u64 = 400;

/// Checks each use of a handle against those found in the same process since its last login. Returns the
/// numbers of uses and of logins.
fn judge(record: &[(u32, String, String)]) -> (usize, usize) {
    let mut found: HashMap<u32, HashSet<&str>> = HashMap::new();
    let (mut uses, mut logins) = (0, 0);
    for (pid, function, words) in record {
        match (function.as_str(), words.split_once(' ')) {
            ("C_Login", _) => {
                logins += 1;
                found.remove(pid);
            }
            ("C_FindObjects" | "C_GenerateKeyPair", Some(("handle", handle))) => {
                found.entry(*pid).or_default().insert(handle);
            }
            // Recorded by the `logout` order, whose call uses an outdated handle and is refused.
            ("C_SignInit", None) => {}
            ("C_SignInit", Some(("handle", handle))) => {
                uses += 1;
                let known = found.get(pid).is_some_and(|found| found.contains(handle));
                assert!(known, "{pid} signs with {handle}, not found since its last login");
            }
            other => panic!("{other:?}"),
        }
    }
    (uses, logins)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_signature_is_made_with_a_handle_of_another_login_or_process() {
    let disturbed = Disturbed::new("handles");
    disturbed.hsm.keygen("other", "EC:prime256v1", "02");
    let record =
        "C_Login record\nC_FindObjects record\nC_GenerateKeyPair record\nC_SignInit record\n";
    disturbed.tell(record);
    let token = started(disturbed.config()).await;
    let keys = [token.find("key").await.unwrap(), token.find("other").await.unwrap()];
    let mut numbers = Numbers(0x5eed);
    for round in 0..ROUNDS {
        let orders = match numbers.below(8) {
            0 => "C_SignInit 1 logout",
            1 => "C_SignInit 1 fail CKR_OBJECT_HANDLE_INVALID",
            2 => "C_SignInit 1 fail CKR_SESSION_HANDLE_INVALID",
            3 => "C_Sign 1 fail CKR_USER_NOT_LOGGED_IN",
            4 if round % 5 == 0 => "C_Sign 1 fail CKR_DEVICE_ERROR",
            5 => {
                let _ = token.find("none").await;
                ""
            }
            6 if round % 3 == 0 => {
                let made = token.generate("made", &[7; 20], KeyType::P256).await.unwrap();
                sign(&token, &made, b"x").await.unwrap();
                token.destroy(&made).await.unwrap();
                ""
            }
            _ => "",
        };
        disturbed.tell(&format!("{record}{orders}"));
        let key = &keys[usize::try_from(numbers.below(2)).unwrap()];
        sign(&token, key, &round.to_be_bytes()).await.unwrap();
    }
    token.stop().await;
    let (uses, logins) = judge(&disturbed.record());
    println!("{uses} uses of handles, {logins} logins");
    assert!(uses as u64 > ROUNDS && logins > 50, "{uses} {logins}");
}
