//! The binary itself: how it starts, what it logs, how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use testbed::{Client, Origin, eventually, hang, ok};

/// A process of the binary, killed at the end of the test.
struct Process {
    child: Child,
    address: SocketAddr,
    /// Its standard error.
    events: Option<BufReader<ChildStderr>>,
    _file: tempfile::NamedTempFile,
}

fn spawn(config: &str) -> (Child, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(["run", "-c"]).arg(file.path()).env("NO_COLOR", "1");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    (child, file)
}

fn config(origin: &Origin, log: &str) -> String {
    let backend = origin.url();
    format!(
        "listen = [\"127.0.0.1:0\"]\n[server]\nworkers = 1\nheader_timeout = \"200ms\"\n[log]\naccess = \"{log}\"\n\
         [[route]]\npath = \"/\"\nbackends = [\"{backend}\"]\n"
    )
}

impl Process {
    fn start(origin: &Origin, log: &str) -> Self {
        let (mut child, file) = spawn(&config(origin, log));
        let mut events = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on http://") {
            line.clear();
            assert!(events.read_line(&mut line).unwrap() > 0, "it has ended");
        }
        let address = line.trim_end().rsplit("http://").next().unwrap().parse().unwrap();
        Self { child, address, events: Some(events), _file: file }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn waits_for(&mut self, event: &str) {
        let mut line = String::new();
        while !line.contains(event) {
            line.clear();
            assert!(self.events.as_mut().unwrap().read_line(&mut line).unwrap() > 0, "no {event:?}");
        }
    }

    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    fn log(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_a_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!("listen = [\"{address}\"]\n[[route]]\npath = \"/\"\nrespond = {{ status = 200 }}\n");
    let (child, _file) = spawn(&text);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(&format!("can't listen on {address}")) && told.contains("another process"), "{told}");
}

#[test]
fn requests_that_never_became_one_are_logged_too() {
    for form in ["json", "combined"] {
        let origin = Origin::start(ok("fine"));
        let mut process = Process::start(&origin, form);
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\nHo st: h\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHo", 408),
        ] {
            Client::to(process.address).send(request).read_response().is_status(status);
        }
        process.signal(Signal::TERM);
        assert!(process.ended().success());
        let log = process.log();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 3, "{log}");
        for (line, status) in lines.iter().zip(["200", "400", "408"]) {
            let wanted = if form == "json" { format!("\"status\":{status},") } else { format!("\" {status} ") };
            assert!(line.contains(&wanted) && line.contains("127.0.0.1"), "{line}");
        }
    }
}

#[test]
fn a_second_signal_ends_at_once_and_what_was_cut_off_is_logged() {
    let origin = Origin::start(hang());
    let mut process = Process::start(&origin, "json");
    let mut client = Client::to(process.address);
    client.send("GET /unfinished HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("the backend has the request", || origin.held() == 1);
    process.signal(Signal::TERM);
    process.waits_for("draining");
    process.signal(Signal::TERM);
    assert!(process.ended().success());
    client.read_until_closed();
    let log = process.log();
    assert!(log.contains("/unfinished"), "{log}");
}

#[test]
fn a_log_that_nobody_reads_keeps_no_process_from_its_end() {
    let origin = Origin::start(ok("fine"));
    let mut process = Process::start(&origin, "json");
    let mut client = Client::to(process.address);
    let long = "x".repeat(8000);
    for _ in 0..100 {
        client.send(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")).read_response().is(200, "fine");
    }
    process.signal(Signal::TERM);
    assert!(process.ended().success());
}

#[test]
fn a_closed_event_log_stops_nothing() {
    let origin = Origin::start(ok("fine"));
    let mut process = Process::start(&origin, "off");
    drop(process.events.take());
    process.signal(Signal::HUP);
    process.signal(Signal::USR1);
    for _ in 0..3 {
        Client::to(process.address).send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "fine");
    }
    process.signal(Signal::TERM);
    assert!(process.ended().success());
}

#[test]
fn a_listener_with_clients_waiting_is_let_in_whichever_listener_made_the_room() {
    let text = "listen = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n[server]\nworkers = 1\nconnections_max = 1\n\
                [log]\naccess = \"off\"\n[[route]]\npath = \"/\"\nrespond = { status = 200, body = \"in\" }\n";
    let running = forebay::supervisor::start(forebay::config::parse("test.toml", text).unwrap()).unwrap();
    let mut addresses = running.addresses();
    addresses.sort();
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    // A listener that has let one in is under way: before that, it might find the other's client there already.
    for address in &addresses {
        Client::to(*address).send(get).read_response().is(200, "in");
        eventually("it has left", || running.gauges().connections == 0);
    }
    let first = TcpStream::connect(addresses[0]).unwrap();
    eventually("it is full", || running.gauges().connections == 1);
    let (mut third, mut fourth) = (Client::to(addresses[0]), Client::to(addresses[1]));
    drop(first);
    third.send(get).read_response().is(200, "in");
    drop(third);
    fourth.send(get).read_response().is(200, "in");
}
