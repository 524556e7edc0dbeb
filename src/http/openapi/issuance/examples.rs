//! Examples of issuance. Those of the compatible API are the files that the tests send and compare.

use serde_json::{Value, json};

use crate::http::openapi::shared::{
    COORDINATE_EXAMPLE, CSR_EXAMPLE, INSTANT_EXAMPLE, PEM_EXAMPLE, jwk_example, kms_key,
};

macro_rules! documented {
    ($($name:ident = $file:literal,)*) => {
        $(pub(super) fn $name() -> Value {
            read(include_str!(concat!("../../../../tests/requests/", $file)))
        })*
    };
}

documented! {
    iaca_request = "iacas-create.request.json",
    iaca_answer = "iacas-create.response.json",
    document_signer_request = "document-signers-create.request.json",
    document_signer_answer = "document-signers-create.response.json",
    leaf_request = "certificate-self-signed-leaf.request.json",
    leaf_answer = "certificate-self-signed-leaf.response.json",
    intermediate_request = "certificate-ca-signed-intermediate.request.json",
}

/// Answers are templates; a value takes the place of each stand-in.
fn read(text: &str) -> Value {
    filled(serde_json::from_str(text).unwrap_or_default())
}

fn filled(value: Value) -> Value {
    match value {
        Value::String(text) if text == "<generated-timestamp>" => INSTANT_EXAMPLE.into(),
        Value::String(text) if text == "..." => COORDINATE_EXAMPLE.into(),
        Value::String(text) if text.starts_with("-----BEGIN") => PEM_EXAMPLE.into(),
        Value::Array(items) => items.into_iter().map(filled).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, filled(member))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

pub(super) fn document_signer_supplied() -> Value {
    json!({
        "storedCertificateId": "ds-07",
        "iacaSigner": {
            "type": "iaca-pem-cert-descriptor",
            "iacaPemEncodedCertificate": PEM_EXAMPLE,
            "iacaKeyDesc": kms_key("acme.dmv.kms.iaca-2026"),
        },
        "certificateData": {
            "country": "NL",
            "commonName": "Acme Document Signer 07",
            "stateOrProvinceName": "Utrecht",
            "localityName": "Amersfoort",
            "crlDistributionPointUri": "http://pki.acme.example/crl/root.crl",
        },
        "dsPublicKeySource": { "type": "csr", "csrPem": CSR_EXAMPLE },
    })
}

pub(super) fn gateway_request() -> Value {
    json!({
        "storedCertificateId": "gateway-tls",
        "certificateData": {
            "subjectName": {
                "commonName": "gateway.acme.example",
                "country": "NL",
                "organizationName": "Acme Vehicle Authority",
                "organizationalUnitName": "Platform",
            },
            "notAfter": "2026-12-31T23:59:59Z",
            "isCertificateAuthority": false,
            "keyUsage": ["DigitalSignature"],
            "extendedKeyUsageOids": ["1.3.6.1.5.5.7.3.1"],
            "subjectAlternativeNames": {
                "dnsNames": ["gateway.acme.example"],
                "ipAddresses": ["192.0.2.17"],
            },
            "crlDistributionPointUri": "http://pki.acme.example/crl/intermediate.crl",
        },
        "subjectPublicKeySource": { "type": "csr", "csrPem": CSR_EXAMPLE },
        "issuer": {
            "type": "ca-signed",
            "issuerKeyDescriptor": kms_key("acme.dmv.kms.intermediate-1"),
        },
    })
}

pub(super) fn link_request() -> Value {
    json!({
        "storedCertificateId": "link-2026-2031",
        "iacaSigner": {
            "type": "iaca-pem-cert-descriptor",
            "iacaPemEncodedCertificate": PEM_EXAMPLE,
            "iacaKeyDesc": kms_key("acme.dmv.kms.iaca-2026"),
        },
        "newIacaPemEncodedCertificate": PEM_EXAMPLE,
        "certificateData": { "crlDistributionPointUri": "http://pki.acme.example/crl/root.crl" },
    })
}

pub(super) fn link_answer() -> Value {
    json!({
        "certificatePEM": PEM_EXAMPLE,
        "storedCertificateIds": ["acme.dmv.certs.link-2026-2031"],
        "certificateData": {
            "country": "NL",
            "commonName": "Acme Licence Root 2031",
            "notBefore": "2031-01-10T08:00:00Z",
            "notAfter": "2036-03-01T00:00:00Z",
            "stateOrProvinceName": "Utrecht",
            "crlDistributionPointUri": "http://pki.acme.example/crl/root.crl",
        },
    })
}

pub(super) fn csr_generic() -> Value {
    json!({
        "type": "generic",
        "subjectKeyDescriptor": kms_key("test.tenant1.kms1.leaf-secp256r1"),
        "subjectName": { "commonName": "gateway.acme.example", "country": "NL" },
        "subjectAlternativeNames": { "dnsNames": ["gateway.acme.example"] },
    })
}

pub(super) fn csr_document_signer() -> Value {
    json!({
        "type": "iso-document-signer",
        "subjectKeyDescriptor": kms_key("test.tenant1.kms1.ds-secp256r1"),
        "certificateData": {
            "country": "NL",
            "commonName": "Acme Document Signer 08",
            "stateOrProvinceName": "Utrecht",
        },
    })
}

pub(super) fn csr_answer() -> Value {
    json!({
        "csrPem": CSR_EXAMPLE,
        "subjectName": { "commonName": "gateway.acme.example", "country": "NL" },
        "publicKeyJwk": jwk_example(),
    })
}
