//! Log targets: where lines go, and that a target that accepts nothing delays no request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testbed::{Client, Forebay, Origin, eventually, forward, ok, routes};

const RESPOND: &str = "[[route]]\npath = \"/\"\nrespond = { body = \"x\" }\n";

/// The binary. Ends with the test, whatever becomes of it.
struct Binary {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

impl Binary {
    /// Starts it with these keys of `[log]` and these streams; `FOLDER` in the text is a folder of its own.
    fn start(log: &str, more: &str, stdout: Stdio, stderr: Stdio) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), log, more, stdout, stderr)
    }

    fn start_in(folder: tempfile::TempDir, log: &str, more: &str, stdout: Stdio, stderr: Stdio) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!("listen = [\"{address}\"]\n[log]\n{log}\n{more}{RESPOND}");
        let server = "[server]\nworkers = 1\nshutdown_timeout = \"1s\"\n";
        let text = if text.contains("[server]") { text } else { text.replacen("[log]", &format!("{server}[log]"), 1) };
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.arg("-c").arg(&file).arg("run").env("NO_COLOR", "1").stdout(stdout).stderr(stderr);
        let started = Self { process: command.spawn().unwrap(), address, folder };
        eventually("it listens", || TcpStream::connect(address).is_ok());
        started
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn get(&self, target: &str) {
        Client::to(self.address).send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).read_response().is(200, "x");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn ends(&mut self) {
        self.signal(Signal::TERM);
        self.ended();
    }

    fn ended(&mut self) {
        let mut status = None;
        eventually("it ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{status:?}");
    }
}

/// The content of a file; empty if there is none.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn is_logged(path: &Path, what: &str) {
    eventually(what, || read(path).contains(what));
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Opens a FIFO for reading and for writing, so that it need not wait for the other end.
fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_process_from_ending() {
    let mut forebay = Binary::start("access = \"json\"", "", Stdio::piped(), Stdio::null());
    let mut client = Client::to(forebay.address);
    let long = "a".repeat(2000);
    for _ in 0..200 {
        client.send(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")).read_response().is(200, "x");
    }
    drop(client);
    forebay.ends();
}

/// A socket with a full buffer, and its other end, which is not read.
fn full() -> (UnixStream, UnixStream) {
    let (mut socket, other) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[b'.'; 4096]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    (socket, other)
}

#[test]
fn an_event_that_nobody_reads_holds_up_no_request() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (stderr, _unread) = full();
    let more = format!("[[route]]\npath = \"/there\"\nbackends = [\"http://{nobody}\"]\n");
    let stderr = Stdio::from(OwnedFd::from(stderr));
    let mut forebay = Binary::start("access = \"off\"", &more, Stdio::null(), stderr);
    let mut client = Client::to(forebay.address);
    // The worker warns that the backend refuses connections.
    let refused = client.send("GET /there HTTP/1.1\r\nHost: h\r\n\r\n").read_response();
    assert!(refused.status >= 500, "{refused:?}");
    client.send("GET /here HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "x");
    drop(client);
    forebay.ends();
}

#[test]
fn a_log_whose_reader_comes_back_goes_on_and_has_lost_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let reader = open(&path);
    let stdout = Stdio::from(OpenOptions::new().write(true).open(&path).unwrap());
    let forebay =
        Binary::start_in(folder, "access = \"on\"\nevents_to = \"file:FOLDER/events\"", "", stdout, Stdio::null());
    let events = forebay.path("events");
    forebay.get("/first");
    let mut lines = BufReader::new(reader);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("\"/first\""), "{line}");
    drop(lines);
    forebay.get("/second");
    is_logged(&events, "WARN access log: can't be written, lines wait for it: Broken pipe");
    forebay.get("/third");
    let mut lines = BufReader::new(open(&path)).lines();
    for target in ["/second", "/third"] {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with("{\"time\"") && line.contains(target), "{line}");
    }
    is_logged(&events, "INFO access log: is written again, 0 lines were dropped");
}

