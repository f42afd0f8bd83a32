//! A thread that writes log lines to their target, so that no other thread waits for it.
//!
//! Lines pass through a bounded queue. While a target is blocked (a full disk, a pipe without a reader) it is retried
//! ten times a second without end, and queued lines wait. When the queue is full, new lines are dropped and counted.
//! The event log reports when a target begins to fail, and when all lines are written again.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::clock;
use super::sink::Sink;
use crate::config::plan::LogTarget;

/// The interval between attempts while the target is blocked.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long the end of the process waits for a blocked target.
const FINISH_MAX: Duration = Duration::from_secs(1);
/// The first byte of a colour sequence.
const ESCAPE: u8 = 0x1b;
/// The interval of checks for the end of writing.
const FINISH_LOOK: Duration = Duration::from_millis(1);

/// Lines for a target.
#[derive(Debug)]
pub(super) struct Piece {
    /// Complete lines, each with its line break.
    pub(super) bytes: Vec<u8>,
    /// The number of lines.
    pub(super) lines: u64,
    /// Their syslog severity (RFC 3164 §4.1.1).
    pub(super) severity: u8,
    /// Whether they may hold colour sequences, which are for terminals.
    pub(super) may_have_colours: bool,
    /// Receives the buffer for reuse.
    pub(super) back: Option<SyncSender<Vec<u8>>>,
}

/// A message in the queue.
enum Message {
    Piece(Piece),
    /// Wakes the thread, because a flag has changed.
    Wake,
}

/// The sending end of the queue.
#[derive(Clone, Debug)]
pub(super) struct Inlet {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

/// The handle to a log's thread, which ends when all inlets are dropped.
#[derive(Debug)]
pub(super) struct Writer {
    inlet: Inlet,
}

#[derive(Debug)]
struct Shared {
    /// The name of the log.
    name: &'static str,
    /// Whether lost lines are reported to the event log; the event log cannot report its own.
    tells_losses: bool,
    /// Lines that were sent and are not written yet.
    pending: AtomicU64,
    /// Lines dropped since the last report.
    lost: AtomicU64,
    /// Lines dropped since the start.
    lost_ever: AtomicU64,
    /// Whether the target fails or lines are lost, so that this is reported once until all is written again.
    is_troubled: AtomicBool,
    /// Whether the target must be reopened.
    must_reopen: AtomicBool,
    /// The next target.
    next: Mutex<Option<Sink>>,
    /// Set when the process ends: how long to wait for a blocked target (monotonic).
    until: OnceLock<Duration>,
}

impl Writer {
    /// Opens the target and starts the thread, with a queue of `pieces_max` pieces.
    ///
    /// # Errors
    /// If the target cannot be opened, or the system has no thread left.
    pub(super) fn start(
        name: &'static str,
        tells_losses: bool,
        target: &LogTarget,
        pieces_max: usize,
    ) -> io::Result<Self> {
        let sink = Sink::open(target)?;
        let (queue, messages) = sync_channel(pieces_max);
        let shared = Arc::new(Shared {
            name,
            tells_losses,
            pending: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            lost_ever: AtomicU64::new(0),
            is_troubled: AtomicBool::new(false),
            must_reopen: AtomicBool::new(false),
            next: Mutex::new(None),
            until: OnceLock::new(),
        });
        let mut pump = Pump { sink, shared: Arc::clone(&shared), is_kept: false };
        std::thread::Builder::new().name(name.replace(' ', "-")).spawn(move || pump.run(&messages))?;
        Ok(Self { inlet: Inlet { queue, shared } })
    }

    /// A sending end of the queue.
    pub(super) fn inlet(&self) -> Inlet {
        self.inlet.clone()
    }

    /// Reopens the target after log rotation.
    pub(super) fn reopen(&self) {
        self.inlet.shared.must_reopen.store(true, Ordering::Release);
        self.inlet.wake();
    }

    /// Changes the target, also for lines in the queue.
    pub(super) fn set_target(&self, target: Sink) {
        *self.inlet.shared.next.lock() = Some(target);
        self.inlet.wake();
    }

