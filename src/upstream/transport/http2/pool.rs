//! The HTTP/2 connections of one worker to one endpoint, and the requests that wait for a stream of one.
//!
//! A connection is opened by a task of its own, so that a request that is given up leaves it to the others. Only one is
//! opened at a time: requests that come together share it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::connection::{self, Connection as Http2Connection, Driver};
use crate::config::plan::Protocol;
use crate::telemetry::counters::Counters;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::transport::connect;
use crate::upstream::transport::connection::Connection as Http1Connection;
use crate::upstream::transport::counted::Counted;
use crate::upstream::transport::socket::Socket;

/// The most requests of one worker that wait for a stream of one endpoint.
const WAITING_MAX: usize = 4096;

/// The HTTP/2 connections of one worker to one endpoint.
pub(crate) struct Pool(Rc<Connections>);

struct Connections {
    protocol: Protocol,
    list: RefCell<Vec<Rc<Http2Connection>>>,
    is_closed: Cell<bool>,
    /// The backend has chosen HTTP/1.1 when it was last asked.
    speaks_http1: Cell<bool>,
    /// A connection that was opened for HTTP/2, and speaks HTTP/1.1.
    other: RefCell<Option<Http1Connection>>,
    is_dialling: Cell<bool>,
    /// How many attempts to open a connection have ended.
    dials: Cell<u64>,
    /// Which of them was the last to fail, and why.
    failure: RefCell<Option<(u64, DialError)>>,
    waiting: Cell<usize>,
    /// A stream has ended, a connection was opened, or could not be.
    changed: Notify,
}

/// Where connections are opened to.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its upstream.
    pub group: Arc<SharedUpstream>,
    /// Where connections are counted.
    pub counters: Arc<Counters>,
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// What the system, TLS or the backend says.
    #[error("{0}")]
    Refused(Arc<str>),
    /// This machine has run out of something.
    #[error("{0}")]
    Exhausted(Arc<str>),
    /// It took too long.
    #[error("no connection in time")]
    Late,
    /// Every stream is in use.
    #[error("no stream is free")]
    Crowded,
    /// The request switches protocols, which HTTP/2 can't.
    #[error("HTTP/2 can't switch protocols")]
    NoSwitch,
}

/// What a request goes out on.
pub(crate) enum Acquired {
    /// A stream of a connection.
    Stream(Place),
    /// The backend speaks HTTP/1.1: a connection to it, or none that would be there already.
    Http1(Option<Http1Connection>),
}

/// A connection whose version of HTTP was chosen.
pub(crate) enum Opened {
    /// HTTP/1.1.
    Http1(Http1Connection),
    /// HTTP/2: a stream of a connection that is in the pool now.
    Stream(Place),
}

/// A stream's place on a connection, given back on drop.
pub(crate) struct Place {
    pub(super) connection: Rc<Http2Connection>,
    pool: Rc<Connections>,
    /// The connection waited for a request: the backend may have been about to close it.
    pub(super) is_on_reused: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.leave();
        self.pool.changed.notify_one();
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("is_on_reused", &self.is_on_reused).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without connections, for a backend of this protocol.
    #[must_use]
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self(Rc::new(Connections {
            protocol,
            list: RefCell::default(),
            is_closed: Cell::new(false),
            speaks_http1: Cell::new(false),
            other: RefCell::default(),
            is_dialling: Cell::new(false),
            dials: Cell::new(0),
            failure: RefCell::default(),
            waiting: Cell::new(0),
            changed: Notify::new(),
        }))
    }

    /// A stream of a connection that is there.
    #[must_use]
    pub(crate) fn take(&self) -> Option<Place> {
        self.0.take()
    }

    /// Whether the backend has chosen HTTP/1.1 when it was last asked.
    #[must_use]
    pub(crate) fn speaks_http1(&self) -> bool {
        self.0.speaks_http1.get()
    }

    /// Waits for a stream, and has a connection opened if there is no room. The caller limits the time.
    ///
    /// # Errors
    /// Why no connection could be opened.
    pub(crate) async fn acquire(&self, to: &Destination) -> Result<Acquired, DialError> {
        let pool = &self.0;
        let _waiting = Waiting::begin(pool).ok_or(DialError::Crowded)?;
        let before = pool.dials.get();
        loop {
            let mut changed = pin!(pool.changed.notified());
            changed.as_mut().enable();
            if let Some(place) = pool.take() {
                return Ok(Acquired::Stream(place));
            }
            if pool.speaks_http1.get() {
                return Ok(Acquired::Http1(pool.other.take()));
            }
            if let Some((number, error)) = &*pool.failure.borrow()
                && *number > before
            {
                return Err(error.clone());
            }
            if !pool.is_dialling.get() && pool.may_open(to.group.plan.http2.connections_max) {
                pool.dial(to.clone());
            }
            changed.await;
        }
    }

    /// Whether all connections that there may be are there: a request that waited in vain has waited for a stream.
    #[must_use]
    pub(crate) fn is_full(&self, connections_max: usize) -> bool {
        !self.0.is_dialling.get() && !self.0.may_open(connections_max)
    }

    /// Takes up a connection that was opened where the backend was expected to choose HTTP/1.1.
    ///
    /// # Errors
    /// When it does not speak the version that it has chosen.
    pub(crate) async fn adopt(&self, socket: Socket, to: &Destination) -> io::Result<Opened> {
        let counted = Counted::begin(&to.counters);
        if !socket.speaks_http2() {
            return Ok(Opened::Http1(Http1Connection::new(socket, Some(counted))));
        }
        let (connection, driver) = connection::open(socket, &to.group.plan.http2).await?;
        let connection = self.0.add(connection, driver, counted);
        Ok(Opened::Stream(self.0.place(&connection)))
    }

    /// From now on no stream is opened. Connections close when their streams have ended.
    pub(crate) fn close(&self) {
        self.0.is_closed.set(true);
        self.0.list.borrow_mut().clear();
        self.0.other.take();
    }

    /// Closes connections on which no stream has been open for longer than `age_max`.
    pub(crate) fn tidy(&self, now: Duration, age_max: Duration) {
        self.0.list.borrow_mut().retain(|connection| connection.is_open() && !connection.is_idle(now, age_max));
        // No request has taken it.
        self.0.other.take();
    }
}

