//! Expands `${env:NAME}` and `${file:/path}` in strings of the file.
//!
//! An error contains the name of the variable or file, never its value.

use std::fs::File;
use std::io::{self, Read};

/// The longest file that is expanded, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a string could not be expanded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The variable is not set, or is not UTF-8.
    #[error("environment variable {0} is not set")]
    NoVariable(String),
    /// The file can't be read, or is not UTF-8.
    #[error("secret file {path} can't be read: {source}")]
    NoFile {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `${` without `env:` or `file:`.
    #[error("${{…}} holds neither env: nor file:")]
    NoKind,
    /// `${` without `}`.
    #[error("${{ is not closed")]
    NotClosed,
}

/// Replaces every `${env:NAME}` and `${file:/path}` in a text; `$${` becomes `${`.
///
/// `variable` looks up an environment variable. One line break at the end of a file is removed.
///
/// # Errors
/// When a variable or file is missing, a file is longer than 64 KiB or not UTF-8, or the braces are malformed.
pub(crate) fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, SecretError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let (reference, after) = after.split_once('}').ok_or(SecretError::NotClosed)?;
        expanded.push_str(before);
        expanded.push_str(&resolve(reference, &variable)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn resolve(reference: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, SecretError> {
    match reference.split_once(':') {
        Some(("env", name)) => variable(name).ok_or_else(|| SecretError::NoVariable(name.to_owned())),
        Some(("file", path)) => read(path).map_err(|source| SecretError::NoFile { path: path.to_owned(), source }),
        Some(_) | None => Err(SecretError::NoKind),
    }
}

/// Reads a regular file. Others are refused, because reading a pipe or device could block for ever.
fn read(path: &str) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    let bytes = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) {
        return Err(io::Error::other("longer than 64KiB"));
    }
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn with_token(text: &str) -> Result<String, String> {
        let variable = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        expand(text, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_put_in_place() {
        for (text, expected) in [
            ("plain", Ok("plain")),
            ("${env:TOKEN}", Ok("s3cret")),
            ("Bearer ${env:TOKEN}!${env:TOKEN}", Ok("Bearer s3cret!s3cret")),
            ("$${env:TOKEN}", Ok("${env:TOKEN}")),
            ("a$b", Ok("a$b")),
            ("${env:OTHER}", Err("environment variable OTHER is not set")),
            ("${vault:x}", Err("${…} holds neither env: nor file:")),
            ("${}", Err("${…} holds neither env: nor file:")),
            ("${env:TOKEN", Err("${ is not closed")),
        ] {
            assert_eq!(with_token(text), expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn a_secret_that_looks_like_a_reference_is_not_expanded_again() {
        assert_eq!(expand("${env:A}", |_| Some("${env:B}".to_owned())).unwrap(), "${env:B}");
    }

    #[test]
    fn a_file_gives_its_text_without_the_last_line_break() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "two\nlines").unwrap();
        assert_eq!(with_token(&format!("<${{file:{}}}>", file.path().display())).unwrap(), "<two\nlines>");
    }

    #[test]
    fn a_missing_long_or_odd_file_is_refused() {
        let mut long = tempfile::NamedTempFile::new().unwrap();
        long.write_all(&[b'x'; 70_000]).unwrap();
        assert!(with_token("${file:/nowhere/at/all}").unwrap_err().contains("/nowhere/at/all can't be read"));
        assert!(with_token("${file:/dev/zero}").unwrap_err().ends_with("not a regular file"));
        let error = with_token(&format!("${{file:{}}}", long.path().display())).unwrap_err();
        assert!(error.ends_with("longer than 64KiB"));
    }
}
