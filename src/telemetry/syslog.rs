//! Sends log lines as syslog messages (RFC 3164 §4.1), one datagram each, to a Unix socket such as `/dev/log`.
//!
//! Messages have the facility `local7` and the tag `forebay[PID]`. Like those of other local programs, they have no
//! host name. Times are UTC, because the proxy does not know the machine's time zone.

use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::clock;
use super::second::Second;

/// The facility `local7`.
const FACILITY: u8 = 23;
/// A line that the server rejects as too long is truncated to this many bytes.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// A syslog server, connected or not.
#[derive(Debug)]
pub(super) struct Syslog {
    path: Box<Path>,
    socket: Option<UnixDatagram>,
    second: Second,
    message: Vec<u8>,
}

impl Syslog {
    /// The server at this socket; connects with the first line.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: Box::from(path), socket: None, second: Second::default(), message: Vec::new() }
    }

    /// Reconnects before the next line.
    pub(super) fn disconnect(&mut self) {
        self.socket = None;
    }

    /// Sends the first of these lines; returns its length including the line break.
    ///
    /// # Errors
    /// `WouldBlock` if the server has no room now, or another I/O error; the next call reconnects.
    pub(super) fn write(&mut self, lines: &[u8], severity: u8) -> io::Result<usize> {
        let end = lines.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(lines.len(), |end| end + 1);
        let line = lines.get(..end.unwrap_or(lines.len())).unwrap_or_default();
        if line.is_empty() {
            return Ok(length);
        }
        match self.send(line, severity) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
                self.send(line.get(..LINE_BYTES_MAX).unwrap_or(line), severity)
            }
            sent => sent,
        }
        .inspect_err(|error| {
            if error.kind() != io::ErrorKind::WouldBlock {
                self.disconnect();
            }
        })?;
        Ok(length)
    }

    fn send(&mut self, line: &[u8], severity: u8) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(connect(&self.path)?),
        };
        self.second.set(clock::now().wall);
        self.message.clear();
        let priority = FACILITY * 8 + severity;
        write!(self.message, "<{priority}>{} forebay[{}]: ", self.second.syslog, std::process::id())?;
        self.message.extend_from_slice(line);
        socket.send(&self.message)?;
        Ok(())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn received(server: &UnixDatagram) -> String {
        let mut bytes = vec![0; 300 * 1024];
        server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = server.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_line_is_a_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(&path);
        assert_eq!(syslog.write(b"one\ntwo\n", 6).unwrap(), 4);
        let message = received(&server);
        let (head, text) = message.split_at("<190>Nov  6 08:49:37 ".len());
        assert!(head.starts_with("<190>") && head.matches(':').count() == 2, "{message}");
        assert_eq!(text, format!("forebay[{}]: one", std::process::id()));
        assert_eq!(syslog.write(b"\nlast", 4).unwrap(), 1, "an empty line is no message");
        assert_eq!(syslog.write(b"last", 4).unwrap(), 4);
        assert!(received(&server).starts_with("<188>"));
    }

    #[test]
    fn a_server_that_starts_anew_is_connected_to_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog::new(&path);
        assert_eq!(syslog.write(b"one\n", 6).unwrap_err().kind(), io::ErrorKind::NotFound);
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.write(b"one\n", 6).unwrap();
        drop(server);
        std::fs::remove_file(&path).unwrap();
        assert!(syslog.write(b"two\n", 6).is_err());
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.write(b"two\n", 6).unwrap();
        assert!(received(&server).ends_with(": two"));
    }

    #[test]
    fn a_line_that_is_too_long_for_a_message_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let line = vec![b'a'; 8 << 20];
        assert_eq!(Syslog::new(&path).write(&line, 6).unwrap(), line.len());
        assert_eq!(received(&server).matches('a').count(), LINE_BYTES_MAX + 1, "one of them in the tag");
    }
}
