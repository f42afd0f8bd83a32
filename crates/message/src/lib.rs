//! HTTP messages as data, pure: no IO, no clock, no policy.
//!
//! A head's [`Lines`] are ranges into the bytes that were received, plus edits. The bytes themselves stay in the buffer
//! of the connection. How heads look on the wire is the business of the `http1` crate.

mod decimal;
mod edit;
mod fields;
mod known;
mod lines;
mod method;
mod name;
mod span;
mod status;
mod token;

pub use decimal::Decimal;
pub use edit::{Edit, EditError};
pub use fields::Fields;
pub use known::{Known, KnownSet};
pub use lines::{Field, FieldLine, Line, LineBlock, Lines, NumberLine, TooLarge, View};
pub use method::Method;
pub use name::Name;
pub use span::Span;
pub use status::Status;
pub use token::{is_token, is_token_byte};
