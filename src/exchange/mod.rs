//! The vocabulary of a request's way: what came in, what goes out, what went wrong. Data only.

pub(crate) mod body;
pub(crate) mod client_tls;
pub(crate) mod deadline;
pub(crate) mod error;
pub(crate) mod incoming;
pub(crate) mod interim;
pub(crate) mod stream;
pub(crate) mod timer;
pub(crate) mod tunnel;

use std::any::Any;
use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Uri, Version};
use message::{Fields, Known, LineBlock};
use policy::message::cache_status::CacheStatus;
use policy::message::forwarding_fields::ForwardingFields;
use policy::message::grpc;
use policy::message::host::{self, BadHost};
use policy::message::scheme::Scheme;
use policy::message::via::Signature;
use policy::proxy_protocol::{Addresses, Header};
use policy::time::Now;

use self::client_tls::ClientTls;
use self::stream::Stream;
use crate::config::plan::ListenAddress;
use crate::telemetry::access_record::AccessRecord;
use crate::telemetry::target_stats::TargetStats;

/// What a request is answered with.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub fields: Fields,
    /// The body.
    pub body: body::Body,
}

impl Answer {
    /// A 200 without fields, with this body.
    #[must_use]
    pub fn new(body: body::Body) -> Self {
        Self { body, ..Self::default() }
    }
}

/// A request's head.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// Whether the target was found in origin-form and in its one form when it was scanned: a second look at it is idle.
    pub has_plain_target: bool,
    /// The version that the client speaks.
    pub version: Version,
    /// The header fields.
    pub fields: Fields,
}

pub(crate) use self::incoming::Incoming;

/// One request on its way through the house, with what is known of it so far.
#[derive(Debug)]
pub struct Exchange {
    /// When its head was in.
    pub started: Now,
    /// Chance, drawn once.
    pub dice: u64,
    /// The request's head; cleaned by `sanitize`, then as it goes to a backend.
    pub head: Head,
    /// The request's body, until it is sent on.
    pub body: Option<Incoming>,
    /// The client's address: the peer's, or what a trusted proxy says.
    pub client: IpAddr,
    /// What this request shares with the others of its client's connection.
    pub connection: Rc<ClientConnection>,
    /// Its stream on that connection.
    pub stream: Rc<Stream>,
    /// What the client would like error bodies to be (`Accept`).
    pub accept: Option<Bytes>,
    /// The hash of what the upstream's balancer goes by, if it hashes.
    pub key: u64,
    /// The gRPC call that it is; `None`: it is none.
    pub grpc: Option<grpc::Call>,
    /// How the cache handled it; `None`: its route does not cache.
    pub cache_status: Option<CacheStatus<'static>>,
    /// Where answers are counted, if the request has gone to one side of a split.
    pub tally: Option<Arc<TargetStats>>,
    /// How this proxy signs `Via`; `None`: no client sees the answer.
    pub signature: Option<Rc<Signature>>,
    /// What will be logged and counted.
    pub record: AccessRecord,
}

impl Exchange {
    /// Signs a message that was received in this version (RFC 9110 §7.6.3).
    pub fn sign(&self, fields: &mut Fields, received: Version) {
        if let Some(signature) = &self.signature {
            fields.append_line(signature.line(received));
        }
    }

    /// When its client gives the call up (monotonic time), if it is a call whose client says so.
    #[must_use]
    pub(crate) fn call_until(&self) -> Option<Duration> {
        Some(self.started.mono + self.grpc?.timeout?)
    }

    /// This moment (monotonic time), or when the client gives its call up, if that is earlier.
    #[must_use]
    pub(crate) fn within_call(&self, at: Duration) -> Duration {
        self.call_until().map_or(at, |until| until.min(at))
    }

    /// Whether the client has given its call up by now (monotonic time).
    #[must_use]
    pub(crate) fn is_call_over(&self, now: Duration) -> bool {
        self.call_until().is_some_and(|until| now >= until)
    }

    /// An exchange that no client began.
    #[must_use]
    pub fn alone(address: SocketAddr, started: Now, dice: u64) -> Self {
        Self {
            started,
            dice,
            head: Head::default(),
            body: None,
            client: address.ip(),
            connection: Rc::new(ClientConnection::new(address, address)),
            stream: Rc::default(),
            accept: None,
            key: 0,
            tally: None,
            signature: None,
            record: AccessRecord::default(),
            cache_status: None,
            grpc: None,
        }
    }

