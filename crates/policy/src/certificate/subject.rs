//! Formats a certificate's names as text for a header field: visible ASCII, with ambiguous characters escaped.

use std::fmt::Write as _;

use super::der::{Reader, Value};
use super::x509::Name;

const SET: u8 = 0x31;
const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;

/// Attribute types with a short name: those of RFC 4514 §3, and further ones in common use.
const TYPES: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25], "DC"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1], "emailAddress"),
];

/// A distinguished name in the form of RFC 4514, the last relative name first: `CN=alice,O=Example`. Everything but
/// visible ASCII is escaped.
#[must_use]
pub fn text(name: &[u8]) -> String {
    let mut sets = Reader::new(name);
    let mut parts: Vec<String> = std::iter::from_fn(|| sets.expect(SET)).map(relative_name).collect();
    parts.reverse();
    parts.join(",")
}

fn relative_name(set: &[u8]) -> String {
    let mut attributes = Reader::new(set);
    let texts: Vec<String> = std::iter::from_fn(|| attributes.expect(SEQUENCE)).filter_map(attribute).collect();
    texts.join("+")
}

fn attribute(content: &[u8]) -> Option<String> {
    let mut parts = Reader::new(content);
    let kind = parts.expect(OID)?;
    let value = parts.next_value()?;
    let mut text = match TYPES.iter().find(|(known, _)| *known == kind) {
        Some((_, name)) => (*name).to_owned(),
        None => dotted(kind),
    };
    text.push('=');
    write_value(&mut text, value);
    Some(text)
}

/// An object identifier in dotted form: `1.2.840.113549`.
fn dotted(identifier: &[u8]) -> String {
    let (mut text, mut number) = (String::new(), 0_u64);
    for byte in identifier {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = match text.is_empty() {
            true => {
                let first = (number / 40).min(2);
                write!(text, "{first}.{}", number - first * 40)
            }
            false => write!(text, ".{number}"),
        };
        number = 0;
    }
    text
}

fn write_value(text: &mut String, value: Value<'_>) {
    /// UTF8String, NumericString, PrintableString, TeletexString, IA5String.
    const STRINGS: [u8; 5] = [0x0C, 0x12, 0x13, 0x14, 0x16];
    if STRINGS.contains(&value.tag) {
        return escape(text, value.content);
    }
    text.push('#');
    for byte in value.content {
        let _ = write!(text, "{byte:02X}");
    }
}

/// Escapes a value as RFC 4514 §2.4 requires.
fn escape(text: &mut String, bytes: &[u8]) {
    let last = bytes.len().saturating_sub(1);
    for (index, byte) in bytes.iter().enumerate() {
        let is_edge = index == 0 || index == last;
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' ' if is_edge => text.push_str("\\ "),
            b'#' if index == 0 => text.push_str("\\#"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

/// Subject alternative names as one line: `DNS:alice.example, URI:spiffe://example/alice`.
#[must_use]
pub fn names(names: &[Name<'_>]) -> String {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let (kind, value) = match name {
            Name::Dns(name) => ("DNS:", *name),
            Name::Email(address) => ("email:", *address),
            Name::Uri(uri) => ("URI:", *uri),
            Name::Ip(address) => {
                let _ = write!(text, "IP:{address}");
                continue;
            }
        };
        text.push_str(kind);
        escape(&mut text, value.as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_in_which_no_name_passes_for_two() {
        let all =
            [Name::Dns("a.example"), Name::Uri("x, DNS:admin"), Name::Email("\r\n"), Name::Ip([1, 2, 3, 4].into())];
        assert_eq!(names(&all), "DNS:a.example, URI:x\\, DNS:admin, email:\\0D\\0A, IP:1.2.3.4");
    }

    #[test]
    fn unknown_types_and_values_are_numbers() {
        // 1.2.840.113549.1 = INTEGER 5
        let name = [0x31, 0x0E, 0x30, 0x0C, 0x06, 0x07, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x02, 0x01, 0x05];
        assert_eq!(text(&name), "1.2.840.113549.1=#05");
        assert_eq!(dotted(&[0x88, 0x37]), "2.999");
        assert_eq!(text(&[1, 2, 3]), "");
    }
}
