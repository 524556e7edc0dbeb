//! One operation of the document: what a caller sends, and every answer there is.

use std::collections::BTreeMap;

use actix_web::http::Method;
use serde_json::{Map, Value, json};

use super::{
    refusal::{self, Conflict},
    schema::{Named, Schema},
    shared::{KEY_PATH, PATH},
};
use crate::http::route::Api;

/// The documentation of one route.
pub(super) struct Documented {
    pub(super) method: Method,
    /// `None`: a path without a target.
    pub(super) api: Option<Api>,
    /// As in the route; a parameter is the name of its segment in braces.
    pub(super) tail: &'static [&'static str],
    pub(super) operation: fn() -> Operation,
}

/// A group of operations.
pub(super) struct Tag {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
}

/// An operation under construction.
pub(super) struct Operation {
    head: Map<String, Value>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
}

impl Operation {
    /// Below `/v1/{target}`, which names what `target` says, for example `example`.
    pub(super) fn on(tag: &Tag, id: &str, summary: &str, target: &str, example: &str) -> Self {
        Self::with_target(tag, id, summary, target, (PATH.schema)().example(example))
    }

    /// Below `/v1/{target}`, which names a child of a service.
    pub(super) fn on_child(
        tag: &Tag,
        id: &str,
        summary: &str,
        target: &str,
        example: &str,
    ) -> Self {
        Self::with_target(tag, id, summary, target, (KEY_PATH.schema)().example(example))
    }

    fn with_target(tag: &Tag, id: &str, summary: &str, target: &str, schema: Schema) -> Self {
        Self::plain(tag, id, summary)
            .parameter("path", "target", target, true, schema)
            .refuses(&[403, 404, 500, 503])
    }

    /// Without a target.
    pub(super) fn plain(tag: &Tag, id: &str, summary: &str) -> Self {
        let head = [
            ("operationId".to_owned(), id.into()),
            ("summary".to_owned(), summary.into()),
            ("tags".to_owned(), json!([tag.name])),
        ];
        let parameters = vec![json!({ "$ref": "#/components/parameters/RequestId" })];
        Self { head: head.into_iter().collect(), parameters, body: None, answers: BTreeMap::new() }
            .refuses(&[400, 401, 429])
    }

    /// More than the summary says.
    pub(super) fn describe(mut self, description: &str) -> Self {
        self.head.insert("description".to_owned(), description.into());
        self
    }

    /// Ours: not in the compatible API.
    pub(super) fn addition(mut self) -> Self {
        self.head.insert("x-addition".to_owned(), true.into());
        self
    }

    /// Takes an `Idempotency-Key`.
    pub(super) fn idempotent(mut self) -> Self {
        self.parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        self
    }

    /// A segment of the path.
    pub(super) fn segment(self, name: &str, description: &str, schema: Schema) -> Self {
        self.parameter("path", name, description, true, schema)
    }

    /// A query parameter that may be absent.
    pub(super) fn query(self, name: &str, description: &str, schema: Schema) -> Self {
        self.parameter("query", name, description, false, schema)
    }

    /// A request header that may be absent.
    pub(super) fn request_header(self, name: &str, description: &str, schema: Schema) -> Self {
        self.parameter("header", name, description, false, schema)
    }

    fn parameter(
        mut self,
        place: &str,
        name: &str,
        description: &str,
        required: bool,
        schema: Schema,
    ) -> Self {
        self.parameters.push(json!({
            "in": place,
            "name": name,
            "description": description,
            "required": required,
            "schema": Value::from(schema),
        }));
        self
    }

    /// The body is JSON of this schema.
    pub(super) fn takes(self, schema: &Named, examples: &[Example]) -> Self {
        let content = Content::json(schema.get(), examples);
        self.takes_any(&[content])
    }

    /// The body is one of these.
    pub(super) fn takes_any(mut self, contents: &[Content]) -> Self {
        self.body = Some(json!({ "required": true, "content": Content::all(contents) }));
        self.refuses(&[400, 413, 415])
    }

    /// An answer of JSON.
    pub(super) fn answers(
        self,
        status: u16,
        description: &str,
        schema: Schema,
        examples: &[Example],
    ) -> Self {
        self.answers_any(status, description, &[Content::json(schema, examples)])
    }

    /// An answer in one of these forms.
    pub(super) fn answers_any(
        mut self,
        status: u16,
        description: &str,
        contents: &[Content],
    ) -> Self {
        let mut answer = json!({
            "description": description,
            "headers": { "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } },
        });
        if !contents.is_empty() {
            answer["content"] = Content::all(contents);
        }
        self.answers.insert(status, answer);
        self
    }

    /// A header of an answer, by the name of its component.
    pub(super) fn answer_header(mut self, status: u16, name: &str) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
        self
    }

    /// Refusals with these statuses.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            self.answers.entry(*status).or_insert_with(|| refusal::reference(*status));
        }
        self
    }

    /// 409.
    pub(super) fn conflicts(mut self, conflict: Conflict) -> Self {
        self.answers.insert(409, conflict.reference());
        self
    }

    /// The operation object, with the permission that opens it.
    pub(super) fn into_value(mut self, permission: &str) -> Value {
        let answers = self.answers.into_iter().map(|(status, answer)| (status.to_string(), answer));
        self.head.insert("responses".to_owned(), Value::Object(answers.collect()));
        self.head.insert("parameters".to_owned(), self.parameters.into());
        self.head.insert("x-permission".to_owned(), permission.into());
        if let Some(body) = self.body {
            self.head.insert("requestBody".to_owned(), body);
        }
        Value::Object(self.head)
    }
}

/// A named example.
pub(super) struct Example {
    name: &'static str,
    value: Value,
}

impl Example {
    pub(super) fn new(name: &'static str, value: Value) -> Self {
        Self { name, value }
    }
}

/// A body in one media type.
pub(super) struct Content {
    media_type: &'static str,
    value: Value,
}

impl Content {
    pub(super) fn json(schema: Schema, examples: &[Example]) -> Self {
        Self::of("application/json", schema, examples)
    }

    pub(super) fn of(media_type: &'static str, schema: Schema, examples: &[Example]) -> Self {
        let examples: Map<_, _> = examples
            .iter()
            .map(|example| (example.name.to_owned(), json!({ "value": example.value })))
            .collect();
        let mut value = json!({ "schema": Value::from(schema) });
        if !examples.is_empty() {
            value["examples"] = examples.into();
        }
        Self { media_type, value }
    }

    fn all(contents: &[Self]) -> Value {
        let contents = contents.iter().map(|one| (one.media_type.to_owned(), one.value.clone()));
        Value::Object(contents.collect())
    }
}
