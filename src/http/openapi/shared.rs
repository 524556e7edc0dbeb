//! Schemas that several APIs share: paths, keys, names, times, PEM.

use serde_json::json;

use super::schema::{Named, Schema};
use crate::{
    domain::{
        name::{AttributeKind, Country},
        path::{PathElement, ResourcePath},
    },
    http::body::BODY_BYTES_MAX,
};

pub(super) static SCHEMAS: &[&Named] = &[
    &PATH,
    &KEY_PATH,
    &ELEMENT,
    &TIMESTAMP,
    &INSTANT,
    &CERTIFICATE_PEM,
    &CERTIFICATE_PEM_OUT,
    &CSR_PEM,
    &KEY_DESCRIPTOR,
    &KMS_KEY_DESCRIPTOR,
    &JWK_KEY_DESCRIPTOR,
    &JWK,
    &PUBLIC_JWK,
    &PUBLIC_KEY_SOURCE,
    &KEY_DESCRIPTOR_SOURCE,
    &CSR_SOURCE,
    &DISTINGUISHED_NAME,
    &NAME_OUT,
    &HTTP_URL,
    &URI,
    &EMAIL,
    &VICAL_METADATA,
    &COUNTRY,
    &CURVE,
];

/// PEM that stands for any certificate where an example needs one.
pub(super) const PEM_EXAMPLE: &str =
    "-----BEGIN CERTIFICATE-----\nMIICkDCCAjegAwIBAgIU\n-----END CERTIFICATE-----\n";
/// PEM that stands for any certification request.
pub(super) const CSR_EXAMPLE: &str =
    "-----BEGIN CERTIFICATE REQUEST-----\nMIHyMIGZAgEAMDcx\n-----END CERTIFICATE REQUEST-----\n";
/// A coordinate of a point on P-256.
pub(super) const COORDINATE_EXAMPLE: &str = "QyHPzw5V5Ywyz0cJIBzbZ1Xwd2c7gZsNQUeYDBgSkJs";
/// An instant in the form of answers.
pub(super) const INSTANT_EXAMPLE: &str = "2026-06-15T09:30:00Z";

pub(super) static PATH: Named = Named { name: "ResourcePath", schema: || path(1) };

/// A service and one element more.
pub(super) static KEY_PATH: Named = Named { name: "KeyPath", schema: || path(2) };

fn path(elements_min: usize) -> Schema {
    let element = format!("[A-Za-z0-9_-]{{1,{}}}", PathElement::LENGTH_MAX);
    let repeat = if elements_min > 1 { "+" } else { "*" };
    Schema::string()
        .pattern(&format!(r"^{element}(?:\.{element}){repeat}$"))
        .length(2 * elements_min - 1, ResourcePath::LENGTH_MAX)
        .describe("Path of a resource: elements joined by '.', the organisation first.")
        .example(if elements_min > 1 { "acme.dmv.kms.iaca-2026" } else { "acme.dmv.x509" })
}

/// One element of a path.
pub(super) static ELEMENT: Named = Named {
    name: "PathElement",
    schema: || {
        Schema::string()
            .pattern("^[A-Za-z0-9_-]+$")
            .length(1, PathElement::LENGTH_MAX)
            .describe("One element of a path, case-sensitive.")
            .example("iaca-2026")
    },
};

/// In requests.
pub(super) static TIMESTAMP: Named = Named {
    name: "Timestamp",
    schema: || {
        Schema::string()
            .format("date-time")
            .length(20, 64)
            .describe(
                "RFC 3339 with any offset and fraction, years 1950 to 9999; converted to UTC and \
                 truncated to whole seconds before any check.",
            )
            .example("2026-03-01T00:00:00Z")
    },
};

/// In answers.
pub(super) static INSTANT: Named = Named {
    name: "Instant",
    schema: || {
        Schema::string()
            .format("date-time")
            .pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
            .describe("RFC 3339, UTC, whole seconds.")
            .example(INSTANT_EXAMPLE)
    },
};

