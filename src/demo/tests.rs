//! Tests of the demo's backends over raw sockets, on ports that the system chooses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::*;

const ANY: Ports = Ports { documents: [0, 0, 0], slow: 0, faulty: 0, legacy: 0, successor: 0 };

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Sends one request on a new connection and returns the whole response.
fn ask(address: SocketAddr, head: &str, body: &str) -> std::io::Result<String> {
    let mut socket = connect(address);
    let length = body.len();
    let fields = "host: x\r\nconnection: close\r\ncontent-type: text/x-note";
    socket.write_all(format!("{head} HTTP/1.1\r\n{fields}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())?;
    let mut whole = String::new();
    socket.read_to_string(&mut whole)?;
    Ok(whole)
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap()
}

#[test]
fn each_backend_says_who_it_is() {
    let backends = start(ANY).unwrap();
    for address in backends.addresses() {
        let answer = ask(*address, "GET /", "").unwrap();
        assert_eq!(status(&answer), "200");
        assert!(answer.contains(&format!("x-backend: {}\r\n", address.port())), "{answer}");
        assert!(answer.contains(&format!("port {}", address.port())), "{answer}");
        assert_eq!(status(&ask(*address, "GET /healthz", "").unwrap()), "200");
    }
}

#[test]
fn a_document_put_to_one_store_is_read_from_another() {
    let backends = start(ANY).unwrap();
    let [one, two, three, ..] = *backends.addresses() else { panic!("seven backends") };
    assert_eq!(status(&ask(one, "GET /notes/a", "").unwrap()), "404");
    assert_eq!(status(&ask(one, "PUT /notes/a", "first").unwrap()), "201");
    let answer = ask(two, "GET /notes/a", "").unwrap();
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("content-type: text/x-note\r\n"), "{answer}");
    assert!(answer.contains("etag: \"1\"\r\n") && answer.contains("last-modified: "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nfirst"), "{answer}");
    assert_eq!(status(&ask(two, "PUT /notes/a", "second").unwrap()), "204");
    let head = ask(three, "HEAD /notes/a", "").unwrap();
    assert!(head.contains("content-length: 6\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(status(&ask(three, "DELETE /notes/a", "").unwrap()), "204");
    assert_eq!(status(&ask(one, "DELETE /notes/a", "").unwrap()), "404");
}

#[test]
fn a_post_to_a_collection_says_where_the_document_is() {
    let backends = start(ANY).unwrap();
    let [one, two, ..] = *backends.addresses() else { panic!("seven backends") };
    let answer = ask(one, "POST /notes", "new").unwrap();
    assert_eq!(status(&answer), "201");
    let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    assert!(ask(two, &format!("GET {location}"), "").unwrap().ends_with("new"));
}

#[test]
fn a_document_that_is_known_is_not_sent_again() {
    let backends = start(ANY).unwrap();
    let address = backends.addresses()[0];
    ask(address, "PUT /known", "text").unwrap();
    let mut socket = connect(address);
    socket.write_all(b"GET /known HTTP/1.1\r\nhost: x\r\nconnection: close\r\nif-none-match: \"1\"\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "304");
}

#[test]
fn a_document_over_the_limit_is_refused() {
    let backends = start(ANY).unwrap();
    let head = "PUT /large HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n";
    let mut socket = connect(backends.addresses()[0]);
    socket.write_all(head.as_bytes()).unwrap();
    // The backend may respond and close the connection before the last byte is written.
    let _ = socket.write_all(&vec![b'x'; 1_048_577]);
    let mut start_line = [0; 12];
    socket.read_exact(&mut start_line).unwrap();
    assert_eq!(&start_line, b"HTTP/1.1 413");
}

#[test]
fn bytes_are_sent_as_many_as_asked() {
    let backends = start(ANY).unwrap();
    let answer = ask(backends.addresses()[0], "GET /bytes/200000", "").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 200000"), "{head}");
    assert_eq!(body.len(), 200_000);
    for wrong in ["GET /bytes/1073741825", "GET /bytes/many", "GET /bytes/-1"] {
        assert_eq!(status(&ask(backends.addresses()[0], wrong, "").unwrap()), "400");
    }
}

#[test]
fn a_body_is_echoed() {
    let backends = start(ANY).unwrap();
    let answer = ask(backends.addresses()[0], "POST /echo", "hear me").unwrap();
    assert!(answer.contains("content-type: text/x-note\r\n") && answer.ends_with("hear me"), "{answer}");
}

#[test]
fn the_first_event_comes_at_once_and_the_stream_stays_open() {
    let backends = start(ANY).unwrap();
    let mut socket = connect(backends.addresses()[0]);
    socket.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    let mut piece = [0; 1024];
    while !String::from_utf8_lossy(&seen).contains("data: tick 1\n\n") {
        let count = socket.read(&mut piece).unwrap();
        assert_ne!(count, 0, "the stream ended");
        seen.extend_from_slice(&piece[..count]);
    }
}

#[test]
fn a_tunnel_echoes_what_is_sent_after_101() {
    let backends = start(ANY).unwrap();
    let mut socket = connect(backends.addresses()[0]);
    socket
        .write_all(b"GET /tunnel HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nping")
        .unwrap();
    let mut seen = Vec::new();
    let mut byte = [0; 1];
    while !seen.ends_with(b"\r\n\r\nping") {
        socket.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn the_slow_one_takes_its_time() {
    let backends = start(ANY).unwrap();
    let begun = Instant::now();
    assert_eq!(status(&ask(backends.addresses()[3], "GET /", "").unwrap()), "200");
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn the_moody_one_fails_as_told_and_its_health_stays_green() {
    let backends = start(ANY).unwrap();
    let faulty = backends.addresses()[4];
    let tell = |mode: &str| assert_eq!(status(&ask(faulty, &format!("POST /control?mode={mode}"), "").unwrap()), "200");
    tell("fail");
    assert_eq!(status(&ask(faulty, "GET /", "").unwrap()), "500");
    assert_eq!(status(&ask(faulty, "GET /healthz", "").unwrap()), "200");
    tell("truncate");
    let cut = ask(faulty, "GET /", "").unwrap();
    assert!(cut.contains("content-length: 1024\r\n") && cut.ends_with("not all of i"), "{cut}");
    tell("reset");
    assert_eq!(ask(faulty, "GET /", "").unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    tell("ok");
    assert_eq!(status(&ask(faulty, "GET /", "").unwrap()), "200");
    assert_eq!(status(&ask(faulty, "POST /control?mode=sulk", "").unwrap()), "400");
}

#[test]
fn the_new_service_differs_from_the_old_one_until_it_is_fixed() {
    let backends = start(ANY).unwrap();
    let [.., old, new] = *backends.addresses() else { panic!("seven backends") };
    let phone = |address| {
        let answer = ask(address, "GET /users/7", "").unwrap();
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        answer.split_once("\"phone\":\"").unwrap().1.split_once('"').unwrap().0.to_owned()
    };
    assert_eq!([old, new].map(phone), ["+44 20 7946 0007", "020 7946 0007"]);
    ask(new, "POST /control?mode=fixed", "").unwrap();
    assert_eq!(phone(new), phone(old));
    assert_eq!(status(&ask(new, "GET /users/99", "").unwrap()), "404");
    assert_eq!(status(&ask(old, "PUT /users/7", "x").unwrap()), "405");
}

#[test]
fn a_flaky_service_fails_one_request_of_ten() {
    let backends = start(ANY).unwrap();
    let [.., new] = *backends.addresses() else { panic!("seven backends") };
    ask(new, "POST /control?mode=flaky", "").unwrap();
    let answers: Vec<String> = (0..20).map(|_| ask(new, "GET /users/1", "").unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| status(answer) == "500").count(), 2);
}

#[test]
fn a_service_that_was_told_to_be_slow_takes_its_time() {
    let backends = start(ANY).unwrap();
    let [.., new] = *backends.addresses() else { panic!("seven backends") };
    ask(new, "POST /control?mode=slow", "").unwrap();
    let begun = Instant::now();
    assert_eq!(status(&ask(new, "GET /users/1", "").unwrap()), "200");
    assert!(begun.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_hanging_answer_does_not_come() {
    let backends = start(ANY).unwrap();
    let faulty = backends.addresses()[4];
    ask(faulty, "POST /control?mode=hang", "").unwrap();
    let mut socket = connect(faulty);
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(socket.read(&mut [0; 1]).is_err(), "it answered");
}

#[test]
fn only_reading_is_allowed_where_there_is_no_document() {
    let backends = start(ANY).unwrap();
    let answer = ask(backends.addresses()[0], "PUT /", "x").unwrap();
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = start(Ports { slow: port, ..ANY }).unwrap_err();
    assert_eq!(error.to_string(), format!("port {port} of 127.0.0.1 can't be used for a demo backend"));
}

#[test]
fn ports_are_free_again_once_it_is_dropped() {
    let backends = start(ANY).unwrap();
    let address = backends.addresses()[0];
    drop(backends);
    assert!(TcpStream::connect(address).is_err());
}
