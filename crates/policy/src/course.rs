//! What is to be done about a request on a route that caches: the decision that its course hangs on.
//!
//! [`read()`] and [`write()`] look at what is known before anything has been looked up or sent. What comes of it (a hit, a miss,
//! a write that found no room) is for those who carry it out.

use http::Method;

use crate::message::cache_status::{CacheStatus, Forward, Handling};

/// What is known of a request whose method is safe.
#[derive(Clone, Copy, Debug)]
pub struct ReadFacts<'a> {
    /// Its method.
    pub method: &'a Method,
    /// What is queued for its URI, and not at its backend yet.
    pub pending: Pending,
    /// Whether it has a body.
    pub has_body: bool,
    /// Whether it asks to switch protocols.
    pub switches: bool,
    /// Whether it has conditions that only the origin can judge (`If-Match`, `If-Unmodified-Since`).
    pub asks_the_origin: bool,
    /// Whether it wants nothing but what is stored (RFC 9111 §5.2.1.7).
    pub only_if_cached: bool,
}

/// What is queued for the URI of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Nothing.
    Nothing,
    /// The last write says what the read gets.
    Readable,
    /// Only the backend can say what the read gets.
    Unreadable,
}

/// What is to be done about a request whose method is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Look it up; on a miss, fetch it.
    Lookup,
    /// Answer it with what the last pending write says.
    AnswerPending,
    /// Forward it past the cache, for this reason.
    Forward(Bypass),
    /// Refuse it: it wants only what is stored, and is never looked up (504).
    RefuseOnlyIfCached,
}

/// Why a request passes by the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// Its method is never answered from a cache.
    Method,
    /// A GET with a body means what only the origin knows.
    Body,
    /// It asks to switch protocols.
    Upgrade,
    /// Only the origin can judge its conditions.
    Precondition,
    /// A write is pending that only the backend can read.
    Pending,
}

/// Decides what is to be done about a request whose method is safe.
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

/// Why a GET or HEAD is never looked up, if it is not.
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
    /// What `Cache-Status` says until more is known; `None`: the look-up says it.
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

/// What is known of a request that may change something.
#[derive(Clone, Copy, Debug)]
pub struct WriteFacts {
    /// How its route caches.
    pub mode: Mode,
    /// Whether anything is queued for its URI, and not at its backend yet.
    pub is_pending: bool,
    /// Whether it asks to switch protocols.
    pub switches: bool,
    /// Whether it may be queued; of no matter where the route queues nothing.
    pub queueable: Queueable,
    /// What its conditions come to; of no matter where the route queues nothing.
    pub conditions: Conditions,
}

/// How the route caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads are stored; writes invalidate what they change.
    Aside,
    /// What a write has written is stored.
    Through,
    /// Writes are queued.
    Back,
}

/// Whether a write may be queued, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queueable {
    /// It may.
    Yes,
    /// Its method or its fields forbid it, or its client wants it sent through.
    No,
    /// Its `Forebay-Write` field is not one.
    BadOrder,
}

/// What a write's conditions come to, judged on the last pending write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// There are none.
    Absent,
    /// Only the backend can say.
    Unknown,
    /// They hold.
    Hold,
    /// They fail.
    Fail,
}

/// What is to be done about a request that may change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Forward it, and invalidate what it changes (RFC 9111 §4.4).
    Invalidate,
    /// Forward it, and store what it has written.
    Through,
    /// Queue it.
    Enqueue,
    /// Forward it when all that is pending for its URI has gone out, and invalidate what it changes.
    WaitTurn,
    /// Refuse it: its conditions fail (412).
    RefuseCondition,
    /// Refuse it: its `Forebay-Write` field is not one (400).
    RefuseOrder,
}

/// Decides what is to be done about a request that may change something.
#[must_use]
pub fn write(facts: &WriteFacts) -> Write {
    match (facts.mode, facts.is_pending) {
        (Mode::Back, _) => match (facts.queueable, facts.conditions) {
            (Queueable::BadOrder, _) => Write::RefuseOrder,
            (Queueable::No, _) | (Queueable::Yes, Conditions::Unknown) => Write::WaitTurn,
            (Queueable::Yes, Conditions::Fail) => Write::RefuseCondition,
            (Queueable::Yes, Conditions::Absent | Conditions::Hold) => Write::Enqueue,
        },
        // It was queued before the route's mode was changed: its order still holds.
        (Mode::Aside | Mode::Through, true) => Write::WaitTurn,
        (Mode::Through, false) if !facts.switches => Write::Through,
        (Mode::Aside | Mode::Through, false) => Write::Invalidate,
    }
}

impl Write {
    /// What `Cache-Status` says until more is known.
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
