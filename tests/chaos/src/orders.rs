//! Parses orders, one per line: `FUNCTION [WHEN] [key=LABEL] ACTION [ARGUMENTS]`.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::Duration,
};

use cryptoki_sys::*;

use crate::{
    functions,
    names::{ATTRIBUTES, CLASSES, CODES, MECHANISMS, TOKEN_FLAGS, value},
};

/// The directory of orders and records, if there is one.
pub(crate) fn directory() -> Option<PathBuf> {
    env::var_os("CHAOS_DIR").map(PathBuf::from)
}

/// The orders in the file.
#[derive(Default)]
pub(crate) struct Orders {
    orders: Vec<Order>,
    /// Changes whenever the file is written.
    pub(crate) version: u64,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// `None` means all functions.
    function: Option<String>,
    pub(crate) when: When,
    /// `None` means all keys.
    pub(crate) key: Option<Label>,
    pub(crate) action: Action,
    pub(crate) line: usize,
}

/// The label of a key, or a prefix of labels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Label {
    text: String,
    begins: bool,
}

impl Label {
    fn read(word: &str) -> Self {
        match word.strip_suffix('*') {
            Some(text) => Self { text: text.to_owned(), begins: true },
            None => Self { text: word.to_owned(), begins: false },
        }
    }

    /// Whether a label matches.
    pub(crate) fn fits(&self, label: &[u8]) -> bool {
        match self.begins {
            true => label.starts_with(self.text.as_bytes()),
            false => label == self.text.as_bytes(),
        }
    }
}

/// Which calls the order applies to, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// From the first to the last, inclusive.
    Between(u64, u64),
    /// Every n-th.
    Each(u64),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    First(First),
    Last(Last),
    Trace,
    Record,
    CantLock,
    SetFlags(CK_FLAGS),
    ClearFlags(CK_FLAGS),
    MaxSessions(CK_ULONG),
    Text(Field, String),
    HideMechanism(CK_MECHANISM_TYPE),
    OfferMechanism(CK_MECHANISM_TYPE),
    LimitSessions(usize),
    /// No session while another process uses the token.
    ExclusiveSessions,
    CountSessions,
    LeakSession,
    Batch(CK_ULONG),
    /// Ends each search for objects of the class, or of any.
    EndAfter(CK_ULONG, Option<CK_OBJECT_CLASS>),
    LieCount(CK_ULONG),
    LieLength(CK_ATTRIBUTE_TYPE, CK_ULONG),
    HideAttribute(CK_ATTRIBUTE_TYPE),
    /// As hidden, but the call returns CKR_OK.
    Unavailable(CK_ATTRIBUTE_TYPE),
    /// Without a value, flips the lowest bit of the first octet.
    Lie(CK_ATTRIBUTE_TYPE, Option<Vec<u8>>),
    Logout,
    /// The key with the second label signs in place of that with the first label, or of any.
    Foreign(Option<Vec<u8>>, Vec<u8>),
    /// Of signatures over this many octets, or over any number.
    Flip(Option<CK_ULONG>),
}

/// Actions before the work of any function.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum First {
    Fail(CK_RV),
    Delay(Duration),
    /// The same, one call after the other.
    InTurn(Duration),
    Hang(Hang),
    Abort,
    Segfault,
    Exit(i32),
    Leak(usize),
    LeakDescriptor,
    Removed(CK_RV),
}

/// Actions after the work, which lose the reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Last {
    Fail(CK_RV),
    Hang(Hang),
    Abort,
}

/// For how long a call blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hang {
    /// While the order stands.
    WithTheOrder,
    /// Until the process ends, as a connect(2) that began while the HSM was away.
    ForGood,
}

/// A text in the token's information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Label,
    Serial,
    Model,
    Manufacturer,
}

