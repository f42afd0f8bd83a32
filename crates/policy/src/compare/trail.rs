//! Where in a JSON document the comparison is.

use super::redact;

/// Pointers longer than so many bytes end in `…`.
pub const PATH_BYTES_MAX: usize = 512;

/// The longest name in a pointer, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The way from the document's root.
#[derive(Debug, Default)]
pub(super) struct Trail<'d> {
    steps: Vec<Step<'d>>,
}

/// From a value to one within it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'d> {
    Member(&'d str),
    Element(usize),
}

impl Step<'_> {
    /// Whether this token of a pointer means it; `None`: `*`.
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

    /// Whether a name on the way smells of a secret.
    pub(super) fn is_secret(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Member(name) => redact::smells(name),
            Step::Element(_) => false,
        })
    }

    /// The JSON pointer (RFC 6901 §3).
    pub(super) fn path(&self) -> String {
        self.pointer(|index| index.to_string())
    }

    /// The pointer with `*` for elements.
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
