//! The access log: one line an exchange, written off the request's path.
//!
//! Each worker writes lines into its own buffer and passes full buffers to one thread, which writes them to their
//! target (see `writer`). When that thread is too far behind, lines are dropped and counted, so that a blocked target
//! never slows a request.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use message::Fields;
use policy::time::Now;

use super::access_record::AccessRecord;
use super::captured::Captured;
use super::log_line::{Known, LogLine};
use super::sink::Sink;
use super::writer::{self, Inlet, Piece};
use crate::config::plan::{AccessLog, LogTarget};

/// The buffer is flushed when it holds this many bytes.
const BUFFER_BYTES: usize = 32 * 1024;
/// Extra capacity, so that the last line rarely reallocates the buffer.
const LAST_LINE_BYTES: usize = 4 * 1024;
/// A buffer that long lines have made larger than this is not reused.
const BUFFER_BYTES_MAX: usize = 2 * BUFFER_BYTES;
/// The most written buffers kept for reuse, for each worker.
const SPARES_MAX: usize = 2;
/// The most buffers waiting for the writer, of all workers.
const BUFFERS_MAX: usize = 64;
/// The severity of a line: informational (RFC 3164 §4.1.1).
const SEVERITY: u8 = 6;

/// The handle to the thread that writes the access log.
#[derive(Clone, Debug)]
pub(crate) struct Writer(Arc<writer::Writer>);

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the target cannot be opened, or the system has no thread left.
    pub(crate) fn start(target: &LogTarget) -> io::Result<Self> {
        Ok(Self(Arc::new(writer::Writer::start("access log", true, target, BUFFERS_MAX)?)))
    }

    /// The access log of one worker.
    #[must_use]
    pub(crate) fn log(&self, form: AccessLog) -> Log {
        Log::new(form, self.0.inlet())
    }

    /// Reopens the target after log rotation.
    pub(crate) fn reopen(&self) {
        self.0.reopen();
    }

    /// Changes the target.
    pub(crate) fn set_target(&self, target: Sink) {
        self.0.set_target(target);
    }

    /// Waits until all flushed lines are written, at most one second if the target is blocked. All logs must have been
    /// dropped.
    pub(crate) fn finish(&self) {
        self.0.finish();
    }
}

/// One worker's access log.
#[derive(Debug)]
pub(crate) struct Log {
    form: AccessLog,
    buffer: Vec<u8>,
    lines: u64,
    dropped: u64,
    inlet: Inlet,
    spare: Receiver<Vec<u8>>,
    back: SyncSender<Vec<u8>>,
    known: Known,
}

impl Log {
    fn new(form: AccessLog, inlet: Inlet) -> Self {
        let (back, spare) = sync_channel(SPARES_MAX);
        Self { form, buffer: Vec::new(), lines: 0, dropped: 0, inlet, spare, back, known: Known::default() }
    }

