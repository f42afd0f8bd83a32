//! An ACME authority for tests: Debian's `pebble`, with a name server of its own that leads every name to one address.
//!
//! The address is a loopback address of this process alone, so that tests beside it take none of its ports.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::{Authority, StateDir, in_the_end};

/// A running authority. Stops when dropped.
pub struct Pebble {
    address: Ipv4Addr,
    directory: u16,
    management: u16,
    /// Where it connects for `http-01`.
    pub http: SocketAddr,
    /// Where it connects for `tls-alpn-01`.
    pub tls: SocketAddr,
    names: NameServer,
    folder: StateDir,
    running: Option<Running>,
}

struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Pebble {
    /// Starts one whose certificates are valid for so many seconds.
    ///
    /// # Panics
    ///
    /// When it can't be started: `./test` installs it.
    #[must_use]
    #[track_caller]
    pub fn start(validity: u64) -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 100, high, low.clamp(1, 254));
        let [directory, management, http, tls] = free(address);
        let (folder, authority) = (StateDir::new(), Authority::new("the directory's"));
        let (cert, key) = authority.issue(&[&address.to_string()]).write(folder.path(), "directory");
        std::fs::write(folder.path().join("authority.pem"), authority.pem()).expect("a file");
        let config = format!(
            "{{\"pebble\": {{\"listenAddress\": \"{address}:{directory}\", \
             \"managementListenAddress\": \"{address}:{management}\", \
             \"certificate\": \"{}\", \"privateKey\": \"{}\", \"httpPort\": {http}, \"tlsPort\": {tls}, \
             \"ocspResponderURL\": \"\", \"externalAccountBindingRequired\": false, \
             \"retryAfter\": {{\"authz\": 1, \"order\": 1}}, \"certificateValidityPeriod\": {validity}}}}}",
            cert.display(),
            key.display()
        );
        std::fs::write(folder.path().join("pebble.json"), config).expect("a file");
        let (http, tls) = (SocketAddr::from((address, http)), SocketAddr::from((address, tls)));
        let names = NameServer::start(address);
        let mut pebble = Self { address, directory, management, http, tls, names, folder, running: None };
        pebble.again();
        pebble
    }

    /// Starts it again after [`Pebble::stop`]. It has forgotten all accounts.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    #[track_caller]
    pub fn again(&mut self) {
        let mut child = Command::new("pebble")
            .arg("-config")
            .arg(self.folder.path().join("pebble.json"))
            .args(["-dnsserver", &self.names.address.to_string()])
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_AUTHZREUSE", "0")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("pebble does not start: {error}; ./test installs it"));
        let log = Arc::new(Mutex::new(String::new()));
        read(child.stdout.take().expect("it is piped"), &log);
        read(child.stderr.take().expect("it is piped"), &log);
        let listens = |port: u16| TcpStream::connect((self.address, port)).is_ok();
        in_the_end("pebble listens", || {
            let has_ended = matches!(child.try_wait(), Ok(Some(_)));
            assert!(!has_ended, "pebble has ended:\n{}", log.lock().expect("a log"));
            listens(self.directory) && listens(self.management)
        });
        self.running = Some(Running { child, log });
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// How often its log says this.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[must_use]
    pub fn logged(&self, words: &str) -> usize {
        let running = self.running.as_ref().expect("it runs");
        running.log.lock().expect("a log").matches(words).count()
    }

    /// Has it learn no addresses, so that what it verifies takes long.
    pub fn hold(&self, is_held: bool) {
        self.names.is_held.store(is_held, Ordering::SeqCst);
    }

    /// `[tls.acme]` for it, with these keys besides.
    #[must_use]
    pub fn table(&self, keys: &str) -> String {
        format!(
            "[tls.acme]\ndirectory = \"https://{}:{}/dir\"\nterms_agreed = true\nca = \"{}\"\n{keys}\n",
            self.address,
            self.directory,
            self.folder.path().join("authority.pem").display()
        )
    }

    /// The folder that forebay has for it in its directory of state.
    #[must_use]
    pub fn folder_in(&self, state_dir: &Path) -> std::path::PathBuf {
        state_dir.join(format!("acme/{}-{}-dir", self.address, self.directory))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Ports that nobody listened on a moment ago.
fn free<const COUNT: usize>(address: Ipv4Addr) -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind((address, 0)).expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("a listener has an address").port())
}

fn read(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().expect("a log").push_str(&(line + "\n"));
        }
    });
}

/// Answers every question for an address with the same one.
struct NameServer {
    address: SocketAddr,
    is_held: Arc<AtomicBool>,
}

impl NameServer {
    fn start(answer: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((answer, 0)).expect("a port is free");
        let address = socket.local_addr().expect("a socket has an address");
        let is_held = Arc::new(AtomicBool::new(false));
        let held = Arc::clone(&is_held);
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let reply = buffer.get(..length).and_then(|question| reply(question, answer));
                if let Some(reply) = reply.filter(|_| !held.load(Ordering::SeqCst)) {
                    let _gone = socket.send_to(&reply, client);
                }
            }
        });
        Self { address, is_held }
    }
}

/// The answer to a question (RFC 1035 §4.1): an address for those of type A, nothing for others.
fn reply(question: &[u8], answer: Ipv4Addr) -> Option<Vec<u8>> {
    let name = question.get(12..)?;
    let end = 12 + name.iter().position(|byte| *byte == 0)? + 1;
    let is_address = question.get(end..end + 2)? == [0, 1];
    let mut reply = question.get(..2)?.to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    reply.extend(question.get(12..end + 4)?);
    if is_address {
        reply.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(answer.octets());
    }
    Some(reply)
}
