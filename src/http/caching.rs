//! Answers that caches may keep: conditional requests and the choice of a form (RFC 9110, sections 12 and
//! 13).

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{Accept, CACHE_CONTROL, ETag, EntityTag, Header, IfNoneMatch, Quality},
    },
};
use data_encoding::HEXLOWER;

/// Answers with what `write` makes, or with 304 if the client has it already. What it has is told by the
/// SHA-256 of what the answer is made from.
pub(super) fn answer(
    request: &HttpRequest,
    sha256: &[u8; 32],
    cache_control: &'static str,
    write: impl FnOnce(&mut HttpResponseBuilder) -> HttpResponse,
) -> HttpResponse {
    let tag = EntityTag::new_strong(HEXLOWER.encode(sha256));
    let is_unchanged = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        // RFC 9110, 13.1.2: weak comparison.
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|given| given.weak_eq(&tag)),
        Err(_) => false,
    };
    let status = if is_unchanged { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut response = HttpResponse::build(status);
    response.insert_header(ETag(tag)).insert_header((CACHE_CONTROL, cache_control));
    if is_unchanged { response.finish() } else { write(&mut response) }
}

/// The media types that the client names, in its order, without those that it refuses (`q=0`).
pub(super) fn accepted(request: &HttpRequest) -> Vec<String> {
    let Ok(Accept(ranges)) = Accept::parse(request) else { return Vec::new() };
    let named = ranges.into_iter().filter(|range| range.quality != Quality::ZERO);
    named.map(|range| range.item.essence_str().to_ascii_lowercase()).collect()
}
