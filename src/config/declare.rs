//! How a table of the file is declared: once, with all that is known of its keys.
//!
//! `table!` makes of one declaration the struct of the plan, what the file may hold, the reading of it, and the text of
//! the reference. `words!` does so for a closed set of words. The declarations are in `keys`.

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
