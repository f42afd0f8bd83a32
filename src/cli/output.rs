//! Where commands print: answers to standard output, what went wrong to standard error.
//!
//! A closed pipe ends a command quietly, as it does in `forebay check | head -1`. Nothing here panics, as `println!`
//! does.

use std::io::{self, Write};
use std::process::ExitCode;

use super::EXIT_FAILED;

/// Prints an answer. The exit code is that of a success, also when its reader has gone; 2 when it can't be written.
#[must_use]
pub(super) fn answer(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("forebay: can't write to standard output: {error}\n"));
            ExitCode::from(EXIT_FAILED)
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Prints what went wrong. Where that can't be written either, there is no place left to say so.
pub(super) fn complain(text: &str) {
    let _unwritable = io::stderr().lock().write_all(text.as_bytes());
}
