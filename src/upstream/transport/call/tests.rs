//! Calls over a pair of sockets: responses cut in two anywhere, what is left of a connection behind them.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, Waker};

use http::{Method, Uri};
use http1::HEAD_BYTES_CAP;

use super::super::connection::Connection;
use super::*;

/// Runs `test` with a runtime around it.
fn run<T>(test: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(test())
}

fn connection() -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = tokio::net::UnixStream::from_std(ours).unwrap();
    (Connection::new(Socket::Unix(ours), None), theirs)
}

fn call(connection: Connection, method: &Method) -> Box<Call> {
    let (target, fields) = (Uri::from_static("/"), Fields::new());
    Call::new(connection, &RequestHead { method, target: &target, fields: &fields, host: None }, Upload::Empty)
}

/// What a call brings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Brought {
    interim: Vec<u16>,
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
    error: Option<String>,
}

fn text<'a>(fields: impl Iterator<Item = (&'a http::HeaderName, &'a http::HeaderValue)>) -> Vec<(String, String)> {
    fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// What a call brings, and whether its connection is kept.
async fn bring(mut call: Box<Call>, to_head: bool) -> (Brought, bool) {
    let brought = bring_from(&mut call, to_head).await;
    (brought, call.finish().is_some())
}

async fn bring_from(call: &mut Call, to_head: bool) -> Brought {
    let mut brought = Brought::default();
    let rules = HeadRules { limits: HeadLimits::new(HEAD_BYTES_CAP, 0, 10), to_head };
    let interim = &mut brought.interim;
    let head = std::future::poll_fn(|cx| {
        call.poll_head(cx, &rules, |status, _| {
            interim.push(status.as_u16());
            true
        })
    });
    match head.await {
        Ok(()) => {
            let head = call.take_head();
            brought.status = head.status.as_u16();
            brought.fields = text(head.fields.to_map().iter());
        }
        Err(error) => {
            brought.error = Some(error.to_string());
            return brought;
        }
    }
    loop {
        match std::future::poll_fn(|cx| call.poll_frame(cx)).await {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(content) => brought.body.extend_from_slice(&content),
                Err(frame) => brought.trailers = text(frame.into_trailers().unwrap().iter()),
            },
            Ok(None) => return brought,
            Err(error) => {
                brought.error = Some(error.to_string());
                return brought;
            }
        }
    }
}

/// What is brought of a response that comes as a whole; it is the same when it is cut in two at any of its bytes.
fn bring_cut(response: &str, method: &Method) -> (Brought, bool) {
    let bring_in_two = |cut: usize| {
        run(async || {
            let (connection, mut backend) = connection();
            let (first, second) = response.as_bytes().split_at(cut);
            backend.write_all(first).unwrap();
            let mut bringing = std::pin::pin!(bring(call(connection, method), *method == Method::HEAD));
            // The runtime tells of the first part, and it is used.
            for _ in 0..3 {
                let polled = std::future::poll_fn(|cx| Poll::Ready(bringing.as_mut().poll(cx))).await;
                if let Poll::Ready(brought) = polled {
                    return brought;
                }
                tokio::task::yield_now().await;
            }
            backend.write_all(second).unwrap();
            bringing.await
        })
    };
    let whole = bring_in_two(response.len());
    for cut in 0..response.len() {
        assert_eq!(bring_in_two(cut), whole, "cut at {cut}");
    }
    whole
}

fn brought(status: u16, body: &str) -> Brought {
    Brought { status, body: body.into(), ..Brought::default() }
}

#[test]
fn a_response_with_a_length_is_the_same_wherever_it_is_cut() {
    let head = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX: 1\r\n\r\n";
    let fields = [("content-length", "5"), ("x", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let expected = Brought { fields: fields.to_vec(), ..brought(200, "hello") };
    assert_eq!(bring_cut(&format!("{head}hello"), &Method::GET), (expected, true));
    let expected = Brought { fields: fields.to_vec(), ..brought(200, "") };
    assert_eq!(bring_cut(head, &Method::HEAD), (expected, true));
}

#[test]
fn a_chunked_response_with_interim_ones_and_trailers_is_the_same_wherever_it_is_cut() {
    let response = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
                    HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 7\r\n\r\n";
    let (got, is_kept) = bring_cut(response, &Method::GET);
    assert_eq!((got.status, got.interim.as_slice(), got.body.as_slice()), (200, &[103, 100][..], &b"hello"[..]));
    assert_eq!((got.trailers, got.error, is_kept), (vec![("x-sum".to_owned(), "7".to_owned())], None, true));
}

/// What is brought of a response behind which the backend closes.
fn brought_of(response: &str) -> (Brought, bool) {
    run(async || {
        let (connection, mut backend) = connection();
        backend.write_all(response.as_bytes()).unwrap();
        drop(backend);
        bring(call(connection, &Method::GET), false).await
    })
}

#[test]
fn a_response_may_end_with_its_connection() {
    assert_eq!(brought_of("HTTP/1.1 200 OK\r\n\r\nhello"), (brought(200, "hello"), false));
}

#[test]
fn what_breaks_off_or_is_broken_is_an_error_and_its_connection_is_not_kept() {
    for response in [
        "",
        "HTTP/1.1 200 OK\r\nConten",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nBad Name: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 103 Early Hints\r\nContent-Length: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let (got, is_kept) = brought_of(response);
        assert!(got.error.is_some() && !is_kept, "{response:?}: {got:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: 1\r\n".repeat(11));
    assert_eq!(brought_of(&many).0.error.as_deref(), Some("too many fields"));
}

#[test]
fn a_connection_is_kept_only_if_nothing_speaks_against_it() {
    for (response, is_kept) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", false),
        ("HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nb", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
    ] {
        let (got, kept) = run(async || {
            let (connection, mut backend) = connection();
            backend.write_all(response.as_bytes()).unwrap();
            bring(call(connection, &Method::GET), false).await
        });
        assert_eq!((got.error, kept), (None, is_kept), "{response:?}");
    }
}

#[test]
fn a_connection_at_rest_shows_what_comes_unasked() {
    run(async || {
        let (mut connection, mut backend) = connection();
        assert!(connection.stays_quiet() && connection.is_quiet());
        backend.write_all(b"unasked").unwrap();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        assert!(!connection.is_quiet() && !connection.stays_quiet());
    });
}

#[test]
fn a_request_is_one_write_and_says_what_has_been_sent() {
    run(async || {
        let (connection, mut backend) = connection();
        let mut call = call(connection, &Method::GET);
        assert!(!call.has_sent());
        let rules = HeadRules { limits: HeadLimits::default(), to_head: false };
        for _ in 0..3 {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(call.poll_head(&mut cx, &rules, |_, _| true).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(call.has_sent() && !call.has_received());
        let mut got = [0; 100];
        let count = backend.read(&mut got).unwrap();
        assert_eq!(got.get(..count), Some(&b"GET / HTTP/1.1\r\n\r\n"[..]));
    });
}