    /// Lines dropped since the start.
    pub(super) fn lost_ever(&self) -> u64 {
        self.inlet.shared.lost_ever.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written, at most one second if the target is blocked. Later lines are tried once.
    pub(super) fn finish(&self) {
        let shared = &self.inlet.shared;
        let until = *shared.until.get_or_init(|| clock::mono() + FINISH_MAX);
        while shared.pending.load(Ordering::Acquire) > 0 && clock::mono() < until {
            std::thread::sleep(FINISH_LOOK);
        }
        let left = shared.pending.load(Ordering::Relaxed) + shared.lost.swap(0, Ordering::Relaxed);
        if left > 0 && shared.tells_losses {
            tracing::warn!("{}: {left} lines were not written", shared.name);
        }
    }
}

impl Inlet {
    /// Sends lines without waiting.
    ///
    /// # Errors
    /// The piece, if the queue is full: its lines are counted as lost.
    pub(super) fn send(&self, piece: Piece) -> Result<(), Piece> {
        let lines = piece.lines;
        self.shared.pending.fetch_add(lines, Ordering::Relaxed);
        let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            self.queue.try_send(Message::Piece(piece))
        else {
            return Ok(());
        };
        self.shared.pending.fetch_sub(lines, Ordering::Relaxed);
        self.shared.lose(lines);
        if !self.shared.is_troubled.swap(true, Ordering::Relaxed) && self.shared.tells_losses {
            tracing::warn!("{}: lines are dropped, as its target is too slow", self.shared.name);
        }
        match message {
            Message::Piece(piece) => Err(piece),
            Message::Wake => Ok(()),
        }
    }

    fn wake(&self) {
        // A full queue means that the thread is busy and checks the flags anyway.
        let _is_busy = self.queue.try_send(Message::Wake);
    }
}

impl Shared {
    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.lost_ever.fetch_add(lines, Ordering::Relaxed);
    }
}

/// The state of the thread.
struct Pump {
    sink: Sink,
    shared: Arc<Shared>,
    /// The old file is still open because a new one cannot be opened, which has been reported.
    is_kept: bool,
}

impl Pump {
    fn run(&mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            self.renew();
            let Message::Piece(mut piece) = message else { continue };
            if piece.may_have_colours && piece.bytes.contains(&ESCAPE) && !self.sink.shows_colours() {
                strip_colours(&mut piece.bytes);
            }
            self.write(&piece);
            if self.shared.pending.fetch_sub(piece.lines, Ordering::Release) == piece.lines {
                self.recovered();
            }
            if let Some(back) = piece.back {
                let _has_enough = back.try_send(piece.bytes);
            }
        }
    }

    fn write(&mut self, piece: &Piece) {
        let mut written = 0;
        while let Some(rest) = piece.bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let error = match self.sink.write(rest, piece.severity) {
                Ok(bytes) => {
                    written += bytes;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let would_block = error.kind() == io::ErrorKind::WouldBlock;
            if self.shared.until.get().is_some_and(|until| !would_block || clock::mono() >= *until) {
                return self.shared.lose(count(rest));
            }
            if would_block {
                self.sink.wait(RETRY_AFTER);
            } else {
                self.failed(&error);
                std::thread::sleep(RETRY_AFTER);
            }
            // A partially written line is completed in the same file, or else written again.
            if self.renew() || self.sink.is_empty() {
                written = line_start(&piece.bytes, written);
            }
        }
    }

    /// Changes or reopens the target, if requested. Returns whether lines go to another file.
    fn renew(&mut self) -> bool {
        if let Some(next) = self.shared.next.lock().take() {
            self.sink = next;
            return true;
        }
        let must = self.shared.must_reopen.swap(false, Ordering::Acquire);
        match self.sink.reopen(must) {
            Ok(is_another) => {
                self.is_kept &= !is_another && !must;
                is_another
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_kept, true) {
                    let name = self.shared.name;
                    tracing::warn!("{name}: can't be opened again, lines go on into the old file: {error}");
                }
                false
            }
        }
    }

    fn failed(&self, error: &io::Error) {
        if !self.shared.is_troubled.swap(true, Ordering::Relaxed) {
            tracing::warn!("{}: can't be written, lines wait for it: {error}", self.shared.name);
        }
    }

    /// Reports that all lines are written.
    fn recovered(&self) {
        if !self.shared.is_troubled.load(Ordering::Relaxed) || self.shared.until.get().is_some() {
            return;
        }
        self.shared.is_troubled.store(false, Ordering::Relaxed);
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        tracing::info!("{}: is written again, {lost} lines were dropped", self.shared.name);
    }
}

