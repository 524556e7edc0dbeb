//! Answers to issuance, as `http::wire` writes them.

use serde_json::json;

use super::{
    examples,
    requests::{ALTERNATIVE_NAMES, CONTACT, key_usage},
};
use crate::http::openapi::{
    schema::{Named, Schema},
    shared::{CERTIFICATE_PEM_OUT, CSR_EXAMPLE, HTTP_URL, INSTANT, NAME_OUT, PATH, PUBLIC_JWK},
};

pub(super) static SCHEMAS: &[&Named] = &[
    &IACA,
    &IACA_DATA,
    &DOCUMENT_SIGNER,
    &DOCUMENT_SIGNER_DATA,
    &GENERIC,
    &GENERIC_DATA,
    &LINK,
    &LINK_DATA,
    &CSR,
];

pub(super) static IACA: Named =
    Named { name: "IssuedIaca", schema: || issued(&IACA_DATA).example(examples::iaca_answer()) };

pub(super) static DOCUMENT_SIGNER: Named = Named {
    name: "IssuedDocumentSigner",
    schema: || issued(&DOCUMENT_SIGNER_DATA).example(examples::document_signer_answer()),
};

pub(super) static GENERIC: Named = Named {
    name: "IssuedGenericCertificate",
    schema: || issued(&GENERIC_DATA).example(examples::leaf_answer()),
};

pub(super) static LINK: Named = Named {
    name: "IssuedIacaLink",
    schema: || issued(&LINK_DATA).example(examples::link_answer()),
};

fn issued(data: &Named) -> Schema {
    Schema::object()
        .required("certificatePEM", "The certificate.", CERTIFICATE_PEM_OUT.get())
        .optional(
            "storedCertificateIds",
            "Paths of the copies, in order of attachment; absent without a store.",
            Schema::array(PATH.get()).example(json!(["acme.dmv.certs.ds-07"])),
        )
        .required("certificateData", "What it says, defaults included.", data.get())
        .describe("An issued certificate.")
}

static IACA_DATA: Named = Named {
    name: "IssuedIacaData",
    schema: || {
        subject(&["country", "commonName", "stateOrProvinceName", "organizationName"])
            .required("issuerAlternativeNameConf", "Contact of the authority.", CONTACT.get())
            .optional("crlDistributionPointUri", "Where its CRL is.", HTTP_URL.get())
            .describe("What the IACA says.")
            .example(examples::iaca_answer()["certificateData"].clone())
    },
};

static DOCUMENT_SIGNER_DATA: Named = Named {
    name: "IssuedDocumentSignerData",
    schema: || {
        subject(&[
            "country",
            "commonName",
            "stateOrProvinceName",
            "organizationName",
            "localityName",
        ])
        .required("crlDistributionPointUri", "Where the IACA's CRL is.", HTTP_URL.get())
        .describe("What the document signer says.")
        .example(examples::document_signer_answer()["certificateData"].clone())
    },
};

static LINK_DATA: Named = Named {
    name: "IssuedIacaLinkData",
    schema: || {
        subject(&["country", "commonName", "stateOrProvinceName", "organizationName"])
            .required("crlDistributionPointUri", "Where the old IACA's CRL is.", HTTP_URL.get())
            .describe("What the link says.")
            .example(examples::link_answer()["certificateData"].clone())
    },
};

/// Names and validity; country and common name are always there.
fn subject(names: &[&str]) -> Schema {
    let object = Schema::object()
        .required("notBefore", "Start of validity.", INSTANT.get())
        .required("notAfter", "End of validity.", INSTANT.get());
    names.iter().fold(object, |object, name| {
        let description = format!("{name}.");
        match *name {
            "country" => object.required(name, &description, Schema::string().example("NL")),
            "commonName" => {
                object.required(name, &description, Schema::string().example("Acme IACA"))
            }
            _ => object.optional(name, &description, Schema::string().example("Utrecht")),
        }
    })
}

static GENERIC_DATA: Named = Named {
    name: "IssuedCertificateData",
    schema: || {
        Schema::object()
            .required("subjectName", "Subject.", NAME_OUT.get())
            .required("issuerName", "Issuer.", NAME_OUT.get())
            .required("notBefore", "Start of validity.", INSTANT.get())
            .required("notAfter", "End of validity.", INSTANT.get())
            .required(
                "isCertificateAuthority",
                "Whether it is a CA.",
                Schema::boolean().example(false),
            )
            .optional(
                "pathLengthConstraint",
                "How many CAs may follow, when that is limited.",
                Schema::integer(0, Some(255)).example(0),
            )
            .required(
                "keyUsage",
                "Key usages; empty without the extension.",
                Schema::array(key_usage()).example(json!(["DigitalSignature"])),
            )
            .optional(
                "extendedKeyUsageOids",
                "Extended key usages, unless empty.",
                Schema::array(Schema::string()).example(json!(["1.3.6.1.5.5.7.3.1"])),
            )
            .optional("subjectAlternativeNames", "Other names.", ALTERNATIVE_NAMES.get())
            .optional("crlDistributionPointUri", "Where its issuer's CRL is.", HTTP_URL.get())
            .required("publicKeyJwk", "The certified key.", PUBLIC_JWK.get())
            .describe("What the certificate says.")
            .example(examples::leaf_answer()["certificateData"].clone())
    },
};

pub(super) static CSR: Named = Named {
    name: "Csr",
    schema: || {
        let pem = Schema::string()
            .pattern(
                "^-----BEGIN CERTIFICATE REQUEST-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE REQUEST-----\n$",
            )
            .example(CSR_EXAMPLE);
        Schema::object()
            .required("csrPem", "The request.", pem)
            .required("subjectName", "Subject.", NAME_OUT.get())
            .required("publicKeyJwk", "The key that signed.", PUBLIC_JWK.get())
            .describe("A certification request.")
            .example(examples::csr_answer())
    },
};
