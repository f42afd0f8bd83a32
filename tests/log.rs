//! The logs and the process: a log that nobody reads holds nothing up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use testbed::{Client, eventually};

/// Ends the process with the test, whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_process_from_ending() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let config = format!(
        "listen = [\"{address}\"]\n[server]\nworkers = 1\nshutdown_timeout = \"1s\"\n[log]\naccess = \"json\"\n[[route]]\npath = \"/\"\nrespond = {{ body = \"x\" }}\n"
    );
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.arg("-c").arg(&file).arg("run").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Running(command.spawn().unwrap());
    eventually("it listens", || TcpStream::connect(address).is_ok());
    let mut client = Client::to(address);
    let long = "a".repeat(2000);
    for _ in 0..200 {
        client.send(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")).read_response().is(200, "x");
    }
    drop(client);
    kill_process(Pid::from_child(&process.0), Signal::TERM).unwrap();
    eventually("it ends", || process.0.try_wait().unwrap().is_some());
}

/// A socket that takes nothing more, and its other end, which nobody reads.
fn full() -> (UnixStream, UnixStream) {
    let (mut socket, other) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[b'.'; 4096]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    (socket, other)
}

#[test]
fn an_event_that_nobody_reads_holds_up_no_request() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let config = format!(
        "listen = [\"{address}\"]\n[server]\nworkers = 1\nshutdown_timeout = \"1s\"\n[log]\naccess = \"off\"\n\
         [[route]]\npath = \"/here\"\nrespond = {{ body = \"x\" }}\n\
         [[route]]\npath = \"/\"\nbackends = [\"http://{nobody}\"]\n"
    );
    std::fs::write(&file, config).unwrap();
    let (stderr, _unread) = full();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.arg("-c").arg(&file).arg("run").stdout(Stdio::null()).stderr(Stdio::from(OwnedFd::from(stderr)));
    let mut process = Running(command.spawn().unwrap());
    eventually("it listens", || TcpStream::connect(address).is_ok());
    let mut client = Client::to(address);
    // The worker warns that the backend takes no connection.
    let refused = client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response();
    assert!(refused.status >= 500, "{refused:?}");
    client.send("GET /here HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "x");
    drop(client);
    kill_process(Pid::from_child(&process.0), Signal::TERM).unwrap();
    eventually("it ends", || process.0.try_wait().unwrap().is_some());
}
