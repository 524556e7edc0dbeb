//! Request bodies: JSON in, members out, every complaint with the place it is about.
//!
//! serde's derived readers drop what the contract asks for: a JSON pointer to the member to blame,
//! duplicate members within free-form objects, and all of it inside tagged unions. So bodies are
//! read into a tree first, and `http::wire` takes the members out one by one.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

use crate::service::error::Invalid;

/// Longest string unless a member has a limit of its own, in characters.
pub const STRING_CHARACTERS_MAX: usize = 2_048;

/// A JSON value with its members in order and duplicates still visible. It may hold a private key: no
/// `Debug`, and strings are wiped when it goes.
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// Any number.
    Number(serde_json::Number),
    /// A string.
    String(Zeroizing<String>),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Vec<(String, Value)>),
}

/// Reads a whole body.
///
/// # Errors
/// [`Invalid`] when it is not JSON, with line and column, or when a member occurs twice.
pub fn parse(body: &[u8]) -> Result<Value, Invalid> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Invalid::body(format!("body is not JSON: line {}, column {}", error.line(), error.column()))
    })?;
    find_duplicate(&value, &String::new)?;
    Ok(value)
}

/// The pointer to `value` is made when there is something to complain of.
fn find_duplicate(value: &Value, pointer: &dyn Fn() -> String) -> Result<(), Invalid> {
    match value {
        Value::Object(members) => {
            for (index, (name, member)) in members.iter().enumerate() {
                if members[..index].iter().any(|(earlier, _)| earlier == name) {
                    let pointer = pointer();
                    return Err(Invalid::at(
                        child(&pointer, name),
                        format!("{}: member '{}' occurs twice", place(&pointer), shown(name)),
                    ));
                }
                find_duplicate(member, &|| child(&pointer(), name))?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            find_duplicate(item, &|| child(&pointer(), &index.to_string()))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// A value and where it stands.
pub struct Node<'a> {
    value: &'a Value,
    pointer: String,
}

impl<'a> Node<'a> {
    /// The whole body.
    pub fn body(value: &'a Value) -> Self {
        Self { value, pointer: String::new() }
    }

    /// The JSON pointer (RFC 6901) of this value.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// A complaint about this value.
    pub fn invalid(&self, what: impl fmt::Display) -> Invalid {
        invalid_at(&self.pointer, what)
    }

    /// Takes the value as an object.
    ///
    /// # Errors
    /// [`Invalid`] for any other type.
    pub fn object(self) -> Result<Object<'a>, Invalid> {
        let members = self.as_members()?;
        Ok(Object { members, pointer: self.pointer, known: Vec::new() })
    }

    /// The members of an object whose unknown members do not matter.
    ///
    /// # Errors
    /// [`Invalid`] for any other type.
    pub fn as_members(&self) -> Result<&'a [(String, Value)], Invalid> {
        let Value::Object(members) = self.value else { return Err(self.must_be("an object")) };
        Ok(members)
    }

    /// The members of an object, each where it stands.
    ///
    /// # Errors
    /// [`Invalid`] for any other type.
    pub fn members(&self) -> Result<impl Iterator<Item = (&'a str, Node<'a>)>, Invalid> {
        let members = self.as_members()?.iter();
        Ok(members.map(|(name, value)| {
            (name.as_str(), Node { value, pointer: child(&self.pointer, name) })
        }))
    }

    /// Takes the value as an array and reads each item.
    ///
    /// # Errors
    /// [`Invalid`] for any other type, and whatever `read` complains of.
    pub fn array<T>(
        &self,
        of: &str,
        read: impl Fn(Node<'a>) -> Result<T, Invalid>,
    ) -> Result<Vec<T>, Invalid> {
        let Value::Array(items) = self.value else {
            return Err(self.must_be(&format!("an array of {of}")));
        };
        items
            .iter()
            .enumerate()
            .map(|(index, value)| {
                read(Node { value, pointer: child(&self.pointer, &index.to_string()) })
            })
            .collect()
    }

    /// Takes the value as a string without control characters, at most
    /// [`STRING_CHARACTERS_MAX`] long.
    ///
    /// # Errors
    /// [`Invalid`] for any other type or string.
    pub fn text(&self) -> Result<&'a str, Invalid> {
        let text = self.long_text()?;
        if text.chars().any(char::is_control) {
            return Err(self.invalid("no control characters"));
        }
        if text.chars().count() > STRING_CHARACTERS_MAX {
            return Err(self.invalid(format!("at most {STRING_CHARACTERS_MAX} characters")));
        }
        Ok(text)
    }

    /// Takes the value as a string of any content, as PEM needs; the body limit bounds it.
    ///
    /// # Errors
    /// [`Invalid`] for any other type.
    pub fn long_text(&self) -> Result<&'a str, Invalid> {
        let Value::String(text) = self.value else { return Err(self.must_be("a string")) };
        Ok(text)
    }

    /// Takes the value as a boolean.
    ///
    /// # Errors
    /// [`Invalid`] for any other type.
    pub fn boolean(&self) -> Result<bool, Invalid> {
        let Value::Bool(value) = self.value else { return Err(self.must_be("true or false")) };
        Ok(*value)
    }

    /// Takes the value as a whole number from 0 to 255.
    ///
    /// # Errors
    /// [`Invalid`] for any other type or number.
    pub fn octet(&self) -> Result<u8, Invalid> {
        let number = self.whole_number().ok();
        number
            .and_then(|number| u8::try_from(number).ok())
            .ok_or_else(|| self.must_be("a whole number from 0 to 255"))
    }

    /// Takes the value as a whole number that is not negative.
    ///
    /// # Errors
    /// [`Invalid`] for any other type or number.
    pub fn whole_number(&self) -> Result<u64, Invalid> {
        let number = if let Value::Number(number) = self.value { number.as_u64() } else { None };
        number.ok_or_else(|| self.must_be("a whole number"))
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Whether the value is a string.
    pub fn is_string(&self) -> bool {
        matches!(self.value, Value::String(_))
    }

    /// The complaint that an object has a member that nobody knows.
    pub fn unknown(&self, name: &str) -> Invalid {
        unknown(&self.pointer, name)
    }

    fn must_be(&self, what: &str) -> Invalid {
        let pointer = &self.pointer;
        Invalid::at(pointer.clone(), format!("{} must be {what}", place(pointer)))
    }
}

/// An object whose members are taken out one by one.
pub struct Object<'a> {
    members: &'a [(String, Value)],
    pointer: String,
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// The JSON pointer of the object.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The JSON pointer of one of its members.
    pub fn pointer_of(&self, name: &str) -> String {
        child(&self.pointer, name)
    }

    /// A complaint about the object itself.
    pub fn invalid(&self, what: impl fmt::Display) -> Invalid {
        invalid_at(&self.pointer, what)
    }

    /// The member, unless it is absent or `null`.
    pub fn get(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.known.push(name);
        self.members
            .iter()
            .find(|(member, value)| member == name && !matches!(value, Value::Null))
            .map(|(_, value)| Node { value, pointer: child(&self.pointer, name) })
    }

    /// Reads a member that may be absent or `null`.
    ///
    /// # Errors
    /// What `read` complains of.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Node<'a>) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        self.get(name).map(read).transpose()
    }

    /// Reads a member that must be there.
    ///
    /// # Errors
    /// [`Invalid`] when it is absent or `null`, and what `read` complains of.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Node<'a>) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        match self.get(name) {
            Some(node) => read(node),
            None => Err(self.missing(name)),
        }
    }

    /// The complaint that a member is missing.
    pub fn missing(&self, name: &str) -> Invalid {
        let pointer = child(&self.pointer, name);
        Invalid::at(pointer.clone(), format!("{} is required", place(&pointer)))
    }

    /// Reads the discriminator of a union.
    ///
    /// # Errors
    /// [`Invalid`] unless it is one of `tags`, which it then lists.
    pub fn tag<T: Copy>(&mut self, tags: &[(&'static str, T)]) -> Result<T, Invalid> {
        self.required("type", |node| {
            let text = node.text()?;
            tags.iter().find(|(tag, _)| *tag == text).map(|(_, value)| *value).ok_or_else(|| {
                let names: Vec<_> = tags.iter().map(|(tag, _)| *tag).collect();
                node.invalid(format!("'{}' is not one of {}", shown(text), names.join(", ")))
            })
        })
    }

    /// Ends the reading of a strict object.
    ///
    /// # Errors
    /// [`Invalid`] names the first member that nobody asked for.
    pub fn finish(self) -> Result<(), Invalid> {
        match self.members.iter().find(|(name, _)| !self.known.iter().any(|known| known == name)) {
            None => Ok(()),
            Some((name, _)) => Err(unknown(&self.pointer, name)),
        }
    }
}

impl Object<'_> {
    /// Ends the reading of a lenient object: the members that nobody asked for.
    pub fn ignored(self) -> Vec<String> {
        self.members
            .iter()
            .filter(|(name, _)| !self.known.iter().any(|known| known == name))
            .map(|(name, _)| shown(name))
            .collect()
    }
}

