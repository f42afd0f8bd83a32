//! Every key of the file, once: where it stands, what it may hold, what it is when left out, and what it means.
//!
//! `document` reads by this table, so an unknown key, a wrong type or a value out of range is found here and nowhere
//! else, and a default is written in one place. `reference` prints it as `docs/config.md`. Rules that join several
//! keys are in `check`.

use std::time::Duration;

use super::value::Table as _;

mod admin;
mod cache;
mod listener;
mod log;
mod rollout;
mod route;
pub(super) mod server;
mod upstream;

use admin::{ADMIN, INVALIDATE};
use cache::CACHE;
use listener::LISTENER;
use log::LOG;
use route::ROUTE;
use server::Server;
pub(super) use upstream::UPSTREAM;

/// A table of the file and the keys it may hold.
#[derive(Debug)]
pub struct Section {
    /// How the table is opened: `[server]`; empty for the top of the file.
    pub heading: &'static str,
    /// What the table is for.
    pub text: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// The hint for a file that leaves it out. `None`: it may be left out.
    pub required: Option<&'static str>,
    /// Its value when left out, bare: a list is words with blanks between them. `None`: left out is left out.
    pub default: Option<&'static str>,
    /// When a change takes effect. `None`: of a table, its keys say it; of a key in a table that a file may have several
    /// of, at once, since each request is answered under one plan.
    pub reload: Option<Reload>,
    /// What it means.
    pub text: &'static str,
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// With the reload, for requests and connections that begin after it.
    Now,
    /// With the next start of the process.
    NextStart,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds.
    Count(u64, u64),
    /// A time with its unit within these bounds; the bare number 0 is taken when it is within.
    Duration(Duration, Duration),
    /// Bytes with their unit within these bounds; the bare number 0 is taken when it is within.
    Size(u64, u64),
    /// A number, whole or with decimals, within these bounds.
    Decimal(f64, f64),
    /// A share of all requests: percent within these bounds, with up to three decimals.
    Percent(f64, f64),
    /// A list of strings.
    Texts,
    /// A list of strings, or one string alone.
    TextOrTexts,
    /// A list of whole numbers within these bounds.
    Counts(u64, u64),
    /// A list of percentages within these bounds, each with up to three decimals.
    Percents(f64, f64),
    /// A table of names that the file makes up, each with a string.
    Pairs,
    /// A table of status codes, each with a duration within these bounds.
    DurationByStatus(Duration, Duration),
    /// A table.
    Table(&'static Section),
    /// A list of tables.
    Tables(&'static Section),
    /// A list of tables, each of which may be a string that stands for its first key.
    TablesOrTexts(&'static Section),
}

impl Kind {
    /// What it is called in a sentence: "a duration".
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Choice(_) => "a word",
            Self::Flag => "true or false",
            Self::Count(..) => "a whole number",
            Self::Duration(..) => "a duration",
            Self::Size(..) => "a size",
            Self::Decimal(..) => "a number",
            Self::Percent(..) => "a percentage",
            Self::Texts => "a list of strings",
            Self::TextOrTexts => "a string or a list of strings",
            Self::Counts(..) => "a list of whole numbers",
            Self::Percents(..) => "a list of percentages",
            Self::Pairs => "a table of strings",
            Self::DurationByStatus(..) => "a table of durations",
            Self::Table(_) => "a table",
            Self::Tables(_) => "a list of tables",
            Self::TablesOrTexts(_) => "a list of strings or tables",
        }
    }

    /// The section that a value of this kind is read by.
    #[must_use]
    pub fn inner(self) -> Option<&'static Section> {
        match self {
            Self::Table(inner) | Self::Tables(inner) | Self::TablesOrTexts(inner) => Some(inner),
            Self::Text
            | Self::Choice(_)
            | Self::Flag
            | Self::Count(..)
            | Self::Duration(..)
            | Self::Size(..)
            | Self::Decimal(..)
            | Self::Percent(..)
            | Self::Texts
            | Self::TextOrTexts
            | Self::Counts(..)
            | Self::Percents(..)
            | Self::Pairs
            | Self::DurationByStatus(..) => None,
        }
    }
}

