//! gRPC: calls and their trailers, what limits them, how their statuses are judged, and what forebay's own errors look like.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod h2_backend;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use h2_backend::{Backend, Stream, map};
use http::{HeaderMap, Request};
use testbed::{Config, DEADLINE, Forebay, eventually, routes};
use tokio::runtime::Runtime;

const GRPC: (&str, &str) = ("content-type", "application/grpc");

fn config(backends: &[&Backend], keys: &str) -> Config {
    let urls: Vec<String> = backends.iter().map(|backend| format!("\"{}\"", backend.url())).collect();
    routes(&format!(
        "[[listener]]\naddress = \"127.0.0.2:0\"\nprotocols = [\"h2\"]\n[[upstream]]\nname = \"app\"\nbackends = [{}]\n\
         protocol = \"h2\"\n{keys}\n[[route]]\nupstream = \"app\"\n",
        urls.join(", ")
    ))
}

fn message(content: &[u8]) -> Bytes {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[0], &length[..], content].concat().into()
}

/// A client of one connection.
struct Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

/// How a call has ended.
struct Ended {
    status: String,
    text: String,
    body: Vec<u8>,
    head: HeaderMap,
}

async fn timely<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("it comes in time")
}

/// The next piece of a body; empty at its end.
async fn next(body: &mut RecvStream) -> Bytes {
    let Some(piece) = timely(body.data()).await else { return Bytes::new() };
    let piece = piece.unwrap();
    body.flow_control().release_capacity(piece.len()).unwrap();
    piece
}

async fn end(response: ResponseFuture) -> Ended {
    let (head, mut body) = timely(response).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    let mut content = Vec::new();
    loop {
        let piece = next(&mut body).await;
        if piece.is_empty() {
            break;
        }
        content.extend_from_slice(&piece);
    }
    let trailers = timely(body.trailers()).await.unwrap();
    let last = trailers.as_ref().unwrap_or(&head.headers);
    let text = |name| last.get(name).map_or("", |value: &http::HeaderValue| value.to_str().unwrap()).to_owned();
    Ended { status: text("grpc-status"), text: text("grpc-message"), body: content, head: head.headers }
}

