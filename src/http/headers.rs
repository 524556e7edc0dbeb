//! The header fields of this API, and the request id.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use uuid::Uuid;

/// Names a request, in the request and in its answer.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_REQUEST_ID_CHARACTERS_MAX: usize = 64;
/// The serial number of the certificate that was made.
pub(super) const SERIAL: HeaderName = HeaderName::from_static("chancery-serial");
/// The index of the audit entry of the operation.
pub(super) const AUDIT_INDEX: HeaderName = HeaderName::from_static("chancery-audit-index");
/// Marks an answer that repeats an earlier one.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The caller's request id if it is valid, otherwise a new one.
pub(super) fn request_id(request: &HttpRequest) -> String {
    request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=X_REQUEST_ID_CHARACTERS_MAX).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        })
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Writes the request id into an answer.
pub(super) fn set_request_id(answer: &mut HttpResponse, request_id: &str) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        answer.headers_mut().insert(X_REQUEST_ID, value);
    }
}
