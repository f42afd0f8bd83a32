//! HTTP/2 towards backends: what they receive, what of a response reaches the client, connections that end, and which
//! protocol is spoken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod h2_backend;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use h2_backend::{Backend, DATA, END_STREAM, HEADERS, RawBackend, map};
use testbed::{
    Authority, Client, Config, DEADLINE, Forebay, Origin, StateDir, eventually, forward, ok, routes, script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\n\r\nbody";

fn config(url: &str, keys: &str) -> Config {
    routes(&format!(
        "[[upstream]]\nname = \"app\"\nbackends = [\"{url}\"]\nprotocol = \"h2\"\n{keys}\n[[route]]\nupstream = \"app\"\n"
    ))
}

fn front(url: &str, keys: &str) -> Forebay {
    Forebay::start(config(url, keys))
}

#[test]
fn a_request_loses_what_belongs_to_a_connection_and_its_host_becomes_the_authority() {
    let backend = Backend::ok("hello");
    let forebay = front(&backend.url(), "");
    let head = "GET /a?b=c HTTP/1.1\r\nHost: Shop.test:81\r\nConnection: te, x-own\r\nTE: trailers\r\nX-Own: 1\r\n\
                Keep-Alive: timeout=5\r\nCookie: a=1\r\nX-A: 1\r\nX-A: 2\r\n\r\n";
    let response = forebay.ask(head);
    response.is(200, "hello");
    assert!(response.field("via").unwrap().starts_with("2 "), "{:?}", response.field("via"));
    let seen = backend.last();
    assert_eq!((seen.uri.as_str(), seen.is_whole), ("http://Shop.test:81/a?b=c", true));
    for name in ["host", "connection", "keep-alive", "x-own", "transfer-encoding", "content-length"] {
        assert!(!seen.fields.contains_key(name), "{name}: {:?}", seen.fields);
    }
    assert_eq!((&seen.fields["te"], &seen.fields["cookie"]), (&"trailers".parse().unwrap(), &"a=1".parse().unwrap()));
    assert!(seen.fields["via"].to_str().unwrap().starts_with("1.1 ") && seen.fields.contains_key("x-forwarded-for"));
    assert_eq!(seen.fields.get_all("x-a").iter().count(), 2);
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let backend = Backend::start(|mut stream| async move {
        let seen = stream.read().await;
        let mut body = stream.head(201, &[("x-b", "1")]);
        body.send_data(Bytes::from(seen.body), false).unwrap();
        body.send_trailers(map(&[("x-sum", "7"), ("content-length", "9")])).unwrap();
    });
    let forebay = front(&backend.url(), "");
    let mut client = forebay.client();
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nTrailer: x-end\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5\r\nhello\r\n6\r\n world\r\n0\r\nX-End: 1\r\n\r\n");
    let text = client.read_until("x-sum: 7\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 201 Created\r\n") && text.contains("hello world"), "{text}");
    let seen = backend.last();
    assert_eq!(seen.trailers.unwrap()["x-end"], "1");
    client.send(POST).read_until("x-sum: 7\r\n\r\n");
    let seen = backend.last();
    assert_eq!((seen.body.as_slice(), &seen.fields["content-length"]), (&b"body"[..], &"4".parse().unwrap()));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_large_body_passes_both_ways_through_the_windows() {
    let backend = Backend::start(|mut stream| async move {
        let mut body = Bytes::from(stream.read().await.body);
        let mut sender = stream.head(200, &[]);
        while !body.is_empty() {
            sender.reserve_capacity(body.len());
            let room = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await.unwrap().unwrap();
            sender.send_data(body.split_to(room.min(body.len())), body.is_empty()).unwrap();
        }
    });
    let forebay = front(&backend.url(), "");
    let body = "0123456789abcdef".repeat(200_000);
    let request = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert!(forebay.ask(request).is_status(200).text().ends_with(&body));
    forebay.is_idle();
}

#[test]
fn a_backend_gets_no_more_streams_at_once_than_it_allows() {
    let held = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&held);
    let mut builder = h2::server::Builder::new();
    let backend = Backend::with(builder.max_concurrent_streams(2), move |mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            stream.read().await;
            while gate.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            stream.answer(200, &[], "done");
        }
    });
    let forebay = front(&backend.url(), "[upstream.http2]\nconnections_max = 2\n[upstream.timeouts]\nconnect = \"1m\"");
    let mut clients: Vec<Client> = (0..7).map(|_| forebay.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    eventually("all streams are in use", || backend.open().0 == 4);
    held.store(false, Ordering::SeqCst);
    for client in &mut clients {
        client.read_response().is(200, "done");
    }
    assert_eq!((backend.open().1, backend.connections(), backend.seen().len()), (4, 2, 7));
}

