//! The id of an exchange in logs, in requests to backends, and in error bodies.

use bytes::Bytes;

/// The id of an exchange.
#[derive(Clone, Debug)]
pub enum RequestId {
    /// 128 random bits in hexadecimal.
    Drawn([u8; 32]),
    /// The id from a trusted proxy.
    Given(Bytes),
}

impl RequestId {
    /// The hexadecimal digits of 128 bits.
    #[must_use]
    pub fn digits(bits: u128) -> [u8; 32] {
        let mut text = [0; 32];
        let words = [(bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32];
        for (digits, word) in text.as_chunks_mut().0.iter_mut().zip(words) {
            *digits = hexadecimal(word);
        }
        text
    }

    /// The id as sent to a backend.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Drawn(text) => text,
            Self::Given(text) => text,
        }
    }

    /// The id as text; empty if a proxy has sent bytes that are not ASCII.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).ok().filter(|text| text.is_ascii()).unwrap_or_default()
    }
}

/// The digits of a number, one per byte, computed for all eight at once.
fn hexadecimal(number: u32) -> [u8; 8] {
    let mut digits = u64::from(number);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in the byte of each digit that is a letter.
    let letters = ((digits + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (digits + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_proxy_gives_is_a_text_only_if_it_is_ascii() {
        assert_eq!(RequestId::Given(Bytes::from_static(b"a-1")).text(), "a-1");
        assert_eq!(RequestId::Given(Bytes::from_static(b"\xff")).text(), "");
    }

    proptest! {
        #[test]
        fn an_id_is_its_bits_in_hexadecimal(bits: u128) {
            let id = RequestId::Drawn(RequestId::digits(bits));
            prop_assert_eq!(id.text(), format!("{bits:032x}"));
        }
    }
}
