//! The output of the command line. Replaces `print!`, because `print!` panics when the reader leaves (`| head -1`)
//! or the disk is full.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

/// The exit code when standard output cannot be written.
const NOT_WRITTEN: u8 = 5;
/// The exit code when the reader of standard output has left: as if SIGPIPE had ended the program.
const READER_GONE: u8 = 128 + 13;

/// Standard output. After the first error, further output is dropped.
#[derive(Default)]
pub(super) struct Output {
    failed: Option<io::Error>,
}

impl Output {
    /// Writes text without a newline.
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

    /// Whether a write has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The exit code of a finished command: `code`, or the one for the error of the output.
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

/// Writes the whole output of a command. Returns its exit code.
pub(super) fn print(text: impl Display) -> ExitCode {
    let mut output = Output::default();
    output.text(text);
    output.end(ExitCode::SUCCESS)
}

/// Reports an error on standard error.
pub(super) fn complain(words: impl Display) {
    warn(format_args!("chancery: {words}"));
}

/// Writes a line to standard error. A failure is ignored, because there is no place to report it.
pub(super) fn warn(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
