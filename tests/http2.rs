//! HTTP/2 towards clients: requests both ways, resets, drain, cache, and which protocol is spoken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use testbed::{
    BodyEnd, Client, Config, DEADLINE, Forebay, Gate, Origin, answer, chunked, echo, eventually, forward, hang, ok,
    raw, script,
};
use tokio::runtime::Runtime;

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";

/// A proxy whose second listener speaks both protocols.
fn both(config: Config) -> Config {
    config.more("[[listener]]\naddress = \"127.0.0.2:0\"\nprotocols = [\"h2\", \"http/1.1\"]\n")
}

fn start(config: Config) -> (Forebay, SocketAddr) {
    let forebay = Forebay::start(both(config));
    let address = forebay.addresses()[1];
    (forebay, address)
}

/// A client's connection.
struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

struct Response {
    status: u16,
    head: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Response {
    fn field(&self, name: &str) -> &str {
        self.head.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is(&self, status: u16, body: &str) -> &Self {
        assert_eq!((self.status, String::from_utf8_lossy(&self.body).as_ref()), (status, body));
        self
    }
}

async fn timely<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("it comes in time")
}

async fn read(response: ResponseFuture) -> Result<Response, h2::Error> {
    let (head, mut body): (_, RecvStream) = timely(response).await?.into_parts();
    let mut content = Vec::new();
    while let Some(piece) = timely(body.data()).await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        content.extend_from_slice(&piece);
    }
    let trailers = timely(body.trailers()).await?;
    Ok(Response { status: head.status.as_u16(), head: head.headers, body: content, trailers })
}

/// Sends a body as the window allows.
async fn send(stream: &mut SendStream<Bytes>, mut body: Bytes, ends: bool) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(room) = timely(std::future::poll_fn(|cx| stream.poll_capacity(cx))).await else { return Ok(()) };
        let piece = body.split_to(room?.min(body.len()));
        stream.send_data(piece, ends && body.is_empty())?;
    }
    Ok(())
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://shop.test{path}"))
}

impl Http2 {
    fn to(address: SocketAddr) -> Self {
        Self::with(address, &Builder::new())
    }

    fn with(address: SocketAddr, builder: &Builder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let (sender, connection) = timely(builder.handshake(socket)).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            sender
        });
        Self { runtime, sender }
    }

    fn try_ask(&mut self, request: http::request::Builder, body: &[u8]) -> Result<Response, h2::Error> {
        let body = Bytes::copy_from_slice(body);
        self.runtime.block_on(async {
            let mut sender = timely(self.sender.clone().ready()).await?;
            let (response, mut stream) = sender.send_request(request.body(()).unwrap(), body.is_empty())?;
            let (_sent, response) = tokio::join!(send(&mut stream, body, true), read(response));
            response
        })
    }

    fn ask(&mut self, request: http::request::Builder, body: &[u8]) -> Response {
        self.try_ask(request, body).unwrap()
    }

    fn get(&mut self, path: &str) -> Response {
        self.ask(request("GET", path), b"")
    }

    /// Sends a request without waiting for its response.
    fn begin(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        self.runtime.block_on(async {
            let mut sender = timely(self.sender.clone().ready()).await.unwrap();
            let begun = sender.send_request(request("GET", path).body(()).unwrap(), true).unwrap();
            // Its frames are written by the connection's task.
            tokio::task::yield_now().await;
            begun
        })
    }

    /// Drives the connection's task until a condition holds.
    fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        eventually(what, || {
            self.runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
            holds()
        });
    }
}

#[test]
fn a_request_goes_on_as_http_1_1_and_says_that_it_came_by_http_2() {
    let origin = Origin::start(answer(200, &[("X-Up", "1"), ("Connection", "x-gone"), ("X-Gone", "1")], "served"));
    let (forebay, address) = start(forward([&origin]));
    let mut client = Http2::to(address);
    let asked = request("GET", "/a/../b?c").header("cookie", "a=1").header("x-a", "1").header("cookie", "b=2");
    let response = client.ask(asked.header("host", "SHOP.test"), b"");
    response.is(200, "served");
    assert_eq!((response.field("x-up"), response.field("content-length"), response.field("x-gone")), ("1", "6", ""));
    assert!(!response.field("date").is_empty() && response.head.get("connection").is_none());
    let seen = origin.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/b?c"));
    assert_eq!(seen.head.fields("host"), ["shop.test"]);
    assert_eq!(seen.head.fields("cookie"), ["a=1; b=2"]);
    assert!(seen.head.fields("via")[0].starts_with("2 forebay-"), "{:?}", seen.head.fields("via"));
    assert!(seen.head.fields("transfer-encoding").is_empty() && seen.head.fields("content-length").is_empty());
    drop(client);
    forebay.is_idle();
}

