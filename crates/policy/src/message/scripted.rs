//! Heads for tests.

use message::Fields;

/// The fields of these names and values.
pub(crate) fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

/// The values of all fields of this name, in order.
pub(crate) fn values(fields: &Fields, name: &str) -> Vec<String> {
    fields.values(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}
