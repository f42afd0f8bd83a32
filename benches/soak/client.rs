//! Clients: random actions one after the other; every byte of the responses is checked.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::Fallible;
use crate::origin::{content, length};

/// The longest wait for a response.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// The longest upload, in bytes.
const UPLOAD_BYTES_MAX: usize = 300_000;
/// The most faults kept with their texts.
const FAULTS_MAX: usize = 20;

/// Counts of actions, and the faults found.
#[derive(Default)]
pub(crate) struct Tally {
    done: [AtomicU64; DEEDS.len()],
    faulty: AtomicU64,
    faults: Mutex<Vec<String>>,
}

/// All actions of a client.
const DEEDS: [(&str, Deed); 16] = [
    ("hit", |client| client.get(&format!("/hit/{}/{}", below(30_000), below(500)))),
    ("hot", |client| client.get(&format!("/hit/10000/hot-{}", below(5)))),
    ("large", |client| client.get(&format!("/hit/{}/large", 200_000 + below(200_000)))),
    ("cut", |client| client.get_cut(&format!("/hit/20000/{}/cut", below(50)))),
    ("pass", |client| client.get(&format!("/pass/{}/{}", below(200_000), below(500)))),
    ("slow", |client| client.get(&format!("/hit/40000/{}/slow", below(20)))),
    ("upload", |client| client.write("POST", "/pass/0/up", below(UPLOAD_BYTES_MAX), &[200])),
    ("queue", |client| client.write("PUT", &format!("/queued/0/{}", below(200)), below(2000), &[202, 200])),
    ("delete", |client| client.write("DELETE", &format!("/queued/0/{}", below(200)), 0, &[202, 200])),
    // A full queue forwards writes: then the backend answers, or is not there.
    ("refused", |client| client.write("PUT", &format!("/refused/0/{}", below(200)), below(500), &[202, 422])),
    ("pending", |client| {
        client.write("PUT", &format!("/pending/0/{}", below(200)), below(2000), &[202, 502, 503, 504])
    }),
    ("purge", |client| client.purge()),
    ("leave in the head", |client| client.leave("GET /pass/1000/1 HTTP/1.1\r\nhost: so")),
    ("leave in the upload", |client| {
        client.leave("POST /pass/0/up HTTP/1.1\r\nhost: soak\r\ncontent-length: 5000\r\n\r\nhalf")
    }),
    ("leave in the write", |client| {
        client.leave("PUT /queued/0/1 HTTP/1.1\r\nhost: soak\r\ncontent-length: 5000\r\n\r\nhalf")
    }),
    ("leave in the answer", |client| client.leave_after(&format!("/hit/100000/{}/slow", below(20)), 500)),
];

type Deed = fn(&mut Client) -> Fallible<()>;

fn below(most: usize) -> usize {
    fastrand::usize(..most)
}

impl Tally {
    /// The number of actions.
    pub(crate) fn requests(&self) -> u64 {
        self.done.iter().map(|done| done.load(Ordering::Relaxed)).sum()
    }

