//! JSON Schemas of draft 2020-12, as far as this API needs them.

use serde_json::{Map, Value, json};

use crate::http::json::STRING_CHARACTERS_MAX;

/// One schema.
#[derive(Clone, Debug)]
pub(super) struct Schema(Map<String, Value>);

/// A schema that others refer to; it is written once, among the components.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) schema: fn() -> Schema,
}

impl Named {
    /// A reference to it.
    pub(super) fn get(&self) -> Schema {
        Schema::new().with("$ref", format!("#/components/schemas/{}", self.name))
    }
}

/// No control characters.
const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// Besides, not blank, no white space at the ends.
const TRIMMED: &str = r"^[^\s\u0000-\u001f\u007f-\u009f](?:[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$";
/// Besides, not blank.
const NOT_BLANK: &str = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";

impl Schema {
    fn new() -> Self {
        Self(Map::new())
    }

    fn of_type(name: &str) -> Self {
        Self::new().with("type", name)
    }

    /// Any value.
    pub(super) fn any() -> Self {
        Self::new()
    }

    /// A string of any content and length.
    pub(super) fn string() -> Self {
        Self::of_type("string")
    }

    /// A string within the limits that hold for each one in a request.
    pub(super) fn text() -> Self {
        Self::string().pattern(TEXT).length(0, STRING_CHARACTERS_MAX)
    }

    /// [`Schema::text`] that is not blank.
    pub(super) fn not_blank() -> Self {
        Self::text().pattern(NOT_BLANK).length(1, STRING_CHARACTERS_MAX)
    }

    /// [`Schema::text`] that is not blank and has no white space at its ends.
    pub(super) fn trimmed(characters_max: usize) -> Self {
        Self::string().pattern(TRIMMED).length(1, characters_max)
    }

    /// One of these words.
    pub(super) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self::string().with("enum", words.into_iter().collect::<Vec<_>>())
    }

    /// This value and no other.
    pub(super) fn constant(value: impl Into<Value>) -> Self {
        Self::new().with("const", value)
    }

    /// `true` or `false`.
    pub(super) fn boolean() -> Self {
        Self::of_type("boolean")
    }

    /// A whole number in a range.
    pub(super) fn integer(min: u64, max: Option<u64>) -> Self {
        let schema = Self::of_type("integer").with("minimum", min);
        match max {
            Some(max) => schema.with("maximum", max),
            None => schema,
        }
    }

    /// An array of such items.
    pub(super) fn array(items: Self) -> Self {
        Self::of_type("array").with("items", items)
    }

    /// An array in which no value occurs twice.
    pub(super) fn distinct(self) -> Self {
        self.with("uniqueItems", true)
    }

    /// An array of at most so many items.
    pub(super) fn items_max(self, max: usize) -> Self {
        self.with("maxItems", max)
    }

    /// An array of at least so many items.
    pub(super) fn items_min(self, min: u64) -> Self {
        self.with("minItems", min)
    }

    /// An object; its members follow.
    pub(super) fn object() -> Self {
        Self::of_type("object").with("properties", Map::new())
    }

    /// An object of any names with such values.
    pub(super) fn map(values: Self) -> Self {
        Self::of_type("object").with("additionalProperties", values)
    }

    /// A member that is always there.
    pub(super) fn required(mut self, name: &str, description: &str, schema: Self) -> Self {
        let required = self.0.entry("required").or_insert_with(|| json!([]));
        if let Value::Array(names) = required {
            names.push(name.into());
        }
        self.optional(name, description, schema)
    }

    /// A member that may be absent.
    pub(super) fn optional(mut self, name: &str, description: &str, schema: Self) -> Self {
        let properties = self.0.entry("properties").or_insert_with(|| json!({}));
        if let Value::Object(members) = properties {
            members.insert(name.to_owned(), schema.describe(description).into());
        }
        self
    }

    /// Refuses members that are not named.
    pub(super) fn strict(self) -> Self {
        self.with("additionalProperties", false)
    }

    /// Ignores members that are not named.
    pub(super) fn open(self) -> Self {
        self.with("additionalProperties", true)
    }

    /// One of several spellings of a member must be there, and only one.
    pub(super) fn exactly_one_of(self, names: &[&str]) -> Self {
        let choices: Vec<_> = names.iter().map(|name| json!({ "required": [name] })).collect();
        self.with("oneOf", choices)
    }

    /// At least one of these members must be there.
    pub(super) fn any_of_members(self, names: &[&str]) -> Self {
        let choices: Vec<_> = names.iter().map(|name| json!({ "required": [name] })).collect();
        self.with("anyOf", choices)
    }

    /// A union told apart by the member `type`. A variant may have several tags.
    pub(super) fn union(variants: &[(&str, &Named)]) -> Self {
        let mut mapping = Map::new();
        let mut schemas: Vec<Value> = Vec::new();
        for (tag, variant) in variants {
            let reference = variant.get();
            mapping.insert((*tag).to_owned(), reference.0["$ref"].clone());
            if !schemas.contains(&reference.0.clone().into()) {
                schemas.push(reference.into());
            }
        }
        Self::new()
            .with("oneOf", schemas)
            .with("discriminator", json!({ "propertyName": "type", "mapping": mapping }))
    }

    /// A union told apart by its JSON types or shapes.
    pub(super) fn either(schemas: impl IntoIterator<Item = Self>) -> Self {
        Self::new().with("oneOf", schemas.into_iter().map(Value::from).collect::<Vec<_>>())
    }

    /// What it means.
    pub(super) fn describe(self, description: &str) -> Self {
        self.with("description", description)
    }

    /// A value that fits.
    pub(super) fn example(self, example: impl Into<Value>) -> Self {
        self.with("examples", vec![example.into()])
    }

    /// ECMA-262 regular expression.
    pub(super) fn pattern(self, pattern: &str) -> Self {
        self.with("pattern", pattern)
    }

    /// A format that the pattern cannot tell.
    pub(super) fn format(self, format: &str) -> Self {
        self.with("format", format)
    }

    /// Characters.
    pub(super) fn length(self, min: usize, max: usize) -> Self {
        self.length_min(min).with("maxLength", max)
    }

    /// Characters, with no upper bound of its own.
    pub(super) fn length_min(self, min: usize) -> Self {
        self.with("minLength", min)
    }

    /// What the daemon takes when the member is absent.
    pub(super) fn default(self, value: impl Into<Value>) -> Self {
        self.with("default", value)
    }

    /// Ours: not in the compatible API.
    pub(super) fn addition(self) -> Self {
        self.with("x-addition", true)
    }

    fn with(mut self, keyword: &str, value: impl Into<Value>) -> Self {
        self.0.insert(keyword.to_owned(), value.into());
        self
    }
}

impl From<Schema> for Value {
    fn from(schema: Schema) -> Self {
        Self::Object(schema.0)
    }
}
