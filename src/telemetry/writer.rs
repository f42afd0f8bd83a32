//! A thread that writes log lines to their target, so that no other thread waits for it.
//!
//! Lines are handed over in pieces, through a bounded queue. A target that takes nothing (a full disk, a pipe without a
//! reader) is tried again ten times a second, for ever; the lines in the queue wait for it. When the queue is full, new
//! lines are dropped and counted. The event log says when a target begins to fail, and when all is written again.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::clock;
use super::sink::Sink;
use crate::config::plan::LogTarget;

/// How long a target that takes nothing is left alone.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long the end of the process waits for a target that takes nothing.
const FINISH_MAX: Duration = Duration::from_secs(1);
/// Begins what sets a colour.
const ESCAPE: u8 = 0x1b;
/// How often the end of the process looks whether all is written.
const FINISH_LOOK: Duration = Duration::from_millis(1);

/// Lines on their way to a target.
#[derive(Debug)]
pub(super) struct Piece {
    /// Whole lines, each with its line break.
    pub(super) bytes: Vec<u8>,
    /// How many.
    pub(super) lines: u64,
    /// How severe they are, by syslog's numbers (RFC 3164 §4.1.1).
    pub(super) severity: u8,
    /// Where the buffer is given back.
    pub(super) back: Option<SyncSender<Vec<u8>>>,
}

/// What goes through the queue.
enum Message {
    Piece(Piece),
    /// There is something else to do.
    Wake,
}

/// Where lines are put in.
#[derive(Clone, Debug)]
pub(super) struct Inlet {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

/// A log's writing thread. It ends when all inlets are gone.
#[derive(Debug)]
pub(super) struct Writer {
    inlet: Inlet,
}

#[derive(Debug)]
struct Shared {
    /// Which log it is.
    name: &'static str,
    /// Whether the event log is told when lines begin to be lost; it can't be told of its own.
    tells_losses: bool,
    /// Lines handed over and not written yet.
    pending: AtomicU64,
    /// Lines dropped since that was last told.
    lost: AtomicU64,
    /// Lines dropped since the start.
    lost_ever: AtomicU64,
    /// The target fails or lines are lost: told once, until all is written again.
    is_troubled: AtomicBool,
    /// The target is to be opened again.
    must_reopen: AtomicBool,
    /// The target that is next.
    next: Mutex<Option<Sink>>,
    /// The process ends: until when a target that takes nothing is waited for (monotonic time).
    until: OnceLock<Duration>,
}

impl Writer {
    /// Opens the target and starts the thread; `pieces_max` may wait to be written.
    ///
    /// # Errors
    /// When the target can't be opened, or the system has no thread left.
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

    /// Where lines are put in.
    pub(super) fn inlet(&self) -> Inlet {
        self.inlet.clone()
    }

    /// Opens the target again: log rotation has moved the file away.
    pub(super) fn reopen(&self) {
        self.inlet.shared.must_reopen.store(true, Ordering::Release);
        self.inlet.wake();
    }

    /// Lets lines go to another target; those that wait in the queue too.
    pub(super) fn set_target(&self, target: Sink) {
        *self.inlet.shared.next.lock() = Some(target);
        self.inlet.wake();
    }

    /// Lines dropped since the start.
    pub(super) fn lost_ever(&self) -> u64 {
        self.inlet.shared.lost_ever.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written, for a second at most when the target takes nothing. Lines that are still to
    /// come are tried once.
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
    /// Hands lines over. Never waits.
    ///
    /// # Errors
    /// The piece, when the writer is too far behind: its lines are counted as lost.
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
        // A thread that is busy looks for itself.
        let _is_busy = self.queue.try_send(Message::Wake);
    }
}

impl Shared {
    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.lost_ever.fetch_add(lines, Ordering::Relaxed);
    }
}

/// What the thread has.
struct Pump {
    sink: Sink,
    shared: Arc<Shared>,
    /// The old file is still open, as another one can't be opened; that has been told.
    is_kept: bool,
}

impl Pump {
    fn run(&mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            self.renew();
            let Message::Piece(mut piece) = message else { continue };
            if piece.bytes.contains(&ESCAPE) && !self.sink.shows_colours() {
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
            // A line that was torn is finished where it was begun, or else written anew.
            if self.renew() || self.sink.is_empty() {
                written = line_start(&piece.bytes, written);
            }
        }
    }

    /// Goes over to another target, or opens the present one again, if that is due. Returns whether lines go elsewhere.
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

    /// All lines are written.
    fn recovered(&self) {
        if !self.shared.is_troubled.load(Ordering::Relaxed) || self.shared.until.get().is_some() {
            return;
        }
        self.shared.is_troubled.store(false, Ordering::Relaxed);
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        tracing::info!("{}: is written again, {lost} lines were dropped", self.shared.name);
    }
}

/// Removes what sets colours: `ESC [ … m`.
fn strip_colours(bytes: &mut Vec<u8>) {
    let mut is_colour = false;
    bytes.retain(|byte| {
        let was_colour = is_colour;
        is_colour = (is_colour && *byte != b'm') || *byte == ESCAPE;
        !was_colour && !is_colour
    });
}

/// Where the line begins in which this byte lies.
fn line_start(bytes: &[u8], at: usize) -> usize {
    let before = bytes.get(..at).unwrap_or_default();
    before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// How many lines these bytes hold; a torn one counts.
fn count(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::path::Path;

    fn piece(text: &str) -> Piece {
        Piece { bytes: text.as_bytes().to_vec(), lines: count(text.as_bytes()), severity: 6, back: None }
    }

    fn writer(path: &Path, pieces_max: usize) -> Writer {
        Writer::start("test log", true, &LogTarget::File(path.into()), pieces_max).unwrap()
    }

    /// Waits for what another thread does.
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
