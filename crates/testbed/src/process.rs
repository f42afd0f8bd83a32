//! forebay as a process of its own: for its logs, and for a death that it has no time to prepare for.
//!
//! The binary is the caller's to name, since only an integration test knows where it is: `env!("CARGO_BIN_EXE_forebay")`.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::{Api, Caller, Client, DEADLINE, StateDir, eventually};

/// What [`crate::Config`] writes of logs, and what a process of its own logs instead.
const QUIET: &str = "access = \"off\"\nlevel = \"error\"";
const TOLD: &str = "access = \"json\"\nlevel = \"warn\"";
const ANY_PORT: &str = "127.0.0.1:0";
const FILE: &str = "config.toml";

/// A process of ours that takes requests. Killed when dropped, as by `kill -9`.
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
    /// Starts this binary with a configuration made by this crate; returns when it listens.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(binary: &str, config: impl Display) -> Self {
        Self::start_in(binary, config, &[])
    }

    /// The same with these in its environment.
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

    /// Gives it another configuration, with the same ports, and SIGHUP.
    ///
    /// # Panics
    ///
    /// When the file can't be written, or the signal not be sent.
    pub fn reload(&self, config: impl Display) {
        let file = self.folder.path().join(FILE);
        std::fs::write(file, text(&config, self.address, self.admin)).expect("the file can be written");
        self.signal("HUP");
    }

    /// Sends it a signal: `"TERM"`.
    ///
    /// # Panics
    ///
    /// When that can't be done.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill is a command").success());
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    #[track_caller]
    pub fn ended(mut self) {
        eventually("it has ended", || matches!(self.child.try_wait(), Ok(Some(_))));
    }

    /// Where it listens for clients.
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

    /// Someone who asks it one request after the other.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(self.address)
    }

    /// The access log's next line.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    #[must_use]
    #[track_caller]
    pub fn logged(&self) -> String {
        self.requests.recv_timeout(DEADLINE).expect("a line is logged")
    }

    /// Waits for an event in whose line all these words are, and returns the line.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    #[track_caller]
    pub fn told(&self, words: &[&str]) -> String {
        self.told_within(DEADLINE, words)
    }

    /// The same, for what comes after so long a silence at most.
    ///
    /// # Panics
    ///
    /// When none comes in time.
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

    /// The events up to the first in whose line all these words are, and that.
    ///
    /// # Panics
    ///
    /// When none comes in time.
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

    /// Ends it at once, as `kill -9` does.
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

/// The file of a configuration, with these addresses where it leaves the choice to the system.
fn text(config: &impl Display, address: SocketAddr, admin: SocketAddr) -> String {
    let text = config.to_string().replacen(ANY_PORT, &address.to_string(), 1);
    text.replacen(ANY_PORT, &admin.to_string(), 1).replacen(QUIET, TOLD, 1)
}

/// An address that nobody listened on a moment ago.
fn free() -> SocketAddr {
    let listener = TcpListener::bind(ANY_PORT).expect("a port is free");
    listener.local_addr().expect("a listener has an address")
}

/// What comes line by line, read on a thread so that the writer is never held up.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    let from = BufReader::new(from);
    std::thread::spawn(move || from.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}