/// A number of `/metrics`.
fn metric(admin: SocketAddr, name: &str) -> u64 {
    let answer = Client::to(admin).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response();
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn every_line_is_either_written_whole_or_counted_as_lost() {
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let reader = open(&path);
    let stdout = Stdio::from(OpenOptions::new().write(true).open(&path).unwrap());
    let log = "access = \"on\"\nevents_to = \"file:FOLDER/events\"";
    let more = format!("[admin]\nlisten = \"{admin}\"\n");
    let forebay = Binary::start_in(folder, log, &more, stdout, Stdio::null());
    let mut client = Client::to(forebay.address);
    let long = "a".repeat(16_000);
    let mut sent = 0_u64;
    while metric(admin, "forebay_log_lines_dropped_total") == 0 {
        for _ in 0..20 {
            client.send(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")).read_response().is(200, "x");
            sent += 1;
        }
    }
    is_logged(&forebay.path("events"), "WARN access log: lines are dropped, as its target is too slow");
    client.send("GET /last HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "x");
    let mut written = 0;
    for line in BufReader::new(reader).lines() {
        let line = line.unwrap();
        assert!(line.starts_with("{\"time\"") && line.ends_with('}'), "{line}");
        written += 1;
        if written + metric(admin, "forebay_log_lines_dropped_total") == sent + 1 {
            break;
        }
    }
    let lost = metric(admin, "forebay_log_lines_dropped_total");
    is_logged(&forebay.path("events"), &format!("INFO access log: is written again, {lost} lines were dropped"));
}

#[test]
fn a_full_disk_that_gets_room_again_is_written_to_again() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["access", "events"] {
        std::os::unix::fs::symlink("/dev/full", folder.path().join(name)).unwrap();
    }
    let log = "access_to = \"file:FOLDER/access\"\nevents_to = \"file:FOLDER/events\"";
    let forebay = Binary::start_in(folder, log, "", Stdio::null(), Stdio::null());
    forebay.get("/while-full");
    for name in ["access", "events"] {
        std::fs::remove_file(forebay.path(name)).unwrap();
    }
    is_logged(&forebay.path("access"), "/while-full");
    for what in ["INFO listening on", "WARN event log: can't be written, lines wait for it: No space left on device"] {
        is_logged(&forebay.path("events"), what);
    }
    is_logged(&forebay.path("events"), "INFO event log: is written again, 0 lines were dropped");
}

#[test]
fn a_head_that_is_refused_is_logged_with_what_is_known_of_it() {
    let forebay = Binary::start("access_to = \"file:FOLDER/access\"", "", Stdio::null(), Stdio::piped());
    for (request, logged) in [
        (
            "POST /two HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST\",\"request_uri\":\"/two",
        ),
        (
            "GET /fold?a HTTP/1.0\r\nA: b\r\n c\r\n\r\n",
            "GET\",\"request_uri\":\"/fold?a\",\"server_protocol\":\"HTTP/1.0",
        ),
        ("GET /version HTTP/1.2\r\n\r\n", "\",\"status\":505"),
        ("G(T /line HTTP/1.1\r\n\r\n", "\",\"status\":400"),
    ] {
        Client::to(forebay.address).send(request).read_until_closed();
        is_logged(&forebay.path("access"), logged);
    }
    let lines = read(&forebay.path("access"));
    assert!(!lines.contains("/version") && !lines.contains("/line"), "{lines}");
}

#[test]
fn a_file_is_opened_again_when_it_was_moved_and_when_a_signal_says_so() {
    let forebay = Binary::start("access_to = \"file:FOLDER/access\"", "", Stdio::null(), Stdio::piped());
    let (path, first, second) = (forebay.path("access"), forebay.path("access.1"), forebay.path("access.2"));
    forebay.get("/one");
    is_logged(&path, "/one");
    std::fs::rename(&path, &first).unwrap();
    let begun = Instant::now();
    eventually("the new file is there, a second later", || {
        forebay.get("/two");
        path.exists() || begun.elapsed() > Duration::from_secs(4)
    });
    is_logged(&path, "/two");
    std::fs::rename(&path, &second).unwrap();
    forebay.signal(Signal::USR1);
    eventually("the new file is there, without a request", || path.exists());
    forebay.get("/three");
    is_logged(&path, "/three");
    assert!(!read(&first).contains("/three") && !read(&second).contains("/three"));
}

#[test]
fn signals_that_end_open_files_again_and_do_nothing() {
    let mut forebay = Binary::start("events_to = \"file:FOLDER/events\"", "", Stdio::null(), Stdio::piped());
    let events = forebay.path("events");
    forebay.signal(Signal::USR2);
    is_logged(&events, "INFO SIGUSR2 is ignored");
    std::fs::rename(&events, forebay.path("events.1")).unwrap();
    forebay.signal(Signal::USR1);
    is_logged(&events, "INFO log files are opened again");
    forebay.get("/");
    forebay.signal(Signal::QUIT);
    forebay.ended();
    let events = read(&events);
    assert!(events.contains("draining: ") && events.contains("drained"), "{events}");
}

#[test]
fn a_drain_is_announced_before_it_begins() {
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!("[admin]\nlisten = \"{admin}\"\n");
    let log =
        "events_to = \"file:FOLDER/events\"\n[server]\nworkers = 1\nshutdown_timeout = \"1s\"\ndrain_delay = \"1h\"";
    let mut forebay = Binary::start(log, &more, Stdio::null(), Stdio::null());
    let ready = || Client::to(admin).send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response().status;
    assert_eq!(ready(), 200);
    forebay.signal(Signal::TERM);
    eventually("it is not ready any more", || ready() == 503);
    is_logged(&forebay.path("events"), "draining in 3600s");
    forebay.get("/still-accepted");
    forebay.ends();
    assert!(read(&forebay.path("events")).contains("stopped before all requests had finished"));
}

#[test]
fn log_targets_and_forms_follow_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let config = |name: &str, form: &str| {
        let path = file(name);
        routes(RESPOND).log(&format!("access_to = \"file:{}\"\naccess_format = '{form}'", path.display()))
    };
    let forebay = Forebay::start(config("a", "json"));
    forebay.get("/one").is(200, "x");
    is_logged(&file("a"), "\"request_uri\":\"/one\"");
    forebay.reload(config("b", "$request_method $uri $status $http_host"));
    forebay.get("/two").is(200, "x");
    is_logged(&file("b"), "GET /two 200 shop.test\n");
    assert!(!read(&file("a")).contains("/two"));
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error_at_start_and_refuses_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/access");
    let log = format!("access_to = \"file:{}\"", missing.display());
    let plan = |config: String| forebay::config::parse("test.toml", &config).unwrap();
    let refused = forebay::supervisor::start(plan(routes(RESPOND).log(&log).to_string())).unwrap_err().to_string();
    assert!(refused.contains("can't log to file:") && refused.contains("No such file"), "{refused}");
    let running = forebay::supervisor::start(plan(routes(RESPOND).to_string())).unwrap();
    let refused = running.reload(plan(routes(RESPOND).log(&log).to_string())).unwrap_err().to_string();
    assert!(refused.contains("can't log to file:"), "{refused}");
}

#[test]
fn a_syslog_server_gets_a_message_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(testbed::DEADLINE)).unwrap();
    let log = format!("access_to = \"syslog:unix:{}\"\naccess_format = \"combined\"", path.display());
    let forebay = Forebay::start(routes(RESPOND).log(&log));
    for target in ["/one", "/two"] {
        forebay.get(target).is(200, "x");
    }
    let mut bytes = [0; 4096];
    for target in ["/one", "/two"] {
        let length = server.recv(&mut bytes).unwrap();
        let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
        assert!(message.starts_with("<190>") && message.contains(" forebay["), "{message}");
        assert!(message.contains("]: 127.0.0.1 - - [") && message.contains(target), "{message}");
    }
}

