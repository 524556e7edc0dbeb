//! What went wrong in a token, and whose move is next. For logs and operators; callers never see it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who must act on a fault, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Class {
    /// The key or the mechanism does not fit: the session is kept, no other request is affected.
    Caller,
    /// Drop the session, try once more on a fresh one.
    Session,
    /// List the token again, find the key again, try once more.
    Handle,
    /// One new login by the keeper, find the key again, try once more.
    Login,
    /// The PIN is refused. Never tried again: tokens lock, some for good.
    Credential,
    /// The token has no room: shed load.
    Capacity,
    /// The module or the device is in trouble: kill the signer, start another.
    Device,
    /// A code of the vendor (`CKR_VENDOR_DEFINED` and above): as [`Class::Device`].
    Vendor,
    /// The settings do not fit what is there: no such token, two of one label, an unreadable file.
    Configuration,
    /// A code that has no business here: fail the request, do not try again.
    Unexpected,
}

impl Class {
    /// All of them.
    pub(super) const ALL: [Self; 10] = [
        Self::Caller,
        Self::Session,
        Self::Handle,
        Self::Login,
        Self::Credential,
        Self::Capacity,
        Self::Device,
        Self::Vendor,
        Self::Configuration,
        Self::Unexpected,
    ];

    /// The word in logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Session => "session",
            Self::Handle => "handle",
            Self::Login => "login",
            Self::Credential => "credential",
            Self::Capacity => "capacity",
            Self::Device => "device",
            Self::Vendor => "vendor",
            Self::Configuration => "configuration",
            Self::Unexpected => "unexpected",
        }
    }
}

/// A return value of PKCS#11.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Code {
    /// `CKR_…`.
    pub(super) name: String,
    /// The value.
    pub(super) number: u64,
}

/// One fault of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    /// Whose move is next.
    pub(super) class: Class,
    /// `C_Sign` and the like, or what we were doing when no function of the module failed.
    pub(super) function: String,
    /// What the function returned, when it was the module that complained.
    pub(super) code: Option<Code>,
    /// More words for the operator; may be empty.
    pub(super) detail: String,
}

impl Fault {
    /// A fault that is ours to explain, without a code of the module.
    pub(super) fn ours(class: Class, function: &str, detail: impl Into<String>) -> Self {
        Self { class, function: function.to_owned(), code: None, detail: detail.into() }
    }

    /// With more words.
    #[must_use]
    pub(super) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same fault, after the recovery of its class did not help.
    #[must_use]
    pub(super) fn escalated(mut self) -> Self {
        if matches!(self.class, Class::Session | Class::Handle | Class::Login) {
            self.class = Class::Device;
        }
        self
    }

    /// Whether the process has no memory left for its module: that is not the token's, and comes back
    /// with another process.
    pub(super) fn is_out_of_memory(&self) -> bool {
        const CKR_HOST_MEMORY: u64 = 0x02;
        self.code.as_ref().is_some_and(|code| code.number == CKR_HOST_MEMORY)
    }

    /// `CKR_PIN_INCORRECT (0xa0)`, or `none`.
    pub(super) fn code_text(&self) -> String {
        match &self.code {
            Some(code) => format!("{} ({:#x})", code.name, code.number),
            None => "none".to_owned(),
        }
    }

    /// Shortened and without control characters: a signer is not trusted with our logs.
    #[must_use]
    pub(super) fn tamed(mut self) -> Self {
        self.function = tame(&self.function);
        self.detail = tame(&self.detail);
        if let Some(code) = &mut self.code {
            code.name = tame(&code.name);
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        if self.code.is_some() {
            write!(f, ": {}", self.code_text())?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        write!(f, " [{} class]", self.class.name())
    }
}

/// Longest text of a signer that reaches a log, in characters.
const LOGGED_CHARACTERS_MAX: usize = 512;

/// Text of a signer, fit for a log.
pub(super) fn tame(text: &str) -> String {
    text.chars().take(LOGGED_CHARACTERS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_function_code_and_class() {
        let fault = Fault {
            class: Class::Credential,
            function: "C_Login".to_owned(),
            code: Some(Code { name: "CKR_PIN_INCORRECT".to_owned(), number: 0xa0 }),
            detail: String::new(),
        };
        assert_eq!(fault.to_string(), "C_Login: CKR_PIN_INCORRECT (0xa0) [credential class]");
    }

    #[test]
    fn only_what_a_retry_could_have_healed_escalates() {
        let escalated = |class| Fault::ours(class, "C_Sign", "").escalated().class;
        assert_eq!(escalated(Class::Handle), Class::Device);
        assert_eq!(escalated(Class::Credential), Class::Credential);
        assert_eq!(escalated(Class::Caller), Class::Caller);
    }

    #[test]
    fn a_signer_cannot_write_lines_of_its_own_into_our_log() {
        let text = format!("a\nERROR forged\u{1b}[2J{}", "x".repeat(10_000));
        let tamed = tame(&text);
        assert!(!tamed.contains('\n') && !tamed.contains('\u{1b}'));
        assert_eq!(tamed.chars().count(), LOGGED_CHARACTERS_MAX);
    }
}
