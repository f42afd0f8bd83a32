//! A copied request: sent to the mirror, and named in samples.

use bytes::Bytes;
use http::{Method, Uri};
use message::Fields;

/// A copied request.
#[derive(Clone, Debug)]
pub(crate) struct CopiedRequest {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub target: Uri,
    /// Its fields.
    pub headers: Fields,
    /// Its body; `None`: no body.
    pub body: Option<Vec<Bytes>>,
}