fn unknown(pointer: &str, name: &str) -> Invalid {
    let message = format!("{}: unknown member '{}'", place(pointer), shown(name));
    Invalid::at(child(pointer, name), message)
}

fn invalid_at(pointer: &str, what: impl fmt::Display) -> Invalid {
    Invalid::at(pointer.to_owned(), format!("{}: {what}", place(pointer)))
}

/// RFC 6901, section 3.
fn child(pointer: &str, name: &str) -> String {
    let mut child = String::with_capacity(pointer.len() + 1 + name.len());
    child.push_str(pointer);
    child.push('/');
    for character in printable(name) {
        match character {
            '~' => child.push_str("~0"),
            '/' => child.push_str("~1"),
            _ => child.push(character),
        }
    }
    child
}

/// The pointer as people write it: `certificateData.keyUsage[0]`.
fn place(pointer: &str) -> String {
    if pointer.is_empty() {
        return "body".to_owned();
    }
    pointer.split('/').skip(1).fold(String::new(), |mut text, part| {
        match part.parse::<usize>() {
            Ok(index) => text.push_str(&format!("[{index}]")),
            Err(_) if text.is_empty() => text.push_str(part),
            Err(_) => {
                text.push('.');
                text.push_str(part);
            }
        }
        text
    })
}

