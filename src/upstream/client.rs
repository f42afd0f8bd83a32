//! Requests that no client asked for: queued writes, mirrors' copies, webhooks, active checks.
//!
//! They use the TLS, the framing rules and the connections that requests of clients use. In place of a client that waits
//! or leaves, each has [`Deadlines`]; its sender says how much of the response's body is read. When a future or a response
//! is dropped, the request is given up: its connection closes, its lease returns.
//!
//! What a response means is left to the sender: whether a write is done, a check has passed, or two responses are alike.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Uri};
use http_body::{Body as _, Frame};
use message::{Fields, Known};
use tokio::time::{Instant, timeout_at};

use super::acquire;
use super::endpoint::Endpoint;
use super::local::LocalUpstream;
use super::send::{self, UpstreamRequest};
use super::shared::SharedUpstream;
use super::transport::any::AnyCall;
use super::transport::connect;
use super::transport::head::{Head, RequestHead};
use super::transport::http2::pool::{Destination, DialError};
use super::transport::socket::Socket;
use super::upload::{Limits, ReplayBody, Upload};
use crate::exchange::body::Body;
use crate::exchange::deadline::{Deadline, attended};
use crate::exchange::error::ProxyError;
use crate::exchange::interim::Interim;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::counters::Counters;
use crate::telemetry::{clock, random};

/// The address of the client, where there is none.
const NO_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How often a wait for the response's head looks at the body, which is there as a whole and never stalls.
const STALL_MAX: Duration = Duration::from_secs(60);

/// When a request of the proxy's own is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// The head of the response must be in by then; connecting and sending are part of that time.
    pub head: Instant,
    /// The body of the response must be in by then.
    pub body: Instant,
}

impl Deadlines {
    /// The whole response must be in within this time from now.
    #[must_use]
    pub(crate) fn within(limit: Duration) -> Self {
        let end = clock::instant(clock::mono() + limit);
        Self { head: end, body: end }
    }

    /// The same deadline for the head, and this time more for the body.
    #[must_use]
    pub(crate) fn and_body_within(self, limit: Duration) -> Self {
        Self { body: self.head + limit, ..self }
    }
}

/// A request that no client asked for.
#[derive(Clone, Debug)]
pub(crate) struct InternalRequest {
    /// The method.
    pub method: Method,
    /// The target, in origin form.
    pub target: Uri,
    /// The fields. How the body is framed is not theirs to say.
    pub fields: Fields,
    /// The body; `None`: there is none, and no length is declared.
    pub body: Option<Bytes>,
    /// When it is given up.
    pub deadlines: Deadlines,
}

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A deadline has passed.
    #[error("no answer in time")]
    Late,
    /// No endpoint could take the request, or what came is no whole response.
    #[error(transparent)]
    Failed(#[from] ProxyError),
}

impl InternalRequest {
    /// Sends the request to an endpoint of the upstream, selected and tried again as for a client's request.
    ///
    /// # Errors
    /// [`Error`], when no head has come.
    pub(crate) async fn send(self, upstream: &Rc<LocalUpstream>) -> Result<InternalResponse, Error> {
        let forward = async |ex: &mut Exchange, request: &UpstreamRequest| super::forward(upstream, ex, request).await;
        self.send_by(&upstream.counters, forward).await
    }

    /// Sends the request by `forward`, which does more than [`super::forward`]: the cache follows a queued write.
    ///
    /// # Errors
    /// [`Error`], when no head has come.
    pub(crate) async fn send_by(
        self,
        counters: &Arc<Counters>,
        forward: impl AsyncFnOnce(&mut Exchange, &UpstreamRequest) -> Result<Answer, ProxyError>,
    ) -> Result<InternalResponse, Error> {
        let deadlines = self.deadlines;
        let request = self.replayable(counters);
        let mut ex = Exchange::alone(NO_CLIENT, clock::now(), random::roll());
        let waits = Rc::clone(&ex.stream.deadline);
        let sent = Box::pin(attended(&waits, forward(&mut ex, &request)));
        let Answer { status, fields, body } = timeout_at(deadlines.head, sent).await.map_err(|_| Error::Late)??;
        Ok(InternalResponse { status, fields, body: Received::Body(body), waits, end: deadlines.body })
    }

