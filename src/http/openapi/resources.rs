//! Tenants, services, dependencies.

use actix_web::http::Method;
use serde_json::json;

use super::{
    operation::{Content, Documented, Example, Operation, Tag},
    refusal::Conflict,
    schema::{Named, Schema},
    shared::{KEY_PATH, PATH},
};
use crate::{
    domain::tree::{Origin, ServiceKind, Vical},
    http::route::Api,
};

pub(super) static TAG: Tag = Tag {
    name: "Resource tree",
    description: "Organisations are configured. Below them are tenants, which may nest, and \
        services. What the configuration declares is read-only here.",
};

const RESOURCE: Option<Api> = Some(Api::Resource);
const X509: Option<Api> = Some(Api::Of(ServiceKind::X509));
const VICAL: Option<Api> = Some(Api::Of(ServiceKind::Vical));

pub(super) static OPERATIONS: &[Documented] = &[
    Documented {
        method: Method::POST,
        api: RESOURCE,
        tail: &["tenants", "create"],
        operation: create_tenant,
    },
    Documented { method: Method::GET, api: RESOURCE, tail: &["tenants"], operation: tenants },
    Documented {
        method: Method::POST,
        api: RESOURCE,
        tail: &["services", "create"],
        operation: create_service,
    },
    Documented { method: Method::GET, api: RESOURCE, tail: &["services"], operation: services },
    Documented {
        method: Method::POST,
        api: X509,
        tail: &["dependencies", "add"],
        operation: || attach(&AT_X509),
    },
    Documented {
        method: Method::POST,
        api: VICAL,
        tail: &["dependencies", "add"],
        operation: || attach(&AT_VICAL),
    },
    Documented {
        method: Method::POST,
        api: X509,
        tail: &["dependencies", "remove"],
        operation: || detach(&AT_X509),
    },
    Documented {
        method: Method::POST,
        api: VICAL,
        tail: &["dependencies", "remove"],
        operation: || detach(&AT_VICAL),
    },
    Documented {
        method: Method::GET,
        api: X509,
        tail: &["dependencies"],
        operation: || dependencies(&AT_X509),
    },
    Documented {
        method: Method::GET,
        api: VICAL,
        tail: &["dependencies"],
        operation: || dependencies(&AT_VICAL),
    },
];

pub(super) static SCHEMAS: &[&Named] = &[
    &NEW_TENANT,
    &TENANT,
    &NEW_SERVICE,
    &NEW_KMS,
    &NEW_X509,
    &NEW_STORE,
    &NEW_VICAL,
    &SERVICE,
    &DEPENDENCY,
    &DEPENDENCIES,
];

fn create_tenant() -> Operation {
    let target = "The new tenant; its parent is an organisation or a tenant.";
    Operation::on(&TAG, "createTenant", "Create a tenant", target, "test.tenant2")
        .describe("Members of the body that nobody knows are listed in the answer.")
        .takes(
            &NEW_TENANT,
            &[Example::new("named", json!({ "name": "Department of Motor Vehicles" }))],
        )
        .answers(201, "The tenant.", TENANT.get(), &[Example::new("tenant", tenant_example())])
        .conflicts(Conflict::Duplicate)
}

fn tenants() -> Operation {
    let target = "An organisation or a tenant.";
    Operation::on(&TAG, "listTenants", "List child tenants", target, "test").addition().answers(
        200,
        "The direct children, sorted by path.",
        Schema::array(TENANT.get()),
        &[Example::new("one", json!([tenant_example()]))],
    )
}

fn create_service() -> Operation {
    let target = "The new service; its parent is an organisation or a tenant.";
    Operation::on(&TAG, "createService", "Create a service", target, "test.tenant1.certs-2")
        .describe(
            "Needs resource:write on the new service and on everything that it will use: each \
             dependency, the KMS of signingKeyId, the stores of signerCertificateId and \
             signerCertificateChainIds. Without it 403, whether or not those exist. Creates nothing \
             when one dependency cannot be attached. Members of the body that nobody knows are \
             listed in the answer. 403 also for a type that is switched off.",
        )
        .takes(
            &NEW_SERVICE,
            &[
                Example::new("store", json!({ "type": "x509-store" })),
                Example::new("vical", vical_example()),
            ],
        )
        .answers(201, "The service.", SERVICE.get(), &[Example::new("kms", service_example())])
        .conflicts(Conflict::Any)
}

