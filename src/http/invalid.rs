//! Complaints of the readers about a body: JSON, types, and the rules of single members.

/// A rule that a body breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// JSON pointer of the member to blame, if one is.
    pub field: Option<String>,
    /// For the caller.
    pub message: String,
}

impl Invalid {
    /// A complaint about the body as a whole.
    pub fn body(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into() }
    }

    /// A complaint about one member; an empty pointer is the body as a whole.
    pub fn at(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()).filter(|field| !field.is_empty()),
            message: message.into(),
        }
    }
}
