//! Request bodies: JSON in, members out, every complaint with the place it is about.
//!
//! serde's derived readers drop what the contract asks for: a JSON pointer to the member to blame,
//! duplicate members within free-form objects, and all of it inside tagged unions. So bodies are
//! read into a tree first, and `http::wire` takes the members out one by one.

use std::{collections::HashSet, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

use super::invalid::Invalid;
use crate::domain::text::check_characters;

#[cfg(test)]
pub(super) mod asked;

/// Longest string unless a member has a limit of its own, in characters.
pub const STRING_CHARACTERS_MAX: usize = 2_048;

/// Most items of an array unless a member has a limit of its own: no item is read of a longer one.
pub const ITEMS_MAX: usize = 1_024;

/// A JSON value with its members in order and duplicates still visible. It may hold a private key: no
/// `Debug`.
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// Any number.
    Number(serde_json::Number),
    /// A string.
    String(Text<'a>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object.
    Object(Vec<Member<'a>>),
}

/// A string of a body: where it stands there, or a copy without its escapes, which is wiped when it
/// goes.
pub enum Text<'a> {
    /// As it stands in the body.
    Plain(&'a str),
    /// What its escapes stand for.
    Unescaped(Zeroizing<String>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Unescaped(text) => text,
        }
    }
}

/// Reads a whole body.
///
/// # Errors
/// [`Invalid`] when it is not JSON, with line and column, or when a member occurs twice.
pub fn parse(body: &[u8]) -> Result<Value<'_>, Invalid> {
    let value: Value<'_> = serde_json::from_slice(body).map_err(|error| {
        Invalid::body(format!("body is not JSON: line {}, column {}", error.line(), error.column()))
    })?;
    find_duplicate(&Node::body(&value))?;
    Ok(value)
}

