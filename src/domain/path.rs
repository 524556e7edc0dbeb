//! Dotted paths, the addresses in the resource tree.

use std::{borrow::Borrow, fmt, sync::Arc};

use uuid::Uuid;

/// One element of a path: `[A-Za-z0-9_-]{1,128}`, case-sensitive.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathElement(Arc<str>);

impl PathElement {
    /// Longest element, in characters.
    pub const LENGTH_MAX: usize = 128;

    /// Checks the alphabet and the length.
    ///
    /// # Errors
    /// [`PathError`] names the element and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    fn check(text: &str) -> Result<(), PathError> {
        if text.is_empty() {
            return Err(PathError::EmptyElement);
        }
        if let Some(wrong) = text.chars().find(|c| !is_path_character(*c)) {
            return Err(PathError::Character {
                element: text.chars().take(Self::LENGTH_MAX).collect(),
                wrong,
            });
        }
        if text.len() > Self::LENGTH_MAX {
            return Err(PathError::TooLong);
        }
        Ok(())
    }

    /// `versions`, the reserved child of a VICAL service.
    pub fn versions() -> Self {
        Self("versions".into())
    }

    /// The element as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for PathElement {
    fn from(id: Uuid) -> Self {
        Self(id.to_string().into())
    }
}

/// One or more elements joined by `.`: an organisation, a tenant, a service or a child of one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourcePath(Arc<str>);

impl ResourcePath {
    /// Longest path, in characters: the limit of every string of the API.
    pub const LENGTH_MAX: usize = 2_048;

    /// Checks every element.
    ///
    /// # Errors
    /// [`PathError`] names the first element that is wrong.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > Self::LENGTH_MAX {
            return Err(PathError::TooLong);
        }
        text.split('.').try_for_each(PathElement::check)?;
        Ok(Self(text.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The elements from the organisation down.
    pub fn elements(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The first element: the organisation.
    pub fn organisation(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// The last element.
    pub fn last(&self) -> PathElement {
        PathElement(self.0.rsplit('.').next().unwrap_or_default().into())
    }

    /// The path without its last element; `None` for an organisation.
    pub fn parent(&self) -> Option<Self> {
        self.parent_text().map(|parent| Self(parent.into()))
    }

    /// The same, borrowed.
    pub fn parent_text(&self) -> Option<&str> {
        self.0.rsplit_once('.').map(|(parent, _)| parent)
    }

    /// The path one element further down.
    #[must_use]
    pub fn child(&self, element: &PathElement) -> Self {
        Self([&self.0, ".", &element.0].concat().into())
    }

    /// The path of a version of a VICAL service.
    #[must_use]
    pub fn vical_version(&self, version: &PathElement) -> Self {
        self.child(&PathElement::versions()).child(version)
    }

    /// Whether this path is `ancestor` or lies under it: `a.b` covers `a.b.c`, never `a.bc`.
    pub fn is_at_or_under(&self, ancestor: &Self) -> bool {
        match self.0.strip_prefix(&*ancestor.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => false,
        }
    }
}

/// The full path of a key: its KMS service and one element more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyPath(ResourcePath);

impl KeyPath {
    /// Two or more dotted elements.
    ///
    /// # Errors
    /// [`PathError`] names the first element that is wrong, or says that there is only one.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let path = ResourcePath::parse(text)?;
        match path.parent_text() {
            Some(_) => Ok(Self(path)),
            None => Err(PathError::TooShort),
        }
    }

    /// The key `id` of the KMS service `kms`.
    pub fn of(kms: &ResourcePath, id: &PathElement) -> Self {
        Self(kms.child(id))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The path as that of any resource.
    pub fn to_resource(&self) -> ResourcePath {
        self.0.clone()
    }

    /// The path of the KMS service that holds the key.
    pub fn kms(&self) -> ResourcePath {
        ResourcePath(self.kms_text().into())
    }

    /// The same, borrowed.
    pub fn kms_text(&self) -> &str {
        self.0.parent_text().unwrap_or_default()
    }

    /// The key's own element.
    pub fn id(&self) -> PathElement {
        self.0.last()
    }

    /// The same, borrowed.
    pub fn id_text(&self) -> &str {
        self.as_str().rsplit('.').next().unwrap_or_default()
    }
}

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Two dots in a row, a dot at an end, or nothing at all.
    #[error("an element is empty")]
    EmptyElement,
    /// A character outside the alphabet.
    #[error("element '{element}' may hold only letters, digits, '-' and '_'")]
    Character {
        /// The element, cut to the allowed length.
        element: String,
        /// The first character that is not allowed.
        wrong: char,
    },
    /// Longer than allowed.
    #[error("at most 128 characters an element and 2048 a path")]
    TooLong,
    /// A key path of one element.
    #[error("a key path has at least two elements")]
    TooShort,
}

fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

impl Borrow<str> for PathElement {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ResourcePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! shown_as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}
shown_as_text!(PathElement, ResourcePath, KeyPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_elements_of_letters_digits_hyphen_and_underscore() {
        for good in ["a", "acme.dmv", "A-1_b.c", &"x".repeat(128)] {
            assert!(ResourcePath::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "a.", ".a", "a..b", "a b", "a/b", "ä", "a\u{0}", "a%2eb", &"x".repeat(129)]
        {
            assert!(ResourcePath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_covers_itself_and_what_is_below_but_no_sibling_with_a_longer_name() {
        let path = |text| ResourcePath::parse(text).unwrap();
        assert!(path("a.b").is_at_or_under(&path("a.b")));
        assert!(path("a.b.c").is_at_or_under(&path("a.b")));
        assert!(!path("a.bc").is_at_or_under(&path("a.b")));
        assert!(!path("a").is_at_or_under(&path("a.b")));
        assert!(!path("A.b").is_at_or_under(&path("a.b")));
    }

    #[test]
    fn a_key_path_splits_into_kms_and_id() {
        let key = KeyPath::parse("acme.dmv.kms.iaca-2026").unwrap();
        assert_eq!(key.kms().as_str(), "acme.dmv.kms");
        assert_eq!(key.id().as_str(), "iaca-2026");
        assert_eq!(KeyPath::parse("acme"), Err(PathError::TooShort));
    }
}
