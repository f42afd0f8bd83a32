//! The event log: what changed and what needs a look, on stderr.
//!
//! Events are written by a thread of their own. When it falls behind, they are dropped and counted: a worker that waited
//! for the reader of stderr would let its requests wait too.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;

use super::clock;

/// The most events on their way to stderr.
const EVENTS_MAX: usize = 1024;
/// How long the end of the process waits for a reader of stderr that takes nothing.
const FINISH_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether all is written.
const FINISH_LOOK: Duration = Duration::from_millis(1);

/// The event log of this process. Dropped, it waits until all events so far are written, or for a second when nobody
/// reads them.
#[derive(Debug)]
#[must_use]
pub struct Events(Arc<Counts>);

/// How many events there are.
#[derive(Debug, Default)]
struct Counts {
    /// On their way.
    pending: AtomicUsize,
    /// Dropped, and not told of yet.
    dropped: AtomicUsize,
}

/// Starts writing events of this level and above to stderr. Later calls change nothing.
///
/// # Errors
/// When the system has no thread left.
pub fn start(level: LevelFilter) -> io::Result<Events> {
    let (entry, queue) = Entry::new();
    let counts = Arc::clone(&entry.counts);
    let events = Events(Arc::clone(&counts));
    let thread = std::thread::Builder::new().name("event-log".to_owned());
    thread.spawn(move || write_all(&queue, &counts, io::stderr()))?;
    let _already_started = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(Arc::new(entry))
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        // That stderr is closed can't be told on stderr: the attempt would panic.
        .log_internal_errors(false)
        .try_init();
    Ok(events)
}

impl Drop for Events {
    fn drop(&mut self) {
        let until = clock::mono() + FINISH_MAX;
        while self.0.pending.load(Ordering::Acquire) > 0 && clock::mono() < until {
            std::thread::sleep(FINISH_LOOK);
        }
    }
}

/// Where events are put in; each comes as one piece.
#[derive(Debug)]
struct Entry {
    queue: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

impl Entry {
    fn new() -> (Self, Receiver<Vec<u8>>) {
        let (queue, events) = sync_channel(EVENTS_MAX);
        (Self { queue, counts: Arc::default() }, events)
    }
}

impl Write for &Entry {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.counts.pending.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(event.to_vec()).is_err() {
            self.counts.pending.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(queue: &Receiver<Vec<u8>>, counts: &Counts, mut to: impl Write) {
    while let Ok(event) = queue.recv() {
        let _closed = to.write_all(&event).and_then(|()| to.flush());
        let dropped = counts.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            // Not as an event: it would have to pass through the queue that is full.
            let _closed = writeln!(to, "{dropped} events were dropped here, as those before were not read in time");
        }
        counts.pending.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_nobody_takes_are_dropped_and_counted() {
        let (entry, queue) = Entry::new();
        for _ in 0..EVENTS_MAX + 3 {
            (&entry).write_all(b"event\n").unwrap();
        }
        assert_eq!(entry.counts.dropped.load(Ordering::Relaxed), 3);
        let counts = Arc::clone(&entry.counts);
        drop(entry);
        let mut written = Vec::new();
        write_all(&queue, &counts, &mut written);
        let written = String::from_utf8(written).unwrap();
        let told = "event\n3 events were dropped here, as those before were not read in time\nevent\n";
        assert!(written.starts_with(told), "{:?}", written.get(..100));
        assert_eq!(written.matches("event\n").count(), EVENTS_MAX);
        assert_eq!(counts.pending.load(Ordering::Relaxed), 0);
        assert_eq!(counts.dropped.load(Ordering::Relaxed), 0);
    }
}
