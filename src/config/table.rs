//! How a table of the file is declared: once, with all that is known of its keys.
//!
//! `table!` makes of one declaration the struct of the plan, what the file may hold, the reading of it, and the text of
//! the reference. `words!` does so for a closed set of words. The declarations are in `keys`.

use std::time::Duration;

/// A table of the file and the keys it may hold.
#[derive(Clone, Copy, Debug)]
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
///   type makes none: what reads a sibling, or a check, reads it. `check "kind": Check` is a field of another name than
///   its key.
/// - `as KIND` says what the file may hold, with bounds; it may be left out where the type says it.
/// - `= "2s"` is the default, `= required("hint")` says that the key can't be left out.
/// - `=> function` reads the value in place of the type: `fn(&document::Section, key) -> Type`. Behind the heading it is
///   a check of keys that concern each other: `fn(&Table, &document::Section)`.
/// - `now` or `next_start` says when a change takes effect, in tables that a file has once.
///
/// `impl Type "[heading]"` fills a struct of another crate. `const NAME "[heading]"` makes no struct: a check reads the
/// keys, which have no types then.
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
        $vis:vis const $name:ident $heading:literal;
        $($keys:tt)*
    ) => {
        table! { @key [const [$(#[doc = $about])*] $vis] $name [$heading [$($about)*] []] [] [] $($keys)* }
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
        $key:ident $($written:literal)?: $type:ty $(as $kind:ident $(($($bound:expr),*))?)?
            $(= required($hint:literal))? $(= $default:literal)? $(=> $read:path)? $(, $reload:ident)?;
        $($left:tt)*
    ) => {
        table! { @key $form $table $rest
            [$($fields)* { [$(#[doc = $text])*] $key [$($written)?] [$type] [$($read)?] }]
            [$($keys)* { [$($text)*] $key [$($written)?] [[$type] $($kind $(($($bound),*))?)?] [$($hint)?] [$($default)?] [$($reload)?] }]
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
            [$($keys)* { [$($text)*] $key [] [[] $kind $(($($bound),*))?] [$($hint)?] [$($default)?] [$($reload)?] }]
            $($left)*
        }
    };
    // None is left.
    (@key [const [$($about:tt)*] $vis:vis] $table:ident [$heading:literal $text:tt []] [] $keys:tt) => {
        $($about)*
        $vis const $table: &$crate::config::table::Section = table!(@section $heading $text $keys);
    };
    (
        @key $form:tt $table:ident [$heading:literal $text:tt [$($check:path)?]]
        [$({ $doc:tt $field:ident $written:tt [$type:ty] $read:tt })*] $keys:tt
    ) => {
        table! { @struct $form $table [$($doc $field [$type])*] }

        impl $crate::config::value::Table for $table {
            const SECTION: &'static $crate::config::table::Section = table!(@section $heading $text $keys);

            fn of(section: &$crate::config::document::Section<'_>) -> Self {
                let table = Self { $($field: table!(@read section (table!(@name $field $written)) [$type] $read)),* };
                $($check(&table, section);)?
                table
            }
        }
    };
    (
        @section $heading:literal [$($about:literal)*]
        [$({ [$($text:literal)*] $key:ident $name:tt $kind:tt $hint:tt $default:tt [$($reload:ident)?] })*]
    ) => {
        &$crate::config::table::Section {
            heading: $heading,
            text: concat!($($about),*),
            keys: &[$($crate::config::table::Key {
                name: table!(@name $key $name),
                kind: table!(@kind $kind),
                required: table!(@optional $hint),
                default: table!(@optional $default),
                reload: table!(@reload $($reload)?),
                text: concat!($($text),*),
            }),*],
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
        $crate::config::table::Kind::$kind $(($($bound),*))?
    };
    (@optional []) => { None };
    (@optional [$value:literal]) => { Some($value) };
    (@reload) => { None };
    (@reload now) => { Some($crate::config::table::Reload::Now) };
    (@reload next_start) => { Some($crate::config::table::Reload::NextStart) };
    (@name $field:ident []) => { stringify!($field) };
    (@name $field:ident [$key:literal]) => { $key };
    (@read $section:ident ($key:expr) [$type:ty] []) => {
        <$type as $crate::config::value::Value>::read($section, $key)
    };
    (@read $section:ident ($key:expr) [$type:ty] [$read:path]) => {{
        let value: $type = $read($section, $key);
        value
    }};
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
            const KIND: $crate::config::table::Kind = $crate::config::table::Kind::Choice(&[$first, $($word),*]);

            fn read(section: &$crate::config::document::Section<'_>, key: &str) -> Self {
                <Self as $crate::config::value::Words>::choose(section, key).unwrap_or($stand_in)
            }
        }

        impl $crate::config::value::Words for $name {
            fn choose(section: &$crate::config::document::Section<'_>, key: &str) -> Option<Self> {
                section.choice(key, &[($first, $stand_in), $(($word, $value)),*])
            }
        }
    };
}

pub(super) use {table, words};