#[test]
fn responses_without_a_body_have_none() {
    let backend = Backend::start(|mut stream| async move {
        match stream.path() {
            "/304" => stream.bare(304, &[("content-length", "7"), ("etag", "\"a\"")]),
            "/204" => stream.bare(204, &[]),
            "/empty" => stream.bare(200, &[]),
            _ => stream.bare(200, &[("content-length", "7")]),
        }
    });
    let forebay = front(&backend.url(), "");
    let mut client = forebay.client();
    let ask = |path: &str, method: &str| format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.send(ask("/", "HEAD")).read_response_to("HEAD");
    assert_eq!((head.is_status(200).field("content-length"), head.text().as_str()), (Some("7"), ""));
    assert!(client.send(ask("/204", "GET")).read_response().is_status(204).field("content-length").is_none());
    client.send(ask("/304", "GET")).read_response().is_status(304);
    assert_eq!(client.send(ask("/empty", "GET")).read_response().is(200, "").field("content-length"), Some("0"));
}

#[test]
fn a_backend_that_speaks_http_1_gets_no_request() {
    let origin = Origin::start(ok("one"));
    let other = Backend::ok("two");
    let keys = format!(
        "[[upstream]]\nname = \"app\"\nbackends = [\"{}\", \"{}\"]\nprotocol = \"h2\"\n[[route]]\nupstream = \"app\"\n",
        origin.url(),
        other.url()
    );
    let forebay = Forebay::start(routes(&keys));
    for _ in 0..4 {
        forebay.ask(POST).is(200, "two");
    }
    let alone = front(&origin.url(), "");
    alone.get("/").is_status(502);
}

