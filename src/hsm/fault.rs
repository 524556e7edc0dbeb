//! Faults of a token, classified by what has to happen next. For logs and operators; callers never see them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What has to happen after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Class {
    /// The key or the mechanism does not fit the request: refuse it. The session is kept.
    Caller,
    /// Open another session and retry once.
    Session,
    /// List the token, find the key again and retry once.
    Handle,
    /// Log in once more, find the key again and retry once.
    Login,
    /// The PIN is refused: never try it again, because tokens lock.
    Credential,
    /// The token has no room: shed load.
    Capacity,
    /// The module or the device is in trouble: kill the signer and start another.
    Device,
    /// A code of the vendor (`CKR_VENDOR_DEFINED` and above): as [`Class::Device`].
    Vendor,
    /// The configuration does not match: no such token, two with one label, an unreadable file.
    Configuration,
    /// Another token has the configured label: as [`Class::Device`], with an alarm.
    Identity,
    /// A code that the function should not return: fail the request without a retry.
    Unexpected,
}

impl Class {
    /// All of them.
    pub(super) const ALL: [Self; 11] = [
        Self::Caller,
        Self::Session,
        Self::Handle,
        Self::Login,
        Self::Credential,
        Self::Capacity,
        Self::Device,
        Self::Vendor,
        Self::Configuration,
        Self::Identity,
        Self::Unexpected,
    ];

    /// The name in logs.
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
            Self::Identity => "identity",
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

/// A fault of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    pub(super) class: Class,
    /// The function of PKCS#11, or the step of ours that failed.
    pub(super) function: String,
    /// What the function returned, if a function failed.
    pub(super) code: Option<Code>,
    /// Details for the operator; may be empty.
    pub(super) detail: String,
}

impl Fault {
    /// A fault that we have found, without a return value.
    pub(super) fn ours(class: Class, function: &str, detail: impl Into<String>) -> Self {
        Self { class, function: function.to_owned(), code: None, detail: detail.into() }
    }

    /// Replaces the details.
    #[must_use]
    pub(super) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same fault after the recovery of its class has failed.
    #[must_use]
    pub(super) fn escalated(mut self) -> Self {
        if matches!(self.class, Class::Session | Class::Handle | Class::Login) {
            self.class = Class::Device;
        }
        self
    }

    /// Whether the signer is out of memory. Another process can help then.
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

    /// Sanitised for the log, because a signer is not trusted: shortened, without control characters.
    #[must_use]
    pub(super) fn sanitised(mut self) -> Self {
        self.function = sanitise(&self.function);
        self.detail = sanitise(&self.detail);
        if let Some(code) = &mut self.code {
            code.name = sanitise(&code.name);
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

/// Longest text of a signer in a log, in characters.
const LOGGED_CHARACTERS_MAX: usize = 512;

/// Sanitises a text of a signer for a log.
pub(super) fn sanitise(text: &str) -> String {
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
        let sanitised = sanitise(&text);
        assert!(!sanitised.contains('\n') && !sanitised.contains('\u{1b}'));
        assert_eq!(sanitised.chars().count(), LOGGED_CHARACTERS_MAX);
    }
}
