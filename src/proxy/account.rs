//! The end of an exchange: the client's answer, the log line, the counters; also when the client leaves.

use std::rc::Rc;

use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use message::{Fields, Known};
use policy::message::cache_status::{CacheStatus, Forward, Handling};
use policy::message::{accept, grpc};
use policy::time::Now;

use super::routing::METHODS;
use crate::exchange::body::{Body, BodyObserver};
use crate::exchange::error::ProxyError;
use crate::exchange::tunnel::{Left, Passage, Tunnel};
use crate::exchange::{Answer, Exchange, Head};
use crate::telemetry::access_record::Request;
use crate::telemetry::captured::Captured;
use crate::telemetry::counters::CacheResult;
use crate::telemetry::worker_telemetry::WorkerTelemetry;
use crate::telemetry::{clock, random};

/// How long a client is asked to wait when nobody can take its request (RFC 9110 §10.2.3), in seconds.
const RETRY_AFTER: &str = "1";

/// An exchange under way, from its head to the last byte of its answer: one allocation for all of its life. Dropped, it is
/// counted and logged; without an answer, as one whose client left.
pub(crate) struct Open {
    ex: Exchange,
    ledger: Rc<WorkerTelemetry>,
    /// What the client is about to get; `None`: nothing yet, or it is counted already.
    answer: Option<Pending>,
    /// The answer has gone out whole.
    is_whole: bool,
    /// What passes after the answer, if that switches protocols.
    tunnel: Option<Rc<Passage>>,
}

impl Open {
    /// An exchange begins.
    #[must_use]
    pub(crate) fn begin(ex: Exchange, ledger: Rc<WorkerTelemetry>) -> Box<Self> {
        ledger.begin();
        let mut open = Box::new(Self { ex, ledger, answer: None, is_whole: false, tunnel: None });
        if open.ledger.is_logging() {
            let captured = open.ledger.capture(&open.ex.head.fields);
            open.ex.record.request = Some(Box::new(request(&open.ex, captured)));
        }
        open
    }

    /// The exchange.
    pub(crate) fn exchange(&mut self) -> &mut Exchange {
        &mut self.ex
    }

    /// Makes the client's answer; the exchange ends when its body has been handed over.
    #[must_use]
    pub(crate) fn answer(mut self: Box<Self>, handled: Result<Answer, ProxyError>) -> Answer {
        let mut answer = handled.unwrap_or_else(|fault| self.refuse(&fault));
        if let Some(hsts) = self.ex.connection.tls.as_ref().and_then(|tls| tls.hsts.as_ref()) {
            answer.fields.set("Strict-Transport-Security", hsts.as_bytes());
        }
        let cache = self.ex.cache_status.take().map(|status| {
            let edit = status.edit(&answer.fields);
            answer.fields.apply(&edit);
            let (result, reason) = result(&status);
            (self.ex.record.cache, self.ex.record.cache_reason) = (Some(result.as_str()), reason);
            result
        });
        if self.ledger.is_logging() {
            // What was answered from here has had no need of a name so far.
            self.ex.record.id.get_or_insert_with(|| random::id(self.ex.dice));
            if let Some(captured) = self.ex.record.request.as_mut().and_then(|request| request.captured.as_mut()) {
                captured.answered(&answer.fields);
            }
        }
        self.answer = Some((answer.status, cache));
        self.is_whole = self.ex.head.method == Method::HEAD;
        self.release();
        if answer.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(left) = self.ex.stream.handover.take()
        {
            self.tunnel = Some(Rc::clone(&left.passage));
            // What waits in the stream must not keep the stream.
            let stream = std::mem::take(&mut self.ex.stream);
            stream.handover.leave(accounted(left, self));
            return answer;
        }
        answer.body.attach(self);
        answer
    }

    /// Lets go of the request: its bytes lie in the buffer that the next one is read into.
    fn release(&mut self) {
        self.ex.body = None;
        self.ex.accept = None;
        (self.ex.head.uri, self.ex.head.fields) = (Uri::default(), Fields::default());
    }

    /// A short error body, JSON or text by `Accept`, with the id that the log line carries.
    fn refuse(&mut self, fault: &ProxyError) -> Answer {
        let id = self.ex.record.id.get_or_insert_with(|| random::id(self.ex.dice)).clone();
        let id = id.text();
        self.ex.record.fault = Some(fault.to_string());
        let status = fault.status();
        if self.ex.grpc.is_some() {
            return call_refused(fault, id);
        }
        let accept = self.ex.accept.as_deref().or_else(|| self.ex.head.fields.first(Known::Accept));
        let (kind, text) = if accept::prefers_json(accept) {
            let told = fault.told().replace(['"', '\\'], "'");
            let text = format!("{{\"status\":{},\"error\":\"{told}\",\"id\":\"{}\"}}\n", status.as_u16(), plain(id));
            ("application/json", text)
        } else {
            let reason = status.canonical_reason().unwrap_or_default();
            ("text/plain; charset=utf-8", format!("{} {reason}: {}\nid: {id}\n", status.as_u16(), fault.told()))
        };
        let is_head = self.ex.head.method == Method::HEAD;
        let length = text.len();
        let mut answer = Answer::new(Body::whole(if is_head { Bytes::new() } else { Bytes::from(text) }));
        answer.status = status;
        let fields = &mut answer.fields;
        fields.set(Known::ContentType, kind);
        fields.set(Known::CacheControl, "no-store");
        if is_head {
            fields.set(Known::ContentLength, length.to_string());
        }
        if fault.closes_connection() {
            fields.set(Known::Connection, "close");
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            fields.set("Retry-After", RETRY_AFTER);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            fields.set("Allow", METHODS);
        }
        answer
    }
}