impl Orders {
    /// Reads the orders. Without a file there are none.
    ///
    /// # Errors
    /// Names the first line that cannot be parsed.
    pub(crate) fn read() -> Result<Self, String> {
        let Some(path) = directory().map(|directory| directory.join("orders")) else {
            return Ok(Self::default());
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        // With the time of the file, because the same orders can be given twice.
        let written = fs::metadata(&path).map(|file| (file.ino(), file.mtime(), file.mtime_nsec()));
        let mut version = DefaultHasher::new();
        (&text, written.ok()).hash(&mut version);
        Ok(Self { orders: parse(&text)?, version: version.finish() })
    }

    /// The orders for a function, in their order.
    pub(crate) fn of(&self, function: &str) -> impl Iterator<Item = &Order> {
        let is_meant =
            move |order: &&Order| order.function.as_ref().is_none_or(|meant| meant == function);
        self.orders.iter().filter(is_meant)
    }

    /// Whether an order still stands, on any line.
    pub(crate) fn has(&self, wanted: &Order) -> bool {
        self.orders.iter().any(|order| {
            order.function == wanted.function
                && order.when == wanted.when
                && order.key == wanted.key
                && order.action == wanted.action
        })
    }
}

fn parse(text: &str) -> Result<Vec<Order>, String> {
    let lines = text.lines().enumerate().map(|(number, line)| (number, line.trim()));
    let orders = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    orders
        .map(|(number, line)| {
            order(number, line).map_err(|words| format!("line {}, '{line}': {words}", number + 1))
        })
        .collect()
}

fn order(number: usize, line: &str) -> Result<Order, String> {
    let mut words = line.split_whitespace().peekable();
    let function = match words.next() {
        Some("*") | None => None,
        Some(name) if functions::NAMES.contains(&name) => Some(name.to_owned()),
        Some(name) => return Err(format!("no function is called {name}")),
    };
    let is_when =
        |word: &&str| word.starts_with(|first: char| first.is_ascii_digit() || first == '/');
    let when = words.next_if(is_when).map_or(Ok(When::Always), when)?;
    let key = words.next_if(|word| word.starts_with("key="));
    let key = key.and_then(|word| word.strip_prefix("key=")).map(Label::read);
    let has_keys =
        matches!(function.as_deref(), Some("C_SignInit" | "C_Sign" | "C_GetAttributeValue"));
    if key.is_some() && !has_keys {
        return Err("a call of this function is not about one key".to_owned());
    }
    let name = words.next().ok_or("no action")?;
    let arguments: Vec<_> = words.collect();
    let action = action(function.as_deref(), name, &arguments)?;
    Ok(Order { function, when, key, action, line: number })
}

/// `3`, `3-5`, `3-`, `/10`.
fn when(text: &str) -> Result<When, String> {
    let number = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text} is no number of a call")),
        Ok(number) => Ok(number),
    };
    if let Some(step) = text.strip_prefix('/') {
        return Ok(When::Each(number(step)?));
    }
    match text.split_once('-') {
        None => number(text).map(|only| When::Between(only, only)),
        Some((first, "")) => Ok(When::Between(number(first)?, u64::MAX)),
        Some((first, last)) => Ok(When::Between(number(first)?, number(last)?)),
    }
}

