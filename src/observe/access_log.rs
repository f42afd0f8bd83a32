//! The access log: one line an exchange, written off the request's path.
//!
//! Each worker writes lines into a buffer of its own and hands full buffers to one thread, which writes them to stdout.
//! When that thread falls behind, lines are dropped and counted: a slow reader of the log never slows a request.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use policy::time::Now;

use super::clock;
use super::record::{Record, Request};
use crate::config::plan::AccessLog;

/// A buffer is handed over when it holds this many bytes.
const BUFFER_BYTES: usize = 32 * 1024;
/// The most buffers on their way to stdout, all workers together.
const BUFFERS_MAX: usize = 64;
/// How long the end of the process waits for a reader of stdout that takes nothing.
const FINISH_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether all is written.
const FINISH_LOOK: Duration = Duration::from_millis(1);

/// The thread that writes to stdout, as the workers see it.
#[derive(Debug)]
pub struct Writer {
    full: SyncSender<Vec<u8>>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start() -> std::io::Result<Self> {
        let (full, queue) = sync_channel(BUFFERS_MAX);
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write_all(&queue))?;
        Ok(Self { full, thread })
    }

    /// A log for one worker.
    #[must_use]
    pub fn log(&self, form: AccessLog) -> Log {
        let (spare_in, spare) = channel();
        Log {
            form,
            lines: 0,
            dropped: 0,
            buffer: Vec::new(),
            full: self.full.clone(),
            spare,
            spare_in,
            second: Second::default(),
        }
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

fn write_all(queue: &Receiver<Vec<u8>>) {
    let mut stdout = std::io::stdout();
    while let Ok(buffer) = queue.recv() {
        let written = stdout.write_all(&buffer).and_then(|()| stdout.flush());
        if let Err(error) = written {
            tracing::warn!("access log can't be written: {error}");
            break;
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
    full: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    spare_in: Sender<Vec<u8>>,
    second: Second,
}

impl Log {
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
        let line = Line { record, client, took: ended.mono.saturating_sub(started.mono) };
        self.second.set(ended.wall);
        match self.form {
            AccessLog::Json => line.json(&mut self.buffer, ended.wall, &self.second.iso),
            AccessLog::Combined => line.combined(&mut self.buffer, &self.second.common),
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
        let empty = self.spare.try_recv().unwrap_or_default();
        let buffer = std::mem::replace(&mut self.buffer, empty);
        match self.full.try_send(buffer) {
            Ok(()) => {}
            Err(TrySendError::Full(mut buffer) | TrySendError::Disconnected(mut buffer)) => {
                self.dropped += self.lines;
                buffer.clear();
                let _gone = self.spare_in.send(buffer);
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

/// The present second as text, written anew when it changes.
#[derive(Debug, Default)]
struct Second {
    unix: u64,
    iso: String,
    common: String,
}

impl Second {
    fn set(&mut self, wall: Duration) {
        if self.unix == wall.as_secs() && !self.iso.is_empty() {
            return;
        }
        self.unix = wall.as_secs();
        // IMF-fixdate, RFC 9110 §5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT"
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.unix));
        let mut words = date.split([' ', ',']).filter(|word| !word.is_empty()).skip(1);
        let (day, month, year, time) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let number = MONTHS.iter().position(|name| *name == month).map_or(0, |index| index + 1);
        self.iso = format!("{year}-{number:02}-{day}T{time}");
        self.common = format!("{day}/{month}/{year}:{time} +0000");
    }
}

/// One exchange, to be written.
struct Line<'a> {
    record: &'a Record,
    client: IpAddr,
    took: Duration,
}

impl Line<'_> {
    /// One JSON object, with the names of nginx's variables where it has one.
    fn json(&self, out: &mut Vec<u8>, wall: Duration, second: &str) {
        let record = self.record;
        let mut object = Object { out, first: true };
        object.out.push(b'{');
        object.write("time", format_args!("\"{second}.{:03}Z\"", wall.subsec_millis()));
        object.write("remote_addr", format_args!("\"{}\"", self.client));
        if let Some(request) = &record.request {
            object.request(request);
        }
        object.write("status", format_args!("{}", record.status.map_or(499, |status| status.as_u16())));
        object.write("body_bytes_sent", format_args!("{}", record.body_bytes_sent));
        object.seconds("request_time", Some(self.took));
        object.field("request_id", &record.id);
        object.name("route", record.route.as_deref());
        if let Some((side, by)) = &record.side {
            object.bytes("side", side.as_bytes());
            object.bytes("side_by", by.as_bytes());
        }
        object.name("upstream", record.upstream.as_deref());
        object.name("backend", record.backend.as_deref());
        if let Some(status) = record.backend_status {
            object.write("upstream_status", format_args!("{}", status.as_u16()));
        }
        object.seconds("upstream_connect_time", record.connect_time);
        object.seconds("upstream_header_time", record.header_time);
        if record.tries > 0 {
            object.write("tries", format_args!("{}", record.tries));
        }
        object.name("cache", record.cache);
        object.name("cache_reason", record.cache_reason);
        object.name("fault", record.fault.as_deref());
        object.out.extend_from_slice(b"}\n");
    }

    /// Apache's combined format.
    fn combined(&self, out: &mut Vec<u8>, second: &str) {
        let record = self.record;
        let mut text = Text(out);
        let _infallible = write!(text, "{} - - [{second}] \"", self.client);
        if let Some(request) = &record.request {
            let _infallible = write!(text, "{} ", request.method);
            escape(text.0, request.target.to_string().as_bytes());
            let _infallible = write!(text, " {:?}", request.version);
        } else {
            text.0.push(b'-');
        }
        let status = record.status.map_or(499, |status| status.as_u16());
        let _infallible = write!(text, "\" {status} {} \"", record.body_bytes_sent);
        let request = record.request.as_deref();
        escape(text.0, request.and_then(|request| request.referer.as_ref()).map_or(b"-", HeaderValue::as_bytes));
        text.0.extend_from_slice(b"\" \"");
        escape(text.0, request.and_then(|request| request.user_agent.as_ref()).map_or(b"-", HeaderValue::as_bytes));
        text.0.extend_from_slice(b"\"\n");
    }
}

struct Text<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A JSON object being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn write(&mut self, key: &str, value: std::fmt::Arguments<'_>) {
        self.key(key);
        let _infallible = Text(self.out).write_fmt(value);
    }

    fn bytes(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        escape(self.out, value);
        self.out.push(b'"');
    }

    fn field(&mut self, key: &str, value: &Option<HeaderValue>) {
        if let Some(value) = value {
            self.bytes(key, value.as_bytes());
        }
    }

    fn name(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.bytes(key, value.as_bytes());
        }
    }

    fn seconds(&mut self, key: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.write(key, format_args!("{}.{:06}", value.as_secs(), value.subsec_micros()));
        }
    }

    fn request(&mut self, request: &Request) {
        self.bytes("request_method", request.method.as_str().as_bytes());
        self.bytes("request_uri", request.target.to_string().as_bytes());
        self.write("server_protocol", format_args!("\"{:?}\"", request.version));
        self.field("http_host", &request.host);
        self.field("http_referer", &request.referer);
        self.field("http_user_agent", &request.user_agent);
        self.field("http_x_forwarded_for", &request.forwarded_for);
        self.field("content_length", &request.content_length);
    }
}