/// In requests.
pub(super) static CERTIFICATE_PEM: Named = Named {
    name: "CertificatePem",
    schema: || {
        pem_in("CERTIFICATE")
            .describe(
                "Exactly one PEM block CERTIFICATE; LF or CRLF, white space around it is ignored.",
            )
            .example(PEM_EXAMPLE)
    },
};

/// In answers.
pub(super) static CERTIFICATE_PEM_OUT: Named = Named {
    name: "IssuedCertificatePem",
    schema: || {
        Schema::string()
            .pattern(
                "^-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n$",
            )
            .describe("One PEM block CERTIFICATE: LF, lines of 64 characters, one final newline.")
            .example(PEM_EXAMPLE)
    },
};

/// In requests.
pub(super) static CSR_PEM: Named = Named {
    name: "CertificationRequestPem",
    schema: || {
        pem_in("(?:NEW )?CERTIFICATE REQUEST")
            .describe(
                "Exactly one PEM block CERTIFICATE REQUEST or NEW CERTIFICATE REQUEST; its \
                 signature is verified, and nothing but its key is taken.",
            )
            .example(CSR_EXAMPLE)
    },
};

fn pem_in(label: &str) -> Schema {
    Schema::string()
        .pattern(&format!(r"^\s*-----BEGIN {label}-----[A-Za-z0-9+/=\s]+-----END {label}-----\s*$"))
        .length(1, BODY_BYTES_MAX)
}

/// Names a key in a request.
pub(super) static KEY_DESCRIPTOR: Named = Named {
    name: "KeyDescriptor",
    schema: || {
        Schema::union(&[
            ("kms-hosted-key-descriptor", &KMS_KEY_DESCRIPTOR),
            ("jwk-encoded-key-descriptor", &JWK_KEY_DESCRIPTOR),
        ])
        .describe("A key: in the HSM, or in the request.")
        .example(kms_key("acme.dmv.kms.iaca-2026"))
    },
};

/// A descriptor of a key in the HSM.
pub(super) fn kms_key(path: &str) -> serde_json::Value {
    json!({ "type": "kms-hosted-key-descriptor", "keyIdPath": path })
}

static KMS_KEY_DESCRIPTOR: Named = Named {
    name: "KmsHostedKeyDescriptor",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("kms-hosted-key-descriptor"))
            .required(
                "keyIdPath",
                "Path of the key; its KMS must be attached to the service of the call.",
                KEY_PATH.get(),
            )
            .strict()
            .describe("A key in the HSM.")
    },
};

static JWK_KEY_DESCRIPTOR: Named = Named {
    name: "JwkEncodedKeyDescriptor",
    schema: || {
        let jwk = Schema::either([
            JWK.get(),
            Schema::string()
                .length(2, BODY_BYTES_MAX)
                .describe("The JSON of such an object.")
                .example(format!(r#"{{"kty":"EC","crv":"P-256","x":"{COORDINATE_EXAMPLE}"}}"#)),
        ])
        .example(jwk_example());
        Schema::object()
            .required("type", "The kind.", Schema::constant("jwk-encoded-key-descriptor"))
            .optional("jwk", "The key, as an object or as a string that holds one.", jwk.clone())
            .optional("key", "Another name for `jwk`.", jwk)
            .exactly_one_of(&["jwk", "key"])
            .strict()
            .describe(
                "A key in the request. Public: it can be certified, it cannot sign (400). Private: \
                 only a daemon started with --dev takes it, otherwise 403.",
            )
    },
};

/// In requests, private or public.
pub(super) static JWK: Named = Named {
    name: "Jwk",
    schema: || {
        jwk_public(Schema::object().open())
            .optional("d", "Private exponent or scalar, base64url.", base64url())
            .optional("p", "RSA: first prime, base64url.", base64url())
            .optional("q", "RSA: second prime, base64url.", base64url())
            .optional("dp", "RSA: first CRT exponent, base64url.", base64url())
            .optional("dq", "RSA: second CRT exponent, base64url.", base64url())
            .optional("qi", "RSA: CRT coefficient, base64url.", base64url())
            .describe(
                "RFC 7517: EC on P-256, P-384 or P-521, or RSA of 2048, 3072 or 4096 bits with \
                 exponent 65537. Ed25519 (RFC 8037) as public subject key where \
                 `issuance.ed25519_subjects` is on. Other members are ignored.",
            )
            .example(jwk_example())
    },
};

/// In answers: public members only.
pub(super) static PUBLIC_JWK: Named = Named {
    name: "PublicJwk",
    schema: || {
        jwk_public(Schema::object())
            .describe("RFC 7517, public members only: `crv`, `x`, `y` or `n`, `e`.")
            .example(jwk_example())
    },
};

/// The public members of a JWK.
pub(super) fn jwk_public(object: Schema) -> Schema {
    object
        .required("kty", "Key type.", Schema::words(["EC", "RSA", "OKP"]).example("EC"))
        .optional("crv", "EC, OKP: curve.", CURVE.get())
        .optional("x", "EC: coordinate of full length; OKP: the key; base64url.", base64url())
        .optional("y", "EC: coordinate of full length, base64url.", base64url())
        .optional("n", "RSA: modulus, base64url.", base64url())
        .optional("e", "RSA: exponent, base64url.", base64url().example("AQAB"))
}

/// The EC key of the examples.
pub(super) fn jwk_example() -> serde_json::Value {
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": COORDINATE_EXAMPLE,
        "y": "9Zl6hXwfZ9zbMqVx4uDMdAk6MUmEj4Oh0e6i1B9fNqo",
    })
}