#[test]
fn a_slow_client_stalls_its_stream_and_no_other() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let backend = Backend::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            if stream.path() == "/quick" {
                return stream.answer(200, &[], "quick");
            }
            let mut body = stream.head(200, &[]);
            loop {
                body.reserve_capacity(16 * 1024);
                let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else { return };
                count.fetch_add(room, Ordering::SeqCst);
                body.send_data(Bytes::from(vec![b'x'; room]), false).unwrap();
            }
        }
    });
    let forebay = front(&backend.url(), "");
    let slow: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = forebay.client();
            client.send(GET);
            client
        })
        .collect();
    let mut before = usize::MAX;
    eventually("the backend stalls", || {
        let now = sent.load(Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    forebay.get("/quick").is(200, "quick");
    assert_eq!(backend.connections(), 1);
    drop(slow);
    forebay.is_idle();
}

#[test]
fn a_reload_to_another_protocol_opens_other_connections_and_lets_streams_end() {
    let backend = Backend::start(|mut stream| async move {
        stream.read().await;
        stream.answer(200, &[], "two");
    });
    let raw = RawBackend::new();
    let origin = Origin::start(ok("one"));
    let forebay = front(&raw.url(), "");
    let mut client = forebay.client();
    client.send(GET);
    let mut peer = raw.greet(&[]);
    let stream = peer.until(HEADERS).stream;
    forebay.reload(config(&backend.url(), ""));
    forebay.get("/").is(200, "two");
    peer.head(stream, 0, "200", &[]).send(DATA, END_STREAM, stream, b"begun before");
    client.read_response().is(200, "begun before");
    while peer.frame().is_some() {}
    forebay.reload(config(&origin.url(), "").to_string().replace("\"h2\"", "\"http1\""));
    forebay.get("/").is(200, "one");
}

#[test]
fn active_checks_speak_http_2() {
    let backend = Backend::start(|mut stream| async move {
        stream.read().await;
        let status = if stream.path() == "/health" { 503 } else { 200 };
        stream.answer(status, &[], "body");
    });
    let keys = "[upstream.health]\npath = \"/health\"\ninterval = \"10ms\"\nfall = 1\nrise = 1";
    let forebay = front(&backend.url(), keys);
    eventually("the check fails", || forebay.get("/").status == 503);
    forebay.reload(config(&backend.url(), &keys.replace("/health\"", "/fine\"\nbody = \"body\"")));
    eventually("the check passes", || forebay.get("/").status == 200);
}

#[test]
fn the_cache_does_not_depend_on_the_protocol() {
    let backend = Backend::start(|mut stream| async move {
        stream.read().await;
        stream.answer(200, &[("cache-control", "max-age=60"), ("vary", "x-a")], "stored");
    });
    let config = config(&backend.url(), "").to_string() + "[route.cache]\n";
    let forebay = Forebay::start(&config);
    forebay.get("/").is(200, "stored");
    forebay.get("/").is_hit().is(200, "stored");
    let origin = Origin::start(ok("other"));
    forebay.reload(config.replace(&backend.url(), &origin.url()).replace("\"h2\"", "\"http1\""));
    forebay.get("/").is_hit().is(200, "stored");
    assert_eq!((backend.seen().len(), origin.seen()), (1, 0));
}

#[test]
fn a_reset_of_the_request_reaches_the_backend_before_it_looks_whole() {
    let backend = Backend::start(|mut stream| async move {
        stream.read().await;
    });
    let forebay = front(&backend.url(), "");
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n");
    eventually("it has begun", || backend.open().0 == 1);
    client.send("nonsense\r\n");
    let seen = backend.last();
    assert!(!seen.is_whole && seen.body == b"begin", "{seen:?}");
}

/// A backend over TLS that offers these protocols: another proxy in front of the origin, with a certificate for 127.0.0.2.
fn tls_backend(origin: &Origin, protocols: &str) -> (Forebay, tempfile::TempDir) {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("backends"));
    let (cert, key) = authority.issue(&["127.0.0.2"]).write(folder.path(), "backend");
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let listener = format!(
        "[[listener]]\naddress = \"127.0.0.2:0\"\nprotocols = {protocols}\n[listener.tls]\n\
         certificates = [{{ cert = \"{}\", key = \"{}\" }}]\n",
        cert.display(),
        key.display()
    );
    (Forebay::start(forward([origin]).more(&listener)), folder)
}

#[test]
fn over_tls_the_backend_chooses_by_alpn() {
    let origin = Origin::start(ok("hello"));
    for (protocols, protocol, expected) in [
        ("[\"h2\", \"http/1.1\"]", "auto", Some("2 ")),
        ("[\"h2\", \"http/1.1\"]", "h2", Some("2 ")),
        ("[\"h2\", \"http/1.1\"]", "http1", Some("1.1 ")),
        ("[\"http/1.1\"]", "auto", Some("1.1 ")),
        ("[\"http/1.1\"]", "h2", None),
        ("[\"h2\"]", "http1", None),
    ] {
        let (backend, folder) = tls_backend(&origin, protocols);
        let url = format!("https://{}", backend.addresses()[1]);
        let tls = format!("[upstream.tls]\nca = \"{}\"", folder.path().join("ca.pem").display());
        let forebay = Forebay::start(config(&url, &tls).to_string().replace("\"h2\"\n", &format!("\"{protocol}\"\n")));
        let Some(expected) = expected else {
            forebay.get("/").is_status(502);
            continue;
        };
        for _ in 0..3 {
            forebay.get("/").is(200, "hello");
            let via = origin.last().head.fields("via").join(", ");
            let hop = via.split(", ").nth(1).unwrap();
            assert!(hop.starts_with(expected), "{protocols} {protocol}: {via}");
        }
        assert_eq!(forebay.gauges().backend_connections, 1, "{protocols} {protocol}");
    }
}

#[test]
fn a_request_that_switches_protocols_goes_out_by_http_1_where_the_backend_may_choose_that() {
    let origin = Origin::start(
        script().send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").tunnel(),
    );
    let (backend, folder) = tls_backend(&origin, "[\"h2\", \"http/1.1\"]");
    let url = format!("https://{}", backend.addresses()[1]);
    let tls = format!("[upstream.tls]\nca = \"{}\"", folder.path().join("ca.pem").display());
    let forebay = Forebay::start(config(&url, &tls).to_string().replace("\"h2\"\n", "\"auto\"\n"));
    let mut client = forebay.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    client.send("ping").read_until("ping");
}

#[test]
fn a_backend_in_place_may_have_a_protocol_of_its_own() {
    let (backend, origin) = (Backend::ok("two"), Origin::start(ok("one")));
    let forebay = Forebay::start(routes(&format!(
        "[[route]]\nbackends = [{{ url = \"{}\", protocol = \"h2\" }}, \"{}\"]\n",
        backend.url(),
        origin.url()
    )));
    for _ in 0..4 {
        forebay.get("/").is_status(200);
    }
    assert_eq!((backend.seen().len(), origin.seen()), (2, 2));
}

#[test]
fn clients_of_http_2_reach_backends_of_http_2() {
    let backend = Backend::start(|mut stream| async move {
        let seen = stream.read().await;
        let mut body = stream.head(200, &[("x-b", "1")]);
        body.send_data(Bytes::from(seen.body), false).unwrap();
        body.send_trailers(map(&[("x-sum", "7")])).unwrap();
    });
    let listener = "[[listener]]\naddress = \"127.0.0.2:0\"\nprotocols = [\"h2\"]\n";
    let forebay = Forebay::start(config(&backend.url(), "").more(listener));
    let address = forebay.addresses()[1];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let request = http::Request::post("http://shop.test/a").header("te", "trailers").body(()).unwrap();
        let (response, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        body.send_trailers(map(&[("x-end", "1")])).unwrap();
        let mut received = response.await.unwrap().into_body();
        assert_eq!(received.data().await.unwrap().unwrap(), "hello");
        assert_eq!(received.trailers().await.unwrap().unwrap()["x-sum"], "7");
    };
    runtime.block_on(async { tokio::time::timeout(DEADLINE, work).await.unwrap() });
    let seen = backend.last();
    assert_eq!((seen.uri.as_str(), &seen.trailers.unwrap()["x-end"]), ("http://shop.test/a", &"1".parse().unwrap()));
    assert!(seen.fields["via"].to_str().unwrap().starts_with("2 "));
}

#[test]
fn queued_writes_and_copies_go_out_by_http_2() {
    let (backend, shadow, state) = (Backend::ok("fine"), Backend::ok("shadow"), StateDir::new());
    let more = format!(
        "[route.cache]\nmode = \"write-back\"\n[route.cache.write_back]\nflush_interval = \"10ms\"\n[route.mirror]\n\
         upstream = \"shadow\"\npercent = 100\nmethods = [\"GET\"]\n[[upstream]]\nname = \"shadow\"\nprotocol = \"h2\"\nbackends = [\"{}\"]\n",
        shadow.url()
    );
    let forebay = Forebay::start(config(&backend.url(), "").server(&state.key()).more(&more));
    forebay.ask("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nnew").is_status(202);
    let seen = backend.last();
    assert_eq!((seen.method.as_str(), seen.body.as_slice(), seen.is_whole), ("PUT", &b"new"[..], true));
    forebay.get("/b").is(200, "fine");
    assert_eq!(shadow.last().uri, "http://shop.test/b");
}

#[test]
fn many_streams_of_many_clients_get_their_own_answers() {
    let backend = Backend::start(|mut stream| async move {
        let seen = stream.read().await;
        let body = String::from_utf8(seen.body).unwrap();
        stream.answer(200, &[], &body);
    });
    let forebay = front(&backend.url(), "[upstream.http2]\nstreams_max = 3\nconnections_max = 2");
    std::thread::scope(|scope| {
        for number in 0..12 {
            let forebay = &forebay;
            scope.spawn(move || {
                let mut client = forebay.client();
                for turn in 0..50 {
                    let body = format!("{number}-{turn}").repeat(1 + turn * 40);
                    let length = body.len();
                    let head = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
                    client.send(head + &body).read_response().is(200, &body);
                }
            });
        }
    });
    assert!(backend.connections() <= 2 && backend.open().1 <= 6, "{} {:?}", backend.connections(), backend.open());
}
