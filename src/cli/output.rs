//! Prints results to standard output and errors to standard error.
//!
//! `println!` would panic when the reader has closed the pipe, as in `forebay check | head -1`. These functions do not.

use std::io::{self, Write};
use std::process::ExitCode;

use super::EXIT_FAILED;

/// Prints a result. Returns the exit code: 0, also when the reader has closed the pipe, or 2 when the write fails.
#[must_use]
pub(super) fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            print_error(&format!("forebay: can't write to standard output: {error}\n"));
            ExitCode::from(EXIT_FAILED)
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Prints an error. A failure to print it is ignored: there is no other place to report it.
pub(super) fn print_error(text: &str) {
    let _unwritable = io::stderr().lock().write_all(text.as_bytes());
}