/// Writes bytes so that they stay within a JSON string and on one line; bytes ≥ 0x80 as Latin-1.
fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0x20..=0x7e => out.push(*byte),
            _ => {
                let _infallible = write!(out, "\\u{byte:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, StatusCode, Version};

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
        let (spare_in, spare) = channel();
        let mut log =
            Log { form, buffer: Vec::new(), lines: 0, dropped: 0, full, spare, spare_in, second: Second::default() };
        let started = Now { mono: Duration::from_secs(1), wall: Duration::from_millis(784_111_777_250) };
        let ended = Now { mono: Duration::from_micros(1_001_500), wall: started.wall };
        log.line(record, "10.0.0.1".parse().unwrap(), started, ended);
        log.flush();
        String::from_utf8(lines.recv().unwrap()).unwrap()
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
        let (spare_in, spare) = channel();
        let form = AccessLog::Json;
        let mut log =
            Log { form, buffer: Vec::new(), lines: 0, dropped: 0, full, spare, spare_in, second: Second::default() };
        for _ in 0..3 {
            log.line(&record(), "10.0.0.1".parse().unwrap(), Now::default(), Now::default());
        }
        log.flush();
        assert_eq!(log.take_dropped(), 3);
        assert_eq!(log.take_dropped(), 0);
    }
}
