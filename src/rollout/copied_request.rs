//! A request that has been copied: what is sent to the mirror, and what a comparison names.

use bytes::Bytes;
use http::{Method, Uri};
use message::Fields;

/// A request that has been copied.
#[derive(Clone, Debug)]
pub(crate) struct CopiedRequest {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub target: Uri,
    /// Its fields.
    pub headers: Fields,
    /// Its body; `None`: it has none.
    pub body: Option<Vec<Bytes>>,
}