impl Connections {
    fn take(self: &Rc<Self>) -> Option<Place> {
        let mut list = self.list.borrow_mut();
        list.retain(|connection| connection.is_open());
        let connection = list.iter().find(|connection| connection.has_room())?;
        Some(self.place(connection))
    }

    fn place(self: &Rc<Self>, connection: &Rc<Http2Connection>) -> Place {
        let is_on_reused = connection.is_at_rest();
        connection.enter();
        Place { connection: Rc::clone(connection), pool: Rc::clone(self), is_on_reused }
    }

    /// Whether one more connection may be opened. Those that are silent are closed soon, and don't count as long as there
    /// are no more of them than of the others.
    fn may_open(&self, max: usize) -> bool {
        let list = self.list.borrow();
        let trusted = list.iter().filter(|connection| connection.is_trusted()).count();
        trusted < max && list.len() < 2 * max
    }

    /// Opens a connection, and then moves its frames.
    fn dial(self: &Rc<Self>, to: Destination) {
        self.is_dialling.set(true);
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let limit = to.group.plan.timeouts.connect;
            let opened = tokio::time::timeout(limit, pool.open(&to)).await.unwrap_or(Err(DialError::Late));
            pool.is_dialling.set(false);
            let number = pool.dials.get() + 1;
            pool.dials.set(number);
            match opened {
                Ok(()) => {}
                Err(error) => *pool.failure.borrow_mut() = Some((number, error)),
            }
            pool.changed.notify_waiters();
        });
    }

    async fn open(self: &Rc<Self>, to: &Destination) -> Result<(), DialError> {
        let socket =
            connect::open(&to.endpoint, &to.group, None, self.protocol).await.map_err(|error| DialError::of(&error))?;
        let counted = Counted::begin(&to.counters);
        let is_http2 = socket.speaks_http2() || self.protocol == Protocol::Http2;
        self.speaks_http1.set(!is_http2);
        if is_http2 {
            let (connection, driver) =
                connection::open(socket, &to.group.plan.http2).await.map_err(|error| DialError::of(&error))?;
            self.add(connection, driver, counted);
        } else {
            *self.other.borrow_mut() = Some(Http1Connection::new(socket, Some(counted)));
        }
        Ok(())
    }

    /// Keeps a connection, and has its frames moved.
    fn add(self: &Rc<Self>, connection: Http2Connection, driver: Driver, counted: Counted) -> Rc<Http2Connection> {
        self.speaks_http1.set(false);
        let connection = Rc::new(connection);
        if !self.is_closed.get() {
            self.list.borrow_mut().push(Rc::clone(&connection));
        }
        let pool = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            let changed = || {
                if let Some(pool) = pool.upgrade() {
                    pool.changed.notify_waiters();
                }
            };
            driver.run(changed).await;
            drop(counted);
            changed();
        });
        connection
    }
}

impl DialError {
    /// What an error of a socket means.
    #[must_use]
    pub(crate) fn of(error: &io::Error) -> Self {
        let reason = Arc::from(error.to_string());
        if connect::is_exhaustion(error) { Self::Exhausted(reason) } else { Self::Refused(reason) }
    }
}

/// Counts a request that waits.
struct Waiting<'a>(&'a Connections);

impl<'a> Waiting<'a> {
    fn begin(pool: &'a Connections) -> Option<Self> {
        let waiting = pool.waiting.get();
        (waiting < WAITING_MAX).then(|| {
            pool.waiting.set(waiting + 1);
            Self(pool)
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}
