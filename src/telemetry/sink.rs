//! The target of log lines: standard output, standard error, a file, or syslog.
//!
//! A write never blocks: it writes what the target has room for. `writer` decides when to retry.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::net::SendFlags;

use super::clock;
use super::syslog::Syslog;
use crate::config::plan::LogTarget;

/// The bytes that a writable pipe takes without blocking (`PIPE_BUF` of Linux).
const PIPE_BYTES: usize = 4096;
/// The mode of a created file, before the umask.
const FILE_MODE: u32 = 0o640;
/// The interval of comparing a file's path with the open file.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// An open target.
#[derive(Debug)]
pub(crate) struct Sink(Open);

#[derive(Debug)]
enum Open {
    Stdout(Medium),
    Stderr(Medium),
    File(LogFile),
    Syslog(Syslog),
}

/// The kind of file that a descriptor refers to, which determines how to write without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    /// A regular file, or a device that never blocks.
    Plain,
    /// A pipe, a FIFO or a terminal: blocks when it is full, and may be shared with a process that needs blocking mode.
    Pipe,
    /// A stream socket.
    Socket,
}

impl Sink {
    /// Opens a target. A FIFO without a reader and a syslog socket without a server are opened later.
    ///
    /// # Errors
    /// If a file cannot be opened or created; the error names it.
    pub(crate) fn open(target: &LogTarget) -> io::Result<Self> {
        let file = |path| {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("can't log to {target}: {error}"));
            LogFile::open(path).map_err(named)
        };
        Ok(Self(match target {
            LogTarget::Stdout => Open::Stdout(medium(io::stdout().as_fd())),
            LogTarget::Stderr => Open::Stderr(medium(io::stderr().as_fd())),
            LogTarget::File(path) => Open::File(file(path)?),
            LogTarget::Syslog(path) => Open::Syslog(Syslog::new(path)),
        }))
    }

    /// Writes as much of `lines` as there is room for; returns the number of bytes.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room now, or another I/O error.
    pub(super) fn write(&mut self, lines: &[u8], severity: u8) -> io::Result<usize> {
        match &mut self.0 {
            Open::Stdout(medium) => write(io::stdout().as_fd(), *medium, lines),
            Open::Stderr(medium) => write(io::stderr().as_fd(), *medium, lines),
            Open::File(file) => file.write(lines),
            Open::Syslog(syslog) => syslog.write(lines, severity),
        }
    }

    /// Waits until a blocked write may be retried, at most `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        match &self.0 {
            Open::Stdout(_) => wait(Some(io::stdout().as_fd()), limit),
            Open::Stderr(_) => wait(Some(io::stderr().as_fd()), limit),
            Open::File(file) => wait(file.file.as_ref().map(AsFd::as_fd), limit),
            Open::Syslog(_) => wait(None, limit),
        }
    }

    /// Reopens a file if `must` is set, or if another file is at its path now, because log rotation has moved the old
    /// one. Compares at most once a second. Returns whether it was reopened.
    ///
    /// # Errors
    /// If the file cannot be opened or created; the old one stays open.
    pub(super) fn reopen(&mut self, must: bool) -> io::Result<bool> {
        match &mut self.0 {
            Open::File(file) => file.reopen(must),
            Open::Syslog(syslog) if must => {
                syslog.disconnect();
                Ok(false)
            }
            Open::Stdout(_) | Open::Stderr(_) | Open::Syslog(_) => Ok(false),
        }
    }

    /// Whether it is an empty file, which holds no part of a line that was begun.
    pub(super) fn is_empty(&self) -> bool {
        match &self.0 {
            Open::Stdout(Medium::Plain) => is_empty(io::stdout().as_fd()),
            Open::Stderr(Medium::Plain) => is_empty(io::stderr().as_fd()),
            Open::File(file) => file.file.as_ref().is_some_and(|file| is_empty(file.as_fd())),
            Open::Stdout(_) | Open::Stderr(_) | Open::Syslog(_) => false,
        }
    }

    /// Whether the target displays colours.
    pub(super) fn shows_colours(&self) -> bool {
        match &self.0 {
            Open::Stdout(_) => io::stdout().is_terminal(),
            Open::Stderr(_) => io::stderr().is_terminal(),
            Open::File(_) | Open::Syslog(_) => false,
        }
    }
}

fn medium(fd: BorrowedFd<'_>) -> Medium {
    match fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::Fifo) => Medium::Pipe,
        Ok(FileType::Socket) => Medium::Socket,
        Ok(_) if fd.is_terminal() => Medium::Pipe,
        Ok(_) | Err(_) => Medium::Plain,
    }
}