#[test]
fn a_text_with_variables_knows_both_messages_and_the_backend() {
    let origin = Origin::start(ok("fine"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let form = "$remote_addr \"$request\" $status $body_bytes_sent $upstream_addr $upstream_status \
                $http_x_tenant $sent_http_content_length $cookie_a $http_none";
    let log = format!("access_to = \"file:{}\"\naccess_format = '{form}'", file.path().display());
    let forebay = Forebay::start(forward([&origin]).log(&log));
    forebay.get_with("/a?b", "X-Tenant: \"blue\"\r\nCookie: a=1\r\n").is(200, "fine");
    let backend = origin.url();
    let backend = backend.strip_prefix("http://").unwrap();
    let line = format!("127.0.0.1 \"GET /a?b HTTP/1.1\" 200 4 {backend} 200 \\x22blue\\x22 4 1 -\n");
    eventually("it is logged", || !read(file.path()).is_empty());
    assert_eq!(read(file.path()), line);
}

#[test]
fn standard_output_may_be_a_socket_that_does_not_block() {
    let (stdout, mut other) = UnixStream::pair().unwrap();
    stdout.set_nonblocking(true).unwrap();
    let forebay = Binary::start("access = \"on\"", "", Stdio::from(OwnedFd::from(stdout)), Stdio::null());
    let mut client = Client::to(forebay.address);
    let long = "a".repeat(16_000);
    for _ in 0..40 {
        client.send(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")).read_response().is(200, "x");
    }
    let mut read = vec![0; 40 * long.len()];
    other.set_read_timeout(Some(testbed::DEADLINE)).unwrap();
    other.read_exact(&mut read).unwrap();
}