    /// The first faults.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.lock().clone();
        let more = self.faulty.load(Ordering::Relaxed).saturating_sub(faults.len() as u64);
        if more > 0 {
            faults.push(format!("and {more} more"));
        }
        faults
    }

    fn note(&self, deed: usize, done: Fallible<()>) -> bool {
        if let Some(count) = self.done.get(deed) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let Err(error) = done else { return true };
        self.faulty.fetch_add(1, Ordering::Relaxed);
        let mut faults = self.faults.lock();
        if faults.len() < FAULTS_MAX {
            let name = DEEDS.get(deed).map_or("", |(name, _)| name);
            faults.push(format!("{name}: {error}"));
        }
        false
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, _), done) in DEEDS.iter().zip(&self.done) {
            writeln!(out, "{:>9}  {name}", done.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

/// Runs actions until the load ends.
pub(crate) fn run(address: SocketAddr, tally: &Tally, is_over: &AtomicBool) {
    let mut client = Client { address, connection: None };
    while !is_over.load(Ordering::Relaxed) {
        let index = below(DEEDS.len());
        let Some((_, deed)) = DEEDS.get(index) else { continue };
        if !tally.note(index, deed(&mut client)) || below(20) == 0 {
            client.connection = None;
        }
    }
}

struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// The head of a response.
struct Head {
    status: u16,
    length: Option<usize>,
}

impl Client {
    fn connect(&self) -> Fallible<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(BufReader::new(stream))
    }

    /// Sends a request and reads the head of its response, on the kept connection if that still works.
    fn ask(&mut self, head: &str, body: &[u8]) -> Fallible<Head> {
        let request = [head.as_bytes(), body].concat();
        if let Some(mut kept) = self.connection.take()
            && kept.get_mut().write_all(&request).is_ok()
            && let Ok(Some(head)) = head_of(&mut kept)
        {
            self.connection = Some(kept);
            return Ok(head);
        }
        // The proxy may have closed the kept connection for its age a moment ago.
        let mut fresh = self.connect()?;
        fresh.get_mut().write_all(&request)?;
        let head = head_of(&mut fresh)?.ok_or("no answer")?;
        self.connection = Some(fresh);
        Ok(head)
    }

    fn body(&mut self, head: &Head) -> Fallible<Vec<u8>> {
        let connection = self.connection.as_mut().ok_or("no connection")?;
        let mut body = Vec::new();
        match head.length {
            Some(length) => {
                connection.take(u64::try_from(length)?).read_to_end(&mut body)?;
                if body.len() < length {
                    return Err(format!("{} bytes of {length}", body.len()).into());
                }
            }
            None => loop {
                let mut line = String::new();
                connection.read_line(&mut line)?;
                let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| format!("chunk size {line:?}"))?;
                let before = body.len();
                connection.by_ref().take(u64::try_from(size)?).read_to_end(&mut body)?;
                connection.read_line(&mut line)?;
                if body.len() < before + size {
                    return Err("a chunk breaks off".into());
                }
                if size == 0 {
                    break;
                }
            },
        }
        Ok(body)
    }

    fn get(&mut self, target: &str) -> Fallible<()> {
        let head = self.ask(&format!("GET {target} HTTP/1.1\r\nhost: soak\r\n\r\n"), &[])?;
        let body = self.body(&head).map_err(|error| format!("{target}: {error}"))?;
        if head.status != 200 || body != content(target, length(target)) {
            return Err(format!("{target}: {} with {} bytes", head.status, body.len()).into());
        }
        Ok(())
    }

    /// A body that the backend truncates must never look complete.
    fn get_cut(&mut self, target: &str) -> Fallible<()> {
        let answered = self.ask(&format!("GET {target} HTTP/1.1\r\nhost: soak\r\n\r\n"), &[]);
        let is_whole = answered.is_ok_and(|head| head.status == 200 && self.body(&head).is_ok());
        self.connection = None;
        if is_whole { Err(format!("{target}: half a body looks whole").into()) } else { Ok(()) }
    }

    fn write(&mut self, method: &str, target: &str, length: usize, wanted: &[u16]) -> Fallible<()> {
        let head = format!("{method} {target} HTTP/1.1\r\nhost: soak\r\ncontent-length: {length}\r\n\r\n");
        let head = self.ask(&head, &content(target, length))?;
        self.body(&head).map_err(|error| format!("{method} {target}: {error}"))?;
        if wanted.contains(&head.status) { Ok(()) } else { Err(format!("{method} {target}: {}", head.status).into()) }
    }

    fn purge(&mut self) -> Fallible<()> {
        let (target, kind) = match below(40) {
            0 => ("/hit/", "all"),
            1..=5 => ("/hit/1", "prefix"),
            6..=8 => ("/hit/", "tag\r\nforebay-purge-tag: t"),
            _ => ("/hit/10000/hot-1", "url"),
        };
        let mode = if below(2) == 0 { "soft" } else { "hard" };
        let fields = format!("host: soak\r\nforebay-purge: {kind}\r\nforebay-purge-mode: {mode}");
        let head = self.ask(&format!("PURGE {target} HTTP/1.1\r\n{fields}\r\n\r\n"), &[])?;
        self.body(&head)?;
        if head.status == 200 { Ok(()) } else { Err(format!("PURGE {target} {kind}: {}", head.status).into()) }
    }

    /// Sends the beginning of a request, and leaves.
    fn leave(&mut self, beginning: &str) -> Fallible<()> {
        Ok(self.connect()?.get_mut().write_all(beginning.as_bytes())?)
    }

    /// Leaves after this many bytes of the response.
    fn leave_after(&mut self, target: &str, bytes: u64) -> Fallible<()> {
        let mut connection = self.connect()?;
        connection.get_mut().write_all(format!("GET {target} HTTP/1.1\r\nhost: soak\r\n\r\n").as_bytes())?;
        connection.take(bytes).read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

/// The head of the next response; `None`: the connection ends before.
fn head_of(connection: &mut BufReader<TcpStream>) -> Fallible<Option<Head>> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let status = line.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let mut head = Head { status: status.ok_or_else(|| format!("no status line: {line:?}"))?, length: None };
    loop {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return Ok(Some(head));
        }
        if let Some(length) = line.strip_prefix("content-length:") {
            head.length = length.trim().parse().ok();
        }
    }
}
