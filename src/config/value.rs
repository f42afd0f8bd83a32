//! The traits that `table!` and `words!` implement: how the value of a key is read into a field of the Plan.

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use http::HeaderName;
use policy::message::network::Network;
use toml::Spanned;

use super::document::Section;
use super::grammar::{self, StatusRanges};
use super::problem::Report;
use super::table::{self, Kind};

/// A struct that is read from a table of the file. `table!` implements it.
pub(super) trait Table: Sized {
    /// The declaration of the table.
    const SECTION: &'static table::Section;

    /// Reads the table. A wrong value is reported and replaced by a placeholder.
    fn of(section: &Section<'_>) -> Self;
}

/// A type that is read from a key of the file.
pub(super) trait Value: Sized {
    /// The kind of the value, unless the declaration names another; for a number, with the bounds of its type.
    const KIND: Kind;

    /// Reads the key. A wrong value is reported and replaced by a placeholder.
    fn read(section: &Section<'_>, key: &str) -> Self;
}

/// A closed set of words. `words!` implements it.
pub(super) trait Words: Sized {
    /// Reads the key. `None`: it is none of the words, which is reported.
    fn choose(section: &Section<'_>, key: &str) -> Option<Self>;
}

/// A table with the default of every key.
pub(super) fn defaults<T: Table>() -> T {
    T::of(&Section::left_out(&Report::new("", ""), T::SECTION, 0..0))
}

impl<T: Table> Value for T {
    const KIND: Kind = Kind::Table(T::SECTION);

    fn read(section: &Section<'_>, key: &str) -> Self {
        T::of(&section.section(key))
    }
}

/// A list of tables.
impl<T: Table> Value for Vec<T> {
    const KIND: Kind = Kind::Tables(T::SECTION);

    fn read(section: &Section<'_>, key: &str) -> Self {
        section.sections(key).iter().map(T::of).collect()
    }
}

/// `None`: the file lacks the key, and it has no default.
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

/// Networks in CIDR form, or single addresses.
impl Value for Vec<Network> {
    const KIND: Kind = Kind::Texts;

    fn read(section: &Section<'_>, key: &str) -> Self {
        grammar::networks(section, key)
    }
}

/// Names of header fields.
impl Value for Vec<HeaderName> {
    const KIND: Kind = Kind::Texts;

    fn read(section: &Section<'_>, key: &str) -> Self {
        grammar::field_names(section, key)
    }
}

/// Texts such as `"200"` and `"200-299"`.
impl Value for StatusRanges {
    const KIND: Kind = Kind::Texts;

    fn read(section: &Section<'_>, key: &str) -> Self {
        grammar::status_ranges(section, key)
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
macro_rules! numbers_from_1 {
    ($($type:ident: $plain:ty),*) => {
        $(impl Value for $type {
            const KIND: Kind = Kind::Count(1, <$plain>::MAX as u64);

            fn read(section: &Section<'_>, key: &str) -> Self {
                Self::new(section.number(key)).unwrap_or(Self::MIN)
            }
        })*
    };
}
numbers_from_1!(NonZeroU16: u16, NonZeroUsize: usize);
