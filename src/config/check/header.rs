//! Checks the header fields that a route sets and removes.

use std::collections::HashSet;
use std::ops::Range;

use http::{HeaderName, HeaderValue};

use crate::config::document::Section;
use crate::config::grammar::{field_name, is_reserved};
use crate::config::plan::Edits;

/// Reads the edits of a pair of keys.
pub(super) fn edits(section: &Section<'_>, set_key: &str, remove_key: &str) -> Edits {
    let mut seen = HashSet::new();
    let mut edits = Edits::default();
    for (written, text) in section.pairs(set_key) {
        let Some(field) = editable(section, written.get_ref(), written.span()) else { continue };
        if !seen.insert(field.clone()) {
            let cause = format!("{field} is set twice");
            section.report.add(written.span(), cause, "names of fields are the same in upper and lower case");
        }
        match HeaderValue::from_str(&text.value) {
            Ok(value) => edits.set.push((field, value)),
            Err(_) => {
                let cause = format!("{field} can't have this value");
                section.report.add(text.span, cause, "field values hold no control characters");
            }
        }
    }
    let removed = section.texts(remove_key);
    edits.remove = removed.iter().filter_map(|text| editable(section, &text.value, text.span.clone())).collect();
    edits
}

fn editable(section: &Section<'_>, name: &str, span: Range<usize>) -> Option<HeaderName> {
    let field = field_name(section, name, span.clone())?;
    if is_reserved(&field) {
        let hint = "it frames the message or belongs to one connection; forebay writes it";
        section.report.add(span, format!("{field} can't be set or removed"), hint);
    }
    Some(field)
}
