//! What the command line writes. A reader that leaves (`| head -1`) and a disk that is full are no reason
//! to panic, which is what `print!` does.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

/// The exit code when standard output cannot be written.
const NOT_WRITTEN: u8 = 5;
/// The exit code when the reader of standard output has left: that of a program which SIGPIPE ends.
const READER_GONE: u8 = 128 + 13;

/// Standard output, until it fails; what comes after that is dropped.
#[derive(Default)]
pub(super) struct Output {
    failed: Option<io::Error>,
}

impl Output {
    /// Writes text as it is.
    pub(super) fn text(&mut self, text: impl Display) {
        if self.failed.is_none() {
            let mut out = io::stdout().lock();
            self.failed = write!(out, "{text}").and_then(|()| out.flush()).err();
        }
    }

    /// Writes one line.
    pub(super) fn line(&mut self, line: impl Display) {
        self.text(format_args!("{line}\n"));
    }

    /// Whether nothing more can be written.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The exit code of a command that has done its work and ends with `code`, if that could be told.
    pub(super) fn end(self, code: ExitCode) -> ExitCode {
        match self.failed {
            None => code,
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(READER_GONE),
            Some(error) => {
                complain(format_args!("standard output: {error}"));
                ExitCode::from(NOT_WRITTEN)
            }
        }
    }
}

/// Writes text as all that a command says; its exit code.
pub(super) fn print(text: impl Display) -> ExitCode {
    let mut output = Output::default();
    output.text(text);
    output.end(ExitCode::SUCCESS)
}

/// Says what is wrong, where a person or the journal reads it; to nobody if need be.
pub(super) fn complain(words: impl Display) {
    warn(format_args!("chancery: {words}"));
}

/// Writes a line to standard error; nobody can be told when that fails.
pub(super) fn warn(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