impl Client {
    fn to(forebay: &Forebay) -> Self {
        let address = forebay.addresses()[1];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let (sender, connection) = h2::client::handshake(socket).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    fn begin(&mut self, fields: &[(&str, &str)], is_all: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::post("http://shop.test/t.T/Call").header("te", "trailers").header(GRPC.0, GRPC.1);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let sender = self.sender.clone();
        let mut sender = self.runtime.block_on(timely(sender.ready())).unwrap();
        sender.send_request(request.body(()).unwrap(), is_all).unwrap()
    }

    /// One message, and how the call has ended.
    fn call(&mut self, fields: &[(&str, &str)], content: &[u8]) -> Ended {
        let (response, mut body) = self.begin(fields, false);
        body.send_data(message(content), true).unwrap();
        self.runtime.block_on(end(response))
    }
}

/// Answers a call with these messages and this status.
fn answer(stream: &mut Stream, messages: &[&[u8]], status: &'static str) {
    let mut body = stream.head(200, &[GRPC, ("cache-control", "max-age=60")]);
    for content in messages {
        body.send_data(message(content), false).unwrap();
    }
    body.send_trailers(map(&[("grpc-status", status)])).unwrap();
}

fn unary(status: &'static str) -> Backend {
    Backend::start(move |mut stream| async move {
        let seen = stream.read().await;
        answer(&mut stream, &[&seen.body[5..]], status);
    })
}

/// A backend that cannot take calls; it says so in the head alone.
fn unavailable() -> Backend {
    Backend::start(|mut stream| async move {
        stream.read().await;
        stream.bare(200, &[GRPC, ("grpc-status", "14"), ("grpc-message", "down")]);
    })
}

#[test]
fn a_call_keeps_its_message_and_its_trailers() {
    let backend = unary("0");
    let forebay = Forebay::start(config(&[&backend], ""));
    let ended = Client::to(&forebay).call(&[("grpc-timeout", "10S")], b"hello");
    assert_eq!((ended.status.as_str(), ended.body.as_slice()), ("0", &message(b"hello")[..]));
    let seen = backend.last();
    assert_eq!(
        (&seen.fields["te"], &seen.fields["grpc-timeout"]),
        (&"trailers".parse().unwrap(), &"10S".parse().unwrap())
    );
}

#[test]
fn messages_pass_both_ways_as_they_come() {
    let backend = Backend::start(|mut stream| async move {
        let mut sender = stream.head(200, &[GRPC]);
        while let Some(Ok(piece)) = stream.body.data().await {
            stream.body.flow_control().release_capacity(piece.len()).unwrap();
            sender.send_data(piece, false).unwrap();
        }
        sender.send_trailers(map(&[("grpc-status", "0")])).unwrap();
    });
    let forebay = Forebay::start(config(&[&backend], ""));
    let mut client = Client::to(&forebay);
    let (response, mut sender) = client.begin(&[], false);
    client.runtime.block_on(async {
        let mut body = timely(response).await.unwrap().into_body();
        for number in 0..5_u8 {
            sender.send_data(message(&[number]), number == 4).unwrap();
            assert_eq!(next(&mut body).await, message(&[number]));
        }
        assert!(next(&mut body).await.is_empty());
        assert_eq!(timely(body.trailers()).await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn a_stream_that_is_silent_or_long_meets_none_of_the_limits_of_requests() {
    let backend = Backend::start(|mut stream| async move {
        let seen = stream.read().await;
        // Longer than any of the time-outs below.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut body = stream.head(200, &[GRPC]);
        body.send_data(message(b"one"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        body.send_data(message(seen.body.len().to_string().as_bytes()), false).unwrap();
        body.send_trailers(map(&[("grpc-status", "0")])).unwrap();
    });
    let keys = "[upstream.timeouts]\nresponse_head = \"50ms\"\nbody_idle = \"50ms\"\n[upstream.retry]\nattempts = 0";
    let server = "body_bytes_max = \"1KiB\"\nbody_timeout = \"50ms\"\nbody_rate_min = \"1MiB\"";
    let forebay = Forebay::start(config(&[&backend], keys).server(server));
    let mut client = Client::to(&forebay);
    let (response, mut sender) = client.begin(&[], false);
    let ended = client.runtime.block_on(async {
        sender.send_data(Bytes::from(vec![0; 4000]), false).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        sender.send_data(Bytes::from(vec![0; 4000]), true).unwrap();
        end(response).await
    });
    assert_eq!((ended.status.as_str(), ended.body), ("0", [message(b"one"), message(b"8000")].concat()));
}

#[test]
fn a_call_ends_when_its_client_has_given_it_up() {
    let backend = Backend::start(|mut stream| async move {
        let mut sender = stream.head(200, &[GRPC]);
        let _reset = std::future::poll_fn(|cx| sender.poll_reset(cx)).await;
        stream.read().await;
    });
    let silent = Backend::start(|mut stream| async move {
        let _reset = std::future::poll_fn(|cx| stream.respond.poll_reset(cx)).await;
        stream.read().await;
    });
    let forebay = Forebay::start(config(&[&silent], ""));
    let ended = Client::to(&forebay).call(&[("grpc-timeout", "100m")], b"x");
    assert_eq!((ended.status.as_str(), &ended.head["content-type"]), ("4", &"application/grpc".parse().unwrap()));
    eventually("its stream is reset", || !silent.seen().is_empty());
    let forebay = Forebay::start(config(&[&backend], ""));
    let mut client = Client::to(&forebay);
    let (response, _sender) = client.begin(&[("grpc-timeout", "200m")], false);
    let broken = client.runtime.block_on(async {
        let mut body = timely(response).await.unwrap().into_body();
        timely(body.data()).await
    });
    assert!(broken.is_some_and(|piece| piece.is_err()));
    eventually("its stream is reset", || !backend.seen().is_empty());
}

#[test]
fn errors_of_the_proxy_have_the_form_of_grpc() {
    let gone = testbed::Origin::start(testbed::ok(""));
    let url = gone.url();
    gone.go_down();
    let backend = unary("0");
    let text = config(&[&backend], "").to_string().replace(&backend.url(), &url);
    let forebay = Forebay::start(text);
    let ended = Client::to(&forebay).call(&[], b"x");
    assert_eq!((ended.status.as_str(), &ended.head["content-type"]), ("14", &"application/grpc".parse().unwrap()));
    assert!(ended.text.starts_with("the backend failed (id "), "{}", ended.text);
}

#[test]
fn a_backend_that_is_unavailable_is_ejected_whether_head_or_trailers_say_so() {
    for bad in [unavailable(), unary("14")] {
        let good = unary("0");
        let keys = "[upstream.ejection]\nconsecutive_failures = 1\nbase_time = \"10m\"\nmax_time = \"1h\"";
        let forebay = Forebay::start(config(&[&bad, &good], keys));
        let mut client = Client::to(&forebay);
        let statuses: Vec<String> = (0..8).map(|_| client.call(&[], b"x").status).collect();
        assert_eq!(statuses.iter().filter(|status| *status == "14").count(), 1, "{statuses:?}");
        assert_eq!((bad.seen().len(), good.seen().len()), (1, 7));
    }
}

#[test]
fn a_call_that_was_answered_is_repeated_only_for_the_statuses_of_the_file() {
    let (bad, good) = (unavailable(), unary("0"));
    let keys = "[upstream.ejection]\nconsecutive_failures = 0\n[upstream.retry]\nbudget_floor = 100\n";
    let forebay = Forebay::start(config(&[&bad, &good], keys));
    let mut client = Client::to(&forebay);
    let statuses: Vec<String> = (0..4).map(|_| client.call(&[], b"x").status).collect();
    assert_eq!(statuses.iter().filter(|status| *status == "14").count(), 2, "{statuses:?}");
    let forebay = Forebay::start(config(&[&bad, &good], &format!("{keys}grpc_statuses = [14]")));
    let mut client = Client::to(&forebay);
    for _ in 0..4 {
        assert_eq!(client.call(&[], b"x").status, "0");
    }
}

#[test]
fn a_call_is_never_stored() {
    let backend = unary("0");
    let forebay = Forebay::start(config(&[&backend], "").to_string() + "[route.cache]\nttl_force = \"1h\"\n");
    let mut client = Client::to(&forebay);
    for _ in 0..2 {
        assert_eq!(client.call(&[], b"x").status, "0");
    }
    assert_eq!(backend.seen().len(), 2);
}