fn base64url() -> Schema {
    Schema::string().pattern("^[A-Za-z0-9_-]+$").length(1, 1_024).example(COORDINATE_EXAMPLE)
}

/// Whose public key is certified.
pub(super) static PUBLIC_KEY_SOURCE: Named = Named {
    name: "PublicKeySource",
    schema: || {
        Schema::union(&[("key-descriptor", &KEY_DESCRIPTOR_SOURCE), ("csr", &CSR_SOURCE)])
            .describe("Where the certified public key comes from.")
            .example(json!({ "type": "csr", "csrPem": CSR_EXAMPLE }))
    },
};

static KEY_DESCRIPTOR_SOURCE: Named = Named {
    name: "KeyDescriptorSource",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("key-descriptor"))
            .required(
                "keyDescriptor",
                "The key; its public half is certified.",
                KEY_DESCRIPTOR.get(),
            )
            .strict()
            .describe("A described key.")
    },
};

static CSR_SOURCE: Named = Named {
    name: "CsrSource",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("csr"))
            .optional("csrPem", "The request.", CSR_PEM.get())
            .optional("csr", "Another name for `csrPem`.", CSR_PEM.get())
            .optional("pemEncodedCsr", "Another name for `csrPem`.", CSR_PEM.get())
            .exactly_one_of(&["csrPem", "csr", "pemEncodedCsr"])
            .strict()
            .describe(
                "A PKCS#10 request. Only its public key is taken: not the subject, not the \
                 alternative names, not the requested extensions.",
            )
    },
};

/// In requests.
pub(super) static DISTINGUISHED_NAME: Named = Named {
    name: "DistinguishedName",
    schema: || {
        name_members(
            Schema::object().required(
                "commonName",
                "commonName.",
                attribute(AttributeKind::CommonName),
            ),
            &[
                "country",
                "stateOrProvinceName",
                "organizationName",
                "localityName",
                "organizationalUnitName",
            ],
        )
        .strict()
        .describe("A distinguished name; encoded C, CN, ST, O, L, OU, one attribute in each RDN.")
        .example(json!({ "commonName": "gateway.acme.example", "country": "NL" }))
    },
};

/// In answers; a name that was not made here may lack any member.
pub(super) static NAME_OUT: Named = Named {
    name: "Name",
    schema: || {
        let text = |example: &str| Schema::string().example(example);
        Schema::object()
            .optional("commonName", "commonName.", text("Acme Intermediate 1"))
            .optional("country", "countryName.", text("NL"))
            .optional("stateOrProvinceName", "stateOrProvinceName.", text("Utrecht"))
            .optional("organizationName", "organizationName.", text("Acme Vehicle Authority"))
            .optional("localityName", "localityName.", text("Amersfoort"))
            .optional("organizationalUnitName", "organizationalUnitName.", text("Platform"))
            .describe("A distinguished name of a certificate.")
            .example(json!({ "commonName": "Acme Intermediate 1", "country": "NL" }))
    },
};

