//! Sockets that a service manager opens and passes on (socket activation).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use testbed::{Client, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A forebay that was started with a socket of this name, and its configuration.
struct Activated {
    child: Child,
    _file: tempfile::NamedTempFile,
}

impl Activated {
    fn start(socket: OwnedFd, name: &str, address: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!(
            "[[listener]]\naddress = \"{address}\"\n[server]\nworkers = 2\n[log]\naccess = \"off\"\n\
             [[route]]\nrespond = {{ body = \"served\" }}\n"
        );
        std::fs::write(file.path(), config).unwrap();
        // As a service manager does: the socket is descriptor 3, and the process keeps its number.
        let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_forebay"), "run", "-c"]).arg(file.path());
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name).env("NO_COLOR", "1");
        let child = command.stdin(Stdio::from(socket)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, _file: file }
    }

    fn failed(mut self) -> String {
        eventually("it ends", || matches!(self.child.try_wait(), Ok(Some(_))));
        let mut text = String::new();
        std::io::Read::read_to_string(self.child.stderr.as_mut().unwrap(), &mut text).unwrap();
        text
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
fn clients_are_served_on_a_socket_that_was_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It is there before forebay is: the connection waits.
    let mut early = Client::to(address);
    let _forebay = Activated::start(listener.into(), "web", "fd:web");
    early.send(GET).read_response().is(200, "served");
    for _ in 0..10 {
        Client::to(address).send(GET).read_response().is(200, "served");
    }
}

#[test]
fn a_unix_socket_may_be_passed_on_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.sock");
    let _forebay = Activated::start(UnixListener::bind(&path).unwrap().into(), "local", "fd:local");
    for _ in 0..4 {
        Client::to_unix(&path).send(GET).read_response().is(200, "served");
    }
    assert!(path.exists(), "the socket is the service manager's");
}

#[test]
fn a_socket_that_was_not_passed_on_is_an_error() {
    let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let text = Activated::start(socket(), "web", "fd:other").failed();
    assert!(
        text.contains("can't listen on fd:other: the process was started with no socket of this name, but with: web"),
        "{text}"
    );
    let datagrams = OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let text = Activated::start(datagrams, "web", "fd:web").failed();
    assert!(text.contains("does not listen for streams"), "{text}");
}