impl Section {
    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Declares a section: its doc comment and those of its keys are their documentation. In a table that a file has `once`,
/// behind each key stands when a change of it takes effect: `now` or `next_start`; `within` for a table whose keys say it.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        once $section:ident $heading:literal
        $($(#[doc = $text:literal])* $key:ident: $kind:expr $(=> $default:literal)?, $reload:ident;)*
    ) => {
        section! { @declare [$($about),*] $section $heading
            $([$($text),*] $key: $kind => [$($default)?] [$reload];)*
        }
    };
    (
        $(#[doc = $about:literal])*
        $section:ident $heading:literal
        $($(#[doc = $text:literal])* $key:ident: $kind:expr $(=> $default:literal)?;)*
    ) => {
        section! { @declare [$($about),*] $section $heading
            $([$($text),*] $key: $kind => [$($default)?] [within];)*
        }
    };
    (
        @declare [$($about:literal),*] $section:ident $heading:literal
        $([$($text:literal),*] $key:ident: $kind:expr => [$($default:literal)?] [$reload:ident];)*
    ) => {
        $(#[doc = $about])*
        pub(in crate::config) static $section: $crate::config::keys::Section = $crate::config::keys::Section {
            heading: $heading,
            text: concat!($($about),*),
            keys: &[$($crate::config::keys::Key {
                name: stringify!($key),
                kind: $kind,
                required: None,
                default: section!(@default $($default)?),
                reload: section!(@reload $reload),
                text: concat!($($text),*),
            }),*],
        };
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
    (@reload now) => { Some($crate::config::keys::Reload::Now) };
    (@reload next_start) => { Some($crate::config::keys::Reload::NextStart) };
    (@reload within) => { None };
}
use section;

/// Declares a table of the file once: its doc comment and those of its keys are their documentation, in the reference as
/// in the code.
///
/// ```text
/// table! {
///     /// Time-outs towards backends.
///     pub struct Timeouts "[upstream.timeouts]" => in_order;
///
///     /// Opening a connection.
///     connect: Duration as Duration(MILLISECOND, HOUR) = "2s", now;
/// }
/// ```
///
/// - `connect: Duration` makes a field of the struct, read by the type's [`Value`](super::value::Value). A key without a
///   type makes none: what reads a sibling, or a check, reads it.
/// - `as KIND` says what the file may hold, with bounds; it may be left out where the type says it.
/// - `= "2s"` is the default, `= required("hint")` says that the key can't be left out.
/// - `=> function` reads the value in place of the type: `fn(&document::Section, key) -> Type`. Behind the heading it is
///   a check of keys that concern each other: `fn(&Table, &document::Section)`.
/// - `now` or `next_start` says when a change takes effect, in tables that a file has once.
///
/// `impl Type "[heading]"` fills a struct of another crate, whose fields have the names of the keys.
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $name:ident $heading:literal $(=> $check:path)?;
        $($keys:tt)*
    ) => {
        table! { @key [[$(#[doc = $about])*] $vis] $name [$heading [$($about)*] [$($check)?]] [] [] $($keys)* }
    };
    (
        $(#[doc = $about:literal])*
        impl $name:ident $heading:literal $(=> $check:path)?;
        $($keys:tt)*
    ) => {
        table! { @key [impl] $name [$heading [$($about)*] [$($check)?]] [] [] $($keys)* }
    };
    // The first of the keys that are left: one with a field.
    (
        @key $form:tt $table:ident $rest:tt [$($fields:tt)*] [$($keys:tt)*]
        $(#[doc = $text:literal])*
        $key:ident: $type:ty $(as $kind:ident $(($($bound:expr),*))?)?
            $(= required($hint:literal))? $(= $default:literal)? $(=> $read:path)? $(, $reload:ident)?;
        $($left:tt)*
    ) => {
        table! { @key $form $table $rest
            [$($fields)* { [$(#[doc = $text])*] $key [$type] [$($read)?] }]
            [$($keys)* { [$($text)*] $key [[$type] $($kind $(($($bound),*))?)?] [$($hint)?] [$($default)?] [$($reload)?] }]
            $($left)*
        }
    };
    // One without.
    (
        @key $form:tt $table:ident $rest:tt $fields:tt [$($keys:tt)*]
        $(#[doc = $text:literal])*
        $key:ident as $kind:ident $(($($bound:expr),*))?
            $(= required($hint:literal))? $(= $default:literal)? $(, $reload:ident)?;
        $($left:tt)*
    ) => {
        table! { @key $form $table $rest $fields
            [$($keys)* { [$($text)*] $key [[] $kind $(($($bound),*))?] [$($hint)?] [$($default)?] [$($reload)?] }]
            $($left)*
        }
    };
    // None is left.
    (
        @key $form:tt $table:ident [$heading:literal [$($about:literal)*] [$($check:path)?]]
        [$({ $doc:tt $field:ident [$type:ty] $read:tt })*]
        [$({ [$($text:literal)*] $key:ident $kind:tt $hint:tt $default:tt [$($reload:ident)?] })*]
    ) => {
        table! { @struct $form $table [$($doc $field [$type])*] }

        impl $crate::config::value::Table for $table {
            const SECTION: &'static $crate::config::keys::Section = &$crate::config::keys::Section {
                heading: $heading,
                text: concat!($($about),*),
                keys: &[$($crate::config::keys::Key {
                    name: stringify!($key),
                    kind: table!(@kind $kind),
                    required: table!(@optional $hint),
                    default: table!(@optional $default),
                    reload: table!(@reload $($reload)?),
                    text: concat!($($text),*),
                }),*],
            };

            fn read(section: &$crate::config::document::Section<'_>) -> Self {
                let table = Self { $($field: table!(@read section $field [$type] $read)),* };
                $($check(&table, section);)?
                table
            }
        }
    };
    (@struct [impl] $table:ident $fields:tt) => {};
    (@struct [[$($about:tt)*] $vis:vis] $table:ident [$([$($doc:tt)*] $field:ident [$type:ty])*]) => {
        $($about)*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $table {
            $($($doc)* $vis $field: $type,)*
        }
    };
    (@kind [[$type:ty]]) => { <$type as $crate::config::value::Value>::KIND };
    (@kind [[$($type:ty)?] $kind:ident $(($($bound:expr),*))?]) => {
        $crate::config::keys::Kind::$kind $(($($bound),*))?
    };
    (@optional []) => { None };
    (@optional [$value:literal]) => { Some($value) };
    (@reload) => { None };
    (@reload now) => { Some($crate::config::keys::Reload::Now) };
    (@reload next_start) => { Some($crate::config::keys::Reload::NextStart) };
    (@read $section:ident $key:ident [$type:ty] []) => {
        <$type as $crate::config::value::Value>::read($section, stringify!($key))
    };
    (@read $section:ident $key:ident [$type:ty] [$read:path]) => { $read($section, stringify!($key)) };
}

/// Declares a closed set of words once: each variant with the word that the file has for it.
///
/// `pub enum` makes the enum; `impl Type { "word" => value }` gives words to the values of a type that is there. When the
/// file has none of the words, the first stands in until the problem is shown.
macro_rules! words {
    (
        $(#[doc = $about:literal])*
        $vis:vis enum $name:ident {
            $($(#[doc = $text:literal])* $variant:ident = $word:literal,)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($(#[doc = $text])* $variant,)*
        }
        words! { impl $name { $($word => Self::$variant,)* } }
    };
    (impl $name:ident { $first:literal => $stand_in:expr, $($word:literal => $value:expr,)* }) => {
        impl $crate::config::value::Value for $name {
            const KIND: $crate::config::keys::Kind = $crate::config::keys::Kind::Choice(&[$first, $($word),*]);

            fn read(section: &$crate::config::document::Section<'_>, key: &str) -> Self {
                let words = [($first, $stand_in), $(($word, $value)),*];
                section.choice(key, &words).unwrap_or($stand_in)
            }
        }
    };
}

use {table, words};

/// One millisecond.
const MILLISECOND: Duration = Duration::from_millis(1);
/// One second.
const SECOND: Duration = Duration::from_secs(1);
/// One hour.
const HOUR: Duration = Duration::from_secs(3_600);
/// One day.
const DAY: Duration = Duration::from_secs(86_400);
/// A year of 365 days: the longest time that anything is kept for.
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// 1,024 bytes.
const KIB: u64 = 1 << 10;
/// 1,024 KiB.
const MIB: u64 = 1 << 20;
/// 1,024 GiB.
const TIB: u64 = 1 << 40;

section! {
    /// The top of the file.
    once TOP ""

    /// The addresses, `ip:port`, where plain HTTP/1.1 is accepted; at least one, here or in `[[listener]]`. IPv6 is written
    /// `[::1]:8080`.
    listen: Kind::Texts, now;
    /// Addresses with what is particular to them.
    listener: Kind::Tables(&LISTENER), within;
    /// Limits and time-outs towards clients.
    server: Kind::Table(Server::SECTION), within;
    /// What is logged, how, and where to.
    log: Kind::Table(&LOG), within;
    /// What all caching routes share.
    cache: Kind::Table(&CACHE), within;
    /// A listener apart from the clients', for people and programs.
    admin: Kind::Table(&ADMIN), next_start;
    /// The named groups of backends.
    upstream: Kind::Tables(&UPSTREAM), within;
    /// What is done with which requests. The most specific route wins: an exact host before the longest `*.host` before
    /// none; there an exact path, then patterns in the order of the file, then the longest prefix; there the most
    /// conditions. A route whose conditions are not met does not hide less specific ones.
    route: Kind::Tables(&ROUTE), within;
    /// What events make the cache forget.
    invalidate: Kind::Tables(&INVALIDATE), within;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units;

    /// Every section that can be reached from the top.
    fn sections(section: &'static Section) -> Vec<&'static Section> {
        let inner = section.keys.iter().filter_map(|key| key.kind.inner()).flat_map(sections);
        std::iter::once(section).chain(inner).collect()
    }

    #[test]
    fn every_default_is_of_its_kind_and_within_its_bounds() {
        for (section, key) in
            sections(&TOP).iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)))
        {
            let Some(default) = key.default else { continue };
            let fine = match key.kind {
                Kind::Text | Kind::Texts | Kind::TextOrTexts => true,
                Kind::Choice(words) => words.contains(&default),
                Kind::Flag => default.parse::<bool>().is_ok(),
                Kind::Count(least, most) => default.parse().is_ok_and(|count| (least..=most).contains(&count)),
                Kind::Duration(least, most) => {
                    units::duration(default).is_ok_and(|time| (least..=most).contains(&time))
                }
                Kind::Size(least, most) => units::size(default).is_ok_and(|size| (least..=most).contains(&size)),
                Kind::Counts(least, most) => default
                    .split_whitespace()
                    .all(|word| word.parse().is_ok_and(|count| (least..=most).contains(&count))),
                Kind::Decimal(least, most) | Kind::Percent(least, most) | Kind::Percents(least, most) => default
                    .split_whitespace()
                    .all(|word| word.parse().is_ok_and(|number: f64| (least..=most).contains(&number))),
                Kind::Pairs
                | Kind::DurationByStatus(..)
                | Kind::Table(_)
                | Kind::Tables(_)
                | Kind::TablesOrTexts(_) => false,
            };
            assert!(fine, "{} {} = {default}", section.heading, key.name);
        }
    }

    #[test]
    fn every_key_says_what_it_means() {
        for section in sections(&TOP) {
            assert!(section.text.ends_with('.'), "{}", section.heading);
            section.keys.iter().for_each(|key| assert!(key.text.ends_with('.'), "{} {}", section.heading, key.name));
        }
    }
}
