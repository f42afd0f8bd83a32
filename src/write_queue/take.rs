//! The way of a write into the journal: it is put down, then it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use message::Known;

use super::orders::Failed;
use super::queue::WriteQueue;
use super::queued::Queued;
use super::reservation::Reservation;
use super::submission::Submitted;
use super::submit::Waiting;
use crate::config::plan::Durability;
use crate::exchange::Answer;
use crate::exchange::body::Body;
use crate::exchange::deadline::{Deadline, Expired};
use crate::telemetry::clock;

/// `forebay-write`.
pub(crate) static FOREBAY_WRITE: HeaderName = HeaderName::from_static("forebay-write");

/// How a write is put down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How safe it is when it is acknowledged.
    pub durability: Durability,
    /// How long its client waits for that at most.
    pub wait_max: Duration,
    /// Whether its client is told the tag of what it has written.
    pub is_tagged: bool,
}

/// Puts a write into the journal, and acknowledges it with the answer.
///
/// # Errors
/// [`Failed`]: nothing is acknowledged. [`Failed::Behind`]: it is not in the journal. Else it may be, and may be sent.
pub(crate) async fn take(
    desk: &Arc<WriteQueue>,
    deadline: &Deadline,
    (queued, room): (Arc<Queued>, Reservation),
    terms: Terms,
) -> Result<Answer, Failed> {
    let tag = terms.is_tagged.then(|| queued.tag());
    let mut waiting = Waiting::submit(desk, Submitted { queued, room }, terms.durability)?;
    let until = clock::mono() + terms.wait_max;
    let waited = {
        let told = std::pin::pin!(waiting.told());
        deadline.wait(until, told).await
    };
    let told = match waited {
        Ok(told) => told,
        Err(Expired) => waiting.withdraw().unwrap_or(Err(Failed::Late)),
    };
    Ok(receipt(told?, tag.as_deref(), terms.durability))
}

fn receipt(seq: u64, tag: Option<&str>, durability: Durability) -> Answer {
    let mut answer = Answer::new(Body::default());
    answer.status = StatusCode::ACCEPTED;
    let headers = &mut answer.fields;
    let receipt = format!("queued; seq={seq}; durability={}", word(durability));
    headers.append(&FOREBAY_WRITE, receipt);
    headers.set(Known::ContentLength, "0");
    if let Some(tag) = tag {
        headers.append(Known::Etag, tag);
    }
    answer
}

fn word(durability: Durability) -> &'static str {
    match durability {
        Durability::Fsync => "fsync",
        Durability::Batch => "batch-5ms",
        Durability::Os => "os",
    }
}
