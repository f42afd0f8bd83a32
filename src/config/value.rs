//! How a key's value becomes the value of a field: what the `table!` of `keys` stands on.

use std::num::NonZeroUsize;
use std::time::Duration;

use toml::Spanned;

use super::document::Section;
use super::keys::{self, Kind};

/// A table of the file: its keys, and the struct that holds what they say. Made by `table!`.
pub(super) trait Table: Sized {
    /// What the table may hold.
    const SECTION: &'static keys::Section;

    /// Reads the table; what is wrong is reported, and something stands in for it.
    fn read(section: &Section<'_>) -> Self;
}

/// What a key of the file can be read as.
pub(super) trait Value: Sized {
    /// What the file may hold for it; of a number, the bounds of its type.
    const KIND: Kind;

    /// Reads the key; what is wrong is reported, and something stands in for it.
    fn read(section: &Section<'_>, key: &str) -> Self;
}

impl<T: Table> Value for T {
    const KIND: Kind = Kind::Table(T::SECTION);

    fn read(section: &Section<'_>, key: &str) -> Self {
        T::read(&section.section(key))
    }
}

/// A list of tables.
impl<T: Table> Value for Vec<T> {
    const KIND: Kind = Kind::Tables(T::SECTION);

    fn read(section: &Section<'_>, key: &str) -> Self {
        section.sections(key).iter().map(T::read).collect()
    }
}

/// `None`: the key is left out, and has no default.
impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;

    fn read(section: &Section<'_>, key: &str) -> Self {
        section.has_value(key).then(|| T::read(section, key))
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Flag;

    fn read(section: &Section<'_>, key: &str) -> Self {
        section.flag(key)
    }
}

impl Value for Duration {
    const KIND: Kind = Kind::Duration(Self::ZERO, Self::MAX);

    fn read(section: &Section<'_>, key: &str) -> Self {
        section.duration(key)
    }
}

impl Value for f64 {
    const KIND: Kind = Kind::Decimal(0.0, Self::MAX);

    fn read(section: &Section<'_>, key: &str) -> Self {
        section.decimal(key).map_or(0.0, Spanned::into_inner)
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;

    fn read(section: &Section<'_>, key: &str) -> Self {
        section.text(key).map(|text| text.value).unwrap_or_default()
    }
}

/// Whole numbers, of anything or of bytes.
macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Value for $type {
            const KIND: Kind = Kind::Count(0, <$type>::MAX as u64);

            fn read(section: &Section<'_>, key: &str) -> Self {
                section.number(key)
            }
        })*
    };
}
numbers!(u32, u64, usize);

/// Whole numbers from 1.
impl Value for NonZeroUsize {
    const KIND: Kind = Kind::Count(1, usize::MAX as u64);

    fn read(section: &Section<'_>, key: &str) -> Self {
        Self::new(section.number(key)).unwrap_or(Self::MIN)
    }
}
