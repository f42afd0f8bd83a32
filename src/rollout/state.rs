//! What must survive a restart: run-time weights, how far each canary is, and the key that cookies are signed with.
//!
//! One small JSON file in `server.state_dir`, written anew as a whole and put in place at once, so that a crash leaves
//! the old one or the new one. It belongs to the process that holds the journal of the same directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use policy::canary::progress::Progress;
use policy::message::via::Signature;
use serde::{Deserialize, Serialize};

/// The form that is written; another is not read.
const VERSION: u32 = 1;
/// The longest file that is read: beyond, it is none of ours.
const BYTES_MAX: u64 = 16 << 20;
/// How long the key is, in bytes.
const KEY_BYTES: usize = 32;

/// What survives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    /// By route.
    pub routes: BTreeMap<String, KeptRoute>,
}

/// What of one route survives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptRoute {
    /// Its sides, and their shares in the file, in percent: what is kept holds for these alone.
    pub file: BTreeMap<String, f64>,
    /// Weights that were set at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<KeptShares>,
    /// How far its canary is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<KeptCanary>,
}

/// Weights that were set at run time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptShares {
    /// In percent, by side.
    pub percent: BTreeMap<String, f64>,
    /// Who set them.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// How far a canary is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptCanary {
    /// The side that is tried.
    pub side: String,
    /// How far it is.
    pub progress: Progress,
}

/// The file.
#[derive(Debug)]
pub(crate) struct StateFile {
    directory: PathBuf,
    path: PathBuf,
}

impl StateFile {
    /// The file of this directory.
    #[must_use]
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), path: directory.join("rollout.json") }
    }

    /// Reads it. What can't be read is set aside, so that the proxy starts, and a person can look at it.
    #[must_use]
    pub(crate) fn read(&self) -> Kept {
        match self.try_read() {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                let aside = self.path.with_extension("json.bad");
                let path = self.path.display();
                tracing::warn!("{path} can't be read, and is renamed to {}: {error}", aside.display());
                if let Err(error) = fs::rename(&self.path, &aside) {
                    tracing::warn!("{path} can't be renamed: {error}");
                }
                Kept::default()
            }
        }
    }

    fn try_read(&self) -> io::Result<Kept> {
        let mut text = Vec::new();
        File::open(&self.path)?.take(BYTES_MAX).read_to_end(&mut text)?;
        let kept: Kept = serde_json::from_slice(&text)?;
        if kept.version != VERSION {
            return Err(io::Error::other(format!("its version is {}, not {VERSION}", kept.version)));
        }
        Ok(kept)
    }

    /// Writes it, and returns when it is on the disk.
    ///
    /// # Errors
    /// What the system says; then the old one is still there.
    pub(crate) fn write(&self, kept: &Kept) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&Kept { version: VERSION, routes: kept.routes.clone() })?;
        self.put(&self.path, &text)
    }

    /// The key that cookies are signed with: made at the first start.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn key(&self) -> io::Result<Vec<u8>> {
        let path = self.directory.join("cookie.key");
        match fs::read(&path) {
            Ok(key) if key.len() == KEY_BYTES => Ok(key),
            Ok(_) => {
                tracing::warn!("{} holds no valid key, and is replaced: clients get new cookies", path.display());
                self.make_key(&path)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_key(&path),
            Err(error) => Err(error),
        }
    }

    /// The name that `Via` is signed with unless the file gives one: `make` is called at the first start.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn via_name(&self, make: impl FnOnce() -> String) -> io::Result<String> {
        let path = self.directory.join("via-name");
        let kept = match fs::read_to_string(&path) {
            Ok(text) => Some(text.trim_end().to_owned()).filter(|name| Signature::new(name).is_some()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => None,
            Err(error) => return Err(error),
        };
        if let Some(name) = kept {
            return Ok(name);
        }
        let name = make();
        self.put(&path, format!("{name}\n").as_bytes())?;
        Ok(name)
    }

    fn make_key(&self, path: &Path) -> io::Result<Vec<u8>> {
        let key = random_key()?;
        self.put(path, &key)?;
        Ok(key)
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.directory)?.sync_all()
    }
}

/// A key that nobody can guess, from the system.
///
/// # Errors
/// What the system says.
pub(crate) fn random_key() -> io::Result<Vec<u8>> {
    let mut key = vec![0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let sides = |new, old| [("new".to_owned(), new), ("old".to_owned(), old)].into();
        let overridden = KeptShares { percent: sides(35.0, 65.0), by: "alice".to_owned(), at_ms: 7 };
        let route = KeptRoute { file: sides(0.1, 99.9), overridden: Some(overridden), canary: None };
        Kept { version: VERSION, routes: [("/api".to_owned(), route)].into() }
    }

    #[test]
    fn what_is_written_is_read_and_is_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path());
        assert_eq!(file.read().routes.len(), 0);
        file.write(&kept()).unwrap();
        file.write(&kept()).unwrap();
        assert_eq!(file.read(), kept());
        let mode = fs::metadata(directory.path().join("rollout.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_can_not_be_read_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path());
        file.write(&kept()).unwrap();
        let path = directory.path().join("rollout.json");
        let whole = fs::read(&path).unwrap();
        for text in [&whole[..whole.len() / 2], b"", b"{\"version\":9,\"routes\":{}}", b"\xff\xfe"] {
            fs::write(&path, text).unwrap();
            assert_eq!(file.read(), Kept::default());
            assert_eq!(fs::read(path.with_extension("json.bad")).unwrap(), text);
        }
    }

    #[test]
    fn the_key_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path());
        let key = file.key().unwrap();
        assert_eq!(key.len(), KEY_BYTES);
        assert_eq!(file.key().unwrap(), key);
        fs::write(directory.path().join("cookie.key"), b"short").unwrap();
        assert_ne!(file.key().unwrap(), key);
    }

    #[test]
    fn the_name_for_via_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path());
        assert_eq!(file.via_name(|| "forebay-1".to_owned()).unwrap(), "forebay-1");
        assert_eq!(file.via_name(|| "forebay-2".to_owned()).unwrap(), "forebay-1");
        fs::write(directory.path().join("via-name"), b"no name\n").unwrap();
        assert_eq!(file.via_name(|| "forebay-3".to_owned()).unwrap(), "forebay-3");
    }
}
