//! Bodies of issuance requests, as `http::wire` reads them.

use serde_json::json;

use super::examples;
use crate::{
    domain::{name::AttributeKind, request::KeyUsage},
    http::openapi::{
        schema::{Named, Schema},
        shared::{
            CERTIFICATE_PEM, DISTINGUISHED_NAME, ELEMENT, EMAIL, HTTP_URL, KEY_DESCRIPTOR,
            PUBLIC_KEY_SOURCE, TIMESTAMP, URI, VICAL_METADATA, attribute, country, name_members,
        },
    },
};

pub(super) static SCHEMAS: &[&Named] = &[
    &IACA,
    &IACA_DATA,
    &DESCRIBED_IACA_DATA,
    &CONTACT,
    &DOCUMENT_SIGNER,
    &DOCUMENT_SIGNER_DATA,
    &IACA_SIGNER,
    &IACA_BY_PEM,
    &IACA_BY_DATA,
    &GENERIC,
    &GENERIC_DATA,
    &KEY_USAGE,
    &ALTERNATIVE_NAMES,
    &ISSUER,
    &SELF_SIGNED,
    &CA_SIGNED,
    &LINK,
    &CSR,
    &GENERIC_CSR,
    &DOCUMENT_SIGNER_CSR,
    &DOCUMENT_SIGNER_NAME,
];

/// Every issuance may choose its id in the stores.
fn issuance() -> Schema {
    Schema::object().optional(
        "storedCertificateId",
        "Id of the copy in every attached store; a UUID by default. Ignored without a store.",
        ELEMENT.get(),
    )
}

pub(super) static IACA: Named = Named {
    name: "IacaRequest",
    schema: || {
        issuance()
            .required("certificateData", "What the certificate says.", IACA_DATA.get())
            .required("iacaKeyDesc", "Key that signs and is certified; EC.", KEY_DESCRIPTOR.get())
            .optional(
                "vicalEntryComplementaryMetadata",
                "Makes the stored copies VICAL entries.",
                VICAL_METADATA.get(),
            )
            .strict()
            .describe("An IACA to issue.")
            .example(examples::iaca_request())
    },
};

static IACA_DATA: Named = Named {
    name: "IacaData",
    schema: || {
        iaca_data()
            .optional("notBefore", "Start; now by default.", TIMESTAMP.get())
            .optional(
                "notAfter",
                "End; 7,300 days after the start by default, and at most.",
                TIMESTAMP.get(),
            )
            .describe("What an IACA says.")
            .example(examples::iaca_request()["certificateData"].clone())
    },
};

/// Both ends are required: they identify what is described.
static DESCRIBED_IACA_DATA: Named = Named {
    name: "DescribedIacaData",
    schema: || {
        iaca_data()
            .required("notBefore", "Start.", TIMESTAMP.get())
            .required("notAfter", "End.", TIMESTAMP.get())
            .describe("What an existing IACA says.")
            .example(examples::document_signer_request()["iacaSigner"]["certificateData"].clone())
    },
};

fn iaca_data() -> Schema {
    let object = Schema::object()
        .required("country", "country.", country())
        .required("commonName", "commonName.", attribute(AttributeKind::CommonName))
        .required("issuerAlternativeNameConf", "Contact of the authority.", CONTACT.get())
        .optional("crlDistributionPointUri", "Where its CRL is.", HTTP_URL.get());
    name_members(object, &["stateOrProvinceName", "organizationName"]).strict()
}

/// In answers too.
pub(super) static CONTACT: Named = Named {
    name: "IssuerAlternativeNameConf",
    schema: || {
        Schema::object()
            .optional("uri", "Address.", URI.get())
            .optional("email", "E-mail address.", EMAIL.get())
            .any_of_members(&["uri", "email"])
            .strict()
            .describe("How to reach the issuing authority; at least one of both.")
            .example(json!({ "uri": "https://licences.acme.example/iaca" }))
    },
};

pub(super) static DOCUMENT_SIGNER: Named = Named {
    name: "DocumentSignerRequest",
    schema: || {
        issuance()
            .required("iacaSigner", "The IACA that signs.", IACA_SIGNER.get())
            .required("certificateData", "What the certificate says.", DOCUMENT_SIGNER_DATA.get())
            .optional("dsPublicKeySource", "Key that is certified; EC.", PUBLIC_KEY_SOURCE.get())
            .optional(
                "dsKeyDescriptor",
                "Older way to name the key that is certified.",
                KEY_DESCRIPTOR.get(),
            )
            .exactly_one_of(&["dsPublicKeySource", "dsKeyDescriptor"])
            .strict()
            .describe("A document signer to issue.")
            .example(examples::document_signer_request())
    },
};