fn write(fd: BorrowedFd<'_>, medium: Medium, bytes: &[u8]) -> io::Result<usize> {
    let written = match medium {
        Medium::Plain => rustix::io::write(fd, bytes)?,
        Medium::Pipe if !is_writable(fd, Duration::ZERO) => return Err(io::ErrorKind::WouldBlock.into()),
        Medium::Pipe => rustix::io::write(fd, bytes.get(..PIPE_BYTES).unwrap_or(bytes))?,
        Medium::Socket => rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?,
    };
    if written == 0 && !bytes.is_empty() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(written)
}

/// Whether a write would not block; it may fail.
fn is_writable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    poll(&mut fds, Some(&limit)).is_ok_and(|ready| ready > 0)
}

fn wait(fd: Option<BorrowedFd<'_>>, limit: Duration) {
    /// The shortest wait, in case a descriptor reports that it is ready but accepts nothing.
    const LEAST: Duration = Duration::from_millis(1);
    match fd {
        Some(fd) if is_writable(fd, limit) => std::thread::sleep(LEAST),
        Some(_) => {}
        None => std::thread::sleep(limit),
    }
}

fn is_empty(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0)
}

/// A log file, which is reopened when another file is at its path.
#[derive(Debug)]
struct LogFile {
    path: Box<Path>,
    /// `None`: a FIFO without a reader so far.
    file: Option<File>,
    medium: Medium,
    /// Device and inode.
    id: (u64, u64),
    /// When the path was last compared (monotonic).
    checked: Duration,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        let flags = i32::try_from(flags).unwrap_or_default();
        let opened = OpenOptions::new().append(true).create(true).mode(FILE_MODE).custom_flags(flags).open(path);
        let file = match opened {
            // A FIFO without a reader.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => None,
            opened => Some(opened?),
        };
        let mut opened = Self { path: Box::from(path), file, medium: Medium::Pipe, id: (0, 0), checked: clock::mono() };
        if let Some(file) = &opened.file {
            opened.medium = medium(file.as_fd());
            let metadata = file.metadata()?;
            opened.id = (metadata.dev(), metadata.ino());
        }
        Ok(opened)
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match &self.file {
            Some(file) => write(file.as_fd(), self.medium, lines),
            None => {
                self.reopen(true)?;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    fn reopen(&mut self, must: bool) -> io::Result<bool> {
        let now = clock::mono();
        let is_replaced = || match std::fs::metadata(&self.path) {
            Ok(metadata) => (metadata.dev(), metadata.ino()) != self.id,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !must && (now.saturating_sub(self.checked) < CHECK_EVERY || !is_replaced()) {
            return Ok(false);
        }
        self.checked = now;
        let opened = Self::open(&self.path)?;
        let is_another = opened.id != self.id;
        *self = opened;
        Ok(is_another)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(path: &Path) -> Sink {
        Sink::open(&LogTarget::File(path.into())).unwrap()
    }

    #[test]
    fn a_file_is_appended_to_and_readable_by_its_group_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        assert_eq!(file(&path).write(b"one\n", 6).unwrap(), 4);
        assert_eq!(file(&path).write(b"two\n", 6).unwrap(), 4);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew_at_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("a.log"), folder.path().join("a.log.1"));
        let mut sink = file(&path);
        sink.write(b"one\n", 6).unwrap();
        std::fs::rename(&path, &old).unwrap();
        assert!(!sink.reopen(false).unwrap(), "it was compared a moment ago");
        assert!(sink.reopen(true).unwrap());
        assert!(!sink.reopen(true).unwrap(), "it is the same file");
        sink.write(b"two\n", 6).unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_stays_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut sink = file(&path);
        drop(folder);
        assert_eq!(sink.reopen(true).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(sink.write(b"one\n", 6).unwrap(), 4);
    }

    #[test]
    fn a_full_pipe_would_block_and_never_does() {
        let (reader, writer) = io::pipe().unwrap();
        let line = [b'a'; 3 * PIPE_BYTES];
        let mut sum = 0;
        let full = loop {
            match write(writer.as_fd(), Medium::Pipe, &line) {
                Ok(written) => sum += written,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let mut read = vec![0; sum];
        (&reader).read_exact(&mut read).unwrap();
        assert!(write(writer.as_fd(), Medium::Pipe, b"more").is_ok());
        drop(reader);
        assert_eq!(write(writer.as_fd(), Medium::Pipe, b"more").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_fifo_is_opened_when_it_has_a_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut sink = file(&path);
        assert_eq!(sink.write(b"one\n", 6).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut tries = 0;
        while sink.write(b"one\n", 6).is_err() {
            tries += 1;
            assert!(tries < 3);
        }
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\n");
    }
}
