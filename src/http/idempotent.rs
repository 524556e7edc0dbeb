//! Requests that make something once, however often they are sent: the Idempotency-Key header.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};

use super::{
    context::uninterrupted,
    headers::{AUDIT_INDEX, REPLAYED, SERIAL},
    parse::Body,
    problem::Problem,
    route::Request,
};
use crate::{
    domain::{key::sha256, time::Timestamp},
    service::{
        Call, Services,
        error::Error,
        idempotency::{self, Admission, Answer, Keyed, RequestKey},
    },
};

pub(super) const KEY_CHARACTERS_MAX: usize = 128;

/// Runs `work` to its end, or gives the answer that it gave before.
pub(super) async fn idempotent<T, F>(
    request: Request,
    body: Body<T>,
    work: impl FnOnce(Arc<Services>, Call, T) -> F + Send + 'static,
) -> Result<HttpResponse, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<Answer, Error>> + Send + 'static,
{
    let Body { parsed, octets } = body;
    let keyed = keyed(&request, &octets)?;
    drop(octets);
    let services = Arc::clone(&request.context.services);
    let mut call = request.call;
    let waiting = Arc::new(());
    let waited_for = Arc::downgrade(&waiting);
    // Boxed: it is large, and moved several times before it runs.
    let answer = uninterrupted(
        &request.context,
        Box::pin(async move {
            // The guard lives as long as the work, not as long as the connection.
            let _running = match &keyed {
                None => None,
                Some(keyed) => {
                    match idempotency::admit(&services, keyed, Timestamp::now()).await? {
                        Admission::Run(running) => Some(running),
                        Admission::Replay(answer) => return Ok(answer),
                    }
                }
            };
            call.keyed = keyed.filter(|_| services.keeps_answers());
            let answer = work(services, call, parsed?).await?;
            if waited_for.strong_count() == 0 {
                let (serial, audit_index) = (answer.serial.as_deref(), answer.audit_index);
                tracing::info!(
                    serial,
                    audit_index,
                    "done, and nobody waits for the answer any more"
                );
            }
            Ok::<_, Problem>(answer)
        }),
    )
    .await?;
    drop(waiting);
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, "application/json"));
    if let Some(serial) = answer.serial {
        response.insert_header((SERIAL, serial));
    }
    response.insert_header((AUDIT_INDEX, answer.audit_index));
    if answer.replayed {
        response.insert_header((REPLAYED, "true"));
    }
    Ok(response.body(answer.body))
}

fn keyed(request: &Request, body: &[u8]) -> Result<Option<Keyed>, Problem> {
    let mut given = request.http.headers().get_all("idempotency-key");
    let Some(value) = given.next() else { return Ok(None) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    // Two keys are none.
    let only = given.next().is_none().then_some(value);
    let key = only
        .and_then(|value| value.to_str().ok())
        .filter(|key| (1..=KEY_CHARACTERS_MAX).contains(&key.len()) && key.bytes().all(allowed));
    match key {
        Some(key) => Ok(Some(Keyed {
            request: RequestKey {
                client: request.call.client.to_string(),
                route: format!("{} {}", request.http.method(), request.http.uri().path()),
                key: key.to_owned(),
            },
            fingerprint: sha256(body),
        })),
        None => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "Idempotency-Key: 1 to 128 of A-Z a-z 0-9 . _ : -",
        )),
    }
}