fn services() -> Operation {
    let target = "A tenant or organisation, or a service.";
    let answer = Schema::either([Schema::array(SERVICE.get()), SERVICE.get()]);
    Operation::on(&TAG, "listServices", "List services, or read one", target, "test.tenant1")
        .addition()
        .answers(
            200,
            "The services of the tenant, not those of tenants below it, sorted by path; or the one \
             service that the target names.",
            answer,
            &[
                Example::new("list", json!([service_example()])),
                Example::new("one", service_example()),
            ],
        )
}

/// A service that others can be attached to.
struct Dependent {
    id: &'static str,
    target: &'static str,
    example: &'static str,
}

static AT_X509: Dependent =
    Dependent { id: "X509", target: "An x509-service.", example: "test.tenant1.x509-service-1" };
static AT_VICAL: Dependent =
    Dependent { id: "Vical", target: "A vical-service.", example: "test.tenant1.vical" };

fn attach(at: &Dependent) -> Operation {
    let id = format!("attach{}Dependency", at.id);
    let path = json!("test.tenant1.kms1");
    let json_forms = Schema::either([DEPENDENCY.get(), PATH.get()]);
    let text = Schema::string()
        .pattern(r"^\s*[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\s*$")
        .describe("The path alone; white space around it is ignored.");
    Operation::on(&TAG, &id, "Attach a KMS or a store", at.target, at.example)
        .describe(
            "Needs resource:write on the service and on what is attached. Without it 403, whether or \
             not that exists.",
        )
        .takes_any(&[
            Content::json(
                json_forms,
                &[
                    Example::new("object", json!({ "dependency": path })),
                    Example::new("string", path.clone()),
                ],
            ),
            Content::of("text/plain", text, &[Example::new("text", path)]),
        ])
        .answers(
            200,
            "What is attached after the change.",
            DEPENDENCIES.get(),
            &[Example::new("two", dependencies_example())],
        )
        .conflicts(Conflict::Other)
}

fn detach(at: &Dependent) -> Operation {
    let id = format!("detach{}Dependency", at.id);
    Operation::on(&TAG, &id, "Detach a KMS or a store", at.target, at.example)
        .addition()
        .takes_any(&[Content::json(
            DEPENDENCY.get(),
            &[Example::new("object", json!({ "dependency": "test.tenant1.kms1" }))],
        )])
        .answers(
            200,
            "What is attached after the change.",
            DEPENDENCIES.get(),
            &[Example::new("two", dependencies_example())],
        )
        .conflicts(Conflict::Other)
}

fn dependencies(at: &Dependent) -> Operation {
    let id = format!("list{}Dependencies", at.id);
    Operation::on(&TAG, &id, "List what is attached", at.target, at.example).addition().answers(
        200,
        "What is attached.",
        DEPENDENCIES.get(),
        &[Example::new("two", dependencies_example())],
    )
}

static NEW_TENANT: Named = Named {
    name: "NewTenant",
    schema: || {
        Schema::object()
            .optional(
                "name",
                "Display name; the last element of the target by default.",
                Schema::not_blank().example("Department of Motor Vehicles"),
            )
            .open()
            .describe("Other members are ignored.")
    },
};

static TENANT: Named = Named {
    name: "Tenant",
    schema: || {
        Schema::object()
            .required("_id", "Path of the tenant.", PATH.get().example("acme.dmv"))
            .required(
                "name",
                "Display name.",
                Schema::string().example("Department of Motor Vehicles"),
            )
            .required("origin", "Where it was made.", origin())
            .optional("ignoredMembers", "Members of the request that nobody knows.", ignored())
            .describe("A tenant.")
            .example(tenant_example())
    },
};

fn tenant_example() -> serde_json::Value {
    json!({ "_id": "acme.dmv", "name": "Department of Motor Vehicles", "origin": "api" })
}

fn origin() -> Schema {
    Schema::words([Origin::Config, Origin::Api].map(Origin::name)).example("api")
}

fn ignored() -> Schema {
    Schema::array(Schema::string()).example(json!(["colour"])).addition()
}

static NEW_SERVICE: Named = Named {
    name: "NewService",
    schema: || {
        Schema::union(&[
            (ServiceKind::Kms.name(), &NEW_KMS),
            (ServiceKind::X509.name(), &NEW_X509),
            (ServiceKind::X509Store.name(), &NEW_STORE),
            (ServiceKind::Vical.name(), &NEW_VICAL),
        ])
        .describe("A service to create. Other members are ignored.")
        .example(json!({ "type": "x509-store" }))
    },
};

