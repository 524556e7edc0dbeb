//! The OpenAPI document, and `GET /swagger`: Swagger UI over it. Every octet of it is in this program, and the page
//! may load nothing from anywhere else.

use actix_web::{
    HttpResponse,
    http::{
        Method,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    web::Bytes,
};
use swagger_ui_redist::SwaggerUi;

use crate::http::{
    openapi,
    problem::Problem,
    route::{Access, Handler, Request, Route},
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/openapi.json",
        access: Access::AnyClient,
        handler: Handler::Plain(|_| Box::pin(document())),
    },
    Route {
        method: Method::GET,
        path: "/swagger",
        access: Access::AnyClient,
        handler: Handler::Plain(|_| Box::pin(page())),
    },
    Route {
        method: Method::GET,
        path: "/swagger/{}",
        access: Access::AnyClient,
        handler: Handler::Plain(|request| Box::pin(asset(request))),
    },
];

/// Ours, since the page of the crate has its script inline, which the policy forbids.
const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Chancery</title>
<link rel="stylesheet" href="/swagger/swagger-ui.css">
<link rel="stylesheet" href="/swagger/index.css">
<link rel="icon" type="image/png" href="/swagger/favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/swagger/swagger-ui-bundle.js"></script>
<script src="/swagger/start.js"></script>
</body>
</html>
"#;

/// No validator: that of Swagger UI is on the internet.
const START: &str = r##"window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"##;

/// The daemon itself, and the pictures that the style sheet holds.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

async fn document() -> Result<HttpResponse, Problem> {
    let body = Bytes::from_static(openapi::JSON);
    Ok(HttpResponse::Ok().content_type("application/json").body(body))
}

/// The page.
async fn page() -> Result<HttpResponse, Problem> {
    Ok(part("text/html; charset=utf-8", PAGE.as_bytes()))
}

/// What the page loads.
async fn asset(request: Request<()>) -> Result<HttpResponse, Problem> {
    let name = request.parameter.as_str();
    if name == "start.js" {
        return Ok(part(media_type(name), START.as_bytes()));
    }
    SwaggerUi::static_files()
        .iter()
        .find(|(file, _)| file.file_name() == name)
        .map(|(_, octets)| part(media_type(name), octets))
        .ok_or_else(|| Problem::not_found("not found"))
}

fn part(media_type: &'static str, octets: &'static [u8]) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(octets)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "image/png",
    }
}