    /// An exchange that goes on behind this one, for nobody in particular: no client waits for it, nor can stop it.
    ///
    /// It has no head but the target's, and no body.
    #[must_use]
    pub fn behind(&self, started: Now) -> Self {
        let head = Head { method: self.head.method.clone(), ..Head::default() };
        Self {
            started,
            dice: self.dice.rotate_left(32),
            head,
            body: None,
            client: self.client,
            connection: Rc::clone(&self.connection),
            stream: Rc::default(),
            accept: None,
            key: self.key,
            tally: None,
            signature: self.signature.clone(),
            record: AccessRecord::default(),
            cache_status: None,
            grpc: None,
        }
    }
}

/// What all requests of one client connection share.
#[derive(Debug)]
pub struct ClientConnection {
    /// The client's address: that of the other end of the socket, or what a load balancer there says by the PROXY protocol.
    pub peer: SocketAddr,
    /// The address that the client has connected to.
    pub local: SocketAddr,
    /// Where the client has connected; `None`: no client has.
    pub listener: Option<Arc<ListenAddress>>,
    /// How the client's requests travel.
    pub scheme: Scheme,
    /// What its TLS handshake has shown; `None`: it speaks without TLS.
    pub tls: Option<Box<ClientTls>>,
    /// The host name that it has asked a load balancer for, as that says by the PROXY protocol.
    pub authority: Option<Box<str>>,
    /// What a plan says of it.
    terms: RefCell<Option<Rc<ConnectionTerms>>>,
    /// The forwarding fields that its last request went on with: the next one's are the same, as a rule.
    forwarding: RefCell<Option<Forwarding>>,
    /// The host that its last request was for: clients rarely ask for another on the same connection.
    pub known_host: RefCell<Option<Rc<Host>>>,
    /// What `upstream` keeps for this connection, and for no longer.
    kept_by_upstream: OnceCell<Box<dyn Any>>,
}

/// What a plan says of a client's connection, worked out once for all of its requests.
#[derive(Debug)]
pub struct ConnectionTerms {
    /// The number of the plan.
    pub plan: u64,
    /// What its requests say of it to backends.
    pub forwarding: ForwardingFields,
    /// The port of the `https` URLs that its requests are redirected to, if it came by `http`; `None`: they are not.
    pub redirect_https: Option<NonZeroU16>,
}

/// What the forwarding fields of a request depend on, beside its connection.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'h> {
    /// The number of the plan that it is served under.
    pub plan: u64,
    /// The version that its client speaks.
    pub version: Version,
    /// The host that its backend receives.
    pub host: &'h str,
}

/// Forwarding fields, `Via` and `X-Request-Id` among them, and which requests they are for.
#[derive(Debug)]
struct Forwarding {
    plan: u64,
    version: Version,
    host: Box<str>,
    fields: LineBlock<32>,
}

/// A host that has been found valid.
#[derive(Debug)]
pub struct Host {
    /// With its port, as the client wrote it.
    pub authority: Box<str>,
    /// The name that routes go by: without port and final dot, in lower case.
    pub name: Box<str>,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// Whether the name is written with a final dot.
    pub has_final_dot: bool,
    /// The authority in normal form for `http`, where it is written otherwise.
    http: Option<Box<str>>,
    /// The authority in normal form for `https`, where it is written otherwise.
    https: Option<Box<str>>,
}

impl Host {
    /// Checks an authority.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(authority: &[u8]) -> Result<Self, BadHost> {
        let parsed = host::Host::parse(authority)?;
        let normal = |scheme| match parsed.authority(scheme) {
            Cow::Borrowed(_) => None,
            Cow::Owned(normal) => Some(normal.into_boxed_str()),
        };
        Ok(Self {
            authority: Box::from(parsed.text()),
            name: Box::from(&*parsed.normal()),
            port: parsed.port(),
            has_final_dot: parsed.has_final_dot(),
            http: normal(Scheme::Http),
            https: normal(Scheme::Https),
        })
    }

    /// The authority in normal form (RFC 9110 §4.2.3).
    #[must_use]
    pub fn normal(&self, scheme: Scheme) -> &str {
        let normal = match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        normal.as_deref().unwrap_or(&self.authority)
    }
}

