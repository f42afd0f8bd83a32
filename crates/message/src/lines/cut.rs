//! Pieces taken out of values. What is left was received so, and is not checked again.

use std::ops::Range;

use super::{CRLF, Line, Lines, SEPARATOR};
use crate::known::Known;
use crate::span::Span;

impl Lines {
    /// Takes pieces out of the values of the lines with this tag: those that `find` gives of each value, from the left to
    /// the right. A line of which nothing is left is dropped. The lines stay in order: from the first that changes on
    /// they are appended anew. `head` is the head that the fields were received in.
    ///
    /// A line for which there is no place among the appended ones is left out.
    pub(crate) fn cut(&mut self, head: &[u8], known: Known, mut find: impl FnMut(&[u8], &mut dyn FnMut(Range<usize>))) {
        if !self.has(known) {
            return;
        }
        let (mut has_changed, mut is_left) = (false, false);
        for index in 0..self.lines.len() {
            let is_it = |line: &Line| line.known == known && !line.is_dropped;
            let Some(line) = self.lines.get(index).copied().filter(is_it) else { continue };
            let own;
            let bytes = if index < self.received_count() {
                head
            } else {
                own = self.appended.clone();
                own.as_slice()
            };
            let value = line.value.of(bytes);
            let (start, mut rest) = (self.appended.len(), None);
            find(value, &mut |piece| {
                if rest.is_none() {
                    self.begin_line(line.name.of(bytes));
                }
                self.append_piece(start, line, value.get(rest.unwrap_or_default()..piece.start));
                (has_changed, rest) = (true, Some(piece.end));
            });
            if !has_changed {
                is_left = true;
                continue;
            }
            if rest.is_none() {
                self.begin_line(line.name.of(bytes));
            }
            self.append_piece(start, line, value.get(rest.unwrap_or_default()..));
            is_left |= self.end_line(start, line);
            if let Some(line) = self.lines.get_mut(index) {
                line.is_dropped = true;
                self.has_dropped = true;
            }
        }
        if !is_left {
            self.present = self.present.without(known.into());
        }
    }

    fn begin_line(&mut self, name: &[u8]) {
        self.make_room();
        self.appended.extend_from_slice(name);
        self.appended.extend_from_slice(SEPARATOR);
    }

    /// Appends a piece to the value of the line that begins at `start`; a value begins with no space.
    fn append_piece(&mut self, start: usize, line: Line, piece: Option<&[u8]>) {
        let piece = piece.unwrap_or_default();
        let is_first = self.appended.len() == value_start(start, line);
        self.appended.extend_from_slice(if is_first { piece.trim_ascii_start() } else { piece });
    }

    /// Ends the line that begins at `start`, and has the name of this one. `false`: it has no value, or no place.
    fn end_line(&mut self, start: usize, line: Line) -> bool {
        let value_start = value_start(start, line);
        let value = self.appended.get(value_start..).unwrap_or_default().trim_ascii_end().len();
        let (value_end, name_end) = (value_start + value, value_start - SEPARATOR.len());
        let spans = Span::new(start, name_end).zip(Span::new(value_start, value_end)).filter(|_| value > 0);
        let made = spans.and_then(|(name, value)| Line::new(name, value, value_end + CRLF.len(), line.known).ok());
        self.appended.truncate(if made.is_some() { value_end } else { start });
        if let Some(made) = made {
            self.appended.extend_from_slice(CRLF);
            self.lines.push(made);
        }
        made.is_some()
    }
}

/// Where the value begins of a line that begins at `start`, and has the name of this one.
fn value_start(start: usize, line: Line) -> usize {
    start + line.name.end().saturating_sub(line.name.start()) + SEPARATOR.len()
}

#[cfg(test)]
mod tests {
    use crate::fields::Fields;
    use crate::known::Known;

    /// The fields when every `x` and what is at its left up to a comma is cut out of `Via`.
    fn cut(mut fields: Fields) -> Fields {
        fields.cut(Known::Via, |value, cut| {
            let mut start = 0;
            for part in value.split_inclusive(|byte| *byte == b',') {
                if part.contains(&b'x') {
                    cut(start..start + part.len());
                }
                start += part.len();
            }
        });
        fields
    }

    #[test]
    fn pieces_are_cut_out_and_the_rest_stays_in_order() {
        for (before, after) in [
            (&["a, b"][..], &["a, b"][..]),
            (&["x, b"], &["b"]),
            (&["a,x, b , x,x"], &["a, b ,"]),
            (&["x,x"], &[]),
            (&["a", "b,x", "c"], &["a", "b,", "c"]),
            (&["a", "x", "c,x"], &["a", "c,"]),
        ] {
            let fields: Fields = before.iter().map(|value| ("via", value)).collect();
            for mut fields in [fields.clone(), fields.compact()] {
                fields.append("x-other", "x");
                let fields = cut(fields);
                let left: Vec<_> = fields.values(Known::Via).map(|value| std::str::from_utf8(value).unwrap()).collect();
                assert_eq!((left.as_slice(), fields.has(Known::Via)), (after, !after.is_empty()), "{before:?}");
                assert_eq!(fields.first("x-other"), Some(&b"x"[..]));
                let mut written = Vec::new();
                fields.write(&mut written);
                assert_eq!(written.len(), fields.written_bytes());
                assert_eq!(written.windows(5).filter(|line| line == b"via: ").count(), after.len());
            }
        }
    }

    #[test]
    fn a_long_line_finds_a_place_though_much_was_appended() {
        let mut fields = Fields::from_iter([("via", format!("{},x", "a".repeat(40_000)))]).compact();
        fields.append("x-gone", "b".repeat(40_000));
        fields.drop_named("x-gone");
        assert_eq!(cut(fields).first(Known::Via).map(<[u8]>::len), Some(40_001));
    }
}
