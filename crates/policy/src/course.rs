//! Decides how a request on a caching route is handled.
//!
//! [`read()`] and [`write()`] use what is known before any look-up or forwarding. The stages in `proxy` handle the
//! outcome: a hit, a miss, a full write queue.

use http::Method;

use crate::message::cache_status::{CacheStatus, Forward, Handling};

/// What is known of a request with a safe method.
#[derive(Clone, Copy, Debug)]
pub struct ReadFacts<'a> {
    /// Its method.
    pub method: &'a Method,
    /// What the write queue holds for its URI.
    pub pending: Pending,
    /// Whether it has a body.
    pub has_body: bool,
    /// Whether it asks to switch protocols (`Upgrade`).
    pub switches: bool,
    /// Whether it has conditions that only the origin can evaluate (`If-Match`, `If-Unmodified-Since`).
    pub asks_the_origin: bool,
    /// Whether it has `Cache-Control: only-if-cached` (RFC 9111 §5.2.1.7).
    pub only_if_cached: bool,
}

/// What the write queue holds for the URI of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Nothing.
    Nothing,
    /// The last pending write determines the response to the read.
    Readable,
    /// Only the backend can determine the response to the read.
    Unreadable,
}

/// How a request with a safe method is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Look it up; on a miss, fetch it.
    Lookup,
    /// Answer it from the last pending write.
    AnswerPending,
    /// Forward it without a cache look-up, for this reason.
    Forward(Bypass),
    /// Refuse it with 504: it has `only-if-cached`, and its method is never looked up.
    RefuseOnlyIfCached,
}

/// Why a request bypasses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// Its method is never answered from a cache.
    Method,
    /// Only the origin knows the meaning of a body in a GET.
    Body,
    /// It asks to switch protocols.
    Upgrade,
    /// Only the origin can evaluate its conditions.
    Precondition,
    /// A write is pending whose effect only the backend knows.
    Pending,
}

/// Decides how a request with a safe method is handled.
#[must_use]
pub fn read(facts: &ReadFacts<'_>) -> Read {
    if !matches!(*facts.method, Method::GET | Method::HEAD) {
        return Read::Forward(Bypass::Method);
    }
    match (facts.pending, bypass(facts)) {
        (Pending::Readable, _) => Read::AnswerPending,
        (Pending::Unreadable, _) => Read::Forward(Bypass::Pending),
        (Pending::Nothing, None) => Read::Lookup,
        (Pending::Nothing, Some(_)) if facts.only_if_cached => Read::RefuseOnlyIfCached,
        (Pending::Nothing, Some(why)) => Read::Forward(why),
    }
}

/// The reason for which a request bypasses the cache; `None`: it is looked up.
fn bypass(facts: &ReadFacts<'_>) -> Option<Bypass> {
    if facts.has_body {
        Some(Bypass::Body)
    } else if facts.switches {
        Some(Bypass::Upgrade)
    } else if facts.asks_the_origin {
        Some(Bypass::Precondition)
    } else {
        None
    }
}

impl Read {
    /// The `Cache-Status` of this decision; `None` for a look-up, which sets it itself.
    #[must_use]
    pub fn cache_status(self) -> Option<CacheStatus<'static>> {
        let (why, detail) = match self {
            Self::Lookup => return None,
            Self::AnswerPending => return Some(said(Handling::Hit, Some("dirty"))),
            Self::RefuseOnlyIfCached => return Some(said(Handling::Neither, Some("only-if-cached"))),
            Self::Forward(Bypass::Method) => (Forward::Method, None),
            Self::Forward(Bypass::Body) => (Forward::Bypass, Some("request-body")),
            Self::Forward(Bypass::Upgrade) => (Forward::Bypass, Some("upgrade")),
            Self::Forward(Bypass::Precondition) => (Forward::Bypass, Some("precondition")),
            Self::Forward(Bypass::Pending) => (Forward::Bypass, Some("write-pending")),
        };
        Some(said(forwarded(why), detail))
    }
}

/// What is known of a request with an unsafe method.
#[derive(Clone, Copy, Debug)]
pub struct WriteFacts {
    /// The route's cache mode.
    pub mode: Mode,
    /// Whether the write queue holds a write for its URI.
    pub is_pending: bool,
    /// Whether it asks to switch protocols (`Upgrade`).
    pub switches: bool,
    /// Whether it may be queued; ignored unless the route queues writes.
    pub queueable: Queueable,
    /// The result of its conditions; ignored unless the route queues writes.
    pub conditions: Conditions,
}

/// The cache mode of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Cache-aside: reads are stored; writes invalidate.
    Aside,
    /// Write-through: the backend carries out the write first, then its content is stored.
    Through,
    /// Write-back: writes are queued.
    Back,
}

/// Whether a write may be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queueable {
    /// It may.
    Yes,
    /// Its method or fields do not allow it, or its client asks that it is sent directly.
    No,
    /// Its `Forebay-Write` field is malformed.
    BadOrder,
}

/// The result of a write's conditions, evaluated against the last pending write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// There are none.
    Absent,
    /// Only the backend can evaluate them.
    Unknown,
    /// They hold.
    Hold,
    /// They fail.
    Fail,
}

/// How a request with an unsafe method is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Forward it, and invalidate the stored responses that it affects (RFC 9111 §4.4).
    Invalidate,
    /// Forward it, and store the content that it has written.
    Through,
    /// Queue it.
    Enqueue,
    /// Forward it after all pending writes for its URI, then invalidate as above.
    WaitTurn,
    /// Refuse it with 412: its conditions are false.
    RefuseCondition,
    /// Refuse it with 400: its `Forebay-Write` field is malformed.
    RefuseOrder,
}

/// Decides how a request with an unsafe method is handled.
#[must_use]
pub fn write(facts: &WriteFacts) -> Write {
    match (facts.mode, facts.is_pending) {
        (Mode::Back, _) => match (facts.queueable, facts.conditions) {
            (Queueable::BadOrder, _) => Write::RefuseOrder,
            (Queueable::No, _) | (Queueable::Yes, Conditions::Unknown) => Write::WaitTurn,
            (Queueable::Yes, Conditions::Fail) => Write::RefuseCondition,
            (Queueable::Yes, Conditions::Absent | Conditions::Hold) => Write::Enqueue,
        },
        // The pending write was queued before a reload changed the route's mode: the order of writes still holds.
        (Mode::Aside | Mode::Through, true) => Write::WaitTurn,
        (Mode::Through, false) if !facts.switches => Write::Through,
        (Mode::Aside | Mode::Through, false) => Write::Invalidate,
    }
}

impl Write {
    /// The `Cache-Status` of this decision until the outcome is known.
    #[must_use]
    pub fn cache_status(self) -> CacheStatus<'static> {
        said(forwarded(Forward::Method), None)
    }
}

fn forwarded(why: Forward) -> Handling {
    Handling::Forwarded { why, status: None, stored: false, collapsed: false }
}

fn said(handling: Handling, detail: Option<&'static str>) -> CacheStatus<'static> {
    CacheStatus { detail, ..CacheStatus::new(handling) }
}

#[cfg(test)]
mod tests;
