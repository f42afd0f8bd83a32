//! Fast formatting for log lines: numbers, times, targets, and arbitrary bytes.
//!
//! Equivalent to `write!` at a fraction of the cost; tests compare the two.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::{Uri, Version};

/// Whether a byte needs no escape in a JSON string, by its value.
const IS_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &mut [bool] = &mut table;
    let mut byte = 0;
    while let Some((first, others)) = rest.split_first_mut() {
        *first = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        rest = others;
        byte = byte.wrapping_add(1);
    }
    table
};

const HEXADECIMAL: [u8; 16] = *b"0123456789abcdef";

/// The most digits of a number.
const DIGITS_MAX: usize = 20;

/// The bytes of a field as text, if they are ASCII.
pub(super) fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())
}

/// Escapes bytes for a JSON string on one line; bytes ≥ 0x80 are read as Latin-1.
pub(super) fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if are_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| !is_plain(*byte)) {
        let (plain, others) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, others)) = others.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hexadecimal(byte >> 4), hexadecimal(byte & 0xf)]),
        }
        rest = others;
    }
    out.extend_from_slice(rest);
}

/// Whether no byte needs an escape; checks sixteen at once.
fn are_plain(bytes: &[u8]) -> bool {
    match bytes.last_chunk() {
        // The last sixteen may overlap the others, which is cheaper than checking single bytes.
        Some(last) => bytes.as_chunks().0.iter().all(sixteen_are_plain) && sixteen_are_plain(last),
        None => bytes.iter().all(|byte| is_plain(*byte)),
    }
}

/// Without a branch, so that the compiler checks all of them with a few instructions.
fn sixteen_are_plain(bytes: &[u8; 16]) -> bool {
    let is_special =
        |byte: u8| u8::from(!(b' '..=b'~').contains(&byte)) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    bytes.iter().fold(0, |special, byte| special | is_special(*byte)) == 0
}

fn is_plain(byte: u8) -> bool {
    IS_PLAIN.get(usize::from(byte)).is_some_and(|is_plain| *is_plain)
}

/// A hexadecimal digit.
pub(super) fn hexadecimal(nibble: u8) -> u8 {
    HEXADECIMAL.get(usize::from(nibble)).copied().unwrap_or_default()
}

/// Writes a decimal number.
pub(super) fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; DIGITS_MAX];
    let mut rest = number;
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(DIGITS_MAX - length..).unwrap_or_default());
}

/// The last `DIGITS` digits of a number, padded with zeros.
pub(super) fn padded<const DIGITS: usize>(number: u32) -> [u8; DIGITS] {
    let mut rest = number;
    let mut digits = [b'0'; DIGITS];
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

fn digit(number: u64) -> u8 {
    // A remainder below ten fits.
    b'0' + (number % 10) as u8
}

/// Writes seconds with six decimals, truncated.
pub(super) fn seconds(out: &mut Vec<u8>, duration: Duration) {
    let [a, b, c, d, e, f] = padded(duration.subsec_micros());
    match duration.as_secs() {
        // Most are short: all digits at once.
        seconds @ 0..=9 => out.extend_from_slice(&[digit(seconds), b'.', a, b, c, d, e, f]),
        seconds => {
            decimal(out, seconds);
            out.extend_from_slice(&[b'.', a, b, c, d, e, f]);
        }
    }
}

/// Writes an address like its `Display`.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, others @ ..] = address.octets();
            decimal(out, first.into());
            for octet in others {
                out.push(b'.');
                decimal(out, octet.into());
            }
        }
        IpAddr::V6(address) => {
            let _infallible = write!(out, "{address}");
        }
    }
}

/// Writes a request target like its `Display`, escaped.
pub(super) fn target(out: &mut Vec<u8>, target: &Uri) {
    if let Some(scheme) = target.scheme_str() {
        escaped(out, scheme.as_bytes());
        out.extend_from_slice(b"://");
    }
    if let Some(authority) = target.authority() {
        escaped(out, authority.as_str().as_bytes());
    }
    escaped(out, target.path().as_bytes());
    if let Some(query) = target.query() {
        out.push(b'?');
        escaped(out, query.as_bytes());
    }
}

