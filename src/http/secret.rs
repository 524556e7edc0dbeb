//! Bodies that hold a private key: no word of such a body is repeated in an answer or a log, and the connection
//! ends with the answer, because its buffers hold the key too.

use std::rc::Rc;

use actix_web::{HttpMessage, HttpRequest};
use zeroize::Zeroizing;

use super::{connection::Link, problem::Problem};

/// The members that only a private or a secret JWK has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&[u8]; 8] = [b"d", b"p", b"q", b"dp", b"dq", b"qi", b"oth", b"k"];

/// A base64url word of at least this length may be a private value. The private values of all key types that
/// sign are longer, and every name in the API is shorter.
const KEY_MIN: usize = 40;
/// In a body with a private key, a shorter word that looks random may be a private value too.
const WORD_MIN: usize = 16;
/// A message that contains this many characters of the beginning of a word repeats the word.
const BEGINNING: usize = 12;

/// The beginnings of the words that no message may hold.
struct Words(Vec<Zeroizing<String>>);

/// Remembers the secret words of a body, before any message about it is made.
pub(super) fn note(request: &HttpRequest, body: &[u8]) {
    // Words are the parts between quotes. A JWK may be inside a string, where its quotes are escaped.
    let words = || {
        let words = body.split(|octet| *octet == b'"');
        words.map(|word| word.strip_suffix(b"\\").unwrap_or(word))
    };
    let is_private = words().zip(words().skip(1)).any(|(word, next)| {
        let is_name = next.trim_ascii_start().starts_with(b":");
        is_name && (PRIVATE.contains(&word) || PRIVATE.contains(&unescaped(word).as_slice()))
    });
    let beginnings: Vec<_> = words()
        .map(unescaped)
        .filter(|word| {
            is_base64url(word) && (word.len() >= KEY_MIN || is_private && is_random(word))
        })
        .filter_map(|word| {
            Some(std::str::from_utf8(word.get(..BEGINNING)?).ok()?.to_owned().into())
        })
        .collect();
    if !beginnings.is_empty() {
        request.extensions_mut().insert(Words(beginnings));
    }
    if is_private && let Some(link) = request.extensions().get::<Rc<Link>>() {
        link.is_secret.set(true);
    }
}

/// The word without JSON's escapes (RFC 8259, section 7): messages show it so.
fn unescaped(word: &[u8]) -> Zeroizing<Vec<u8>> {
    if !word.contains(&b'\\') {
        return word.to_owned().into();
    }
    let quoted = Zeroizing::new([b"\"", word, b"\""].concat());
    serde_json::from_slice::<String>(&quoted).map_or_else(|_| word.to_owned(), Into::into).into()
}

fn is_base64url(word: &[u8]) -> bool {
    word.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet))
}

/// Names of the API and of resources have seldom all three kinds of characters.
fn is_random(word: &[u8]) -> bool {
    word.len() >= WORD_MIN
        && word.iter().any(u8::is_ascii_digit)
        && word.iter().any(u8::is_ascii_lowercase)
        && word.iter().any(u8::is_ascii_uppercase)
}

/// Replaces the message of a refusal if it repeats a secret word.
pub(super) fn conceal(request: &HttpRequest, problem: Problem) -> Problem {
    let extensions = request.extensions();
    let Some(Words(words)) = extensions.get::<Words>() else { return problem };
    let repeats = |text: &str| words.iter().any(|word| text.contains(word.as_str()));
    if repeats(problem.message()) || problem.field().is_some_and(repeats) {
        return problem.without_words();
    }
    problem
}

#[cfg(test)]
mod tests {
    use actix_web::{http::StatusCode, test::TestRequest};

    use super::*;

    const VALUE: &str = "t1rF9gQ2bW5xk0c7l3m8n4p6s2u9v1y5z0AbCdEfGhI";

    fn told(body: &str, message: &str) -> String {
        let request = TestRequest::default().to_http_request();
        note(&request, body.as_bytes());
        conceal(&request, Problem::new(StatusCode::BAD_REQUEST, message)).message().to_owned()
    }

    #[test]
    fn a_value_of_a_private_key_is_not_repeated_wherever_it_was_put() {
        for body in [
            format!(r#"{{"kty":"{VALUE}"}}"#),
            format!(r#"{{"type":"{VALUE}"}}"#),
            format!(r#"{{"{VALUE}":"d"}}"#),
            format!(r#"{{"kty":"EC","d":"{VALUE}"}}"#),
            format!(r#"{{"jwk":"{{\"kty\":\"{VALUE}\",\"d\":\"x\"}}"}}"#),
            format!(r#"{{"d":"x","a.b c":"{VALUE}"}}"#),
            format!(r#"{{"\u006b":"x","kty":"{}"}}"#, &VALUE[..22]),
            format!(r#"{{"kty":"\u0074{}"}}"#, &VALUE[1..]),
        ] {
            let message = format!("'{VALUE}' is not supported");
            assert!(!told(&body, &message).contains(&VALUE[..BEGINNING]), "{body}");
            let cut = format!("'{}\u{2026}' is not supported", &VALUE[..30]);
            assert!(!told(&body, &cut).contains(&VALUE[..BEGINNING]), "{body}");
        }
    }

    #[test]
    fn other_words_are_repeated() {
        for (body, message) in [
            (r#"{"names":["p","p"]}"#, "/certificateProfile/1 is named twice"),
            (
                r#"{"iacaPemEncodedCertificate":"x","jwk":{"d":"x"}}"#,
                "iacaPemEncodedCertificate: not an IACA",
            ),
            (
                r#"{"type":"kms-hosted-key-descriptor","k" : "x"}"#,
                "private JWKs are accepted only in dev mode; use a kms-hosted-key-descriptor",
            ),
        ] {
            assert_eq!(told(body, message), message);
        }
        let message = "unknown member 'colour'";
        assert_eq!(told(r#"{"colour":"d"}"#, message), message);
        let message = "test.tenant1.kms1.a-key-with-a-long-name-of-its-own does not exist";
        let body = r#"{"keyIdPath":"test.tenant1.kms1.a-key-with-a-long-name-of-its-own"}"#;
        assert_eq!(told(body, message), message);
    }
}
