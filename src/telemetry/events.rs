//! The event log: changes and problems of the proxy.
//!
//! A separate thread writes events (see `writer`). When it is too far behind, events are dropped and counted: a worker
//! that waited for the reader of stderr would block its requests.

use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use super::sink::Sink;
use super::writer::{Inlet, Piece, Writer};
use crate::config::plan::LogTarget;

/// The most events waiting for the writer.
const EVENTS_MAX: usize = 1024;
/// The severity if none is given: informational (RFC 3164 §4.1.1).
const INFORMATIONAL: u8 = 6;

/// The writer of the event log, once it is started.
static STARTED: OnceLock<Writer> = OnceLock::new();

/// The minimum level, once the log is started.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// The event log of the process. Dropping it waits until all events are written, at most one second if the target is
/// blocked.
#[derive(Debug)]
#[must_use]
pub(crate) struct Events(());

/// Starts writing events of at least this level to this target. Later calls have no effect.
///
/// # Errors
/// If the target cannot be opened, or the system has no thread left.
pub(crate) fn start(level: LevelFilter, target: &LogTarget) -> io::Result<Events> {
    if STARTED.get().is_some() {
        return Ok(Events(()));
    }
    let writer = Writer::start("event log", false, target, EVENTS_MAX)?;
    let inlet = writer.inlet();
    if STARTED.set(writer).is_ok() {
        let (filter, handle) = reload::Layer::new(level);
        let _only_start = LEVEL.set(handle);
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(Entry(inlet))
            .with_target(false)
            // Colours only for a terminal.
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
            // A closed stderr cannot be reported on stderr: the attempt would panic.
            .log_internal_errors(false);
        // The HTTP/2 library warns of clients' errors, so any client could fill the log.
        let ours = filter_fn(|event| event.target() != "h2" && !event.target().starts_with("h2::"));
        let _already_started = tracing_subscriber::registry().with(filter).with(ours).with(layer).try_init();
    }
    Ok(Events(()))
}

/// The number of events dropped since the start.
#[must_use]
pub(crate) fn dropped() -> u64 {
    STARTED.get().map_or(0, Writer::lost_ever)
}

impl Events {
    /// Reopens the target after log rotation.
    pub(crate) fn reopen(&self) {
        if let Some(writer) = STARTED.get() {
            writer.reopen();
        }
    }

    /// Changes the minimum level.
    pub(crate) fn set_level(&self, level: LevelFilter) {
        if let Some(handle) = LEVEL.get() {
            let _never_gone = handle.modify(|present| *present = level);
        }
    }

    /// Changes the target.
    pub(crate) fn set_target(&self, target: Sink) {
        if let Some(writer) = STARTED.get() {
            writer.set_target(target);
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(writer) = STARTED.get() {
            writer.finish();
        }
    }
}

/// Makes writers for single events.
#[derive(Debug)]
struct Entry(Inlet);

/// The writer of one event, which is written in one call.
struct Event<'a> {
    inlet: &'a Inlet,
    severity: u8,
}

impl<'a> MakeWriter<'a> for Entry {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event { inlet: &self.0, severity: INFORMATIONAL }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Event<'a> {
        Event { inlet: &self.0, severity: severity(*metadata.level()) }
    }
}

impl Write for Event<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (bytes, severity) = (event.to_vec(), self.severity);
        let piece = Piece { bytes, lines: 1, severity, may_have_colours: true, back: None };
        let _counted = self.inlet.send(piece);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The syslog severity of a level (RFC 3164 §4.1.1).
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => INFORMATIONAL,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_nobody_takes_are_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let writer = Writer::start("event log", false, &LogTarget::File(path.as_path().into()), 8).unwrap();
        let entry = Entry(writer.inlet());
        // The thread may have received one already.
        for _ in 0..8 + 1 + 3 {
            entry.make_writer().write_all(b"event\n").unwrap();
        }
        assert!((3..=4).contains(&writer.lost_ever()));
    }

    #[test]
    fn levels_have_syslogs_numbers() {
        assert_eq!([Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG].map(severity), [3, 4, 6, 7]);
    }
}