/// A version as in a request line.
pub(super) fn version(version: Version) -> &'static [u8; 8] {
    match version {
        Version::HTTP_09 => b"HTTP/0.9",
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        Version::HTTP_3 => b"HTTP/3.0",
        _ => b"HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"before ".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    /// The reference implementation of `escaped`, byte by byte.
    fn by_format(bytes: &[u8]) -> String {
        let one = |byte: &u8| match byte {
            b'"' => "\\\"".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\u{byte:04x}"),
        };
        bytes.iter().map(one).collect()
    }

    #[test]
    fn each_byte_is_escaped_as_by_format_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for length in 1..=20 {
                for at in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    assert_eq!(written(|out| escaped(out, &bytes)), by_format(&bytes), "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn each_version_is_written_as_by_format() {
        for known in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
            assert_eq!(written(|out| out.extend_from_slice(version(known))), format!("{known:?}"));
        }
    }

    #[test]
    fn each_form_of_a_target_is_written_as_by_format() {
        let forms =
            ["/", "*", "/a", "/a?", "/a?b=c?d", "?a", "a.example:443", "http://a.example", "http://a.example?b"];
        let more =
            ["https://u@a.example:8443/b/c?d=e", "http://[::1]:80/", "/a%20b/\"\\", "/a?\"b\"\\", "/\u{e9}?\u{e9}"];
        for form in forms.iter().chain(&more) {
            let Ok(uri) = form.parse::<Uri>() else { continue };
            assert_eq!(written(|out| target(out, &uri)), by_format(uri.to_string().as_bytes()), "{form}");
        }
        assert_eq!(written(|out| target(out, &Uri::default())), "/");
    }

    proptest! {
        #[test]
        fn any_bytes_are_escaped_as_by_format(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(written(|out| escaped(out, &bytes)), by_format(&bytes));
        }

        #[test]
        fn mostly_plain_bytes_are_escaped_as_by_format(text in "[ -~]{0,40}[\"\\\\\u{7f}]?[ -~]{0,40}") {
            prop_assert_eq!(written(|out| escaped(out, text.as_bytes())), by_format(text.as_bytes()));
        }

        #[test]
        fn any_number_is_written_as_by_format(number: u64, shift in 0..64u32) {
            let number = number >> shift;
            prop_assert_eq!(written(|out| decimal(out, number)), number.to_string());
        }

        #[test]
        fn any_number_is_padded_as_by_format(number in 0..1_000_000u32) {
            let six: [u8; 6] = padded(number);
            prop_assert_eq!(std::str::from_utf8(&six).unwrap(), format!("{number:06}"));
            let three: [u8; 3] = padded(number % 1000);
            prop_assert_eq!(std::str::from_utf8(&three).unwrap(), format!("{:03}", number % 1000));
        }

        #[test]
        fn any_duration_is_written_as_by_format(duration: Duration) {
            let by_format = format!("{}.{:06}", duration.as_secs(), duration.subsec_micros());
            prop_assert_eq!(written(|out| seconds(out, duration)), by_format);
        }

        #[test]
        fn any_address_is_written_as_by_format(any: IpAddr) {
            prop_assert_eq!(written(|out| address(out, any)), any.to_string());
        }

        #[test]
        fn any_target_is_written_as_by_format(
            text in "(https?://([a-z]{1,5}@)?[a-z.]{1,9}(:[0-9]{1,4})?)?(/[!-~]{0,20})?(\\?[!-~]{0,20})?"
        ) {
            if let Ok(uri) = text.parse::<Uri>() {
                prop_assert_eq!(written(|out| target(out, &uri)), by_format(uri.to_string().as_bytes()));
            }
        }
    }
}
