//! The persisted state: run-time weights, the progress of canaries, and the key that signs cookies.
//!
//! One small JSON file in `server.state_dir`, always rewritten and replaced atomically, so that a crash leaves the old
//! or the new one. It belongs to the process that has locked the journal of the same directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use policy::canary::progress::Progress;
use policy::message::via::Signature;
use serde::{Deserialize, Serialize};

use crate::state_file;

/// The version of the format; other versions are not read.
const VERSION: u32 = 1;
/// The longest file that is read.
const BYTES_MAX: u64 = 16 << 20;
/// The length of the key in bytes.
const KEY_BYTES: usize = 32;

/// The persisted state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedState {
    version: u32,
    /// The state of each route, by name.
    pub routes: BTreeMap<String, SavedRoute>,
}

/// The persisted state of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedRoute {
    /// The configured weights of its sides in percent; the state is valid only for these.
    pub file: BTreeMap<String, f64>,
    /// Weights set at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<SavedShares>,
    /// The progress of its canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<SavedCanary>,
}

/// Weights set at run time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedShares {
    /// In percent, by side.
    pub percent: BTreeMap<String, f64>,
    /// Who set them.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The progress of a canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedCanary {
    /// The canary's side.
    pub side: String,
    /// Its progress.
    pub progress: Progress,
}

/// The state file.
#[derive(Debug)]
pub(crate) struct StateFile {
    directory: PathBuf,
    path: PathBuf,
}

impl StateFile {
    /// The state file in this directory.
    #[must_use]
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), path: directory.join("rollout.json") }
    }

    /// Reads the file. An unreadable one is renamed for inspection, so that the proxy can start.
    #[must_use]
    pub(crate) fn read(&self) -> SavedState {
        match self.try_read() {
            Ok(saved) => saved,
            Err(error) if error.kind() == io::ErrorKind::NotFound => SavedState::default(),
            Err(error) => {
                state_file::set_aside(&self.path, &error);
                SavedState::default()
            }
        }
    }

    fn try_read(&self) -> io::Result<SavedState> {
        let mut text = Vec::new();
        File::open(&self.path)?.take(BYTES_MAX).read_to_end(&mut text)?;
        let saved: SavedState = serde_json::from_slice(&text)?;
        if saved.version != VERSION {
            return Err(io::Error::other(format!("its version is {}, not {VERSION}", saved.version)));
        }
        Ok(saved)
    }

    /// Writes the file; it is durable on return.
    ///
    /// # Errors
    /// I/O errors; the old file is unchanged.
    pub(crate) fn write(&self, saved: &SavedState) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&SavedState { version: VERSION, routes: saved.routes.clone() })?;
        state_file::replace(&self.path, &text)
    }

    /// The key that signs cookies, created at the first start.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn key(&self) -> io::Result<Vec<u8>> {
        let path = self.directory.join("cookie.key");
        match fs::read(&path) {
            Ok(key) if key.len() == KEY_BYTES => Ok(key),
            Ok(_) => {
                tracing::warn!("{} holds no valid key, and is replaced: clients get new cookies", path.display());
                Self::make_key(&path)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make_key(&path),
            Err(error) => Err(error),
        }
    }

    /// The name in `Via` if the file has none; `make` creates it at the first start.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn via_name(&self, make: impl FnOnce() -> String) -> io::Result<String> {
        let path = self.directory.join("via-name");
        let saved = match fs::read_to_string(&path) {
            Ok(text) => Some(text.trim_end().to_owned()).filter(|name| Signature::new(name).is_some()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => None,
            Err(error) => return Err(error),
        };
        if let Some(name) = saved {
            return Ok(name);
        }
        let name = make();
        state_file::replace(&path, format!("{name}\n").as_bytes())?;
        Ok(name)
    }

    fn make_key(path: &Path) -> io::Result<Vec<u8>> {
        let key = random_key()?;
        state_file::replace(path, &key)?;
        Ok(key)
    }
}

/// A random key from the operating system.
///
/// # Errors
/// I/O errors.
pub(crate) fn random_key() -> io::Result<Vec<u8>> {
    let mut key = vec![0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> SavedState {
        let sides = |new, old| [("new".to_owned(), new), ("old".to_owned(), old)].into();
        let overridden = SavedShares { percent: sides(35.0, 65.0), by: "alice".to_owned(), at_ms: 7 };
        let route = SavedRoute { file: sides(0.1, 99.9), overridden: Some(overridden), canary: None };
        SavedState { version: VERSION, routes: [("/api".to_owned(), route)].into() }
    }

    #[test]
    fn what_is_written_is_read_and_is_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path());
        assert_eq!(file.read().routes.len(), 0);
        file.write(&saved()).unwrap();
        file.write(&saved()).unwrap();
        assert_eq!(file.read(), saved());
        let mode = fs::metadata(directory.path().join("rollout.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_can_not_be_read_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path());
        file.write(&saved()).unwrap();
        let path = directory.path().join("rollout.json");
        let whole = fs::read(&path).unwrap();
        for text in [&whole[..whole.len() / 2], b"", b"{\"version\":9,\"routes\":{}}", b"\xff\xfe"] {
            fs::write(&path, text).unwrap();
            assert_eq!(file.read(), SavedState::default());
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
