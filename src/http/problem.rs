//! Refusals on the wire: the one place where an error gets a status.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};
use serde::Serialize;

use super::{
    invalid::Invalid,
    wire::member::{pointer, prose},
};
use crate::{
    domain::member::Member,
    service::error::{DuplicateKind, Error},
};

/// Clients take these words for "it is there already, go on": no other message may hold them, not
/// even where it repeats what the caller wrote.
const DUPLICATE: &str = "already exists";

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    message: String,
    field: Option<String>,
    retry_after_seconds: Option<u64>,
    allow: Option<String>,
    accept_encoding: Option<&'static str>,
    duplicate: Option<Box<(String, DuplicateKind)>>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into().replace(DUPLICATE, "already-exists"),
            field: None,
            retry_after_seconds: None,
            allow: None,
            accept_encoding: None,
            duplicate: None,
        }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn method_not_allowed(allow: String) -> Self {
        let message = format!("use {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    /// RFC 9110, 15.5.16: the body has a content coding, and there is none that is taken.
    pub(super) fn content_coding() -> Self {
        let message = "the body must have no content coding; leave Content-Encoding out";
        Self {
            accept_encoding: Some("identity"),
            ..Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
        }
    }

    pub(super) fn busy(retry_after_seconds: u64) -> Self {
        let message = format!("busy; try again in {retry_after_seconds} s");
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
        }
    }

    pub(super) fn too_many(retry_after_seconds: u64) -> Self {
        let message = format!("too many requests; try again in {retry_after_seconds} s");
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, message)
        }
    }

    /// The same, with the member of the body that is to blame.
    fn at(self, member: Option<Member>) -> Self {
        Self { field: member.map(pointer), ..self }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The status and the headers.
    fn head(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        if let Some(codings) = self.accept_encoding {
            response.insert_header((header::ACCEPT_ENCODING, codings));
        }
        response
    }

    /// The same as plain text, for clients that expect no JSON.
    pub(super) fn into_text(self) -> HttpResponse {
        self.head().insert_header((header::CONTENT_TYPE, "text/plain")).body(self.message)
    }

    pub(super) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The same refusal, without what it would repeat of the request.
    pub(super) fn without_words(self) -> Self {
        let message = "the request cannot be taken as it is; what is wrong in it is not repeated, because \
                       it may be a part of a private key";
        Self { message: message.to_owned(), field: None, ..self }
    }

    pub(super) fn into_response(self, request_id: &str) -> HttpResponse {
        let mut response = self.head();
        let (target, kind) = self.duplicate.map(|duplicate| *duplicate).unzip();
        let code = self.status.as_u16();
        let body = Body {
            r#type: kind.map(|_| "DuplicateTarget"),
            target,
            target_entry_type: kind.map(DuplicateKind::name),
            exception: true,
            id: exception(code),
            // The duplicate's shape alone has a number here.
            status: match kind {
                Some(_) => Status::Number(code),
                None => Status::Reason(self.status.canonical_reason().unwrap_or_default()),
            },
            code: code.to_string(),
            message: self.message,
            request_id: request_id.to_owned(),
            field: self.field,
        };
        response.json_body(&body)
    }
}

/// JSON answers carry exactly `application/json`.
pub(super) trait JsonBody {
    fn json_body(self, body: &impl Serialize) -> HttpResponse;
}

impl JsonBody for &mut actix_web::HttpResponseBuilder {
    fn json_body(self, body: &impl Serialize) -> HttpResponse {
        self.insert_header((header::CONTENT_TYPE, "application/json"));
        match serde_json::to_vec(body) {
            Ok(octets) => self.body(octets),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                HttpResponse::InternalServerError().finish()
            }
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self { field: invalid.field, ..Self::new(StatusCode::BAD_REQUEST, invalid.message) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(invalid) => {
                Self::new(StatusCode::BAD_REQUEST, prose(&invalid.message)).at(invalid.member)
            }
            Error::Forbidden { message, field } => {
                Self::new(StatusCode::FORBIDDEN, prose(&message)).at(field)
            }
            Error::NotFound { message, field } => {
                Self::new(StatusCode::NOT_FOUND, message).at(field)
            }
            Error::Duplicate { target, kind, field } => Self {
                field: field.map(pointer),
                message: format!("target {DUPLICATE}: {target}"),
                duplicate: Some(Box::new((target.to_string(), kind))),
                ..Self::new(StatusCode::CONFLICT, "")
            },
            Error::Conflict { message, retry_after_seconds } => {
                // An attached dependency is a duplicate too, and says so.
                Self { message, retry_after_seconds, ..Self::new(StatusCode::CONFLICT, "") }
            }
            Error::Unavailable { message, retry_after_seconds } => Self {
                retry_after_seconds: Some(retry_after_seconds.max(1)),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
            },
            Error::AmbiguousKey(message) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
            Error::Internal(words) => {
                tracing::error!(words, "internal error");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal error; the log knows more under this request id",
                )
            }
        }
    }
}

/// `id` of each status that a refusal has.
pub(super) const EXCEPTIONS: [(u16, &str); 11] = [
    (400, "BadRequestException"),
    (401, "UnauthorizedException"),
    (403, "ForbiddenException"),
    (404, "NotFoundException"),
    (405, "MethodNotAllowedException"),
    (409, "ConflictException"),
    (413, "PayloadTooLargeException"),
    (415, "UnsupportedMediaTypeException"),
    (429, "TooManyRequestsException"),
    (500, "InternalServerErrorException"),
    (503, "ServiceUnavailableException"),
];

/// `id` of a status.
pub(super) fn exception(status: u16) -> &'static str {
    EXCEPTIONS
        .into_iter()
        .find_map(|(code, id)| (code == status).then_some(id))
        .unwrap_or("InternalServerErrorException")
}

#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    exception: bool,
    id: &'static str,
    status: Status,
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_entry_type: Option<&'static str>,
    #[serde(rename = "requestId")]
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Status {
    Number(u16),
    Reason(&'static str),
}
