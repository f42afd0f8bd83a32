//! Parses and formats durations and sizes with units: `"250ms"`, `"64KiB"`.
//!
//! A number without a unit is an error, except `0`. The range of each key is in `keys`.

use std::time::Duration;

/// The units of durations and their lengths in milliseconds, longest first.
pub(super) const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The units of sizes and their lengths in bytes, longest first.
pub(super) const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Why a text is not a duration or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnitError {
    /// A number without a unit.
    #[error("has no unit")]
    NoUnit,
    /// A number with an unknown unit.
    #[error("has an unknown unit")]
    UnknownUnit,
    /// The text does not start with a whole number.
    #[error("does not start with a whole number")]
    NoNumber,
    /// The value does not fit into 64 bits.
    #[error("is too large")]
    TooLarge,
}

/// Parses a duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// When there is no number, no known unit, or more than 64 bits of milliseconds.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    amount(text, &DURATIONS).map(Duration::from_millis)
}

/// Parses a size in bytes: a whole number and `B`, `KiB`, `MiB` or `GiB`.
///
/// # Errors
/// When there is no number, no known unit, or more than 64 bits of bytes.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    amount(text, &SIZES)
}

/// Formats a duration in the longest unit that gives a whole number.
#[must_use]
pub(crate) fn duration_text(duration: Duration) -> String {
    amount_text(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATIONS)
}

/// Formats a size in the longest unit that gives a whole number.
#[must_use]
pub(crate) fn size_text(bytes: u64) -> String {
    amount_text(bytes, &SIZES)
}

fn amount(text: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(UnitError::NoNumber)?;
    if number.is_empty() {
        return Err(UnitError::NoNumber);
    }
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, length)) => number.checked_mul(*length).ok_or(UnitError::TooLarge),
        None if unit.is_empty() && number == 0 => Ok(0),
        None if unit.is_empty() => Err(UnitError::NoUnit),
        None => Err(UnitError::UnknownUnit),
    }
}

fn amount_text(amount: u64, units: &[(&str, u64)]) -> String {
    let whole = |(_, length): &&(&str, u64)| amount > 0 && amount.is_multiple_of(*length);
    units.iter().find(whole).map_or_else(|| "0".to_owned(), |(name, length)| format!("{}{name}", amount / length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, expected) in [
            ("250ms", Ok(Duration::from_millis(250))),
            ("5s", Ok(Duration::from_secs(5))),
            ("1m", Ok(Duration::from_secs(60))),
            ("1h", Ok(Duration::from_secs(3600))),
            ("30d", Ok(Duration::from_secs(2_592_000))),
            ("0s", Ok(Duration::ZERO)),
            ("0", Ok(Duration::ZERO)),
            ("5", Err(UnitError::NoUnit)),
            ("5 s", Err(UnitError::UnknownUnit)),
            ("5S", Err(UnitError::UnknownUnit)),
            ("1.5s", Err(UnitError::UnknownUnit)),
            ("-1s", Err(UnitError::NoNumber)),
            ("", Err(UnitError::NoNumber)),
            ("s", Err(UnitError::NoNumber)),
            ("5sé", Err(UnitError::UnknownUnit)),
            ("99999999999999999999s", Err(UnitError::TooLarge)),
            ("9999999999999999999h", Err(UnitError::TooLarge)),
        ] {
            assert_eq!(duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_a_whole_number_and_a_binary_unit() {
        for (text, expected) in [
            ("100B", Ok(100)),
            ("64KiB", Ok(65_536)),
            ("10MiB", Ok(10_485_760)),
            ("2GiB", Ok(2_147_483_648)),
            ("0", Ok(0)),
            ("64", Err(UnitError::NoUnit)),
            ("64KB", Err(UnitError::UnknownUnit)),
            ("64k", Err(UnitError::UnknownUnit)),
            ("KiB", Err(UnitError::NoNumber)),
            ("99999999999GiB", Err(UnitError::TooLarge)),
        ] {
            assert_eq!(size(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(amount in 0..=u64::MAX / 3_600_000) {
            prop_assert_eq!(size(&size_text(amount)), Ok(amount));
            let time = Duration::from_millis(amount);
            prop_assert_eq!(duration(&duration_text(time)), Ok(time));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (duration(&text), size(&text));
        }
    }
}