static DOCUMENT_SIGNER_DATA: Named = Named {
    name: "DocumentSignerData",
    schema: || {
        let object = Schema::object()
            .required("country", "Equal to the IACA's.", country())
            .required("commonName", "commonName.", attribute(AttributeKind::CommonName))
            .required("crlDistributionPointUri", "Where the IACA's CRL is.", HTTP_URL.get())
            .optional("notBefore", "Start; now by default, inside the IACA's.", TIMESTAMP.get())
            .optional(
                "notAfter",
                "End; 457 days less one second after the start by default, at most 457 days, \
                 inside the IACA's.",
                TIMESTAMP.get(),
            );
        name_members(object, &["stateOrProvinceName", "organizationName", "localityName"])
            .strict()
            .describe("What a document signer says. stateOrProvinceName is equal to the IACA's.")
            .example(examples::document_signer_request()["certificateData"].clone())
    },
};

static IACA_SIGNER: Named = Named {
    name: "IacaSigner",
    schema: || {
        Schema::union(&[
            ("iaca-pem-cert-descriptor", &IACA_BY_PEM),
            ("iaca-cert-data-descriptor", &IACA_BY_DATA),
        ])
        .describe("An IACA and its key.")
        .example(examples::document_signer_request()["iacaSigner"].clone())
    },
};

static IACA_BY_PEM: Named = Named {
    name: "SuppliedIaca",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("iaca-pem-cert-descriptor"))
            .required(
                "iacaPemEncodedCertificate",
                "The certificate; it must pass the whole profile.",
                CERTIFICATE_PEM.get(),
            )
            .required("iacaKeyDesc", "Its key, which signs.", KEY_DESCRIPTOR.get())
            .strict()
            .describe("An IACA, supplied.")
    },
};

static IACA_BY_DATA: Named = Named {
    name: "DescribedIaca",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("iaca-cert-data-descriptor"))
            .required("certificateData", "What it says.", DESCRIBED_IACA_DATA.get())
            .required("iacaKeyDesc", "Its key, which signs.", KEY_DESCRIPTOR.get())
            .strict()
            .describe("An IACA, described.")
    },
};

pub(super) static GENERIC: Named = Named {
    name: "GenericCertificateRequest",
    schema: || {
        issuance()
            .required("certificateData", "What the certificate says.", GENERIC_DATA.get())
            .required(
                "subjectPublicKeySource",
                "Key that is certified; self-signed: a key-descriptor.",
                PUBLIC_KEY_SOURCE.get(),
            )
            .required("issuer", "Who signs.", ISSUER.get())
            .strict()
            .describe("A generic certificate to issue.")
            .example(examples::leaf_request())
    },
};

static GENERIC_DATA: Named = Named {
    name: "CertificateData",
    schema: || {
        let oid = Schema::text().pattern(r"^[0-2](?:\.[0-9]+)+$").example("1.3.6.1.5.5.7.3.1");
        Schema::object()
            .required("subjectName", "Subject.", DISTINGUISHED_NAME.get())
            .optional(
                "issuerName",
                "Must equal the issuer's subject; self-signed: the subject.",
                DISTINGUISHED_NAME.get(),
            )
            .optional("notBefore", "Start; now by default.", TIMESTAMP.get())
            .optional("notAfter", "End; 365 days after the start by default.", TIMESTAMP.get())
            .optional(
                "isCertificateAuthority",
                "Whether it is a CA.",
                Schema::boolean().default(false).example(true),
            )
            .optional(
                "pathLengthConstraint",
                "How many CAs may follow; only of a CA.",
                Schema::integer(0, Some(255)).example(0),
            )
            .optional(
                "keyUsage",
                "Extension when not empty. KeyCertSign is for CAs, and every CA has it; EncipherOnly \
                 and DecipherOnly need KeyAgreement.",
                Schema::array(key_usage()).distinct().example(json!(["DigitalSignature"])),
            )
            .optional(
                "extendedKeyUsageOids",
                "Extension when not empty; at most 64. Refused, because profiles of their own issue \
                 them: 1.0.18013.5.1.*, 1.0.23220.4.1.*, OCSP signing (1.3.6.1.5.5.7.3.9).",
                Schema::array(oid).distinct().example(json!(["1.3.6.1.5.5.7.3.1"])),
            )
            .optional("subjectAlternativeNames", "Other names.", ALTERNATIVE_NAMES.get())
            .optional("crlDistributionPointUri", "Where its issuer's CRL is.", HTTP_URL.get())
            .strict()
            .describe("What a generic certificate says.")
            .example(examples::leaf_request()["certificateData"].clone())
    },
};

/// One bit of keyUsage, in the API's spelling.
pub(super) fn key_usage() -> Schema {
    KEY_USAGE.get()
}

static KEY_USAGE: Named = Named {
    name: "KeyUsage",
    schema: || {
        Schema::words(KeyUsage::ALL.map(KeyUsage::name))
            .describe("One bit of keyUsage.")
            .example("DigitalSignature")
    },
};

