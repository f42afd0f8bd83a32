//! Lines that are appended without a check: because they were checked when they were made, or because no byte of them
//! comes from a message.

use super::{CRLF, Line, Lines, SEPARATOR, holds_control};
use crate::decimal::Decimal;
use crate::edit::EditError;
use crate::known::Known;
use crate::name::Name;
use crate::span::Span;

/// A field line in wire form. It is checked once, when it is made, and then appended to any number of heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLine {
    text: Box<[u8]>,
    /// Its place when the text lies at the beginning of a head.
    line: Line,
}

impl FieldLine {
    /// The line of this field.
    ///
    /// # Errors
    /// As [`Lines::apply`].
    pub fn new<'n>(name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) -> Result<Self, EditError> {
        let mut lines = Lines::default();
        lines.append(name, value.as_ref())?;
        let line = lines.lines.first().copied().ok_or(EditError::Name)?;
        Ok(Self { text: lines.appended.into(), line })
    }
}

impl Lines {
    /// Appends a line that was checked when it was made.
    ///
    /// # Errors
    /// [`EditError::TooLarge`]: the appended lines would exceed 64 KiB. Then nothing has changed.
    pub(crate) fn append_line(&mut self, line: &FieldLine) -> Result<(), EditError> {
        self.make_room();
        self.append_copy(line.line, &line.text).ok_or(EditError::TooLarge)
    }

    /// Drops all lines of the same name and appends this one. `head` is the head that the fields were received in.
    ///
    /// # Errors
    /// As [`Lines::append_line`]; the other lines are dropped nevertheless.
    pub(crate) fn set_line(&mut self, head: &[u8], line: &FieldLine) -> Result<(), EditError> {
        match line.line.known {
            known if known.name().is_some() => self.drop_known(known.into()),
            _ => self.drop_named(head, line.line.name.of(&line.text)),
        }
        self.append_line(line)
    }

    /// Appends a line whose value is this text and a number behind it: constants of the program and digits, so no byte
    /// has to be checked. The text holds no control characters.
    ///
    /// # Errors
    /// [`EditError::Name`] for a tag that stands for a family of names; [`EditError::TooLarge`]: the appended lines
    /// would exceed 64 KiB. Then nothing has changed.
    #[inline]
    pub(crate) fn append_number(&mut self, known: Known, before: &'static str, number: u64) -> Result<(), EditError> {
        debug_assert!(!holds_control(before.as_bytes()), "{before:?} holds a control character");
        let name = known.name().ok_or(EditError::Name)?.as_bytes();
        let digits = Decimal::new(number);
        let digits = digits.as_bytes();
        self.make_room();
        let start = self.appended.len();
        let value_start = start + name.len() + SEPARATOR.len();
        let value_end = value_start + before.len() + digits.len();
        let line = Span::new(start, start + name.len()).zip(Span::new(value_start, value_end));
        let (name_span, value_span) = line.ok_or(EditError::TooLarge)?;
        let line = Line::new(name_span, value_span, value_end + CRLF.len(), known).map_err(|_| EditError::TooLarge)?;
        for part in [name, SEPARATOR, before.as_bytes(), digits, CRLF] {
            self.appended.extend_from_slice(part);
        }
        self.present.insert(known);
        self.lines.push(line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;

    fn written(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_that_was_made_once_is_appended_to_any_head() {
        for (name, value) in [("Via", "1.1 a"), ("x-side", " old; by=sticky "), ("X-Empty", "")] {
            let line = FieldLine::new(name, value).unwrap();
            let mut made = Fields::from_iter([("x-side", "new"), ("via", "1.0 b")]);
            let mut checked = made.clone();
            made.append_line(&line);
            checked.append(name, value);
            assert_eq!((written(&made), made.tags()), (written(&checked), checked.tags()));
            made.set_line(&line);
            checked.set(name, value);
            assert_eq!((written(&made), made.tags()), (written(&checked), checked.tags()));
            assert_eq!(made.only(name), Some(value.trim().as_bytes()));
        }
    }

    #[test]
    fn what_makes_no_line_is_refused_when_the_line_is_made() {
        assert_eq!(FieldLine::new("x y", "a"), Err(EditError::Name));
        assert_eq!(FieldLine::new("x-y", "a\r\nb: c"), Err(EditError::Value));
        assert_eq!(FieldLine::new(Known::Forebay, "a"), Err(EditError::Name));
        assert_eq!(FieldLine::new("x-y", "a".repeat(65_536)), Err(EditError::TooLarge));
    }

    #[test]
    fn a_line_that_ends_in_a_number_is_as_if_it_had_been_checked() {
        for number in [0, 9, 10, u64::MAX] {
            let mut made = Fields::from_iter([("x-a", "1")]);
            let mut checked = made.clone();
            made.append_number(Known::Age, "", number);
            made.append_number(Known::CacheStatus, "forebay; hit; ttl=", number);
            checked.append(Known::Age, number.to_string());
            checked.append(Known::CacheStatus, format!("forebay; hit; ttl={number}"));
            assert_eq!((written(&made), made.tags()), (written(&checked), checked.tags()));
            assert_eq!(made.first(Known::Age), checked.first(Known::Age));
        }
    }

    #[test]
    fn a_line_that_finds_no_place_takes_that_of_dropped_ones() {
        let line = FieldLine::new("x-b", "2").unwrap();
        for is_set in [false, true] {
            let mut fields = Fields::from_iter([("x-a", "a".repeat(65_520)), ("x-c", "3".into())]);
            fields.drop_named("x-a");
            if is_set {
                fields.set_line(&line)
            } else {
                fields.append_line(&line)
            }
            fields.append_number(Known::Age, "", 7);
            assert_eq!(written(&fields), "x-c: 3\r\nx-b: 2\r\nAge: 7\r\n");
        }
    }
}
