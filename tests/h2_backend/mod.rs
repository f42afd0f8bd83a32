//! Backends that speak HTTP/2: one that answers by a function, and one whose frames a test writes itself.
#![allow(dead_code, unreachable_pub)]

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use testbed::{DEADLINE, eventually};

/// A request as a backend has received it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Scheme, authority and path.
    pub uri: String,
    pub fields: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// Whether the body has ended as it should.
    pub is_whole: bool,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    open: AtomicUsize,
    open_most: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
}

/// A backend that answers each stream by a function.
pub struct Backend {
    pub address: SocketAddr,
    state: Arc<State>,
}

/// A stream that a backend has to answer.
pub struct Stream {
    pub request: Request<()>,
    pub body: RecvStream,
    pub respond: SendResponse<Bytes>,
    state: Arc<State>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.state.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stream {
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// Reads the whole body, and takes note of the request.
    pub async fn read(&mut self) -> Seen {
        let (mut content, mut is_whole) = (Vec::new(), true);
        while let Some(piece) = self.body.data().await {
            let Ok(piece) = piece else {
                is_whole = false;
                break;
            };
            self.body.flow_control().release_capacity(piece.len()).unwrap();
            content.extend_from_slice(&piece);
        }
        let trailers = if is_whole { self.body.trailers().await } else { Ok(None) };
        is_whole &= trailers.is_ok();
        let seen = Seen {
            method: self.request.method().clone(),
            uri: self.request.uri().to_string(),
            fields: self.request.headers().clone(),
            body: content,
            trailers: trailers.unwrap_or_default(),
            is_whole,
        };
        self.state.seen.lock().unwrap().push(seen.clone());
        seen
    }

    /// Sends a head; the body follows.
    pub fn head(&mut self, status: u16, fields: &[(&'static str, &'static str)]) -> SendStream<Bytes> {
        self.respond.send_response(response(status, fields), false).unwrap()
    }

    /// Sends a response without a body.
    pub fn bare(&mut self, status: u16, fields: &[(&'static str, &'static str)]) {
        let _sent = self.respond.send_response(response(status, fields), true);
    }

    pub fn answer(&mut self, status: u16, fields: &[(&'static str, &'static str)], body: &str) {
        let mut stream = self.head(status, fields);
        let _sent = stream.send_data(Bytes::from(body.to_owned()), true);
    }
}

pub fn response(status: u16, fields: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

pub fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    response(200, fields).into_parts().0.headers
}

impl Backend {
    /// A backend that takes note of each request and answers it by `answer`.
    pub fn start<F: Future<Output = ()> + 'static>(answer: impl Fn(Stream) -> F + Send + 'static) -> Self {
        Self::with(&Builder::new(), answer)
    }

    /// One that answers 200 with this body, after it has read the request.
    pub fn ok(body: &'static str) -> Self {
        Self::start(move |mut stream| async move {
            if stream.read().await.is_whole {
                stream.answer(200, &[], body);
            }
        })
    }

    pub fn with<F: Future<Output = ()> + 'static>(
        builder: &Builder,
        answer: impl Fn(Stream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state, builder) = (listener.local_addr().unwrap(), Arc::<State>::default(), builder.clone());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, serve(listener, shared, builder, answer));
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that were read, in the order in which they ended.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        eventually("a request is seen", || !self.seen().is_empty());
        self.seen().pop().unwrap()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many streams are being answered, and how many were at most.
    pub fn open(&self) -> (usize, usize) {
        (self.state.open.load(Ordering::SeqCst), self.state.open_most.load(Ordering::SeqCst))
    }
}

async fn serve<F: Future<Output = ()> + 'static>(
    listener: TcpListener,
    state: Arc<State>,
    builder: Builder,
    answer: impl Fn(Stream) -> F + Send + 'static,
) {
    let answer = std::rc::Rc::new(answer);
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((socket, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (state, builder, answer) = (Arc::clone(&state), builder.clone(), std::rc::Rc::clone(&answer));
        tokio::task::spawn_local(async move {
            let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let (parts, body) = request.into_parts();
                let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
                state.open_most.fetch_max(open, Ordering::SeqCst);
                let request = Request::from_parts(parts, ());
                tokio::task::spawn_local(answer(Stream { request, body, respond, state: Arc::clone(&state) }));
            }
        });
    }
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// A backend whose frames a test writes itself.
pub struct RawBackend(TcpListener);

impl RawBackend {
    pub fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The next connection, as far as the client's preface.
    pub fn accept(&self) -> RawPeer {
        self.0.set_nonblocking(true).unwrap();
        let mut accepted = None;
        eventually("a connection comes", || {
            accepted = self.0.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut peer = RawPeer(stream);
        let mut preface = [0; 24];
        peer.0.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        peer
    }

    /// The next connection, with settings exchanged.
    pub fn greet(&self, settings: &[(u16, u32)]) -> RawPeer {
        let mut peer = self.accept();
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        peer.send(SETTINGS, 0, 0, &payload).send(SETTINGS, 1, 0, &[]);
        peer
    }
}

/// The client's end of a connection.
pub struct RawPeer(pub TcpStream);

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl RawPeer {
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Self {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let header = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[header.as_slice(), payload].concat()).unwrap();
        self
    }

    /// The next frame; `None`: the connection has ended.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Some(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    /// The next frame of this type.
    #[track_caller]
    pub fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().expect("the connection is open");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    pub fn reset(&mut self, stream: u32, reason: u32) -> &mut Self {
        self.send(RST_STREAM, 0, stream, &reason.to_be_bytes())
    }

    pub fn go_away(&mut self, last_stream: u32, reason: u32) -> &mut Self {
        self.send(GOAWAY, 0, 0, &[last_stream.to_be_bytes(), reason.to_be_bytes()].concat())
    }

    /// A head; `flags` beside that it is whole.
    pub fn head(&mut self, stream: u32, flags: u8, status: &str, fields: &[(&str, &str)]) -> &mut Self {
        let mut block = vec![8, u8::try_from(status.len()).unwrap()];
        block.extend(status.as_bytes());
        for (name, value) in fields {
            block.extend([0, u8::try_from(name.len()).unwrap()]);
            block.extend(name.as_bytes());
            block.push(u8::try_from(value.len()).unwrap());
            block.extend(value.as_bytes());
        }
        self.send(HEADERS, END_HEADERS | flags, stream, &block)
    }
}
