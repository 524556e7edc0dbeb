//! A client of the daemon over mutual TLS, and the answers that it gets.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use ureq::{
    Agent,
    http::Response,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use crate::requests::SERVICE;

/// A client over mutual TLS, with keep-alive.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    pub(crate) fn new(pki: &Path, certificate: &Path, url: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let read = |path: PathBuf| fs::read(path).unwrap();
        let chain = Certificate::from_pem(&read(certificate.with_extension("pem"))).unwrap();
        let key = PrivateKey::from_pem(&read(certificate.with_extension("key"))).unwrap();
        let ca = Certificate::from_pem(&read(pki.join("server-ca.pem"))).unwrap();
        let tls = TlsConfig::builder()
            .client_cert(Some(ClientCert::new_with_certs(&[chain.to_owned()], key)))
            .root_certs(RootCerts::Specific(Arc::new(vec![ca.to_owned()])))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Self { agent, url: url.to_owned() }
    }

    /// POSTs JSON to a route of the service of the examples.
    pub fn issue(&self, route: &str, body: &Value) -> Answer {
        self.post(&format!("/v1/{SERVICE}/x509-service-api/{route}"), &body.to_string())
    }

    /// The same, to a daemon that may have ended.
    pub fn try_issue(&self, route: &str, body: &Value) -> Result<Answer, ureq::Error> {
        self.try_post(&format!("/v1/{SERVICE}/x509-service-api/{route}"), &body.to_string())
    }

    /// POSTs JSON text.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.try_post(path, body).unwrap()
    }

    /// POSTs JSON text to a daemon that may have ended.
    pub fn try_post(&self, path: &str, body: &str) -> Result<Answer, ureq::Error> {
        self.send("POST", path, &[("content-type", "application/json")], body)
    }

    /// POSTs JSON to a route.
    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, &body.to_string())
    }

    /// POSTs JSON to a route of the service of the examples, with an Idempotency-Key.
    pub fn issue_once(&self, route: &str, idempotency_key: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("idempotency-key", idempotency_key)];
        let path = format!("/v1/{SERVICE}/x509-service-api/{route}");
        self.send("POST", &path, &headers, body.to_string()).unwrap()
    }

    /// GETs a path.
    pub fn get(&self, path: &str) -> Answer {
        let request = ureq::http::Request::get(format!("{}{path}", self.url)).body(()).unwrap();
        Answer::read(self.agent.run(request).unwrap()).unwrap()
    }

    /// Sends any request.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Result<Answer, ureq::Error> {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.as_ref().to_vec()).unwrap();
        let config = self.agent.configure_request(request).allow_non_standard_methods(true);
        Answer::read(self.agent.run(config.build())?)
    }
}

/// Status, headers and JSON of an answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: ureq::http::HeaderMap,
    /// Body; `null` when empty.
    pub json: Value,
    /// Body as it came.
    pub text: String,
    /// Body as bytes.
    pub body: Vec<u8>,
}

impl Answer {
    fn read(mut response: Response<ureq::Body>) -> Result<Self, ureq::Error> {
        let body = response.body_mut().read_to_vec()?;
        Ok(Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            json: serde_json::from_slice(&body).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&body).into_owned(),
            body,
        })
    }

    /// The answer, which must be a 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.json);
        self
    }

    /// The certificate.
    #[track_caller]
    pub fn certificate(&self) -> &str {
        self.json["certificatePEM"].as_str().unwrap_or_else(|| panic!("{}", self.json))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