/// Removes colour sequences: `ESC [ … m`.
fn strip_colours(bytes: &mut Vec<u8>) {
    let mut is_colour = false;
    bytes.retain(|byte| {
        let was_colour = is_colour;
        is_colour = (is_colour && *byte != b'm') || *byte == ESCAPE;
        !was_colour && !is_colour
    });
}

/// The start of the line that contains this byte.
fn line_start(bytes: &[u8], at: usize) -> usize {
    let before = bytes.get(..at).unwrap_or_default();
    before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// The number of lines, including a partial one.
fn count(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::path::Path;

    fn piece(text: &str) -> Piece {
        Piece {
            bytes: text.as_bytes().to_vec(),
            lines: count(text.as_bytes()),
            severity: 6,
            may_have_colours: true,
            back: None,
        }
    }

    fn writer(path: &Path, pieces_max: usize) -> Writer {
        Writer::start("test log", true, &LogTarget::File(path.into()), pieces_max).unwrap()
    }

    /// Waits for an effect of another thread.
    fn eventually(what: &str, condition: impl Fn() -> bool) {
        let begun = clock::mono();
        while !condition() {
            assert!(clock::mono() - begun < Duration::from_secs(60), "{what}");
            std::thread::sleep(FINISH_LOOK);
        }
    }

    #[test]
    fn lines_wait_for_a_full_disk_and_what_is_lost_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let writer = writer(&path, 2);
        let inlet = writer.inlet();
        let mut lost = 0;
        while lost < 3 {
            lost += u64::from(inlet.send(piece("line\n")).is_err());
        }
        assert_eq!(writer.lost_ever(), lost);
        std::fs::remove_file(&path).unwrap();
        eventually("it is written again", || inlet.shared.pending.load(Ordering::Relaxed) == 0);
        eventually("that is told", || inlet.shared.lost.load(Ordering::Relaxed) == 0);
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.lines().all(|line| line == "line") && written.lines().count() >= 2, "{written}");
    }

    #[test]
    fn a_torn_line_is_finished_when_there_is_a_reader_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let open = || std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut reader = open();
        let writer = writer(&path, 64);
        let line = format!("{}\n", "a".repeat(30_000));
        for _ in 0..8 {
            writer.inlet().send(piece(&line)).unwrap();
        }
        let mut bytes = vec![0; 1000];
        reader.read_exact(&mut bytes).unwrap();
        let mut second = open();
        drop(reader);
        let mut read = vec![0; 8 * line.len() - bytes.len()];
        second.read_exact(&mut read).unwrap();
        bytes.append(&mut read);
        assert!(String::from_utf8(bytes).unwrap() == line.repeat(8));
    }

    #[test]
    fn a_torn_line_is_written_anew_where_its_beginning_is_gone() {
        assert_eq!(line_start(b"one\ntwo\nthr", 11), 8);
        assert_eq!(line_start(b"one\ntwo\nthr", 8), 8);
        assert_eq!(line_start(b"one", 2), 0);
    }

    #[test]
    fn another_target_gets_what_the_old_one_did_not_take() {
        let folder = tempfile::tempdir().unwrap();
        let (full, path) = (folder.path().join("full"), folder.path().join("a.log"));
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        let writer = writer(&full, 64);
        writer.inlet().send(piece("one\n")).unwrap();
        writer.set_target(Sink::open(&LogTarget::File(path.as_path().into())).unwrap());
        eventually("it is written", || std::fs::read_to_string(&path).is_ok_and(|text| text == "one\n"));
        std::fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        writer.reopen();
        eventually("there is a new file, without a line", || path.exists());
    }

    #[test]
    fn the_end_of_the_process_does_not_wait_for_a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let writer = writer(&path, 64);
        writer.inlet().send(piece("one\ntwo\n")).unwrap();
        writer.finish();
        eventually("it gives up", || writer.lost_ever() == 2);
    }

    #[test]
    fn colours_are_for_terminals() {
        let mut bytes = b"\x1b[2mtime\x1b[0m \x1b[32m INFO\x1b[0m it is (m)\n".to_vec();
        strip_colours(&mut bytes);
        assert_eq!(String::from_utf8(bytes).unwrap(), "time  INFO it is (m)\n");
    }
}
