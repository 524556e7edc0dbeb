//! Keys of a KMS.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{
    operation::{Documented, Example, Operation, Tag},
    refusal::Conflict,
    schema::{Named, Schema},
    shared::{
        CERTIFICATE_PEM_OUT, COORDINATE_EXAMPLE, INSTANT, INSTANT_EXAMPLE, JWK, KEY_PATH,
        PUBLIC_JWK, jwk_example,
    },
    stores::DELETED,
};
use crate::{
    domain::tree::ServiceKind,
    http::{route::Api, wire::kms::PIN_SOURCES},
};

pub(super) static TAG: Tag = Tag {
    name: "Keys",
    description: "Keys live in the HSM of their KMS; private parts never leave it.",
};

const KMS: Option<Api> = Some(Api::Of(ServiceKind::Kms));

pub(super) static OPERATIONS: &[Documented] = &[
    Documented { method: Method::POST, api: KMS, tail: &["keys", "generate"], operation: generate },
    Documented {
        method: Method::POST,
        api: KMS,
        tail: &["keys", "import", "jwk"],
        operation: import,
    },
    Documented { method: Method::GET, api: KMS, tail: &["keys"], operation: read },
    Documented { method: Method::DELETE, api: KMS, tail: &["keys"], operation: delete },
    Documented { method: Method::GET, api: KMS, tail: &["iaca-pins"], operation: read_pins },
    Documented { method: Method::DELETE, api: KMS, tail: &["iaca-pins"], operation: drop_pins },
];

pub(super) static SCHEMAS: &[&Named] =
    &[&NEW_KEY, &KEY_TYPE, &PRIVATE_JWK, &KEY, &LABELLED_JWK, &KEY_PEM, &IACA_PIN];

const EXAMPLE_KMS: &str = "test.tenant1.kms1";
const EXAMPLE_KEY: &str = "test.tenant1.kms1.iaca-2026";

fn generate() -> Operation {
    let target = "The new key: its KMS and one element more.";
    Operation::on_child(&TAG, "generateKey", "Generate a key in the HSM", target, EXAMPLE_KEY)
        .describe(
            "Not extractable; read back and test-signed before the answer. 400 when the token \
             cannot make the type.",
        )
        .takes(&NEW_KEY, &[Example::new("p-256", new_key_example())])
        .answers(201, "The key.", KEY.get(), &[Example::new("key", key_example())])
        .conflicts(Conflict::Duplicate)
        .refuses(&[405])
}

fn import() -> Operation {
    let target = "The new key: its KMS and one element more.";
    Operation::on_child(&TAG, "importKey", "Import a private JWK", target, EXAMPLE_KEY)
        .describe("403 unless the configuration allows it; meant for development.")
        .takes(&PRIVATE_JWK, &[Example::new("p-256", private_example())])
        .answers(
            201,
            "The key, public half only; a given `kid` is kept.",
            KEY.get(),
            &[Example::new("key", key_example())],
        )
        .conflicts(Conflict::Duplicate)
        .refuses(&[405])
}

fn read() -> Operation {
    let target = "A KMS, or one key of it.";
    Operation::on(&TAG, "readKeys", "List keys, or read one", target, EXAMPLE_KMS)
        .addition()
        .query(
            "format",
            "Of one key: its public half as PEM.",
            Schema::words(["pem"]).example("pem"),
        )
        .answers(
            200,
            "The keys of the KMS, sorted by `keyIdPath`; or the one key that the target names.",
            Schema::either([Schema::array(KEY.get()), KEY.get(), KEY_PEM.get()]),
            &[
                Example::new("list", json!([key_example()])),
                Example::new("one", key_example()),
                Example::new("pem", pem_example()),
            ],
        )
}

fn delete() -> Operation {
    Operation::on_child(&TAG, "deleteKey", "Delete a key", "A key.", EXAMPLE_KEY)
        .addition()
        .describe("403 for a key that was on the token before.")
        .query(
            "force",
            "Delete it although an unexpired, unrevoked CA certificate uses it (409 otherwise).",
            Schema::words(["true", "false"]).default("false").example("true"),
        )
        .query(
            "unused",
            "Only while no certificate that is valid was issued with the key or for it (409 otherwise).",
            Schema::words(["true", "false"]).default("false").example("true"),
        )
        .answers(
            200,
            "It is gone.",
            DELETED.get(),
            &[Example::new("gone", json!({ "deleted": EXAMPLE_KEY }))],
        )
        .conflicts(Conflict::Other)
        .refuses(&[405])
}

fn read_pins() -> Operation {
    let target = "A key.";
    Operation::on_child(&TAG, "readIacaPins", "List the IACAs pinned to a key", target, EXAMPLE_KEY)
        .addition()
        .describe(
            "IACAs that the public key is on record with though no certificate was issued or is \
             stored here: described ones that were pinned, and certificates that were supplied.",
        )
        .answers(
            200,
            "Descriptions first.",
            Schema::array(IACA_PIN.get()),
            &[Example::new("described", json!([pin_example()]))],
        )
        .refuses(&[405])
}

fn drop_pins() -> Operation {
    let target = "A key.";
    Operation::on_child(&TAG, "dropIacaPins", "Drop the IACAs pinned to a key", target, EXAMPLE_KEY)
        .addition()
        .describe("All of them, by the public key. 404 when there is none.")
        .answers(
            200,
            "They are gone.",
            DELETED.get(),
            &[Example::new("gone", json!({ "deleted": EXAMPLE_KEY }))],
        )
        .refuses(&[405])
}