#[test]
fn bodies_go_both_ways_through_small_windows() {
    let origin = Origin::start(echo());
    let (forebay, address) =
        start(forward([&origin]).server("http2 = { stream_window = \"64KiB\", connection_window = \"64KiB\" }"));
    let mut client =
        Http2::with(address, Builder::new().initial_window_size(1_000).initial_connection_window_size(70_000));
    let body: Vec<u8> = (0..300_000_u32).map(|index| b'a' + u8::try_from(index % 23).unwrap()).collect();
    for declared in [true, false] {
        let mut asked = request("POST", "/");
        if declared {
            asked = asked.header("content-length", body.len());
        }
        let response = client.ask(asked, &body);
        assert_eq!(response.status, 200);
        // A body of unknown length is echoed with the chunks of HTTP/1.1.
        assert!(response.body.len() > body.len() && (!declared || response.body.ends_with(&body)), "{declared}");
        assert_eq!((origin.last().body.len(), origin.last().body_end), (body.len(), BodyEnd::Complete));
    }
    drop(client);
    forebay.is_idle();
}

#[test]
fn trailers_go_both_ways() {
    let origin = Origin::start(chunked(&["abc", "def"], &[("X-Sum", "6")]));
    let (_forebay, address) = start(forward([&origin]));
    let client = Http2::to(address);
    let response = client.runtime.block_on(async {
        let mut sender = timely(client.sender.clone().ready()).await.unwrap();
        let asked = request("POST", "/").header("te", "trailers").header("trailer", "x-check").body(()).unwrap();
        let (response, mut stream) = sender.send_request(asked, false).unwrap();
        send(&mut stream, Bytes::from_static(b"content"), false).await.unwrap();
        let trailers = HeaderMap::from_iter([("x-check".parse().unwrap(), "7".parse().unwrap())]);
        stream.send_trailers(trailers).unwrap();
        read(response).await.unwrap()
    });
    response.is(200, "abcdef");
    assert_eq!(response.trailers.unwrap().get("x-sum").unwrap(), "6");
    let seen = origin.last();
    assert_eq!((seen.body.as_slice(), seen.trailers), (b"content".as_slice(), vec![("x-check".into(), "7".into())]));
}

#[test]
fn responses_without_a_body_have_none() {
    let origin = Origin::start(ok("served"));
    origin.at("/204", raw("HTTP/1.1 204 No Content\r\n\r\n"));
    origin.at("/304", raw("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 6\r\n\r\n"));
    origin.at("/head", raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"));
    origin.at("/empty", ok(""));
    let (_forebay, address) = start(forward([&origin]));
    let mut client = Http2::to(address);
    assert_eq!(client.ask(request("HEAD", "/head"), b"").is(200, "").field("content-length"), "6");
    assert!(client.get("/204").is(204, "").head.get("content-length").is_none());
    assert_eq!(client.get("/304").is(304, "").field("etag"), "\"a\"");
    assert_eq!(client.get("/empty").is(200, "").field("content-length"), "0");
    client.get("/").is(200, "served");
}

#[test]
fn a_hundred_streams_of_one_connection_are_served_at_once() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let (forebay, address) = start(forward([&origin]));
    let mut client = Http2::to(address);
    let begun: Vec<_> = (0..100).map(|index| client.begin(&format!("/{index}"))).collect();
    client.eventually("the backend has them all", || origin.held() == 100);
    gate.open();
    for (response, _stream) in begun {
        client.runtime.block_on(read(response)).unwrap().is(200, "done");
    }
    drop(client);
    forebay.is_idle();
}

#[test]
fn a_stream_that_its_client_resets_is_given_up_at_the_backend_and_others_go_on() {
    let origin = Origin::start(hang());
    origin.at("/here", ok("here"));
    let (forebay, address) = start(forward([&origin]));
    let mut client = Http2::to(address);
    let (response, mut stream) = client.begin("/");
    client.eventually("the backend has it", || origin.held() == 1);
    stream.send_reset(h2::Reason::CANCEL);
    client.eventually("it is given up", || origin.abandoned() == 1);
    drop((response, stream));
    client.get("/here").is(200, "here");
    drop(client);
    forebay.is_idle();
}

#[test]
fn a_body_that_is_reset_half_way_never_looks_whole() {
    let origin = Origin::start(script().read_body().then(ok("whole")));
    let (forebay, address) = start(forward([&origin]));
    let client = Http2::to(address);
    client.runtime.block_on(async {
        let mut sender = timely(client.sender.clone().ready()).await.unwrap();
        let (_response, mut stream) = sender.send_request(request("POST", "/").body(()).unwrap(), false).unwrap();
        send(&mut stream, Bytes::from_static(b"half"), false).await.unwrap();
        tokio::task::yield_now().await;
        stream.send_reset(h2::Reason::CANCEL);
        tokio::task::yield_now().await;
    });
    drop(client);
    forebay.is_idle();
    assert!(origin.requests().iter().all(|request| request.body_end != BodyEnd::Complete));
}

