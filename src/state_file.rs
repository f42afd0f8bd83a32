//! Small files of `server.state_dir`: written anew as a whole and put in place at once, so that a crash leaves the old one or
//! the new one. Only their owner may read them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a file, and returns when it is on the disk.
///
/// # Errors
/// What the system says; then the old one is still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let mut new = OsString::from(name);
    new.push(".new");
    let new = path.with_file_name(new);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

/// Gives a file that can't be used another name, so that it is out of the way and a person can look at it.
pub(crate) fn set_aside(path: &Path, why: &dyn std::fmt::Display) {
    let mut aside = OsString::from(path.file_name().unwrap_or_default());
    aside.push(".bad");
    let aside = path.with_file_name(aside);
    tracing::warn!("{} can't be used, and is renamed to {}: {why}", path.display(), aside.display());
    if let Err(error) = fs::rename(path, &aside) {
        tracing::warn!("{} can't be renamed: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_is_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.b.json");
        // What a crash has left of a write before.
        fs::write(folder.path().join("a.b.json.new"), "hal").unwrap();
        for text in ["first", "second"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        set_aside(&path, &"why");
        assert!(!path.exists() && folder.path().join("a.b.json.bad").exists());
    }
}
