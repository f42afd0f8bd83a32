//! The journal's files: one directory, one file a segment, one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use policy::write::record::{Packed, Payload, Record, SegmentHead, scan};
use policy::write::segment_table::Position;

use crate::telemetry::random;

/// The directory within `server.state_dir`.
const DIRECTORY: &str = "journal";
/// Held by the process that the directory belongs to.
const LOCK: &str = "lock";
/// What a segment's name ends with; before it stands its number.
const SUFFIX: &str = ".log";
/// What is put behind the name of a damaged one that nothing is pending in: kept for a person.
const ASIDE: &str = ".damaged";
/// What is put behind the name of one that is being written anew.
const ANEW: &str = ".new";

/// Why a journal can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} belongs to another running process", .0.display())]
    Taken(PathBuf),
    /// It can't be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file is not to be read by this version, or is not a journal's.
    #[error("{}: {why}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: policy::write::record::BadHead,
    },
}

impl OpenError {
    /// An error of the system about this path.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}

/// The journal's directory, held.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

impl Directory {
    /// Makes the directory if need be, and takes hold of it.
    ///
    /// # Errors
    /// When it can't be made or written, or another process holds it.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let path = state_dir.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(OpenError::io(&path))?;
        // Its name must be on the disk before what is in it is worth anything.
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

    /// Removes what a process has left that ended while it wrote a segment anew: the segment itself is as it was.
    fn clear(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.path)? {
            let path = file?.path();
            if path.to_str().is_some_and(|name| name.ends_with(ANEW)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The numbers of its segments, in order.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(crate) fn segments(&self) -> Result<Vec<u64>, OpenError> {
        let mut numbers = Vec::new();
        for file in fs::read_dir(&self.path).map_err(OpenError::io(&self.path))? {
            let name = file.map_err(OpenError::io(&self.path))?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A number that no file has had, also none that is set aside.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(crate) fn next_segment(&self) -> Result<u64, OpenError> {
        let mut last = 0;
        for file in fs::read_dir(&self.path).map_err(OpenError::io(&self.path))? {
            let name = file.map_err(OpenError::io(&self.path))?.file_name();
            let number = name.to_str().and_then(|name| name.split('.').next()?.parse::<u64>().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(last.saturating_add(1))
    }

    /// How many bytes a segment takes; 0 if that can't be said.
    #[must_use]
    pub(crate) fn bytes(&self, segment: u64) -> u64 {
        fs::metadata(self.path(segment)).map_or(0, |file| file.len())
    }

    /// Puts other bytes in a segment's place, in one step. A damaged one is set aside, too.
    ///
    /// # Errors
    /// Those of the system: then it is as it was.
    pub(crate) fn replace(&self, segment: u64, bytes: &[u8], is_damaged: bool) -> io::Result<()> {
        let path = self.path(segment);
        let (anew, aside) = (with_suffix(&path, ANEW), with_suffix(&path, ASIDE));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&anew)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _left_over = fs::remove_file(&anew);
            return Err(error);
        }
        if is_damaged {
            match fs::hard_link(&path, aside) {
                // A crash may have come between this and the next step.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(anew, path)?;
        File::open(&self.path)?.sync_all()
    }

    /// Reads the write of this number back from its place.
    ///
    /// # Errors
    /// Those of the system; and when the write does not stand there whole, as when its segment has been made small since.
    pub(super) fn read(&self, place: Position, seq: u64) -> io::Result<Packed> {
        let file = File::open(self.path(place.segment))?;
        let mut frame = vec![0; place.bytes as usize];
        file.read_exact_at(&mut frame, place.offset.into())?;
        let mut head = [0; SegmentHead::BYTES];
        file.read_exact_at(&mut head, 0)?;
        // A segment whose head is damaged has frames that are sound: each begins with the mark.
        let first = frame.first_chunk().copied().map_or(0, u64::from_le_bytes);
        let mark = SegmentHead::read(&head).map_or(first, |(head, _)| head.mark);
        match scan(&frame, mark).next() {
            Some(Ok((0, Record { seq: found, payload: Payload::Write(packed) }))) if found == seq => Ok(packed),
            Some(Ok(_) | Err(_)) | None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Where a segment is.
    #[must_use]
    pub(crate) fn path(&self, segment: u64) -> PathBuf {
        self.path.join(format!("{segment:012}{SUFFIX}"))
    }

    /// Begins a segment; its head and its name are on the disk when this returns.
    ///
    /// # Errors
    /// Those of the system.
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

    /// Cuts off a torn tail.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn cut(&self, segment: u64, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(segment))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    /// Removes a segment that nobody needs any more. It is gone for good when this returns: were it to come back after
    /// those behind it have gone, its writes would be sent again.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn remove(&self, segment: u64) -> io::Result<()> {
        match fs::remove_file(self.path(segment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        File::open(&self.path)?.sync_all()
    }

    /// Sets a damaged segment aside, in which nothing is pending any more: it is not read again.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn set_aside(&self, segment: u64) -> io::Result<()> {
        let path = self.path(segment);
        fs::rename(&path, with_suffix(&path, ASIDE))?;
        File::open(&self.path)?.sync_all()
    }

    /// The damaged segments that were set aside.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(crate) fn aside(&self) -> Result<Vec<PathBuf>, OpenError> {
        let mut aside = Vec::new();
        for file in fs::read_dir(&self.path).map_err(OpenError::io(&self.path))? {
            let path = file.map_err(OpenError::io(&self.path))?.path();
            aside.extend(path.to_str().is_some_and(|name| name.ends_with(ASIDE)).then_some(path));
        }
        Ok(aside)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A new identity for a journal.
#[must_use]
pub(crate) fn identity() -> u128 {
    (u128::from(random::roll()) << 64) | u128::from(random::roll())
}
