//! A stream: one request and its response on a client's connection, apart from those before and beside it.
//!
//! HTTP/1 has one at a time, and one after another may use the same: nothing is left in it when a request has ended.

use std::rc::Rc;

use super::deadline::Deadline;
use super::interim::Interim;
use super::tunnel::Handover;

/// What a request under way hands to the loop that serves its client. The loop gives the request up by dropping its future.
#[derive(Debug, Default)]
pub struct Stream {
    /// When the present wait of the request ends.
    pub deadline: Rc<Deadline>,
    /// Where 1xx responses are handed to the client.
    pub interim: Interim,
    /// Where a tunnel is handed over.
    pub handover: Handover,
}
