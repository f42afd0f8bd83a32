//! The access log: one line an exchange, written off the request's path.
//!
//! Each worker writes lines into a buffer of its own and hands full buffers to one thread, which writes them to stdout.
//! When that thread falls behind, lines are dropped and counted: a slow reader of the log never slows a request.

use std::io::Write;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use policy::time::Now;

use super::clock;
use super::line::{Known, Line};
use super::record::Record;
use crate::config::plan::AccessLog;

/// A buffer is handed over when it holds this many bytes.
const BUFFER_BYTES: usize = 32 * 1024;
/// How much more it has room for, so that few last lines make it grow.
const LAST_LINE_BYTES: usize = 4 * 1024;
/// A buffer that long lines have made larger than this is not used again.
const BUFFER_BYTES_MAX: usize = 2 * BUFFER_BYTES;
/// The most written buffers that wait to be used again, for each worker.
const SPARES_MAX: usize = 2;
/// The most buffers on their way to stdout, all workers together.
const BUFFERS_MAX: usize = 64;
/// How long the end of the process waits for a reader of stdout that takes nothing.
const FINISH_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether all is written.
const FINISH_LOOK: Duration = Duration::from_millis(1);

/// The thread that writes to stdout, as the workers see it.
#[derive(Debug)]
pub struct Writer {
    full: SyncSender<Full>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start() -> std::io::Result<Self> {
        let (full, queue) = sync_channel(BUFFERS_MAX);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&queue, std::io::stdout()))?;
        Ok(Self { full, thread })
    }

    /// A log for one worker.
    #[must_use]
    pub fn log(&self, form: AccessLog) -> Log {
        Log::new(form, self.full.clone())
    }

    /// Waits until all that was handed over is written, or for a second when nobody reads it. All logs must be
    /// gone.
    pub fn finish(self) {
        drop(self.full);
        let until = clock::mono() + FINISH_MAX;
        while !self.thread.is_finished() && clock::mono() < until {
            std::thread::sleep(FINISH_LOOK);
        }
    }
}

/// A buffer to be written, and where it is given back.
#[derive(Debug)]
struct Full {
    buffer: Vec<u8>,
    back: SyncSender<Vec<u8>>,
}

fn write_all(queue: &Receiver<Full>, mut to: impl Write) {
    while let Ok(Full { mut buffer, back }) = queue.recv() {
        let written = to.write_all(&buffer).and_then(|()| to.flush());
        if let Err(error) = written {
            tracing::warn!("access log can't be written: {error}");
            break;
        }
        if buffer.capacity() <= BUFFER_BYTES_MAX {
            buffer.clear();
            let _has_enough = back.try_send(buffer);
        }
    }
}

/// One worker's access log.
#[derive(Debug)]
pub struct Log {
    form: AccessLog,
    buffer: Vec<u8>,
    lines: u64,
    dropped: u64,
    full: SyncSender<Full>,
    spare: Receiver<Vec<u8>>,
    back: SyncSender<Vec<u8>>,
    known: Known,
}

impl Log {
    fn new(form: AccessLog, full: SyncSender<Full>) -> Self {
        let (back, spare) = sync_channel(SPARES_MAX);
        Self { form, buffer: Vec::new(), lines: 0, dropped: 0, full, spare, back, known: Known::default() }
    }

