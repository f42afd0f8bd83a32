//! The request and response fields that the access log's format names, captured until the line is written.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use message::Fields;

use crate::config::plan::LogFormat;

/// The captured fields of an exchange.
#[derive(Debug)]
pub struct Captured {
    pub(super) format: Arc<LogFormat>,
    pub(super) request: Vec<Option<Bytes>>,
    pub(super) response: Vec<Option<Bytes>>,
}

impl Captured {
    /// What a format needs of a request; `None`: no field of either message.
    pub(super) fn new(format: &Arc<LogFormat>, headers: &Fields) -> Option<Box<Self>> {
        let request = || fields(&format.request_fields, headers);
        Self::is_needed(format)
            .then(|| Box::new(Self { format: Arc::clone(format), request: request(), response: Vec::new() }))
    }

    /// Whether a format names fields of a message.
    pub(super) fn is_needed(format: &LogFormat) -> bool {
        !format.request_fields.is_empty() || !format.response_fields.is_empty()
    }

    /// Captures the fields of the response.
    pub fn answered(&mut self, headers: &Fields) {
        self.response = fields(&self.format.response_fields, headers);
    }
}

fn fields(names: &[HeaderName], headers: &Fields) -> Vec<Option<Bytes>> {
    names.iter().map(|name| headers.first_shared(name)).collect()
}
