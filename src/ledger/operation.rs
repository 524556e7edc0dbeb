//! An operation on the ledger as a value, with the types of its answer, and its slot in a batch.

use std::{
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tokio::sync::oneshot;

use super::error::LedgerError;

/// Parameters of one call. The types of the answer are bound to it, so that no backend can give
/// another.
pub(super) trait Operation: Send + 'static {
    /// The answer.
    type Answer: Send + 'static;
    /// Why there is none.
    type Error: From<LedgerError> + Display + Send + 'static;
    /// What happens to it when the queue is full.
    const WHEN_FULL: WhenFull = WhenFull::Refuse;
}

/// What happens to an operation when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// It is refused.
    Refuse,
    /// It waits, because it ends something that was begun.
    Wait,
}

/// The result of an operation.
pub(super) type Answered<O> = Result<<O as Operation>::Answer, <O as Operation>::Error>;

/// An operation in a batch: the result of its last execution, and the caller who waits for it.
pub(super) struct Slot<O: Operation> {
    operation: O,
    result: Option<Answered<O>>,
    has_panicked: bool,
    caller: oneshot::Sender<Answered<O>>,
}

impl<O: Operation> Slot<O> {
    /// A slot, and where its answer will arrive.
    pub(super) fn new(operation: O) -> (Self, oneshot::Receiver<Answered<O>>) {
        let (caller, answered) = oneshot::channel();
        (Self { operation, result: None, has_panicked: false, caller }, answered)
    }

    /// The operation.
    pub(super) fn operation(&self) -> &O {
        &self.operation
    }

    /// Whether its caller has gone and nothing is lost if it is never executed.
    pub(super) fn is_abandoned(&self) -> bool {
        O::WHEN_FULL == WhenFull::Refuse && self.caller.is_closed()
    }

    /// Executes the operation inside a transaction. It may be executed again after a rollback; the
    /// last result counts. After an error, which is given in words for the log, the caller must roll
    /// back what was done. A panic is caught and is such an error.
    pub(super) fn run(&mut self, execute: impl FnOnce(&O) -> Answered<O>) -> Result<(), String> {
        self.result = None;
        if self.has_panicked {
            return Err(PANICKED.to_owned());
        }
        // Unwind safe, because the transaction is rolled back and the operation was only borrowed.
        let Ok(result) = catch_unwind(AssertUnwindSafe(|| execute(&self.operation))) else {
            tracing::error!(PANICKED);
            self.has_panicked = true;
            return Err(PANICKED.to_owned());
        };
        let verdict = result.as_ref().map(|_| ()).map_err(O::Error::to_string);
        self.result = Some(result);
        verdict
    }

    /// Sends the answer: the result, or why the transaction did not last.
    pub(super) fn answer(self, transaction: Result<(), LedgerError>) {
        let answer = match (transaction, self.result) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(LedgerError::unavailable(PANICKED).into()),
        };
        // The caller may have gone.
        let _ = self.caller.send(answer);
    }
}

const PANICKED: &str = "a job of the ledger panicked";

/// What a queue carries: one of several operations, each in its slot.
pub(super) trait Job: Send + 'static {
    /// As [`Slot::is_abandoned`].
    fn is_abandoned(&self) -> bool;
    /// As [`Slot::answer`].
    fn answer(self, transaction: Result<(), LedgerError>);
}

/// Declares operations, each `Name(members) -> Answer, Error` and perhaps `, Wait` (see
/// [`Operation::WHEN_FULL`]), and an enum over them, which a backend matches without a wildcard.
macro_rules! operations {
    (
        $(#[$enum_attribute:meta])*
        enum $Enum:ident {
            $(
                $(#[$attribute:meta])*
                $Name:ident($($member:ty),*) -> $Answer:ty, $Error:ty $(, $when_full:ident)?;
            )*
        }
    ) => {
        $(#[$enum_attribute])*
        pub(in crate::ledger) enum $Enum {
            $($(#[$attribute])* $Name($crate::ledger::operation::Slot<$Name>),)*
        }

        impl $crate::ledger::operation::Job for $Enum {
            fn is_abandoned(&self) -> bool {
                match self {
                    $($(#[$attribute])* Self::$Name(slot) => slot.is_abandoned(),)*
                }
            }

            fn answer(self, transaction: Result<(), LedgerError>) {
                match self {
                    $($(#[$attribute])* Self::$Name(slot) => slot.answer(transaction),)*
                }
            }
        }

        $(
            $(#[$attribute])*
            pub(in crate::ledger) struct $Name($(pub(in crate::ledger) $member),*);

            $(#[$attribute])*
            impl $crate::ledger::operation::Operation for $Name {
                type Answer = $Answer;
                type Error = $Error;
                $(const WHEN_FULL: $crate::ledger::operation::WhenFull =
                    $crate::ledger::operation::WhenFull::$when_full;)?
            }

            $(#[$attribute])*
            impl From<$crate::ledger::operation::Slot<$Name>> for $Enum {
                fn from(slot: $crate::ledger::operation::Slot<$Name>) -> Self {
                    Self::$Name(slot)
                }
            }
        )*
    };
}
pub(super) use operations;