    /// Whether the access log is on.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        self.form != AccessLog::Off
    }

    /// Whether the form of lines needs more of messages than every line has.
    #[must_use]
    pub(crate) fn captures(&self) -> bool {
        match &self.form {
            AccessLog::Text(format) => Captured::is_needed(format),
            AccessLog::Json | AccessLog::Off => false,
        }
    }

    /// The fields of this request that the format needs; `None`: no additional ones.
    #[must_use]
    pub(crate) fn capture(&self, headers: &Fields) -> Option<Box<Captured>> {
        match &self.form {
            AccessLog::Text(format) => Captured::new(format, headers),
            AccessLog::Json | AccessLog::Off => None,
        }
    }

    /// Changes the format of further lines.
    pub(crate) fn set_form(&mut self, form: AccessLog) {
        self.form = form;
    }

    /// Writes the line of an exchange.
    pub(crate) fn line(&mut self, record: &AccessRecord, client: IpAddr, started: Now, ended: Now) {
        if self.buffer.is_empty() {
            self.buffer.reserve(BUFFER_BYTES + LAST_LINE_BYTES);
        }
        self.known.set(ended.wall, client);
        let took = ended.mono.saturating_sub(started.mono);
        let line = LogLine { record, known: &self.known, wall: ended.wall, took };
        match &self.form {
            AccessLog::Json => line.json(&mut self.buffer),
            AccessLog::Text(format) => line.text(format, &mut self.buffer),
            AccessLog::Off => return,
        }
        self.lines += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Passes the buffer to the writer, or drops it if the writer is too far behind.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let piece = Piece {
            bytes: std::mem::take(&mut self.buffer),
            lines: std::mem::take(&mut self.lines),
            severity: SEVERITY,
            may_have_colours: false,
            back: Some(self.back.clone()),
        };
        match self.inlet.send(piece) {
            Ok(()) => self.buffer = self.spare.try_recv().unwrap_or_default(),
            Err(refused) => {
                self.dropped += refused.lines;
                self.buffer = refused.bytes;
            }
        }
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer = Vec::new();
        }
    }

    /// The number of lines dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl Drop for Log {
    /// Exchanges that the end of the process interrupts are logged, too.
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::telemetry::access_record::Request;
    use crate::telemetry::request_id::RequestId;
    use bytes::Bytes;
    use http::{Method, StatusCode, Version};

    fn record() -> AccessRecord {
        AccessRecord {
            id: Some(RequestId::Given(Bytes::from_static(b"abc"))),
            request: Some(Box::new(Request {
                method: Method::GET,
                target: "/a?b=c".parse().unwrap(),
                version: Version::HTTP_11,
                scheme: "http",
                host: Some(Bytes::from_static(b"x")),
                referer: None,
                user_agent: Some(Bytes::from_static(b"say \"hi\"\xff")),
                forwarded_for: None,
                content_length: None,
                captured: None,
            })),
            status: Some(StatusCode::OK),
            body_bytes_sent: 5,
            ..AccessRecord::default()
        }
    }

    fn log(path: &std::path::Path, form: AccessLog) -> (Writer, Log) {
        let writer = Writer::start(&LogTarget::File(path.into())).unwrap();
        let log = writer.log(form);
        (writer, log)
    }

    fn written(form: AccessLog, record: &AccessRecord) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (writer, mut log) = log(file.path(), form);
        let started = Now { mono: Duration::from_secs(1), wall: Duration::from_millis(784_111_777_250) };
        let ended = Now { mono: Duration::from_micros(1_001_500), wall: started.wall };
        log.line(record, "10.0.0.1".parse().unwrap(), started, ended);
        log.flush();
        writer.finish();
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn a_json_line_carries_nginx_names_and_escapes() {
        assert_eq!(
            written(AccessLog::Json, &record()),
            "{\"time\":\"1994-11-06T08:49:37.250Z\",\"remote_addr\":\"10.0.0.1\",\"request_method\":\"GET\",\
             \"request_uri\":\"/a?b=c\",\"server_protocol\":\"HTTP/1.1\",\"http_host\":\"x\",\
             \"http_user_agent\":\"say \\\"hi\\\"\\u00ff\",\"status\":200,\"body_bytes_sent\":5,\
             \"request_time\":0.001500,\"request_id\":\"abc\"}\n"
        );
    }

    #[test]
    fn a_json_line_tells_what_the_cache_made_of_it() {
        let missed = AccessRecord { cache: Some("miss"), cache_reason: Some("set-cookie"), ..record() };
        let line = written(AccessLog::Json, &missed);
        assert!(
            line.ends_with(",\"request_id\":\"abc\",\"cache\":\"miss\",\"cache_reason\":\"set-cookie\"}\n"),
            "{line}"
        );
    }

    #[test]
    fn lines_that_nobody_takes_are_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let (_writer, mut log) = log(&path, AccessLog::Json);
        // One is with the thread already, perhaps.
        for _ in 0..BUFFERS_MAX + 1 + 3 {
            log.line(&record(), "10.0.0.1".parse().unwrap(), Now::default(), Now::default());
            log.flush();
        }
        assert!((3..=4).contains(&log.take_dropped()));
        assert_eq!(log.take_dropped(), 0);
    }

    #[test]
    fn a_written_buffer_is_used_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (_writer, mut log) = log(file.path(), AccessLog::Json);
        let mut buffers = Vec::new();
        for count in 1..=4 {
            log.line(&record(), "10.0.0.1".parse().unwrap(), Now::default(), Now::default());
            buffers.push(log.buffer.as_ptr());
            log.flush();
            // A buffer is given back behind the write: to the one who flushes, if the write is as fast as that.
            let handed_over = buffers.last().copied();
            while Some(log.buffer.as_ptr()) != handed_over
                && log.spare.try_recv().map(|spare| log.back.try_send(spare)).is_err()
            {
                std::thread::yield_now();
            }
            assert_eq!(std::fs::read_to_string(file.path()).unwrap().lines().count(), count);
        }
        let different: std::collections::HashSet<_> = buffers.iter().collect();
        assert!(different.len() <= 2, "{buffers:?}");
    }
}
