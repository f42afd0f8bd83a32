//! The event log: what changed and what needs a look.
//!
//! Events are written by a thread of their own (see `writer`). When it is too far behind, they are dropped and counted:
//! a worker that waited for the reader of stderr would let its requests wait too.

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

/// The most events on their way to their target.
const EVENTS_MAX: usize = 1024;
/// The severity of what says nothing of it: informational (RFC 3164 §4.1.1).
const INFORMATIONAL: u8 = 6;

/// The writer of this process's event log, once that is started.
static STARTED: OnceLock<Writer> = OnceLock::new();

/// What is logged at least, once the log is started.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// The event log of this process. Dropped, it waits until all events so far are written, or for a second when nobody
/// reads them.
#[derive(Debug)]
#[must_use]
pub(crate) struct Events(());

/// Starts writing events of this level and above to this target. Later calls change nothing.
///
/// # Errors
/// When the target can't be opened, or the system has no thread left.
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
            // A target that is no terminal gets them without colours.
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
            // That stderr is closed can't be told on stderr: the attempt would panic.
            .log_internal_errors(false);
        // The library for HTTP/2 warns of what clients do: any client could fill the log.
        let ours = filter_fn(|event| event.target() != "h2" && !event.target().starts_with("h2::"));
        let _already_started = tracing_subscriber::registry().with(filter).with(ours).with(layer).try_init();
    }
    Ok(Events(()))
}

/// Events dropped since the start.
#[must_use]
pub(crate) fn dropped() -> u64 {
    STARTED.get().map_or(0, Writer::lost_ever)
}

impl Events {
    /// Opens the target again: log rotation has moved the file away.
    pub(crate) fn reopen(&self) {
        if let Some(writer) = STARTED.get() {
            writer.reopen();
        }
    }

    /// Changes the least important events that are logged.
    pub(crate) fn set_level(&self, level: LevelFilter) {
        if let Some(handle) = LEVEL.get() {
            let _never_gone = handle.modify(|present| *present = level);
        }
    }

    /// Lets events go to another target.
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

/// Where events are put in.
#[derive(Debug)]
struct Entry(Inlet);

/// Where one event is put in; it comes as one piece.
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
        let piece = Piece { bytes: event.to_vec(), lines: 1, severity: self.severity, back: None };
        let _counted = self.inlet.send(piece);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The number that syslog has for a level (RFC 3164 §4.1.1).
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
        // One is with the thread already, perhaps.
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