#[test]
fn a_client_that_cuts_its_connection_gives_up_all_of_its_streams() {
    let origin = Origin::start(hang());
    let (forebay, address) = start(forward([&origin]));
    let mut client = Http2::to(address);
    let begun: Vec<_> = (0..5).map(|_| client.begin("/")).collect();
    client.eventually("the backend has them", || origin.held() == 5);
    drop((begun, client));
    eventually("they are given up", || origin.abandoned() == 5);
    forebay.is_idle();
}

#[test]
fn a_response_that_breaks_off_is_reset() {
    let origin = Origin::start(raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").close());
    let (forebay, address) = start(forward([&origin]));
    let mut client = Http2::to(address);
    let error = client.try_ask(request("GET", "/"), b"").err().expect("it is not whole");
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    drop(client);
    forebay.is_idle();
}

#[test]
fn a_drain_lets_streams_finish() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let (forebay, address) = start(forward([&origin]));
    let mut client = Http2::to(address);
    let (response, _stream) = client.begin("/");
    client.eventually("the backend has it", || origin.held() == 1);
    forebay.drain();
    gate.open();
    client.runtime.block_on(read(response)).unwrap().is(200, "done");
    client.eventually("it is told to leave", || forebay.is_drained());
    forebay.wait();
}

#[test]
fn a_reload_changes_what_the_next_stream_gets() {
    let origin = Origin::start(ok("old"));
    let (forebay, address) = start(forward([&origin]));
    let mut client = Http2::to(address);
    client.get("/").is(200, "old");
    let other = Origin::start(ok("new"));
    forebay.reload(both(forward([&other])));
    client.eventually("the plan is taken up", || forebay.gauges().connections >= 1);
    eventually("the next stream goes by the new plan", || client.get("/").body == b"new");
}

#[test]
fn limits_of_requests_hold_on_streams_too() {
    let origin = Origin::start(echo());
    let (forebay, address) =
        start(forward([&origin]).server("body_bytes_max = \"100KiB\"\nheader_bytes_max = \"8KiB\""));
    let mut client = Http2::to(address);
    let long = vec![b'x'; 200_000];
    assert_eq!(client.ask(request("POST", "/").header("content-length", long.len()), &long).status, 413);
    assert_eq!(client.ask(request("POST", "/"), &long).status, 413);
    assert_eq!(client.ask(request("GET", "/").header("x", "y".repeat(9_000)), b"").status, 431);
    assert_eq!(client.ask(request("TRACE", "/"), b"").status, 405);
    assert_eq!(client.ask(request("GET", "/%00"), b"").status, 400);
    assert_eq!(client.ask(request("GET", "/").header("host", "other.test"), b"").status, 400);
    assert_eq!(client.ask(request("GET", "/").header("x", "blank "), b"").status, 400);
    assert_eq!(client.ask(request("GET", "/").header("expect", "200-maybe"), b"").status, 417);
    assert_eq!(client.get("/").status, 200);
    drop(client);
    forebay.is_idle();
}

#[test]
fn a_client_that_takes_nothing_loses_its_stream() {
    let origin = Origin::start(ok(&"x".repeat(200_000)));
    let (forebay, address) = start(forward([&origin]).server("write_timeout = \"300ms\""));
    let mut client = Http2::with(address, Builder::new().initial_window_size(10));
    let (response, _stream) = client.begin("/");
    let (_head, mut body) = client.runtime.block_on(async { timely(response).await.unwrap() }).into_parts();
    let error = client.runtime.block_on(async {
        loop {
            match timely(body.data()).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("the body can't be whole"),
            }
        }
    });
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    client.eventually("its backend is given back", || forebay.gauges().in_flight == 0);
    drop(client);
    forebay.is_idle();
}

#[test]
fn what_is_stored_is_served_whatever_the_protocol() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(answer(200, &[("Cache-Control", "max-age=60")], "kept")));
    let (forebay, address) = start(forward([&origin]).cached(""));
    let mut plain = Client::to(address);
    plain.send(GET);
    eventually("the backend has it", || origin.held() == 1);
    let mut client = Http2::to(address);
    let (response, _stream) = client.begin("/");
    client.eventually("it waits for the other's", || forebay.gauges().following == 1);
    gate.open();
    plain.read_response().is(200, "kept");
    client.runtime.block_on(read(response)).unwrap().is(200, "kept");
    assert!(client.get("/").is(200, "kept").field("cache-status").starts_with("forebay; hit"));
    plain.send(GET).read_response().is(200, "kept").is_hit();
    assert_eq!(origin.seen(), 1);
}

#[test]
fn http_1_1_is_spoken_with_those_who_begin_so() {
    let origin = Origin::start(echo());
    let (forebay, address) = start(forward([&origin]));
    let mut client = Client::to(address);
    for _ in 0..2 {
        client.send("P").send("OST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        assert!(client.read_response().is_status(200).text().ends_with("abc"));
    }
    // Bytes that only begin like the preface are parsed as HTTP/1.1, and malformed.
    Client::to(address).send("PRI * HTTP/2.0\r\n\r\nXX").read_response().is_status(505);
    Client::to(forebay.address()).send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").read_response().is_status(505);
    drop(client);
    forebay.is_idle();
}