/// Adds optional name members to an object.
pub(super) fn name_members(object: Schema, names: &[&str]) -> Schema {
    names.iter().fold(object, |object, name| {
        let schema = match *name {
            "country" => country(),
            "stateOrProvinceName" => attribute(AttributeKind::StateOrProvince),
            "organizationName" => attribute(AttributeKind::Organization),
            "localityName" => attribute(AttributeKind::Locality),
            _ => attribute(AttributeKind::OrganizationalUnit),
        };
        object.optional(name, &format!("{name}."), schema)
    })
}

/// A text attribute of a name, with its upper bound.
pub(super) fn attribute(kind: AttributeKind) -> Schema {
    Schema::trimmed(kind.characters_max()).example(match kind {
        AttributeKind::CommonName => "Acme Document Signer 07",
        AttributeKind::Organization => "Acme Vehicle Authority",
        AttributeKind::OrganizationalUnit => "Platform",
        AttributeKind::StateOrProvince => "Utrecht",
        AttributeKind::Locality => "Amersfoort",
    })
}

/// One of the assigned codes.
pub(super) fn country() -> Schema {
    COUNTRY.get()
}

static COUNTRY: Named = Named {
    name: "Country",
    schema: || {
        Schema::words(Country::codes()).describe("ISO 3166-1 alpha-2, upper case.").example("NL")
    },
};

static CURVE: Named = Named {
    name: "Curve",
    schema: || {
        let curves = ["P-256", "P-384", "P-521", "Ed25519"];
        Schema::words(curves).describe("As RFC 7518 and RFC 8037 name them.").example("P-256")
    },
};

/// `crlDistributionPointUri`.
pub(super) static HTTP_URL: Named = Named {
    name: "HttpUrl",
    schema: || {
        Schema::string()
            .format("uri")
            .pattern(r"^[Hh][Tt][Tt][Pp][Ss]?://[\u0021-\u007e]+$")
            .length(8, crate::http::json::STRING_CHARACTERS_MAX)
            .describe(
                "Absolute http or https URL with host, without user info, ASCII, no white space.",
            )
            .example("http://pki.acme.example/crl/root.crl")
    },
};

/// An absolute URI.
pub(super) static URI: Named = Named {
    name: "AbsoluteUri",
    schema: || {
        Schema::string()
            .format("uri")
            .pattern(r"^[A-Za-z][A-Za-z0-9+.-]*:[\u0021-\u007e]+$")
            .length(3, crate::http::json::STRING_CHARACTERS_MAX)
            .describe("Absolute URI, ASCII; with http and https a host and no user info.")
            .example("https://licences.acme.example/iaca")
    },
};

/// A plain address.
pub(super) static EMAIL: Named = Named {
    name: "EmailAddress",
    schema: || {
        Schema::string()
            .format("email")
            .pattern(r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+$")
            .length(3, 318)
            .describe("Plain ASCII e-mail address.")
            .example("pki@acme.example")
    },
};

/// What a VICAL says of an IACA.
pub(super) static VICAL_METADATA: Named = Named {
    name: "VicalEntryComplementaryMetadata",
    schema: || {
        let texts = || Schema::array(Schema::not_blank()).distinct();
        Schema::object()
            .required(
                "docType",
                "Document types that the IACA issues for.",
                texts().items_min(1).example(json!(["org.iso.18013.5.1.mDL"])),
            )
            .optional(
                "certificateProfile",
                "Certificate profiles, free values.",
                texts().example(json!(["org.iso.18013.5.1.iaca"])),
            )
            .strict()
            .describe("What a VICAL says of the certificate besides what is in it.")
            .example(json!({ "docType": ["org.iso.18013.5.1.mDL"] }))
    },
};