    /// Whether lines are written at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.form != AccessLog::Off
    }

    /// Changes the form of lines to come.
    pub fn set_form(&mut self, form: AccessLog) {
        self.form = form;
    }

    /// Writes one line.
    pub fn line(&mut self, record: &Record, client: IpAddr, started: Now, ended: Now) {
        if self.buffer.is_empty() {
            self.buffer.reserve(BUFFER_BYTES + LAST_LINE_BYTES);
        }
        self.known.set(ended.wall, client);
        let took = ended.mono.saturating_sub(started.mono);
        let line = Line { record, known: &self.known, wall: ended.wall, took };
        match self.form {
            AccessLog::Json => line.json(&mut self.buffer),
            AccessLog::Combined => line.combined(&mut self.buffer),
            AccessLog::Off => return,
        }
        self.lines += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Hands the buffer over; drops it if the writer is too far behind.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let full = Full { buffer: std::mem::take(&mut self.buffer), back: self.back.clone() };
        match self.full.try_send(full) {
            Ok(()) => self.buffer = self.spare.try_recv().unwrap_or_default(),
            Err(TrySendError::Full(full) | TrySendError::Disconnected(full)) => {
                self.dropped += self.lines;
                self.buffer = full.buffer;
                self.buffer.clear();
            }
        }
        self.lines = 0;
    }

    /// How many lines were dropped since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl Drop for Log {
    /// Also what was cut off by the end is logged.
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::record::Request;
    use http::{HeaderValue, Method, StatusCode, Version};

    fn record() -> Record {
        Record {
            id: Some(HeaderValue::from_static("abc")),
            request: Some(Box::new(Request {
                method: Method::GET,
                target: "/a?b=c".parse().unwrap(),
                version: Version::HTTP_11,
                host: Some(HeaderValue::from_static("x")),
                referer: None,
                user_agent: Some(HeaderValue::from_bytes(b"say \"hi\"\xff").unwrap()),
                forwarded_for: None,
                content_length: None,
            })),
            status: Some(StatusCode::OK),
            body_bytes_sent: 5,
            ..Record::default()
        }
    }

    fn written(form: AccessLog, record: &Record) -> String {
        let (full, lines) = sync_channel(4);
        let mut log = Log::new(form, full);
        let started = Now { mono: Duration::from_secs(1), wall: Duration::from_millis(784_111_777_250) };
        let ended = Now { mono: Duration::from_micros(1_001_500), wall: started.wall };
        log.line(record, "10.0.0.1".parse().unwrap(), started, ended);
        log.flush();
        String::from_utf8(lines.recv().unwrap().buffer).unwrap()
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
        let missed = Record { cache: Some("miss"), cache_reason: Some("set-cookie"), ..record() };
        let line = written(AccessLog::Json, &missed);
        assert!(
            line.ends_with(",\"request_id\":\"abc\",\"cache\":\"miss\",\"cache_reason\":\"set-cookie\"}\n"),
            "{line}"
        );
        assert_eq!(written(AccessLog::Combined, &missed), written(AccessLog::Combined, &record()));
    }

    #[test]
    fn a_combined_line_is_apaches() {
        assert_eq!(
            written(AccessLog::Combined, &record()),
            "10.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b=c HTTP/1.1\" 200 5 \"-\" \"say \\\"hi\\\"\\u00ff\"\n"
        );
    }

    #[test]
    fn lines_that_nobody_takes_are_dropped_and_counted() {
        let (full, _kept) = sync_channel(0);
        let mut log = Log::new(AccessLog::Json, full);
        for _ in 0..3 {
            log.line(&record(), "10.0.0.1".parse().unwrap(), Now::default(), Now::default());
        }
        log.flush();
        assert_eq!(log.take_dropped(), 3);
        assert_eq!(log.take_dropped(), 0);
    }

    #[test]
    fn a_written_buffer_is_used_again() {
        let (full, queue) = sync_channel(1);
        let mut log = Log::new(AccessLog::Json, full);
        let mut written = Vec::new();
        let mut buffers = Vec::new();
        for _ in 0..4 {
            log.line(&record(), "10.0.0.1".parse().unwrap(), Now::default(), Now::default());
            buffers.push(log.buffer.as_ptr());
            log.flush();
            // Takes what is there, and ends, as nobody else is going to send.
            let (last, one) = sync_channel(1);
            last.send(queue.recv().unwrap()).unwrap();
            drop(last);
            write_all(&one, &mut written);
        }
        assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 4);
        assert!(buffers.iter().skip(2).all(|buffer| buffers.iter().take(2).any(|used| used == buffer)), "{buffers:?}");
    }
}