fn action(function: Option<&str>, name: &str, arguments: &[&str]) -> Result<Action, String> {
    let code = |word| value(CODES, word).ok_or(format!("{word} is no return code"));
    let attribute = |word| value(ATTRIBUTES, word).ok_or(format!("{word} is no attribute"));
    let flag = |word| value(TOKEN_FLAGS, word).ok_or(format!("{word} is no flag of a token"));
    let number = |word: &str| word.parse::<u64>().map_err(|_| format!("{word} is no number"));
    let size = |word| number(word).and_then(|number| number.try_into().map_err(|_| word.into()));
    let text = |words: &[&str]| words.join(" ");
    Ok(match (function, name, arguments) {
        (_, "fail", [word]) => Action::First(First::Fail(code(word)?)),
        (_, "delay", [word]) => Action::First(First::Delay(Duration::from_millis(number(word)?))),
        (_, "in-turn", [word]) => {
            Action::First(First::InTurn(Duration::from_millis(number(word)?)))
        }
        (_, "hang", []) => Action::First(First::Hang(Hang::WithTheOrder)),
        (_, "hang", ["for-good"]) => Action::First(First::Hang(Hang::ForGood)),
        (_, "abort", []) => Action::First(First::Abort),
        (_, "segfault", []) => Action::First(First::Segfault),
        (_, "exit", [word]) => {
            let status = word.parse().map_err(|_| format!("{word} is no exit status"))?;
            Action::First(First::Exit(status))
        }
        (_, "leak", [word]) => Action::First(First::Leak(size(word)?)),
        (_, "leak-descriptor", []) => Action::First(First::LeakDescriptor),
        (_, "removed", [word]) => Action::First(First::Removed(code(word)?)),
        (_, "late", ["hang"]) => Action::Last(Last::Hang(Hang::WithTheOrder)),
        (_, "late", ["hang", "for-good"]) => Action::Last(Last::Hang(Hang::ForGood)),
        (_, "late", ["abort"]) => Action::Last(Last::Abort),
        (_, "late", [word]) => Action::Last(Last::Fail(code(word)?)),
        (_, "trace", []) => Action::Trace,
        (
            Some("C_Initialize" | "C_Login" | "C_FindObjects" | "C_GenerateKeyPair" | "C_SignInit"),
            "record",
            [],
        ) => Action::Record,
        (Some("C_Initialize"), "cant-lock", []) => Action::CantLock,
        (Some("C_GetTokenInfo"), "set", [word]) => Action::SetFlags(flag(word)?),
        (Some("C_GetTokenInfo"), "clear", [word]) => Action::ClearFlags(flag(word)?),
        (Some("C_GetTokenInfo"), "max-sessions", [word]) => Action::MaxSessions(number(word)?),
        (Some("C_GetTokenInfo"), "label", words) => Action::Text(Field::Label, text(words)),
        (Some("C_GetTokenInfo"), "serial", words) => Action::Text(Field::Serial, text(words)),
        (Some("C_GetTokenInfo"), "model", words) => Action::Text(Field::Model, text(words)),
        (Some("C_GetTokenInfo"), "manufacturer", words) => {
            Action::Text(Field::Manufacturer, text(words))
        }
        (Some("C_GetMechanismList"), "hide", [word]) => {
            Action::HideMechanism(value(MECHANISMS, word).ok_or(format!("{word} is no mechanism"))?)
        }
        (Some("C_GetMechanismList"), "offer", [word]) => Action::OfferMechanism(
            value(MECHANISMS, word).ok_or(format!("{word} is no mechanism"))?,
        ),
        (Some("C_OpenSession"), "limit", [word]) => Action::LimitSessions(size(word)?),
        (Some("C_OpenSession"), "exclusive", []) => Action::ExclusiveSessions,
        (Some("C_GetTokenInfo"), "count-sessions", []) => Action::CountSessions,
        (Some("C_CloseSession"), "leak", []) => Action::LeakSession,
        (Some("C_FindObjects"), "batch", [word]) => Action::Batch(number(word)?),
        (Some("C_FindObjects"), "end-after", [word]) => Action::EndAfter(number(word)?, None),
        (Some("C_FindObjects"), "end-after", [word, class]) => {
            let class = value(CLASSES, class).ok_or(format!("{class} is no class of objects"))?;
            Action::EndAfter(number(word)?, Some(class))
        }
        (Some("C_FindObjects" | "C_GetSlotList" | "C_GetMechanismList"), "lie-count", [word]) => {
            Action::LieCount(number(word)?)
        }
        (Some("C_GetAttributeValue"), "lie-length", [word, length]) => {
            Action::LieLength(attribute(word)?, number(length)?)
        }
        (Some("C_GetAttributeValue"), "hide", [word]) => Action::HideAttribute(attribute(word)?),
        (Some("C_GetAttributeValue"), "unavailable", [word]) => {
            Action::Unavailable(attribute(word)?)
        }
        (Some("C_GetAttributeValue"), "lie", [word]) => Action::Lie(attribute(word)?, None),
        (Some("C_GetAttributeValue"), "lie", [word, hex]) => {
            Action::Lie(attribute(word)?, Some(octets(hex)?))
        }
        (Some("C_SignInit"), "logout", []) => Action::Logout,
        (Some("C_SignInit"), "foreign", [meant, instead]) => {
            Action::Foreign((*meant != "*").then(|| (*meant).into()), (*instead).into())
        }
        (Some("C_Sign"), "flip", []) => Action::Flip(None),
        (Some("C_Sign"), "flip", [word]) => Action::Flip(Some(number(word)?)),
        _ => return Err(format!("'{name}' is no action here, or its arguments are wrong")),
    })
}