fn find_duplicate(node: &Node<'_>) -> Result<(), Invalid> {
    match node.value {
        Value::Object(members) => {
            // A set, because a body may have thousands of members.
            let mut names = HashSet::with_capacity(members.len());
            for (name, member) in members {
                if !names.insert(&**name) {
                    let pointer = node.pointer();
                    return Err(Invalid::at(
                        child(&pointer, name),
                        format!("{}: member '{}' occurs twice", place(&pointer), shown(name)),
                    ));
                }
                find_duplicate(&node.at(member))?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| find_duplicate(&node.at(item))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// A value, and the body that it stands in.
pub struct Node<'a> {
    value: &'a Value<'a>,
    body: &'a Value<'a>,
}

impl<'a> Node<'a> {
    /// The whole body.
    pub fn body(value: &'a Value<'a>) -> Self {
        Self { value, body: value }
    }

    /// A value within this one.
    fn at(&self, value: &'a Value<'a>) -> Self {
        Self { value, body: self.body }
    }

    /// The JSON pointer (RFC 6901) of this value. It is looked for: few values are ever complained of.
    pub fn pointer(&self) -> String {
        let mut steps = Vec::new();
        find(self.value, self.body, &mut steps);
        steps.iter().rev().fold(String::new(), |mut pointer, step| {
            match step {
                Step::Member(name) => push_child(&mut pointer, name),
                Step::Item(index) => push_child(&mut pointer, &index.to_string()),
            }
            pointer
        })
    }

    /// A complaint about this value.
    pub fn invalid(&self, what: impl fmt::Display) -> Invalid {
        let pointer = self.pointer();
        let message = format!("{}: {what}", place(&pointer));
        Invalid::at(pointer, message)
    }

    /// Takes the value as an object.
    ///
    /// # Errors
    /// [`Invalid`] for any other type.
    pub fn object(self) -> Result<Object<'a>, Invalid> {
        let members = self.as_members()?;
        Ok(Object { members, node: self, known: Vec::with_capacity(MEMBERS_EXPECTED) })
    }

    /// The members of an object whose unknown members do not matter.
    ///
    /// # Errors
    /// [`Invalid`] for any other type.
    pub fn as_members(&self) -> Result<&'a [Member<'a>], Invalid> {
        let Value::Object(members) = self.value else { return Err(self.must_be("an object")) };
        Ok(members)
    }

    /// The members of an object, each where it stands.
    ///
    /// # Errors
    /// [`Invalid`] for any other type.
    pub fn members(&self) -> Result<impl Iterator<Item = (&'a str, Node<'a>)>, Invalid> {
        let members = self.as_members()?.iter();
        Ok(members.map(|(name, value)| (&**name, self.at(value))))
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
        if items.len() > ITEMS_MAX {
            return Err(self.invalid(format!("at most {ITEMS_MAX} {of}")));
        }
        items.iter().map(|item| read(self.at(item))).collect()
    }

    /// Takes the value as a string of characters that operators can read, at most
    /// [`STRING_CHARACTERS_MAX`] long.
    ///
    /// # Errors
    /// [`Invalid`] for any other type or string.
    pub fn text(&self) -> Result<&'a str, Invalid> {
        let text = self.long_text()?;
        check_characters(text).map_err(|error| self.invalid(error))?;
        if text.len() > STRING_CHARACTERS_MAX && text.chars().count() > STRING_CHARACTERS_MAX {
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

    /// The complaint about an unknown member.
    pub fn unknown(&self, name: &str) -> Invalid {
        let pointer = self.pointer();
        let message = format!("{}: unknown member '{}'", place(&pointer), shown(name));
        Invalid::at(child(&pointer, name), message)
    }

    fn must_be(&self, what: &str) -> Invalid {
        let pointer = self.pointer();
        let message = format!("{} must be {what}", place(&pointer));
        Invalid::at(pointer, message)
    }
}

/// One step of the way to a value.
enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

/// Whether `wanted`, that very value and not an equal one, is `within`; the way there, the last step
/// first.
fn find<'a>(wanted: &Value<'_>, within: &'a Value<'_>, steps: &mut Vec<Step<'a>>) -> bool {
    if std::ptr::eq(wanted, within) {
        return true;
    }
    let step = match within {
        Value::Object(members) => members
            .iter()
            .find(|(_, value)| find(wanted, value, steps))
            .map(|(name, _)| Step::Member(name)),
        Value::Array(items) => {
            items.iter().position(|item| find(wanted, item, steps)).map(Step::Item)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    let is_found = step.is_some();
    steps.extend(step);
    is_found
}

/// A member of an object: its name and its value.
pub type Member<'a> = (Text<'a>, Value<'a>);

/// As many as most objects may have.
const MEMBERS_EXPECTED: usize = 8;

/// An object whose members are taken out one by one.
pub struct Object<'a> {
    members: &'a [Member<'a>],
    node: Node<'a>,
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// The JSON pointer of one of its members.
    pub fn pointer_of(&self, name: &str) -> String {
        child(&self.node.pointer(), name)
    }

    /// A complaint about the object itself.
    pub fn invalid(&self, what: impl fmt::Display) -> Invalid {
        self.node.invalid(what)
    }

    /// The member, unless it is absent or `null`.
    pub fn get(&mut self, name: &'static str) -> Option<Node<'a>> {
        #[cfg(test)]
        asked::note(self.node.pointer(), name);
        self.known.push(name);
        self.members
            .iter()
            .find(|(member, value)| **member == *name && !matches!(value, Value::Null))
            .map(|(_, value)| self.node.at(value))
    }

    /// Reads a member that may be absent or `null`.
    ///
    /// # Errors
    /// The complaint of `read`.
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
        let pointer = self.pointer_of(name);
        let message = format!("{} is required", place(&pointer));
        Invalid::at(pointer, message)
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
    /// [`Invalid`] names the first unknown member.
    pub fn finish(self) -> Result<(), Invalid> {
        match self.unknown().next() {
            None => Ok(()),
            Some(name) => Err(self.node.unknown(name)),
        }
    }

    /// Ends the reading of a lenient object; yields its unknown members.
    pub fn ignored(self) -> Vec<String> {
        self.unknown().map(shown).collect()
    }

    fn unknown(&self) -> impl Iterator<Item = &'a str> {
        let names = self.members.iter().map(|(name, _)| &**name);
        names.filter(|name| !self.known.contains(name))
    }
}

fn child(pointer: &str, name: &str) -> String {
    let mut child = pointer.to_owned();
    push_child(&mut child, name);
    child
}

/// RFC 6901, section 3.
fn push_child(pointer: &mut String, name: &str) {
    pointer.push('/');
    for character in printable(name) {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            _ => pointer.push(character),
        }
    }
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

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Value<'de>, E> {
        TextVisitor.visit_borrowed_str(value).map(Value::String)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value<'de>, E> {
        TextVisitor.visit_str(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut members = Vec::with_capacity(MEMBERS_EXPECTED);
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Value::Object(members))
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Text<'de>, E> {
        Ok(Text::Plain(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Text<'de>, E> {
        Ok(Text::Unescaped(value.to_owned().into()))
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
    fn a_value_is_named_by_where_it_stands_and_not_by_what_it_is() {
        let value = parse(br#"{"\u0061":[true,true,{"b":true}],"c":true}"#).unwrap();
        let mut object = Node::body(&value).object().unwrap();
        let wrong = |node: Node<'_>| Ok(node.text().unwrap_err().field.unwrap());
        let items = object.required("a", |node| {
            node.array("texts", |item| match item.as_members() {
                Ok(_) => item.object()?.required("b", wrong),
                Err(_) => wrong(item),
            })
        });
        assert_eq!(items.unwrap(), ["/a/0", "/a/1", "/a/2/b"]);
        assert_eq!(object.required("c", wrong).unwrap(), "/c");
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
