//! What a try goes out on: a connection of HTTP/1.1, or a stream of one of HTTP/2.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use policy::retry::Progress;

use super::client_pools;
use super::endpoint::Endpoint;
use super::local::LocalEndpoint;
use super::select::Lease;
use super::transport::any::AnyCall;
use super::transport::call::Call;
use super::transport::connect;
use super::transport::connection::Connection;
use super::transport::head::RequestHead;
use super::transport::http2;
use super::transport::http2::pool::{Acquired, Destination, DialError, Opened, Place, Pool};
use super::upload::Upload;
use crate::config::plan::Protocol;
use crate::exchange::deadline::{Deadline, Expired, Wait};
use crate::exchange::error::ProxyError;
use crate::exchange::{ClientConnection, Exchange};
use crate::telemetry::clock;

/// A try that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why.
    pub fault: ProxyError,
    /// How far the request got.
    pub progress: Progress,
}

/// What a request needs to go out on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// It switches protocols.
    pub switches: bool,
    /// The longest time that a connection may have waited in its pool.
    pub idle_max: Duration,
}

/// What a try goes out on.
pub(crate) enum Carrier {
    /// A connection of HTTP/1.1.
    Http1(Connection),
    /// A stream of HTTP/2.
    Http2(Place),
}

impl Carrier {
    /// Begins a call. Nothing is sent before it is polled.
    pub(super) fn begin(self, head: &RequestHead<'_>, body: Upload) -> AnyCall {
        match self {
            Self::Http1(connection) => AnyCall::Http1(Call::new(connection, head, body)),
            Self::Http2(place) => AnyCall::Http2(Box::new(http2::call::Call::new(place, head, body))),
        }
    }
}

/// A stream that is free, or a connection that waits for a request and is good enough for this one.
#[must_use]
pub(crate) fn pooled(claim: &Lease, wanted: Wanted, client: &ClientConnection) -> Option<Carrier> {
    if let Some(pool) = &claim.endpoint().http2
        && !wanted.switches
    {
        let place = pool.take().map(Carrier::Http2);
        if place.is_some() || !pool.speaks_http1() {
            return place;
        }
    }
    client_pools::choose(claim, client);
    claim.pool().take(claim.since(), wanted.idle_max).map(Carrier::Http1)
}

/// A connection that is being opened, or a stream that is waited for.
pub(crate) struct Connecting {
    dialled: Pin<Box<dyn Future<Output = Result<Carrier, DialError>>>>,
    limit: Duration,
    wait: Wait<Rc<Deadline>>,
}

impl Connecting {
    /// Begins to open a connection to the backend, or to wait for a stream.
    pub(crate) fn begin(claim: &Lease, ex: &Exchange, wanted: Wanted) -> Self {
        let limit = claim.group().shared.plan.timeouts.connect;
        let endpoint = Rc::clone(claim.endpoint());
        let to = Destination {
            endpoint: Arc::clone(&endpoint.shared),
            group: Arc::clone(&claim.group().shared),
            counters: Arc::clone(&claim.group().counters),
        };
        let client = Rc::clone(&ex.connection);
        let dialled = Box::pin(async move { dial(&endpoint, &to, &client, wanted.switches).await });
        let wait = Wait::new(Rc::clone(&ex.stream.deadline), ex.within_call(clock::mono() + limit));
        Self { dialled, limit, wait }
    }

    /// Ready when there is one.
    ///
    /// # Errors
    /// Why there is none; a failure of the backend is counted already.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        claim: &Lease,
        ex: &mut Exchange,
    ) -> Poll<Result<Carrier, Failure>> {
        let error = match self.dialled.as_mut().poll(cx) {
            Poll::Ready(Ok(carrier)) => {
                ex.record.connect_time = Some(clock::mono().saturating_sub(ex.started.mono));
                return Poll::Ready(Ok(carrier));
            }
            Poll::Ready(Err(error)) => error,
            Poll::Pending => {
                let Expired = ready!(self.wait.poll(|| None));
                if ex.is_call_over(clock::mono()) {
                    return Poll::Ready(Err(Failure { fault: ProxyError::CallDeadline, progress: Progress::Nothing }));
                }
                let connections_max = claim.group().shared.plan.http2.connections_max;
                let is_full = claim.endpoint().http2.as_ref().is_some_and(|pool| pool.is_full(connections_max));
                if is_full { DialError::Crowded } else { DialError::Late }
            }
        };
        let fault = fault(error, &claim.endpoint().shared, self.limit);
        if let ProxyError::Connect { .. } | ProxyError::ConnectTimeout { .. } = fault {
            claim.failed(clock::now(), fault.failure_kind(), &fault.cause());
            claim.doubt(&fault.cause());
        }
        Poll::Ready(Err(Failure { fault, progress: Progress::Nothing }))
    }
}

/// HTTP/2 can't switch protocols: a request that does goes out by HTTP/1.1, where the backend may choose that.
async fn dial(
    endpoint: &LocalEndpoint,
    to: &Destination,
    client: &ClientConnection,
    switches: bool,
) -> Result<Carrier, DialError> {
    match &endpoint.http2 {
        Some(_) if switches && endpoint.protocol == Protocol::Http2 => Err(DialError::NoSwitch),
        Some(pool) if !switches => acquired(pool, to).await,
        Some(_) | None => match connect::connect(&to.endpoint, &to.group, client, &to.counters).await {
            Ok(connection) => Ok(Carrier::Http1(connection)),
            Err(error) => Err(DialError::of(&error)),
        },
    }
}

async fn acquired(pool: &Pool, to: &Destination) -> Result<Carrier, DialError> {
    match pool.acquire(to).await? {
        Acquired::Stream(place) => Ok(Carrier::Http2(place)),
        Acquired::Http1(Some(connection)) => Ok(Carrier::Http1(connection)),
        Acquired::Http1(None) => {
            let opened = async {
                let socket = connect::open(&to.endpoint, &to.group, None, Protocol::Auto).await?;
                pool.adopt(socket, to).await
            };
            match opened.await {
                Ok(Opened::Http1(connection)) => Ok(Carrier::Http1(connection)),
                Ok(Opened::Stream(place)) => Ok(Carrier::Http2(place)),
                Err(error) => Err(DialError::of(&error)),
            }
        }
    }
}

/// Why a request can't go out to an endpoint. `limit`: how long was waited at most.
pub(super) fn fault(error: DialError, endpoint: &Endpoint, limit: Duration) -> ProxyError {
    let backend = Arc::clone(&endpoint.label);
    match error {
        DialError::Exhausted(reason) => ProxyError::Exhausted { backend, reason },
        DialError::Refused(reason) => ProxyError::Connect { backend, reason },
        DialError::Late => ProxyError::ConnectTimeout { backend, limit },
        DialError::Crowded => ProxyError::NoStream { backend, limit },
        DialError::NoSwitch => ProxyError::NoUpgrade { backend },
    }
}

/// A carrier of its own to an endpoint, which is closed when it is dropped. The caller limits the time.
///
/// # Errors
/// Why there is none.
pub(super) async fn alone(to: &Destination) -> Result<Carrier, DialError> {
    match to.group.endpoints().protocol(&to.endpoint) {
        Protocol::Http1 => match connect::open(&to.endpoint, &to.group, None, Protocol::Http1).await {
            Ok(socket) => Ok(Carrier::Http1(Connection::new(socket, None))),
            Err(error) => Err(DialError::of(&error)),
        },
        protocol @ (Protocol::Http2 | Protocol::Auto) => acquired(&Pool::new(protocol), to).await,
    }
}
