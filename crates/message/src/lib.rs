//! HTTP messages as data, pure: no IO, no clock, no policy.
//!
//! A head's [`Fields`] are ranges into the bytes that were received, plus edits. The bytes themselves stay in the buffer
//! of the connection. How heads look on the wire is the business of the `http1` crate.

mod edit;
mod fields;
mod known;
mod method;
mod span;
mod status;
mod token;

pub use edit::{Edit, EditError};
pub use fields::{Field, Fields, Line, TooLarge, View};
pub use known::{Known, KnownSet};
pub use method::Method;
pub use span::Span;
pub use status::Status;
pub use token::{is_token, is_token_byte};
