//! Certificate stores.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{
    operation::{Documented, Example, Operation, Tag},
    refusal::Conflict,
    schema::{Named, Schema},
    shared::{CERTIFICATE_PEM, PATH, PEM_EXAMPLE, VICAL_METADATA},
};
use crate::{domain::tree::ServiceKind, http::route::Api};

pub(super) static TAG: Tag = Tag {
    name: "X.509 store",
    description: "Copies of certificates for use. Changing them changes neither the inventory nor \
        the state of revocation, and signs nothing.",
};

const STORE: Option<Api> = Some(Api::Of(ServiceKind::X509Store));

pub(super) static OPERATIONS: &[Documented] = &[
    Documented { method: Method::GET, api: STORE, tail: &["certificates"], operation: read },
    Documented { method: Method::GET, api: STORE, tail: &["certificates", "ids"], operation: ids },
    Documented { method: Method::POST, api: STORE, tail: &["certificates"], operation: add },
    Documented { method: Method::PUT, api: STORE, tail: &["certificates"], operation: replace },
    Documented { method: Method::DELETE, api: STORE, tail: &["certificates"], operation: delete },
];

pub(super) static SCHEMAS: &[&Named] =
    &[&CONTENT, &BASE_CONTENT, &VICAL_CONTENT, &ENTRY, &BASE_DATA, &VICAL_DATA, &DELETED];

const EXAMPLE_STORE: &str = "test.tenant1.x509-store-1";
const EXAMPLE_ENTRY: &str = "test.tenant1.x509-store-1.iaca-2026";

fn read() -> Operation {
    let target = "A store, or one entry of it.";
    Operation::on(&TAG, "readStore", "List entries, or read one", target, EXAMPLE_STORE).answers(
        200,
        "The entries of the store, sorted by `_id`; or the one entry that the target names.",
        Schema::either([Schema::array(ENTRY.get()), ENTRY.get()]),
        &[
            Example::new("list", json!([base_example(), vical_example()])),
            Example::new("one", base_example()),
        ],
    )
}

fn ids() -> Operation {
    Operation::on(&TAG, "listStoreIds", "List entry ids", "A store.", EXAMPLE_STORE).answers(
        200,
        "Full paths of the entries, sorted.",
        Schema::array(PATH.get()),
        &[Example::new("one", json!([EXAMPLE_ENTRY]))],
    )
}

fn add() -> Operation {
    let target = "A store: the entry gets a UUID as id. Or one element more: the id of the entry.";
    Operation::on(&TAG, "addStoreEntry", "Add an entry", target, EXAMPLE_ENTRY)
        .takes(&CONTENT, &content_examples())
        .answers(201, "The entry.", ENTRY.get(), &[Example::new("base", base_example())])
        .conflicts(Conflict::Duplicate)
}

fn replace() -> Operation {
    let target = "An entry.";
    Operation::on_child(&TAG, "replaceStoreEntry", "Replace an entry", target, EXAMPLE_ENTRY)
        .describe("Replaces all of it but the id.")
        .takes(&CONTENT, &content_examples())
        .answers(200, "The entry.", ENTRY.get(), &[Example::new("base", base_example())])
        .refuses(&[405])
}

fn delete() -> Operation {
    let target = "An entry.";
    Operation::on_child(&TAG, "deleteStoreEntry", "Delete an entry", target, EXAMPLE_ENTRY)
        .answers(
            200,
            "It is gone.",
            DELETED.get(),
            &[Example::new("gone", json!({ "deleted": EXAMPLE_ENTRY }))],
        )
        .refuses(&[405])
}

static CONTENT: Named = Named {
    name: "StoreContent",
    schema: || {
        Schema::union(&[("base", &BASE_CONTENT), ("vical-entry", &VICAL_CONTENT)])
            .describe("An entry to add, or the new content of one.")
            .example(json!({ "type": "base", "certificatePem": PEM_EXAMPLE }))
    },
};

static BASE_CONTENT: Named = Named {
    name: "BaseContent",
    schema: || {
        Schema::object()
            .required("type", "The kind.", Schema::constant("base"))
            .required("certificatePem", "The certificate.", CERTIFICATE_PEM.get())
            .strict()
            .describe("A certificate.")
    },
};

static VICAL_CONTENT: Named = Named {
    name: "VicalContent",
    schema: || {
        let names = ["complementaryMetadata", "vicalEntryComplementaryMetadata"];
        Schema::object()
            .required("type", "The kind.", Schema::constant("vical-entry"))
            .required("certificatePem", "The certificate, an IACA.", CERTIFICATE_PEM.get())
            .optional(names[0], "What a VICAL says besides.", VICAL_METADATA.get())
            .optional(names[1], "Another name for `complementaryMetadata`.", VICAL_METADATA.get())
            .exactly_one_of(&names)
            .strict()
            .describe("An IACA that goes into VICALs.")
    },
};

fn content_examples() -> [Example; 2] {
    let metadata = json!({ "docType": ["org.iso.18013.5.1.mDL"] });
    let vical = json!({
        "type": "vical-entry", "certificatePem": PEM_EXAMPLE, "complementaryMetadata": metadata,
    });
    [
        Example::new("base", json!({ "type": "base", "certificatePem": PEM_EXAMPLE })),
        Example::new("vical-entry", vical),
    ]
}

static ENTRY: Named = Named {
    name: "StoreEntry",
    schema: || {
        Schema::object()
            .required("_id", "Path of the entry.", PATH.get())
            .required(
                "data",
                "Its content.",
                Schema::union(&[("base", &BASE_DATA), ("vical-entry", &VICAL_DATA)])
                    .example(base_example()["data"].clone()),
            )
            .describe("An entry. Note `certificatePem` in requests, `data.pem` here.")
            .example(base_example())
    },
};

static BASE_DATA: Named = Named {
    name: "BaseData",
    schema: || data("base").describe("A certificate.").example(base_example()["data"].clone()),
};

static VICAL_DATA: Named = Named {
    name: "VicalData",
    schema: || {
        data("vical-entry")
            .required("complementaryMetadata", "What a VICAL says besides.", VICAL_METADATA.get())
            .describe("An IACA that goes into VICALs.")
            .example(vical_example()["data"].clone())
    },
};

fn data(kind: &str) -> Schema {
    let pem = Schema::string().pattern("-----BEGIN CERTIFICATE-----").example(PEM_EXAMPLE);
    Schema::object().required("type", "The kind.", Schema::constant(kind)).required(
        "pem",
        "The certificate.",
        pem,
    )
}

fn base_example() -> Value {
    json!({
        "_id": "test.tenant1.x509-store-1.ds-07", "data": { "type": "base", "pem": PEM_EXAMPLE },
    })
}

fn vical_example() -> Value {
    json!({
        "_id": EXAMPLE_ENTRY,
        "data": {
            "type": "vical-entry",
            "pem": PEM_EXAMPLE,
            "complementaryMetadata": { "docType": ["org.iso.18013.5.1.mDL"] },
        },
    })
}

/// What is gone.
pub(super) static DELETED: Named = Named {
    name: "Deleted",
    schema: || {
        Schema::object()
            .required("deleted", "Path of what is gone.", PATH.get())
            .describe("The answer to a deletion.")
            .example(json!({ "deleted": EXAMPLE_ENTRY }))
    },
};
