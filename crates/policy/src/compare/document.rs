//! A parsed JSON document (RFC 8259) for comparison: members sorted by name, with a bound on its size.
//!
//! The parser limits the depth to 128. Strings are borrowed where possible.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// The most values and names of a document: two of them take some 50 MB and one million steps.
pub(super) const NODES_MAX: u32 = 500_000;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Boolean(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    /// Sorted by name; of duplicate names the last counts.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// A number, equal if numerically equal. Anything but a 64-bit integer has the precision of a double.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    Double(f64),
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Double(one), Self::Double(other)) => one == other,
            (Self::Integer(integer), Self::Double(double)) | (Self::Double(double), Self::Integer(integer)) => {
                // The integer has 64 bits, so a cast that saturated is never equal to it.
                double.fract() == 0.0 && double as i128 == integer
            }
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(to, "{value}"),
            Self::Double(value) => write!(to, "{value:?}"),
        }
    }
}

/// Why a document cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unparsed {
    /// The bytes are not JSON, or nested too deeply.
    NotJson,
    /// It has more than [`NODES_MAX`] values and names.
    TooLong,
}

impl<'a> Node<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Unparsed> {
        let left = Cell::new(Some(NODES_MAX));
        let mut parser = serde_json::Deserializer::from_slice(bytes);
        let parsed = Seed { left: &left }.deserialize(&mut parser).and_then(|node| parser.end().map(|()| node));
        parsed.map_err(|_| if left.get().is_none() { Unparsed::TooLong } else { Unparsed::NotJson })
    }

    pub(super) fn is_of_type(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Deserializes one value and counts it. `left` becomes `None` when there are too many.
#[derive(Clone, Copy)]
struct Seed<'c> {
    left: &'c Cell<Option<u32>>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Node<'de>, D::Error> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(1)));
        match self.left.get() {
            Some(_) => parser.deserialize_any(self),
            None => Err(D::Error::custom("too many values")),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(Number::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(Number::Integer(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Number(Number::Double(value)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node<'de>, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            all.push(element);
        }
        all.shrink_to_fit();
        Ok(Node::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node<'de>, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = members.next_key_seed(self)? {
            let Node::Text(name) = name else { return Err(A::Error::custom("a name is a text")) };
            all.push((name, members.next_value_seed(self)?));
        }
        // Of duplicate names the last counts, as with most parsers: the reversed list has it first, and only that one
        // is kept.
        all.reverse();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|(later, _), (kept, _)| later == kept);
        all.shrink_to_fit();
        Ok(Node::Object(all))
    }
}