    /// Sends the request to this endpoint, on a connection of its own: whatever comes of it counts neither as the
    /// endpoint's load nor as its failure.
    ///
    /// # Errors
    /// [`Error`], when no head has come.
    pub(crate) async fn send_to(
        self,
        endpoint: &Arc<Endpoint>,
        upstream: &Arc<SharedUpstream>,
    ) -> Result<InternalResponse, Error> {
        let counters = Arc::default();
        let deadlines = self.deadlines;
        let request = self.replayable(&counters);
        let (to_endpoint, group) = (Arc::clone(endpoint), Arc::clone(upstream));
        let to = Destination { endpoint: to_endpoint, group, counters };
        let carrier = timeout_at(deadlines.head, acquire::alone(&to)).await.map_err(|_| Error::Late)?;
        let carrier =
            carrier.map_err(|error| Error::Failed(acquire::fault(error, endpoint, upstream.plan.timeouts.connect)))?;
        let UpstreamRequest { method, target, headers: fields, .. } = &request;
        let body = request.source.as_ref().map_or(Upload::Empty, |source| source.upload(clock::mono()));
        let head = RequestHead { method, target, fields, host: None };
        let mut call = carrier.begin(&head, body);
        let fields_max = upstream.plan.response_fields_max;
        let (rules, interim) = (send::head_rules(fields_max, method), Interim::default());
        let skip = |_status, _fields| {
            interim.count();
            !interim.has_overflowed()
        };
        let polled = poll_fn(|cx| call.poll_head(cx, &rules, skip));
        let answered = timeout_at(deadlines.head, polled).await.map_err(|_| Error::Late)?;
        answered.map_err(|error| send::call_fault(&error, endpoint, fields_max))?;
        let Head { status, fields, .. } = call.take_head();
        let body = Received::Call(call, Arc::clone(&endpoint.label));
        Ok(InternalResponse { status, fields, body, waits: Rc::default(), end: deadlines.body })
    }

    /// The request as it is sent: another try begins its body anew.
    fn replayable(self, counters: &Arc<Counters>) -> UpstreamRequest {
        let Self { method, target, fields: mut headers, body, .. } = self;
        if let Some(body) = &body {
            headers.set(Known::ContentLength, body.len().to_string());
        }
        let limits = Limits { bytes_max: None, stall_max: STALL_MAX, rate_min: 0, kept_max: 0 };
        let source = body.map(|body| Rc::new(ReplayBody::whole(body, limits, Arc::clone(counters))));
        UpstreamRequest { method, target, headers, source, switches: None }
    }
}

/// Opens a connection to an endpoint that carries no request of a client.
///
/// # Errors
/// [`Error`].
pub(crate) async fn open(endpoint: &Endpoint, upstream: &SharedUpstream, by: Instant) -> Result<Socket, Error> {
    let protocol = upstream.endpoints().protocol(endpoint);
    let opened = timeout_at(by, connect::open(endpoint, upstream, None, protocol)).await.map_err(|_| Error::Late)?;
    opened
        .map_err(|error| Error::Failed(acquire::fault(DialError::of(&error), endpoint, upstream.plan.timeouts.connect)))
}

/// A response whose head is in.
#[derive(Debug)]
pub(crate) struct InternalResponse {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub fields: Fields,
    body: Received,
    /// How long the body may stand still.
    waits: Rc<Deadline>,
    /// By when the body must be in.
    end: Instant,
}

/// Where a response's body comes from.
#[derive(Debug)]
enum Received {
    Body(Body),
    Call(AnyCall, Arc<str>),
}

impl InternalResponse {
    /// The next piece of the body, or its trailers; `None` at its end.
    ///
    /// # Errors
    /// [`Error`]; nothing more comes.
    pub(crate) async fn frame(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        let body = &mut self.body;
        let polled = poll_fn(|cx| match body {
            Received::Body(body) => Pin::new(body).poll_frame(cx).map(Option::transpose),
            Received::Call(call, label) => {
                call.poll_frame(cx).map_err(|_| ProxyError::BodyCut { backend: Arc::clone(label) })
            }
        });
        let frame = timeout_at(self.end, attended(&self.waits, polled)).await.map_err(|_| Error::Late)?;
        Ok(frame?)
    }

    /// Reads the body to its end; `None`: it is longer than that, and is given up.
    ///
    /// # Errors
    /// [`Error`], when it broke off.
    pub(crate) async fn read(mut self, bytes_max: usize) -> Result<Option<Bytes>, Error> {
        if let Received::Body(body) = &mut self.body
            && let Some(whole) = body.take_whole()
        {
            return Ok((whole.len() <= bytes_max).then_some(whole));
        }
        let mut content = BytesMut::new();
        while let Some(frame) = self.frame().await? {
            let Ok(piece) = frame.into_data() else { continue };
            if content.len().saturating_add(piece.len()) > bytes_max {
                return Ok(None);
            }
            content.extend_from_slice(&piece);
        }
        Ok(Some(content.freeze()))
    }

    /// Reads the body to its end and drops it, so that its connection can carry another request; one that is longer than
    /// that is given up.
    pub(crate) async fn discard(mut self, bytes_max: u64) {
        let mut bytes = 0;
        while bytes <= bytes_max
            && let Ok(Some(frame)) = self.frame().await
        {
            bytes += frame.data_ref().map_or(0, |piece| piece.len() as u64);
        }
    }
}
