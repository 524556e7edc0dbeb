//! Bodies that hold a private key: no word of theirs is repeated, whatever the key is written as, and
//! their connection ends with the answer, since its buffers hold them too.

use std::rc::Rc;

use actix_web::{HttpMessage, HttpRequest};
use zeroize::Zeroizing;

use super::{connection::Link, problem::Problem};

/// RFC 7518, sections 6.2.2, 6.3.2 and 6.4: what only a private or a secret key has.
const PRIVATE: [&[u8]; 8] = [b"d", b"p", b"q", b"dp", b"dq", b"qi", b"oth", b"k"];

/// Words of a body with a private key that are shorter than this are none of its values.
const WORD_MIN: usize = 16;
/// A word of any body that is as long as this, and base64url, may be one.
const KEY_MIN: usize = 40;
/// A message that holds so much of the beginning of a word repeats it.
const BEGINNING: usize = 12;

/// The beginnings of the words that no message may hold.
struct Words(Vec<Zeroizing<String>>);

/// Looks at a body before anything is said of it.
pub(super) fn note(request: &HttpRequest, body: &[u8]) {
    // A JWK may stand in a string, where its quotes are escaped.
    let words = || {
        let words = body.split(|octet| *octet == b'"');
        words.map(|word| word.strip_suffix(b"\\").unwrap_or(word))
    };
    let is_private = words().any(|word| PRIVATE.contains(&word) || word.starts_with(b"\\u00"));
    let is_base64url = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_".contains(octet);
    let may_be_secret = |word: &&[u8]| match is_private {
        true => word.len() >= WORD_MIN,
        false => word.len() >= KEY_MIN && word.iter().all(is_base64url),
    };
    let beginnings: Vec<_> = words()
        .filter(may_be_secret)
        .filter_map(|word| std::str::from_utf8(word.get(..BEGINNING)?).ok())
        .map(|word| Zeroizing::new(word.to_owned()))
        .collect();
    if !beginnings.is_empty() {
        request.extensions_mut().insert(Words(beginnings));
    }
    if is_private && let Some(link) = request.extensions().get::<Rc<Link>>() {
        link.is_secret.set(true);
    }
}

/// What the caller and the audit log may be told.
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
        ] {
            let message = format!("'{VALUE}' is not supported");
            assert!(!told(&body, &message).contains(&VALUE[..BEGINNING]), "{body}");
            let cut = format!("'{}\u{2026}' is not supported", &VALUE[..30]);
            assert!(!told(&body, &cut).contains(&VALUE[..BEGINNING]), "{body}");
        }
    }

    #[test]
    fn other_words_are_repeated() {
        let message = "unknown member 'colour'";
        assert_eq!(told(r#"{"colour":"d"}"#, message), message);
        let message = "test.tenant1.kms1.a-key-with-a-long-name-of-its-own does not exist";
        let body = r#"{"keyIdPath":"test.tenant1.kms1.a-key-with-a-long-name-of-its-own"}"#;
        assert_eq!(told(body, message), message);
    }
}
