//! The login of the compatible API. Its clients cannot start without one; ours needs none. It gives
//! a token that grants nothing: the client certificate alone decides.

use actix_web::{HttpResponse, http::Method};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::{
    http::{
        body,
        invalid::Invalid,
        json::{self, Node},
        problem::{JsonBody, Problem},
        route::{Access, Handler, Request, Route},
    },
    service::error::Error,
};

pub(super) static ROUTES: &[Route] = &[Route {
    method: Method::POST,
    path: "/auth/account/emailpass",
    access: Access::CompatLogin,
    handler: Handler::Plain(|request| Box::pin(login(request))),
}];

/// Takes any e-mail and any password, and looks at neither.
async fn login(request: Request<()>) -> Result<HttpResponse, Problem> {
    let Request { context, http, payload, .. } = request;
    let body = body::read_json(&http, payload, context.limits.request_body).await?;
    let body = json::parse(&body)?;
    read(Node::body(&body))?;
    let mut token = [0; 16];
    aws_lc_rs::rand::fill(&mut token)
        .map_err(|_| Error::Internal("no random octets".to_owned()))?;
    let token = format!("chl_{}", URL_SAFE_NO_PAD.encode(token));
    Ok(HttpResponse::Ok().json_body(&Token { token }))
}

pub(in crate::http) fn read(body: Node<'_>) -> Result<(), Invalid> {
    let mut object = body.object()?;
    object.required("email", |node| node.long_text().map(|_| ()))?;
    object.required("password", |node| node.long_text().map(|_| ()))
}

#[derive(Serialize)]
struct Token {
    token: String,
}
