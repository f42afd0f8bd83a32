//! The checksum CRC-32C (RFC 3720, appendix B.4).

/// How long a checksum is, in bytes.
pub(super) const BYTES: usize = 4;
/// The polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// A checksum in the making. Bit by bit: a header is short, and few have a checksum.
#[derive(Clone, Copy)]
pub(super) struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self(!0)
    }
}

impl Crc32c {
    /// The same with these bytes behind.
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        let step = |sum: u32, byte: &u8| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 })
        };
        Self(bytes.iter().fold(self.0, step))
    }

    pub(super) const fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        assert_eq!(Crc32c::default().with(b"123456789").value(), 0xE306_9283);
        assert_eq!(Crc32c::default().with(&[0; 32]).value(), 0x8A91_36AA);
        assert_eq!(Crc32c::default().with(&[0xFF; 20]).with(&[0xFF; 12]).value(), 0x62A8_AB43);
    }
}
