//! The macros that declare the tables of the file.
//!
//! One declaration by `table!` generates the struct of the Plan, the accepted keys and values, the parser, and the text
//! of the reference. `words!` does the same for a closed set of words. The declarations are in `keys`.

/// Declares a table of the file. The doc comments of the table and of its keys are also their texts in the reference.
///
/// ```text
/// table! {
///     /// Time-outs towards backends.
///     pub struct Timeouts "[upstream.timeouts]" => check_order;
///
///     /// Opening a connection.
///     connect: Duration as Duration(MILLISECOND, HOUR) = "2s", now;
/// }
/// ```
///
/// - `connect: Duration` becomes a field of the struct, which the type's [`Value`](super::value::Value) reads. A key
///   without a type has no field: the function of another key, or a check, reads it. In `check "kind": Check` the field
///   has another name than the key.
/// - `as KIND` is the kind of the value with its range. It can be omitted if the type has one.
/// - `= "2s"` is the default. `= required("hint")` makes the key required.
/// - `=> function` reads the value instead of the type: `fn(&document::Section, key) -> Type`. After the heading it is
///   a check of keys that concern each other: `fn(&Table, &document::Section)`.
/// - `now` or `next_start` is when a change takes effect, in tables that a file has once.
///
/// `impl Type "[heading]"` fills a struct of another crate. `const NAME "[heading]"` has no struct: its keys have no
/// types, and a check reads them.
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
    // Consumes the next key, which has a field.
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
    // Consumes the next key, which has no field.
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
    // All keys are consumed: generates the items.
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

/// Declares a closed set of words: each variant with its word in the file.
///
/// `pub enum` defines the enum. `impl Type { "word" => value }` declares the words of an existing type. If the file has
/// another word, which is reported, the first variant is the placeholder.
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
