//! Sockets in the file system: made, taken over where a process has left one behind, removed when their listener ends.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Why a socket can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketFileError {
    /// The system refuses it.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Another process listens there.
    #[error("another process listens there")]
    InUse,
    /// A file that is no socket is in the way.
    #[error("a file that is no socket is in the way")]
    NotASocket,
}

/// A socket in the file system, removed when this is dropped unless it is another's by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens on a path; the folder must be there. `mode`: its permissions, in force before anybody can connect; `None`:
    /// as the umask leaves them.
    pub(crate) fn listen(
        path: &Path,
        mode: Option<u32>,
        backlog: i32,
    ) -> Result<(UnixListener, Self), SocketFileError> {
        clear(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // No client can connect before it listens.
        if let Some(mode) = mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok((socket.into(), Self { path: path.to_owned(), identity: identity(path)? }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that a process has left behind.
fn clear(path: &Path) -> Result<(), SocketFileError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(SocketFileError::NotASocket),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
            Err(error) => Err(error.into()),
            Ok(_) => Err(SocketFileError::InUse),
        },
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
