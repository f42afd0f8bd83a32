//! Numbers as they stand in field values.

/// The most digits of a number.
const DIGITS_MAX: usize = 20;

/// A number in decimal digits, without an allocation: `message::Decimal::new(5).as_ref()` is `b"5"`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    /// With the end of a line behind them.
    digits: [u8; DIGITS_MAX + 2],
    start: usize,
}

impl Decimal {
    /// The digits of this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let mut digits = [b'\r'; DIGITS_MAX + 2];
        let (mut rest, mut start) = (number, DIGITS_MAX);
        let [places @ .., _, last] = &mut digits;
        *last = b'\n';
        for place in places.iter_mut().rev() {
            *place = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            start -= 1;
            if rest == 0 {
                break;
            }
        }
        Self { digits, start }
    }

    /// Whether a value is this number as it is written here: in decimal digits, without zeros in front.
    #[must_use]
    #[inline]
    pub fn is_written(value: &[u8], number: u64) -> bool {
        // So many digits never overflow.
        if value.len() >= DIGITS_MAX {
            return value == Self::new(number).as_bytes();
        }
        let digit = |byte: &u8| byte.is_ascii_digit().then_some(u64::from(byte & 0x0f));
        let read = value.iter().try_fold(0_u64, |read, byte| Some(read * 10 + digit(byte)?));
        read == Some(number) && (value.first() != Some(&b'0') || value.len() == 1) && !value.is_empty()
    }

    /// The digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..DIGITS_MAX).unwrap_or_default()
    }

    /// The digits, and the end of a line.
    pub(crate) fn line_end(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Decimal {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_it_is_formatted() {
        for number in [0, 1, 9, 10, 99, 100, 1 << 32, u64::MAX - 1, u64::MAX] {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
            assert_eq!(Decimal::new(number).line_end(), format!("{number}\r\n").as_bytes());
            assert!(Decimal::is_written(number.to_string().as_bytes(), number));
            for other in
                [format!("0{number}"), format!("+{number}"), format!("{number} "), format!("{number}0"), String::new()]
            {
                assert!(!Decimal::is_written(other.as_bytes(), number), "{other}");
            }
        }
    }
}
