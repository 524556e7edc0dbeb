//! Reading request bodies within their limits.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    http::{StatusCode, header},
    web::Payload,
};
use futures_util::StreamExt;
use zeroize::Zeroizing;

use super::{problem::Problem, secret};

/// Largest request body, in octets.
pub(super) const BODY_BYTES_MAX: usize = 65_536;

/// A body; it may hold a private key.
pub(super) type Octets = Zeroizing<Vec<u8>>;

/// Reads the body: size (413), then media type (415).
pub(super) async fn read_json(
    request: &HttpRequest,
    payload: Option<Payload>,
    deadline: Duration,
) -> Result<Octets, Problem> {
    let body = read(request, payload, deadline).await?;
    check_content_coding(request)?;
    if has_media_type(request, "application/json") {
        Ok(body)
    } else {
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"))
    }
}

/// Reads a body of plain text.
pub(super) async fn read_text(
    request: &HttpRequest,
    payload: Option<Payload>,
    deadline: Duration,
) -> Result<String, Problem> {
    let body = read(request, payload, deadline).await?;
    check_content_coding(request)?;
    String::from_utf8(body.to_vec()).map_err(|_| broken("body is not UTF-8"))
}

async fn read(
    request: &HttpRequest,
    payload: Option<Payload>,
    deadline: Duration,
) -> Result<Octets, Problem> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    let length_max = announced.unwrap_or(BODY_BYTES_MAX);
    if length_max > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let whole = async {
        // Reserved at once, because a vector that grows leaves copies behind that are not wiped.
        let mut body = Zeroizing::new(Vec::with_capacity(length_max));
        let Some(mut payload) = payload else { return Ok(body) };
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| broken("the body is broken"))?;
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    let body = tokio::time::timeout(deadline, whole)
        .await
        .unwrap_or_else(|_| Err(broken("the body did not arrive in time")))?;
    secret::note(request, &body);
    Ok(body)
}

/// What is read are the octets that were sent: a body that says that they stand for others is none
/// (415).
fn check_content_coding(request: &HttpRequest) -> Result<(), Problem> {
    let codings = request.headers().get_all(header::CONTENT_ENCODING);
    let is_identity = |value: &header::HeaderValue| {
        let codings = value.to_str().unwrap_or("unreadable").split(',').map(str::trim);
        codings.into_iter().all(|coding| coding.eq_ignore_ascii_case("identity"))
    };
    if codings.into_iter().all(is_identity) { Ok(()) } else { Err(Problem::content_coding()) }
}

/// Whether the body has this media type; parameters do not matter.
pub(super) fn has_media_type(request: &HttpRequest, media_type: &str) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("body is larger than {BODY_BYTES_MAX} bytes"),
    )
}

fn broken(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, message)
}