impl ClientConnection {
    /// A connection between these addresses.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            peer,
            local,
            listener: None,
            scheme: Scheme::Http,
            tls: None,
            authority: None,
            terms: RefCell::default(),
            forwarding: RefCell::default(),
            known_host: RefCell::default(),
            kept_by_upstream: OnceCell::new(),
        }
    }

    /// The connection of a client that has connected to this listener.
    #[must_use]
    pub fn accepted(peer: SocketAddr, local: SocketAddr, listener: Arc<ListenAddress>) -> Self {
        Self { listener: Some(listener), ..Self::new(peer, local) }
    }

    /// The same connection, with what a load balancer says of it.
    #[must_use]
    pub fn passed_on(self, header: Header) -> Self {
        let Header { addresses, is_secure, authority } = header;
        let (peer, local) = addresses.map_or((self.peer, self.local), |ends| (ends.source, ends.destination));
        let scheme = if is_secure { Scheme::Https } else { self.scheme };
        Self { peer, local, scheme, authority, ..self }
    }

    /// Whether a client has opened it; else the proxy asks for itself.
    #[must_use]
    pub fn is_of_client(&self) -> bool {
        self.listener.is_some()
    }

    /// What a PROXY header to a backend says of it, and the version of TLS that the client speaks with forebay.
    #[must_use]
    pub fn introduction(&self) -> (Header, Option<&'static str>) {
        if !self.is_of_client() {
            return (Header::default(), None);
        }
        let server_name = self.tls.as_ref().and_then(|tls| tls.server_name.as_ref());
        let header = Header {
            addresses: Some(Addresses { source: self.peer, destination: self.local }),
            is_secure: self.scheme == Scheme::Https,
            authority: server_name.or(self.authority.as_ref()).cloned(),
        };
        (header, self.tls.as_ref().and_then(|tls| tls.version))
    }

    /// Looks at what `upstream` keeps for this connection, which `make` makes the first time; `None`: what is kept is not
    /// of that type.
    pub fn kept_by_upstream<T: 'static, U>(&self, make: impl FnOnce() -> T, look: impl FnOnce(&T) -> U) -> Option<U> {
        self.kept_by_upstream.get_or_init(|| Box::new(make())).downcast_ref().map(look)
    }

    /// The same connection over TLS.
    #[must_use]
    pub fn over_tls(self, tls: ClientTls) -> Self {
        Self { scheme: Scheme::Https, tls: Some(Box::new(tls)), ..self }
    }

    /// Appends the forwarding fields that `make` makes, and the name of the exchange. All but that is the same for all
    /// requests of one plan, version and host that say nothing themselves of who asked, so it is made once for those that
    /// follow one another.
    pub fn append_forwarding(
        &self,
        fields: &mut Fields,
        request: &Forwarded<'_>,
        id: &[u8; 32],
        make: impl FnOnce() -> Fields,
    ) {
        let Forwarded { plan, version, host } = *request;
        let mut kept = self.forwarding.borrow_mut();
        let is_like = |known: &&mut Forwarding| known.plan == plan && known.version == version && *known.host == *host;
        if let Some(known) = kept.as_mut().filter(is_like) {
            return fields.append_block(&known.fields, id);
        }
        let made = make();
        match LineBlock::new(&made, Known::XRequestId) {
            Ok(block) => {
                let known = kept.insert(Forwarding { plan, version, host: host.into(), fields: block });
                fields.append_block(&known.fields, id);
            }
            // Too long to be kept.
            Err(_) => {
                fields.append_all(&made);
                fields.append(Known::XRequestId, id);
            }
        }
    }

    /// What the plan of this number says of it.
    pub fn terms(&self, plan: u64, make: impl FnOnce() -> ConnectionTerms) -> Rc<ConnectionTerms> {
        let mut kept = self.terms.borrow_mut();
        match &*kept {
            Some(known) if known.plan == plan => Rc::clone(known),
            Some(_) | None => Rc::clone(kept.insert(Rc::new(make()))),
        }
    }
}