/// A foreign word, cut so that it cannot fill an answer.
fn shown(word: &str) -> String {
    printable(word).collect()
}

fn printable(word: &str) -> impl Iterator<Item = char> {
    word.chars().filter(|c| !c.is_control()).take(64)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned().into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(body: &str, read: impl Fn(Node<'_>) -> Result<(), Invalid>) -> (String, String) {
        let error = parse(body.as_bytes())
            .and_then(|value| read(Node::body(&value)))
            .expect_err("must be refused");
        (error.field.unwrap_or_default(), error.message)
    }

    #[test]
    fn a_duplicate_member_is_named_wherever_it_stands() {
        let (field, message) = complaint(r#"{"a":[{"b":1,"b":2}]}"#, |_| Ok(()));
        assert_eq!((field.as_str(), message.as_str()), ("/a/0/b", "a[0]: member 'b' occurs twice"));
    }

    #[test]
    fn broken_json_is_named_by_line_and_column() {
        let (_, message) = complaint("{\n \"a\" 1}", |_| Ok(()));
        assert_eq!(message, "body is not JSON: line 2, column 6");
        assert!(parse(b"{} x").is_err());
        assert!(parse(&[b'[', 0xFF, b']']).is_err());
        assert!(parse("[".repeat(10_000).as_bytes()).is_err());
    }

    #[test]
    fn null_is_absent_for_an_optional_member_and_missing_for_a_required_one() {
        let value = parse(br#"{"a":null}"#).unwrap();
        let mut object = Node::body(&value).object().unwrap();
        assert!(object.optional("a", |node| node.text()).unwrap().is_none());
        let error = object.required("a", |node| node.text()).unwrap_err();
        assert_eq!(error.message, "a is required");
    }

    #[test]
    fn an_unknown_member_is_named_with_its_place() {
        let (field, message) = complaint(r#"{"a":{"b":1,"c~/d":2}}"#, |node| {
            node.object()?.required("a", |node| {
                let mut object = node.object()?;
                object.get("b");
                object.finish()
            })
        });
        assert_eq!((field.as_str(), message.as_str()), ("/a/c~0~1d", "a: unknown member 'c~/d'"));
    }
}
