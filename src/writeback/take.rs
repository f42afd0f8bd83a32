//! The way of a write into the journal: its content is taken in, then it is put down, then it is acknowledged.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, ETAG};
use http::{HeaderName, HeaderValue, StatusCode};
use policy::write::record::Write;

use super::desk::Desk;
use super::journal::Failed;
use super::read;
use crate::config::plan::Durability;
use crate::exchange::Answer;
use crate::exchange::body::Body;

/// `forebay-write`.
pub static FOREBAY_WRITE: HeaderName = HeaderName::from_static("forebay-write");

/// What became of a write.
#[derive(Debug)]
pub enum Taken {
    /// It is in the journal; this is its receipt.
    Queued(Answer),
    /// It is not.
    Failed(Failed),
}

/// Puts a write into the journal, and acknowledges it.
pub async fn take(desk: &Arc<Desk>, write: Write, durability: Durability) -> Taken {
    let tag = read::tag(&write);
    let is_put = write.method == http::Method::PUT;
    match desk.take(write, durability).await {
        Ok(seq) => {
            let mut answer = Answer::new(Body::default());
            *answer.status_mut() = StatusCode::ACCEPTED;
            let headers = answer.headers_mut();
            let receipt = format!("queued; seq={seq}; durability={}", word(durability));
            headers.extend(HeaderValue::try_from(receipt).ok().map(|receipt| (FOREBAY_WRITE.clone(), receipt)));
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            headers.extend(tag.filter(|_| is_put).map(|tag| (ETAG, tag)));
            Taken::Queued(answer)
        }
        Err(failed) => Taken::Failed(failed),
    }
}

fn word(durability: Durability) -> &'static str {
    match durability {
        Durability::Fsync => "fsync",
        Durability::Batch => "batch-5ms",
        Durability::Os => "os",
    }
}
