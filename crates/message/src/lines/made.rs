//! Lines that are appended without a check: because they were checked when they were made, or because no byte of them
//! comes from a message.

use super::{CRLF, Line, Lines, SEPARATOR, TooLarge};
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

/// A field line that ends in a number: of its bytes none comes from a message, so none is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberLine {
    known: Known,
    /// From the name up to the number.
    text: &'static str,
    name_bytes: usize,
}

impl NumberLine {
    /// The line that begins so, up to where the number stands: `Age: `. The tag is that of the name.
    #[must_use]
    pub const fn new(known: Known, text: &'static str) -> Self {
        let (mut rest, mut name_bytes) = (text.as_bytes(), 0);
        while let [first, others @ ..] = rest
            && *first != b':'
        {
            (rest, name_bytes) = (others, name_bytes + 1);
        }
        Self { known, text, name_bytes }
    }

    /// Writes the line with this number, and its end, behind a head that is written already.
    #[inline]
    pub fn write(self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(Decimal::new(number).line_end());
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
            known => self.drop_other(head, known, line.line.name.of(&line.text)),
        }
        self.append_line(line)
    }

    /// Appends this line with this number.
    ///
    /// # Errors
    /// As [`Lines::append_line`].
    pub(crate) fn append_number(&mut self, line: NumberLine, number: u64) -> Result<(), EditError> {
        let digits = Decimal::new(number);
        self.make_room();
        let start = self.appended.len();
        let name_end = start + line.name_bytes;
        let end = start + line.text.len() + digits.line_end().len();
        let spans = Span::new(start, name_end).zip(Span::new(name_end + SEPARATOR.len(), end - CRLF.len()));
        let (name, value) = spans.ok_or(EditError::TooLarge)?;
        let index = Line::new(name, value, end, line.known).map_err(|TooLarge| EditError::TooLarge)?;
        self.appended.extend_from_slice(line.text.as_bytes());
        self.appended.extend_from_slice(digits.line_end());
        self.note(line.known);
        self.lines.push(index);
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
        const AGE: NumberLine = NumberLine::new(Known::Age, "Age: ");
        const STATUS: NumberLine = NumberLine::new(Known::CacheStatus, "Cache-Status: a; ttl=");
        for number in [0, 9, 10, u64::MAX] {
            let mut made = Fields::from_iter([("x-a", "1")]);
            let mut checked = made.clone();
            made.append_number(AGE, number);
            made.append_number(STATUS, number);
            checked.append(Known::Age, number.to_string());
            checked.append(Known::CacheStatus, format!("a; ttl={number}"));
            assert_eq!((written(&made), made.tags()), (written(&checked), checked.tags()));
            assert_eq!(made.first(Known::Age), checked.first(Known::Age));
            assert_eq!(made.first("cache-status"), checked.first("cache-status"));
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
            fields.append_number(NumberLine::new(Known::Age, "Age: "), 7);
            assert_eq!(written(&fields), "x-c: 3\r\nx-b: 2\r\nAge: 7\r\n");
        }
    }
}
