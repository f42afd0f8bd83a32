//! forebay as a separate process, for its logs and for abrupt ends.
//!
//! The caller names the binary, because only an integration test knows its path: `env!("CARGO_BIN_EXE_forebay")`.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::{Api, Caller, Client, DEADLINE, StateDir, eventually};

/// The log settings of [`crate::Config`], and those of a separate process.
const QUIET: &str = "access = \"off\"\nlevel = \"error\"";
const TOLD: &str = "access = \"json\"\nlevel = \"warn\"";
const ANY_PORT: &str = "127.0.0.1:0";
const FILE: &str = "config.toml";

/// A forebay process that accepts requests. Killed when dropped, as with `kill -9`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    requests: Receiver<String>,
    events: Receiver<String>,
    folder: StateDir,
}

impl Process {
    /// Starts this binary with this configuration; returns when it listens.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(binary: &str, config: impl Display) -> Self {
        Self::start_in(binary, config, &[])
    }

    /// The same with these environment variables.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start_in(binary: &str, config: impl Display, environment: &[(&str, PathBuf)]) -> Self {
        let (address, admin) = (free(), free());
        let text = text(&config, address, admin);
        let folder = StateDir::new();
        let file: PathBuf = folder.path().join(FILE);
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut command = Command::new(binary);
        command.arg("-c").arg(&file).arg("run").env("NO_COLOR", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{binary}: {error}"));
        let requests = lines(child.stdout.take().expect("it is piped"));
        let events = lines(child.stderr.take().expect("it is piped"));
        let process = Self { child, address, admin, requests, events, folder };
        eventually("it listens", || TcpStream::connect(address).is_ok());
        process
    }

    /// Writes another configuration with the same ports, and sends SIGHUP.
    ///
    /// # Panics
    /// If the file cannot be written, or the signal not be sent.
    pub fn reload(&self, config: impl Display) {
        let file = self.folder.path().join(FILE);
        std::fs::write(file, text(&config, self.address, self.admin)).expect("the file can be written");
        self.signal("HUP");
    }

    /// Sends a signal: `"TERM"`.
    ///
    /// # Panics
    /// If that fails.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill is a command").success());
    }

    /// Waits until the process ends by itself.
    ///
    /// # Panics
    /// If it does not in time.
    #[track_caller]
    pub fn ended(mut self) {
        eventually("it has ended", || matches!(self.child.try_wait(), Ok(Some(_))));
    }

    /// The address of its client listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The API of its admin listener.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::at(self.admin)
    }

    /// A new connection to it.
    #[must_use]
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// A client that sends requests one after the other.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(self.address)
    }

    /// The next line of the access log.
    ///
    /// # Panics
    /// If none arrives in time.
    #[must_use]
    #[track_caller]
    pub fn logged(&self) -> String {
        self.requests.recv_timeout(DEADLINE).expect("a line is logged")
    }

    /// Waits for an event that contains all these words, and returns its line.
    ///
    /// # Panics
    /// If none arrives in time.
    #[track_caller]
    pub fn told(&self, words: &[&str]) -> String {
        self.told_within(DEADLINE, words)
    }

    /// The same with this limit on the time between events.
    ///
    /// # Panics
    /// If none arrives in time.
    #[track_caller]
    pub fn told_within(&self, silence: Duration, words: &[&str]) -> String {
        let mut seen = String::new();
        while let Ok(line) = self.events.recv_timeout(silence) {
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
            seen = seen + &line + "\n";
        }
        panic!("nothing told of {words:?}, but\n{seen}")
    }

    /// The events up to and including the first one that contains all these words.
    ///
    /// # Panics
    /// If none arrives in time.
    #[track_caller]
    pub fn told_up_to(&self, words: &[&str]) -> Vec<String> {
        let mut seen = Vec::new();
        while let Ok(line) = self.events.recv_timeout(DEADLINE) {
            let is_it = words.iter().all(|word| line.contains(word));
            seen.push(line);
            if is_it {
                return seen;
            }
        }
        panic!("nothing told of {words:?}, but\n{}", seen.join("\n"))
    }

    /// Kills it, as with `kill -9`.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The file of a configuration, with these addresses in place of those that the system chooses.
fn text(config: &impl Display, address: SocketAddr, admin: SocketAddr) -> String {
    let text = config.to_string().replacen(ANY_PORT, &address.to_string(), 1);
    text.replacen(ANY_PORT, &admin.to_string(), 1).replacen(QUIET, TOLD, 1)
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    let listener = TcpListener::bind(ANY_PORT).expect("a port is free");
    listener.local_addr().expect("a listener has an address")
}

/// Lines of a stream, read by a thread so that the writer is never blocked.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    let from = BufReader::new(from);
    std::thread::spawn(move || from.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}