fn octets(hex: &str) -> Result<Vec<u8>, String> {
    let octet = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        (text.len() == 2).then(|| u8::from_str_radix(text, 16).ok())?
    };
    let octets = hex.as_bytes().chunks(2).map(octet).collect::<Option<_>>();
    octets.ok_or_else(|| format!("{hex} is not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Order {
        parse(line).unwrap().pop().unwrap()
    }

    #[test]
    fn an_order_is_a_function_a_time_and_an_action() {
        let order = parsed("C_Sign 3 fail CKR_DEVICE_ERROR");
        assert_eq!(order.function.as_deref(), Some("C_Sign"));
        assert_eq!(
            (order.when, order.action),
            (When::Between(3, 3), Action::First(First::Fail(0x30)))
        );
        let order = parsed("  *   delay 20  ");
        assert_eq!((order.function, order.when), (None, When::Always));
        assert_eq!(order.action, Action::First(First::Delay(Duration::from_millis(20))));
        assert_eq!(parsed("C_Sign 3-5 flip").when, When::Between(3, 5));
        assert_eq!(parsed("C_Sign 3- flip").when, When::Between(3, u64::MAX));
        assert_eq!(parsed("C_Sign /10 flip").when, When::Each(10));
        assert_eq!(
            parsed("C_Sign fail 0x80000042").action,
            Action::First(First::Fail(0x8000_0042))
        );
        let foreign = Action::Foreign(None, b"other".into());
        assert_eq!(parsed("C_SignInit foreign * other").action, foreign);
        let lie = Action::Lie(CKA_SENSITIVE, Some(vec![0xAB, 1]));
        assert_eq!(parsed("C_GetAttributeValue lie CKA_SENSITIVE ab01").action, lie);
        let order = parsed("C_Sign 2- key=bad-* hang for-good");
        assert_eq!(order.action, Action::First(First::Hang(Hang::ForGood)));
        let key = order.key.unwrap();
        assert!(key.fits(b"bad-1") && !key.fits(b"good"));
        assert!(!parsed("C_Sign key=bad flip").key.unwrap().fits(b"bad-1"));
    }

    #[test]
    fn notes_and_empty_lines_are_no_orders() {
        assert_eq!(parse("# nothing\n\n  \n").unwrap(), []);
    }

    #[test]
    fn what_nobody_understands_is_named() {
        for (line, words) in [
            ("C_Sing fail CKR_DEVICE_ERROR", "no function is called C_Sing"),
            ("C_Sign", "no action"),
            ("C_Sign 0 flip", "0 is no number of a call"),
            ("C_Sign fail CKR_DEVICE_EROR", "CKR_DEVICE_EROR is no return code"),
            ("C_Sign fail", "'fail' is no action here"),
            ("C_Login flip", "'flip' is no action here"),
            ("* limit 3", "'limit' is no action here"),
            ("C_Login key=one hang", "is not about one key"),
            ("C_GetAttributeValue lie CKA_SENSITIVE abc", "abc is not hexadecimal"),
        ] {
            let error = parse(&format!("\n{line}")).unwrap_err();
            assert!(error.starts_with("line 2") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn orders_go_to_the_function_that_they_name() {
        let orders = parse("C_Sign flip\n* trace\nC_Login hang").unwrap();
        let orders = Orders { orders, version: 0 };
        assert_eq!(orders.of("C_Sign").count(), 2);
        assert_eq!(orders.of("C_GetInfo").count(), 1);
        assert!(orders.has(&parsed("C_Login hang")) && !orders.has(&parsed("C_Login 1 hang")));
    }
}