/// An error as the client of a gRPC call has it: a response that is all head.
fn call_refused(fault: &ProxyError, id: &str) -> Answer {
    let mut answer = Answer::new(Body::default());
    let fields = &mut answer.fields;
    fields.set(Known::ContentType, grpc::CONTENT_TYPE);
    fields.set(Known::CacheControl, "no-store");
    fields.set(grpc::STATUS, fault.grpc_status().number().to_string());
    fields.set(grpc::MESSAGE, grpc::encoded(&format!("{} (id {})", fault.told(), plain(id))));
    answer
}

/// What the cache did, and why.
fn result(status: &CacheStatus<'static>) -> (CacheResult, Option<&'static str>) {
    let detail = status.detail;
    match status.handling {
        // What is not at its backend yet is newer than anything else.
        Handling::Hit if detail == Some("dirty") => (CacheResult::Hit, detail),
        // What is served stale always says why.
        Handling::Hit => (if detail.is_some() { CacheResult::Stale } else { CacheResult::Hit }, detail),
        Handling::Forwarded { why: why @ (Forward::Bypass | Forward::Method), .. } => {
            (CacheResult::Bypass, detail.or(Some(why.token())))
        }
        Handling::Forwarded { .. } if detail == Some("stale-if-error") => (CacheResult::Stale, detail),
        Handling::Forwarded { why, status: Some(StatusCode::NOT_MODIFIED), .. } => {
            (CacheResult::Revalidated, Some(why.token()))
        }
        Handling::Forwarded { why, .. } => (CacheResult::Miss, detail.or(Some(why.token()))),
        Handling::Neither => (CacheResult::Miss, detail),
    }
}

fn plain(id: &str) -> String {
    id.chars().filter(|character| character.is_ascii_graphic() && !matches!(character, '"' | '\\')).collect()
}

fn request(ex: &Exchange, captured: Option<Box<Captured>>) -> Request {
    let Head { method, uri, version, fields, .. } = &ex.head;
    let request = Request::of_line(method.clone(), uri.clone(), *version, ex.connection.scheme.as_str());
    Request { captured, ..request.with_fields(|name| fields.first_shared(name)) }
}

/// What is about to be answered, and what the cache did for it.
type Pending = (StatusCode, Option<CacheResult>);

/// The tunnel, whose exchange ends with it: its log line is written then.
fn accounted(left: Left, mut open: Box<Open>) -> Left {
    let Left { tunnel, passage } = left;
    let tunnel: Tunnel = Box::new(move |client| {
        Box::pin(async move {
            // The 101 has been written.
            open.began();
            open.whole();
            tunnel(client).await;
            drop(open);
        })
    });
    Left { tunnel, passage }
}

impl BodyObserver for Open {
    fn began(&mut self) {
        let Some((status, cache)) = self.answer.take() else { return };
        self.ex.record.status = Some(status);
        self.ledger.counters.responses.count(status);
        if let Some(result) = cache {
            self.ledger.counters.cache.of(result).up();
            if let Some(route) = &self.ex.record.route {
                route.stats.cached(result);
            }
        }
    }

    fn sent(&mut self, bytes: usize) {
        self.ex.record.body_bytes_sent += bytes as u64;
    }

    fn whole(&mut self) {
        self.is_whole = true;
    }

    fn broke(&mut self, fault: &ProxyError) {
        self.ex.record.fault = Some(fault.to_string());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let ended = if self.ledger.is_logging() { clock::now() } else { Now::at(clock::mono()) };
        // Without a status nothing was answered, for which a fault that was to be told is no reason.
        if self.ex.record.status.is_none() || (!self.is_whole && self.ex.record.fault.is_none()) {
            self.ex.record.fault.get_or_insert_with(|| ProxyError::ClientLeft.to_string());
            self.ledger.counters.abandoned.up();
        }
        if let Some(tunnel) = self.tunnel.as_ref().and_then(|passage| passage.record(ended.mono)) {
            self.ex.record.body_bytes_sent = tunnel.bytes_out;
            self.ex.record.tunnel = Some(Box::new(tunnel));
        }
        if let Some(route) = &self.ex.record.route {
            let took = ended.mono.saturating_sub(self.ex.started.mono);
            route.stats.ended(&self.ex.head.method, self.ex.record.status, took, self.ex.record.body_bytes_sent);
        }
        self.ledger.end(&self.ex.record, self.ex.client, self.ex.started, ended);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use super::*;
    use crate::config::plan::{AccessLog, LogTarget};
    use crate::telemetry::access_log::Writer;
    use crate::telemetry::counters::Counters;

    #[test]
    fn a_tunnel_whose_client_leaves_before_it_begins_is_dropped_and_counted_out() {
        let counters: Arc<Counters> = Arc::default();
        let log = Writer::start(&LogTarget::Stderr).unwrap().log(AccessLog::Off);
        let ledger = Rc::new(WorkerTelemetry::new(Arc::clone(&counters), log));
        let ex = Exchange::alone(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), clock::now(), 0);
        // As a place at the backend.
        let claim = Rc::new(());
        let held = Rc::clone(&claim);
        let tunnel: Tunnel = Box::new(move |_client| Box::pin(async move { drop(held) }));
        let stream = Rc::clone(&ex.stream);
        stream.handover.leave(Left { tunnel, passage: Rc::default() });
        let open = Open::begin(ex, ledger);
        let mut answer = Answer::new(Body::default());
        answer.status = StatusCode::SWITCHING_PROTOCOLS;
        let answer = open.answer(Ok(answer));
        assert_eq!(counters.exchanges.get(), 1);
        drop((answer, stream));
        assert_eq!(Rc::strong_count(&claim), 1);
        assert_eq!((counters.exchanges.get(), counters.abandoned.get()), (0, 1));
    }
}