static IACA_PIN: Named = Named {
    name: "IacaPin",
    schema: || {
        let contact = Schema::object()
            .optional("uri", "URI.", Schema::text().example("https://licences.acme.example/iaca"))
            .optional("email", "Mail address.", Schema::text().example("pki@acme.example"))
            .describe("The contact in its issuer alternative name.")
            .example(pin_example()["issuerAlternativeNameConf"].clone());
        Schema::object()
            .required("keyIdPath", "Path of the key.", KEY_PATH.get())
            .required(
                "source",
                "Where it is from.",
                Schema::words(PIN_SOURCES).example("described"),
            )
            .required("subject", "Its name.", Schema::text().example("C=NL,CN=Acme Licence Root"))
            .required("issuerAlternativeNameConf", "How to reach it.", contact)
            .required("notBefore", "Start.", INSTANT.get())
            .required("notAfter", "End.", INSTANT.get())
            .required("pinnedAt", "Since when it is on record.", INSTANT.get())
            .optional("certificatePem", "The supplied certificate.", CERTIFICATE_PEM_OUT.get())
            .describe("What makes a key an IACA's.")
            .example(pin_example())
    },
};

fn pin_example() -> Value {
    json!({
        "keyIdPath": EXAMPLE_KEY,
        "source": "described",
        "subject": "C=NL,CN=Acme Licence Root 2026",
        "issuerAlternativeNameConf": { "uri": "https://licences.acme.example/iaca" },
        "notBefore": "2026-03-01T00:00:00Z",
        "notAfter": "2036-03-01T00:00:00Z",
        "pinnedAt": INSTANT_EXAMPLE,
    })
}

fn key_types() -> Schema {
    KEY_TYPE.get()
}

static KEY_TYPE: Named = Named {
    name: "KeyType",
    schema: || {
        let types = ["secp256r1", "secp384r1", "secp521r1", "RSA", "RSA3072", "RSA4096", "Ed25519"];
        Schema::words(types).describe("RSA is 2048 bits.").example("secp256r1")
    },
};

static NEW_KEY: Named = Named {
    name: "NewKey",
    schema: || {
        Schema::object()
            .required(
                "keyType",
                "Type; RSA is 2048 bits. Ed25519 where `issuance.ed25519_subjects` is on.",
                key_types(),
            )
            .optional("backend", "Any value; ignored.", Schema::any().example("jwk"))
            .strict()
            .describe("A key to generate.")
            .example(new_key_example())
    },
};

fn new_key_example() -> Value {
    json!({ "backend": "jwk", "keyType": "secp256r1" })
}

static PRIVATE_JWK: Named = Named {
    name: "PrivateJwk",
    schema: || {
        JWK.get()
            .describe("A JWK with its private members, and maybe a `kid`.")
            .example(private_example())
    },
};

fn private_example() -> Value {
    let mut jwk = jwk_example();
    jwk["d"] = COORDINATE_EXAMPLE.into();
    jwk["kid"] = "legacy-2019".into();
    jwk
}

static KEY: Named = Named {
    name: "Key",
    schema: || {
        let key = Schema::object()
            .required("type", "The form.", Schema::constant("jwk"))
            .required("jwk", "The public half.", LABELLED_JWK.get())
            .example(key_example()["key"].clone());
        Schema::object()
            .required("key", "The public half.", key)
            .required("keyIdPath", "Path of the key.", KEY_PATH.get())
            .required("keyType", "Type; RSA is 2048 bits.", key_types())
            .required("backend", "Where the key is.", Schema::constant("pkcs11"))
            .required(
                "extractable",
                "Whether it can leave the HSM.",
                Schema::boolean().example(false),
            )
            .describe("A key.")
            .example(key_example())
    },
};

static LABELLED_JWK: Named = Named {
    name: "LabelledPublicJwk",
    schema: || {
        super::shared::jwk_public(Schema::object())
            .required(
                "kid",
                "RFC 7638 SHA-256 thumbprint, or the `kid` that was imported.",
                Schema::string().example("2C4mTWvG7m1bKoxqLZ4yTgTIlb6SDbd9wFVTPd3bJ1w"),
            )
            .describe(&format!("A {} with a name.", PUBLIC_JWK.name))
            .example(key_example()["key"]["jwk"].clone())
    },
};

fn key_example() -> Value {
    let mut jwk = jwk_example();
    jwk["kid"] = "2C4mTWvG7m1bKoxqLZ4yTgTIlb6SDbd9wFVTPd3bJ1w".into();
    json!({
        "key": { "type": "jwk", "jwk": jwk },
        "keyIdPath": EXAMPLE_KEY,
        "keyType": "secp256r1",
        "backend": "pkcs11",
        "extractable": false,
    })
}

static KEY_PEM: Named = Named {
    name: "KeyPem",
    schema: || {
        let pem = Schema::string()
            .pattern("^-----BEGIN PUBLIC KEY-----\n")
            .example(pem_example()["publicKeyPem"].clone());
        Schema::object()
            .required("keyIdPath", "Path of the key.", KEY_PATH.get())
            .required("publicKeyPem", "The public half.", pem)
            .describe("A key as PEM.")
            .example(pem_example())
    },
};

fn pem_example() -> Value {
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYI\n-----END PUBLIC KEY-----\n";
    json!({ "keyIdPath": EXAMPLE_KEY, "publicKeyPem": pem })
}
