//! Lines that are appended to many heads as one run, the last of which says something else each time.

use super::{CRLF, Line, Lines};
use crate::edit::EditError;
use crate::fields::Fields;
use crate::known::{Known, KnownSet};

/// Field lines in wire form, of which the last one has a value of `N` bytes that differs from head to head. They are
/// checked once, when they are made, and then appended to any number of heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineBlock<const N: usize> {
    text: Box<[u8]>,
    /// Their places when the text lies at the beginning of a head.
    lines: Box<[Line]>,
    tags: KnownSet,
}

impl<const N: usize> LineBlock<N> {
    /// The lines of these fields, and one with this name behind them.
    ///
    /// # Errors
    /// As [`Lines::apply`].
    pub fn new(fields: &Fields, last: Known) -> Result<Self, EditError> {
        let mut all = Lines::default();
        for field in fields.iter() {
            all.append(field.name, field.value)?;
        }
        all.append(last, &[b'-'; N])?;
        Ok(Self { text: all.appended.into(), lines: all.lines.into(), tags: all.present })
    }
}

impl Lines {
    /// Appends the lines of a block, the last one with this value.
    ///
    /// # Errors
    /// [`EditError::Value`] if the value is not made of visible ASCII characters, [`EditError::TooLarge`] if the appended
    /// lines would exceed 64 KiB. Then nothing has changed.
    pub(crate) fn append_block<const N: usize>(
        &mut self,
        block: &LineBlock<N>,
        value: &[u8; N],
    ) -> Result<(), EditError> {
        if !value.iter().fold(true, |is_visible, byte| is_visible & byte.is_ascii_graphic()) {
            return Err(EditError::Value);
        }
        self.make_room();
        let start = self.appended.len();
        let end = start + block.text.len();
        let by = u16::try_from(end).map_err(|_| EditError::TooLarge)?.wrapping_sub(block.text.len() as u16);
        self.appended.extend_from_slice(&block.text);
        let hole = self.appended.get_mut(..end - CRLF.len()).and_then(<[u8]>::last_chunk_mut);
        if let Some(hole) = hole {
            *hole = *value;
        }
        self.lines.extend(block.lines.iter().map(|line| line.moved_by(by)));
        self.present = self.present.union(block.tags);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_block_is_appended_as_its_lines_would_be_one_by_one() {
        let block = LineBlock::new(&Fields::from_iter([("Via", "1.1 a"), ("x-b", "")]), Known::XRequestId).unwrap();
        for first in [None, Some(("x-side", "new"))] {
            let mut fields = Fields::from_iter(first);
            let mut checked = fields.clone();
            fields.append_block(&block, b"0123");
            for (name, value) in [("Via", "1.1 a"), ("x-b", ""), ("X-Request-ID", "0123")] {
                checked.append(name, value);
            }
            assert_eq!((written(&fields), fields.tags()), (written(&checked), checked.tags()));
            assert_eq!(fields.first(Known::XRequestId), Some(&b"0123"[..]));
        }
    }

    #[test]
    fn a_block_whose_value_would_break_its_line_is_left_out() {
        let block = LineBlock::new(&Fields::new(), Known::XRequestId).unwrap();
        for value in [b"01 3", b"01\r\n", b"01\0\xff"] {
            let mut fields = Fields::new();
            fields.append_block(&block, value);
            assert_eq!((fields.len(), fields.tags()), (0, KnownSet::EMPTY));
        }
    }

    #[test]
    fn a_block_finds_its_place_where_only_dropped_lines_are_in_the_way() {
        let block = LineBlock::new(&Fields::from_iter([("Via", "1.1 a")]), Known::XRequestId).unwrap();
        let mut fields = Fields::new();
        fields.append("x-long", vec![b'x'; 65_000]);
        fields.drop_named("x-long");
        fields.append("x-long", vec![b'y'; 500]);
        fields.append_block(&block, b"0123");
        assert_eq!(fields.first(Known::XRequestId), Some(&b"0123"[..]));
    }
}