/// In answers too.
pub(super) static ALTERNATIVE_NAMES: Named = Named {
    name: "SubjectAlternativeNames",
    schema: || {
        let dns = Schema::string()
            .pattern(r"^(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$")
            .length(1, 253)
            .example("gateway.acme.example");
        let ip = Schema::string().pattern("^[0-9A-Fa-f.:]+$").length(2, 45).example("192.0.2.17");
        Schema::object()
            .optional(
                "dnsNames",
                "LDH labels; `*` only as the whole leftmost one, with two or more behind it; A-labels \
                 decode; no final dot.",
                Schema::array(dns).example(json!(["gateway.acme.example"])),
            )
            .optional(
                "uris",
                "Absolute URIs of schemes that name something (not `javascript:` or `data:`).",
                Schema::array(URI.get()).example(json!(["https://gateway.acme.example/"])),
            )
            .optional(
                "emails",
                "E-mail addresses.",
                Schema::array(EMAIL.get()).example(json!(["pki@acme.example"])),
            )
            .optional(
                "ipAddresses",
                "IPv4 or IPv6, no prefix length, not IPv4-mapped.",
                Schema::array(ip).example(json!(["192.0.2.17"])),
            )
            .strict()
            .describe("Subject alternative names, encoded in this order; at most 256, none twice.")
            .example(json!({ "dnsNames": ["gateway.acme.example"] }))
    },
};

static ISSUER: Named = Named {
    name: "Issuer",
    schema: || {
        Schema::union(&[("self-signed", &SELF_SIGNED), ("ca-signed", &CA_SIGNED)])
            .describe("Who signs.")
            .example(json!({ "type": "self-signed" }))
    },
};

static SELF_SIGNED: Named = Named {
    name: "SelfSigned",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("self-signed"))
            .strict()
            .describe("The certified key signs.")
    },
};

static CA_SIGNED: Named = Named {
    name: "CaSigned",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("ca-signed"))
            .required("issuerKeyDescriptor", "The key of the CA.", KEY_DESCRIPTOR.get())
            .optional(
                "issuerCertificatePem",
                "The certificate of the CA; looked up by its key when absent.",
                CERTIFICATE_PEM.get().addition(),
            )
            .strict()
            .describe("A CA signs.")
    },
};

pub(super) static LINK: Named = Named {
    name: "IacaLinkRequest",
    schema: || {
        let data = Schema::object()
            .required("crlDistributionPointUri", "Where the old IACA's CRL is.", HTTP_URL.get())
            .optional("notBefore", "Start; now by default, inside both.", TIMESTAMP.get())
            .optional("notAfter", "End; the earlier end of both by default.", TIMESTAMP.get())
            .strict()
            .example(examples::link_request()["certificateData"].clone());
        issuance()
            .required("iacaSigner", "The old IACA, which signs.", IACA_SIGNER.get())
            .required("newIacaPemEncodedCertificate", "The new IACA.", CERTIFICATE_PEM.get())
            .required("certificateData", "What the certificate says.", data)
            .strict()
            .describe("An IACA link to issue. The keys differ, the countries are equal.")
            .example(examples::link_request())
    },
};

pub(super) static CSR: Named = Named {
    name: "CsrRequest",
    schema: || {
        Schema::union(&[
            ("generic", &GENERIC_CSR),
            ("iso-document-signer", &DOCUMENT_SIGNER_CSR),
            ("document-signer", &DOCUMENT_SIGNER_CSR),
            ("iso-ds", &DOCUMENT_SIGNER_CSR),
        ])
        .describe("A certification request to make.")
        .example(examples::csr_generic())
    },
};

static GENERIC_CSR: Named = Named {
    name: "GenericCsrRequest",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("generic"))
            .required("subjectKeyDescriptor", "Key that signs.", KEY_DESCRIPTOR.get())
            .required("subjectName", "Subject.", DISTINGUISHED_NAME.get())
            .optional(
                "subjectAlternativeNames",
                "Requested as an extension when not empty.",
                ALTERNATIVE_NAMES.get(),
            )
            .strict()
            .describe("For any certificate.")
            .example(examples::csr_generic())
    },
};

static DOCUMENT_SIGNER_CSR: Named = Named {
    name: "DocumentSignerCsrRequest",
    schema: || {
        let tags = ["iso-document-signer", "document-signer", "iso-ds"];
        Schema::object()
            .required("type", "The kind.", Schema::words(tags).example("iso-document-signer"))
            .required("subjectKeyDescriptor", "Key that signs; EC.", KEY_DESCRIPTOR.get())
            .optional("subjectName", "Subject.", DOCUMENT_SIGNER_NAME.get())
            .optional("certificateData", "Another way to say it.", DOCUMENT_SIGNER_NAME.get())
            .exactly_one_of(&["subjectName", "certificateData"])
            .strict()
            .describe("For a document signer.")
            .example(examples::csr_document_signer())
    },
};

static DOCUMENT_SIGNER_NAME: Named = Named {
    name: "DocumentSignerName",
    schema: || {
        let object = Schema::object().required("country", "country.", country()).required(
            "commonName",
            "commonName.",
            attribute(AttributeKind::CommonName),
        );
        name_members(object, &["stateOrProvinceName", "organizationName", "localityName"])
            .strict()
            .describe("The subject of a document signer.")
            .example(json!({ "country": "NL", "commonName": "Acme Document Signer 08" }))
    },
};
