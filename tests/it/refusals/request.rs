//! A request that is right, and what is done to it to make it wrong.

use serde_json::{Value, json};

use crate::appliance::{SERVICE, documented, generic_ca, key};

/// Who sends a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// The provisioned client, with every grant that it needs.
    Granted,
    /// A configured client without any grant.
    Nobody,
    /// A certificate that TLS accepts and no client has.
    Stray,
}

/// A request under construction.
#[derive(Clone)]
pub struct Ask {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub caller: Caller,
    json: Value,
    raw: Option<Vec<u8>>,
}

/// Makes a request that is right.
pub type MakeAsk = fn() -> Ask;

/// A request and the refusal that it must get.
pub struct Row {
    /// The number of the refusal and what is wrong.
    pub name: String,
    pub ask: Ask,
    pub status: u16,
    /// JSON pointer of the member to blame; `None` when none is.
    pub field: Option<String>,
    /// Part of the message.
    pub words: String,
}

/// A POST of JSON to a route of the service of the examples.
pub fn post(route: &str, json: Value) -> Ask {
    Ask {
        method: "POST".to_owned(),
        path: format!("/v1/{SERVICE}/x509-service-api/{route}"),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        caller: Caller::Granted,
        json,
        raw: None,
    }
}

/// The documented IACA.
pub fn iaca() -> Ask {
    post("iso/iacas", documented("iacas-create.request.json"))
}

/// The documented document signer, with a described IACA.
pub fn document_signer() -> Ask {
    post("iso/document-signers", documented("document-signers-create.request.json"))
}

/// A document signer under the IACA in `pem`.
pub fn document_signer_under(pem: &str, iaca_key: &str) -> Ask {
    document_signer().set(
        "/iacaSigner",
        json!({
            "type": "iaca-pem-cert-descriptor",
            "iacaPemEncodedCertificate": pem,
            "iacaKeyDesc": key(iaca_key),
        }),
    )
}

/// The documented self-signed leaf.
pub fn leaf() -> Ask {
    post("certificate", documented("certificate-self-signed-leaf.request.json"))
}

/// A self-signed CA.
pub fn root(key_name: &str) -> Ask {
    post("certificate", generic_ca(key_name, "Example Root"))
}

/// The documented intermediate.
pub fn intermediate() -> Ask {
    post("certificate", documented("certificate-ca-signed-intermediate.request.json"))
}

/// The documented leaf, signed by the key of a CA.
pub fn leaf_under(issuer_key: &str) -> Ask {
    leaf().set("/issuer", json!({ "type": "ca-signed", "issuerKeyDescriptor": key(issuer_key) }))
}

/// A generic certification request.
pub fn csr() -> Ask {
    post(
        "csrs",
        json!({
            "type": "generic",
            "subjectKeyDescriptor": key("leaf-secp256r1"),
            "subjectName": { "commonName": "gateway.acme.example", "country": "NL" },
            "subjectAlternativeNames": { "dnsNames": ["gateway.acme.example"] },
        }),
    )
}

/// A certification request for a document signer.
pub fn document_signer_csr() -> Ask {
    post(
        "csrs",
        json!({
            "type": "iso-document-signer",
            "subjectKeyDescriptor": key("ds-from-csr"),
            "certificateData": { "country": "NL", "commonName": "Acme Document Signer 08" },
        }),
    )
}

impl Ask {
    /// Sets a member, which may be new.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/").replace("~0", "~");
        let parent = self.json.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
        if let Some(items) = parent.as_array_mut() {
            items[name.parse::<usize>().unwrap()] = value.into();
        } else {
            parent[name] = value.into();
        }
        self
    }

    /// Takes a member out.
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let object = self.json.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        object.remove(name).unwrap_or_else(|| panic!("no {pointer}"));
        self
    }

    /// Sends these octets, whatever the JSON is.
    pub fn raw(self, body: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(body.into()), ..self }
    }

    /// Sends it to another path.
    pub fn to(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    /// Sends it to another service.
    pub fn at(self, service: &str) -> Self {
        let path = self.path.replace(&format!("/{SERVICE}/"), &format!("/{service}/"));
        Self { path, ..self }
    }

    /// Sends it with another method.
    pub fn method(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    /// Sends it as somebody else.
    pub fn by(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// Adds or replaces a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// The JSON.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// What goes over the wire.
    pub fn body(&self) -> Vec<u8> {
        self.raw.clone().unwrap_or_else(|| self.json.to_string().into_bytes())
    }

    /// A row in which a member is to blame.
    pub fn blames(self, name: &str, status: u16, field: &str, words: &str) -> Row {
        let row = self.refused(name, status, words);
        Row { field: Some(field.to_owned()), ..row }
    }

    /// A row in which no member is to blame.
    pub fn refused(self, name: &str, status: u16, words: &str) -> Row {
        Row { name: name.to_owned(), ask: self, status, field: None, words: words.to_owned() }
    }
}
