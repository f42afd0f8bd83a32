//! Enqueues a write: records it in the journal, then acknowledges it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use message::Known;

use super::commands::Failed;
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

/// How a write is enqueued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The durability required for the acknowledgement.
    pub durability: Durability,
    /// The longest wait for it.
    pub wait_max: Duration,
    /// Whether the response has the entity tag of the written content.
    pub is_tagged: bool,
}

/// Records a write in the journal, and acknowledges it with the returned response.
///
/// # Errors
/// [`Failed`]: the write is not acknowledged. With [`Failed::Behind`] it is not in the journal; otherwise it may be,
/// and may be sent.
pub(crate) async fn enqueue(
    write_queue: &Arc<WriteQueue>,
    deadline: &Deadline,
    queued: Arc<Queued>,
    room: Reservation,
    terms: Terms,
) -> Result<Answer, Failed> {
    let tag = terms.is_tagged.then(|| queued.tag());
    let mut waiting = Waiting::submit(write_queue, Submitted { queued, room }, terms.durability)?;
    let until = clock::mono() + terms.wait_max;
    let waited = {
        let completion = std::pin::pin!(waiting.completion());
        deadline.wait(until, completion).await
    };
    let completion = match waited {
        Ok(completion) => completion,
        Err(Expired) => waiting.withdraw().unwrap_or(Err(Failed::Late)),
    };
    Ok(receipt(completion?, tag.as_deref(), terms.durability))
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
