//! The login of the compatible API. Its clients cannot start without one; ours needs none. It gives
//! a token that grants nothing: the client certificate alone decides.

use actix_web::{HttpRequest, HttpResponse, http::Method, web::Payload};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::{
    body,
    dispatch::Context,
    json::{self, Node},
    problem::{JsonBody, Problem},
};
use crate::{
    access::Client,
    service::error::{Error, Invalid},
};

/// Takes any e-mail and any password, and looks at neither.
pub(super) async fn answer(
    context: &Context,
    client: &Client,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    if request.method() != Method::POST {
        return Err(Problem::method_not_allowed("POST".to_owned()));
    }
    let limits = context.limits;
    let body = body::read_json(request, Some(payload), limits.request_body).await?;
    context.rates.count(client.name())?;
    let body = json::parse(&body).map_err(Error::from)?;
    read(Node::body(&body)).map_err(Error::from)?;
    let mut token = [0; 16];
    aws_lc_rs::rand::fill(&mut token)
        .map_err(|_| Error::Internal("no random octets".to_owned()))?;
    let token = format!("chl_{}", URL_SAFE_NO_PAD.encode(token));
    Ok(HttpResponse::Ok().json_body(&Token { token }))
}

fn read(body: Node<'_>) -> Result<(), Invalid> {
    let mut object = body.object()?;
    object.required("email", |node| node.long_text().map(|_| ()))?;
    object.required("password", |node| node.long_text().map(|_| ()))
}

#[derive(Serialize)]
struct Token {
    token: String,
}
