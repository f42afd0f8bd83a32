//! The current position of the comparison in a JSON document.

use super::redact;

/// The longest pointer in bytes; longer ones end in `…`.
pub const PATH_BYTES_MAX: usize = 512;

/// The longest name in a pointer, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The path from the document's root.
#[derive(Debug, Default)]
pub(super) struct Trail<'d> {
    steps: Vec<Step<'d>>,
}

/// A step from a value to one of its members or elements.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'d> {
    Member(&'d str),
    Element(usize),
}

impl Step<'_> {
    /// Whether this token of a pointer matches the step; `None`: `*`.
    pub(super) fn is_meant_by(self, token: Option<&str>) -> bool {
        match (token, self) {
            (None, _) => true,
            (Some(token), Self::Member(name)) => token == name,
            (Some(token), Self::Element(index)) => token == index.to_string(),
        }
    }
}

impl<'d> Trail<'d> {
    pub(super) fn enter(&mut self, step: Step<'d>) {
        self.steps.push(step);
    }

    pub(super) fn leave(&mut self) {
        self.steps.pop();
    }

    /// Whether a name on the path looks like that of a secret.
    pub(super) fn is_secret(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Member(name) => redact::is_sensitive_name(name),
            Step::Element(_) => false,
        })
    }

    /// The position as a JSON pointer (RFC 6901 §3).
    pub(super) fn path(&self) -> String {
        self.pointer(|index| index.to_string())
    }

    /// The pointer with `*` for array indices.
    pub(super) fn place(&self) -> String {
        self.pointer(|_| "*".to_owned())
    }

    fn pointer(&self, element: impl Fn(usize) -> String) -> String {
        let mut pointer = String::new();
        for step in &self.steps {
            let token = match *step {
                Step::Member(name) => redact::legible(name, NAME_CHARS_MAX).replace('~', "~0").replace('/', "~1"),
                Step::Element(index) => element(index),
            };
            if pointer.len().saturating_add(token.len()) >= PATH_BYTES_MAX {
                pointer.push_str("/…");
                break;
            }
            pointer.push('/');
            pointer.push_str(&token);
        }
        pointer
    }
}
