//! Encodes bytes as text.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Lower-case hexadecimal, two digits for each byte.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Base64 with padding (RFC 4648 §4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let index = (word >> (18 - 6 * place)) as usize & 63;
            let digit = DIGITS.get(index).copied().filter(|_| place <= chunk.len());
            text.push(digit.map_or('=', char::from));
        }
    }
    text
}

/// A DER object as PEM (RFC 7468), with its label.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    /// Bytes that make a line of 64 characters.
    const LINE_BYTES: usize = 48;
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(LINE_BYTES) {
        text.push_str(&base64(line));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_padded_to_groups_of_three() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xFB, 0xFF, 0xFE]), "+//+");
        let expected = format!("-----BEGIN X-----\n{}\nAAA=\n-----END X-----\n", "A".repeat(64));
        assert_eq!(pem("X", &[0; 50]), expected);
        assert_eq!(hexadecimal(&[0, 0x1F, 0xA0, 0xFF]), "001fa0ff");
    }
}
