//! Unix sockets in the file system: created, replaced if a dead process has left one, removed with their listener.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Why [`SocketFile::listen`] failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketFileError {
    /// A system call failed.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Another process accepts connections on this path.
    #[error("another process listens there")]
    InUse,
    /// The path is taken by a file that is not a socket.
    #[error("a file that is no socket is in the way")]
    NotASocket,
}

/// The path of a listening socket. Dropping it removes the file, unless another process has replaced the file since.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: tells our file from one that another process has created at the same path.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens on a path, whose directory must exist. `mode` is the permissions of the socket, set before a client can
    /// connect; `None` leaves them to the umask.
    ///
    /// # Errors
    /// When the path is in use, is not a socket, or a system call fails.
    pub(crate) fn listen(
        path: &Path,
        mode: Option<u32>,
        backlog: i32,
    ) -> Result<(UnixListener, Self), SocketFileError> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Before `listen`, so that no client can connect with other permissions.
        if let Some(mode) = mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok((socket.into(), Self { path: path.to_owned(), identity: identity(path)? }))
    }

    /// The path of the socket.
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

/// Removes a socket on which no process listens: a process that was killed could not remove it.
fn remove_stale(path: &Path) -> Result<(), SocketFileError> {
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
