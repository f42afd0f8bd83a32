//! The journal's files: one directory, one file for each segment, one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use policy::write::record::{Packed, Payload, Record, SegmentHead, scan};
use policy::write::segment_table::Position;

use crate::telemetry::random;

/// The directory within `server.state_dir`.
const DIRECTORY: &str = "journal";
/// The lock file, locked by the process that uses the directory.
const LOCK: &str = "lock";
/// The suffix of a segment's file name, after its number.
const SUFFIX: &str = ".log";
/// The suffix added to a damaged segment without live writes, which is kept for inspection.
const DAMAGED_SUFFIX: &str = ".damaged";
/// The suffix of a segment that is being rewritten.
const REWRITE_SUFFIX: &str = ".new";

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("{} belongs to another running process", .0.display())]
    Taken(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        #[source]
        error: io::Error,
    },
    /// A file was written by a later version, or belongs to no journal.
    #[error("{}: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: policy::write::record::BadHead,
    },
}

impl OpenError {
    /// Makes an I/O error for this path.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}

/// The locked directory of the journal.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Closing it releases the lock.
    _lock: File,
}

impl Directory {
    /// Creates the directory if needed, and locks it.
    ///
    /// # Errors
    /// If the directory cannot be created or written, or another process has locked it.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let path = state_dir.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(OpenError::io(&path))?;
        // The directory entry must be durable, or the contents would be lost with it.
        for parent in path.ancestors().skip(1).take(2).filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(OpenError::io(parent))?;
        }
        let lock_path = path.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(OpenError::io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Taken(path)),
            Err(TryLockError::Error(error)) => return Err(OpenError::io(&lock_path)(error)),
        }
        let directory = Self { path, _lock: lock };
        directory.clear().map_err(OpenError::io(&directory.path))?;
        Ok(directory)
    }

    /// Removes the incomplete file of a compaction that a crash interrupted; the original segment is intact.
    fn clear(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.path)? {
            let path = file?.path();
            if path.to_str().is_some_and(|name| name.ends_with(REWRITE_SUFFIX)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The numbers of the segments, in order.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn segments(&self) -> Result<Vec<u64>, OpenError> {
        let mut numbers = Vec::new();
        for file in fs::read_dir(&self.path).map_err(OpenError::io(&self.path))? {
            let name = file.map_err(OpenError::io(&self.path))?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A number that no file has had, including damaged ones that were renamed.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn next_segment(&self) -> Result<u64, OpenError> {
        let mut last = 0;
        for file in fs::read_dir(&self.path).map_err(OpenError::io(&self.path))? {
            let name = file.map_err(OpenError::io(&self.path))?.file_name();
            let number = name.to_str().and_then(|name| name.split('.').next()?.parse::<u64>().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(last.saturating_add(1))
    }

    /// The length of a segment; 0 if unknown.
    #[must_use]
    pub(crate) fn bytes(&self, segment: u64) -> u64 {
        fs::metadata(self.path(segment)).map_or(0, |file| file.len())
    }

    /// Atomically replaces a segment. The original of a damaged one is kept under another name.
    ///
    /// # Errors
    /// I/O errors; the segment is unchanged.
    pub(crate) fn replace(&self, segment: u64, bytes: &[u8], is_damaged: bool) -> io::Result<()> {
        let path = self.path(segment);
        let (rewrite, damaged) = (with_suffix(&path, REWRITE_SUFFIX), with_suffix(&path, DAMAGED_SUFFIX));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&rewrite)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _left_over = fs::remove_file(&rewrite);
            return Err(error);
        }
        if is_damaged {
            match fs::hard_link(&path, damaged) {
                // The link may exist already, if the process crashed before the next step.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(rewrite, path)?;
        File::open(&self.path)?.sync_all()
    }

    /// Reads the write with this number at its position.
    ///
    /// # Errors
    /// I/O errors, and an error if the record is not intact at this position, for example because its segment was
    /// compacted.
    pub(super) fn read(&self, place: Position, seq: u64) -> io::Result<Packed> {
        let file = File::open(self.path(place.segment))?;
        let mut frame = vec![0; place.bytes as usize];
        file.read_exact_at(&mut frame, place.offset.into())?;
        let mut head = [0; SegmentHead::BYTES];
        file.read_exact_at(&mut head, 0)?;
        // In a segment with a damaged head, frames are intact and each begins with the mark.
        let first = frame.first_chunk().copied().map_or(0, u64::from_le_bytes);
        let mark = SegmentHead::read(&head).map_or(first, |(head, _)| head.mark);
        match scan(&frame, mark).next() {
            Some(Ok((0, Record { seq: found, payload: Payload::Write(packed) }))) if found == seq => Ok(packed),
            Some(Ok(_) | Err(_)) | None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The path of a segment.
    #[must_use]
    pub(crate) fn path(&self, segment: u64) -> PathBuf {
        self.path.join(format!("{segment:012}{SUFFIX}"))
    }

    /// Creates a segment; its head and directory entry are durable on return.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn begin(&self, segment: u64, head: &SegmentHead) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let mut file = options.create_new(true).append(true).mode(0o600).open(self.path(segment))?;
        let mut bytes = Vec::with_capacity(SegmentHead::BYTES);
        head.encode(&mut bytes);
        file.write_all(&bytes)?;
        file.sync_all()?;
        File::open(&self.path)?.sync_all()?;
        Ok(file)
    }

    /// Truncates a torn tail.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn cut(&self, segment: u64, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(segment))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    /// Removes a segment that is no longer needed, durably on return: if it reappeared after later ones are gone, its
    /// writes would be sent again.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn remove(&self, segment: u64) -> io::Result<()> {
        match fs::remove_file(self.path(segment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        File::open(&self.path)?.sync_all()
    }

    /// Renames a damaged segment without live writes, so that it is not read again.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn rename_damaged(&self, segment: u64) -> io::Result<()> {
        let path = self.path(segment);
        fs::rename(&path, with_suffix(&path, DAMAGED_SUFFIX))?;
        File::open(&self.path)?.sync_all()
    }

    /// The damaged segments that were renamed.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn damaged_segments(&self) -> Result<Vec<PathBuf>, OpenError> {
        let mut damaged = Vec::new();
        for file in fs::read_dir(&self.path).map_err(OpenError::io(&self.path))? {
            let path = file.map_err(OpenError::io(&self.path))?.path();
            damaged.extend(path.to_str().is_some_and(|name| name.ends_with(DAMAGED_SUFFIX)).then_some(path));
        }
        Ok(damaged)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A new random identity for a journal.
#[must_use]
pub(crate) fn identity() -> u128 {
    (u128::from(random::roll()) << 64) | u128::from(random::roll())
}