static NEW_KMS: Named = Named {
    name: "NewKms",
    schema: || {
        new(ServiceKind::Kms)
            .optional(
                "token",
                "Name of a configured PKCS#11 token; may be absent while there is only one.",
                Schema::text().example("chancery-1"),
            )
            .describe("Keys in an HSM.")
    },
};

static NEW_X509: Named = Named {
    name: "NewX509Service",
    schema: || {
        new(ServiceKind::X509)
            .optional("dependencies", "Attached in this order.", paths(&["acme.dmv.kms"]))
            .describe("Issues certificates.")
    },
};

static NEW_STORE: Named = Named {
    name: "NewX509Store",
    schema: || new(ServiceKind::X509Store).describe("Keeps certificates."),
};

static NEW_VICAL: Named = Named {
    name: "NewVicalService",
    schema: || {
        new(ServiceKind::Vical)
            .required("signingKeyId", "Key that signs; its KMS must exist.", KEY_PATH.get())
            .required(
                "signerCertificateId",
                "Stored certificate of that key; its store must exist.",
                PATH.get().example("acme.dmv.certs.vical-signer-2026"),
            )
            .optional(
                "signerCertificateChainIds",
                "Stored certificates, issuer of the signer first; needed unless it is self-signed.",
                paths(&["acme.dmv.certs.vical-root"]).items_max(Vical::CHAIN_MAX),
            )
            .optional("dependencies", "Attached in this order.", paths(&["acme.dmv.certs"]))
            .describe("Publishes VICALs.")
            .example(vical_example())
    },
};

fn new(kind: ServiceKind) -> Schema {
    Schema::object().open().required("type", "The type.", Schema::constant(kind.name())).optional(
        "_id",
        "Must equal the target.",
        PATH.get().example(format!("acme.dmv.{}", kind.name())),
    )
}

fn paths(example: &[&str]) -> Schema {
    Schema::array(PATH.get()).example(json!(example))
}

fn vical_example() -> serde_json::Value {
    json!({
        "type": "vical-service",
        "signingKeyId": "test.tenant1.kms1.vical-signer",
        "signerCertificateId": "test.tenant1.x509-store-1.vical-signer-2026",
        "dependencies": ["test.tenant1.x509-store-1"],
    })
}

static SERVICE: Named = Named {
    name: "Service",
    schema: || {
        Schema::object()
            .required("_id", "Path of the service.", PATH.get().example("acme.dmv.kms"))
            .required(
                "type",
                "The type.",
                Schema::words(ServiceKind::ALL.map(ServiceKind::name)).example("kms"),
            )
            .required("origin", "Where it was made.", origin())
            .optional("token", "kms: the PKCS#11 token.", Schema::string().example("chancery-1"))
            .optional("signingKeyId", "vical-service: the key that signs.", KEY_PATH.get())
            .optional(
                "signerCertificateId",
                "vical-service: the stored certificate of that key.",
                PATH.get(),
            )
            .optional(
                "signerCertificateChainIds",
                "vical-service: its chain.",
                paths(&["acme.dmv.certs.vical-root"]),
            )
            .optional(
                "dependencies",
                "What is attached, in order; absent when nothing is.",
                paths(&["acme.dmv.kms"]),
            )
            .optional("ignoredMembers", "Members of the request that nobody knows.", ignored())
            .describe("A service.")
            .example(service_example())
    },
};

fn service_example() -> serde_json::Value {
    json!({ "_id": "acme.dmv.kms", "type": "kms", "origin": "api", "token": "chancery-1" })
}

static DEPENDENCY: Named = Named {
    name: "Dependency",
    schema: || {
        Schema::object()
            .required("dependency", "Path of a KMS or a store.", PATH.get().example("acme.dmv.kms"))
            .strict()
            .describe("What to attach or detach.")
    },
};

static DEPENDENCIES: Named = Named {
    name: "Dependencies",
    schema: || {
        Schema::object()
            .required("_id", "Path of the service.", PATH.get())
            .required("dependencies", "In order of attachment.", paths(&["acme.dmv.kms"]))
            .describe("What is attached to a service.")
            .example(dependencies_example())
    },
};

fn dependencies_example() -> serde_json::Value {
    json!({ "_id": "acme.dmv.x509", "dependencies": ["acme.dmv.kms", "acme.dmv.certs"] })
}
