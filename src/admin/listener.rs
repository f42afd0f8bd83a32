//! The listener's sockets and connections: opening, accepting, ending.
//!
//! A socket in the file system is for our own user: its folder is made 0700 where there is none, the socket is 0600
//! before anybody can connect. Connections are bounded in number and in time.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::guard::Guard;
use super::{Listen, Service, Settings, routes};
use crate::socket_file::{SocketFile, SocketFileError};

/// Connections at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;
/// A whole request head must be in by then; it is how long a connection may wait for its next request, too.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// How old a connection may get before it takes no more requests.
const AGE_MAX: Duration = Duration::from_secs(120);
/// How long an answer under way may take when its connection is to end.
const END_MAX: Duration = Duration::from_secs(12);
/// The pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;

/// Why the admin listener can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Anybody could reach it.
    #[error("admin: {0} is not a loopback address, so admin.token is needed")]
    Unguarded(SocketAddr),
    /// The address can't be listened on.
    #[error("admin: can't listen on {address}: {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The socket can't be made.
    #[error("admin: can't listen on unix:{}: {source}", path.display())]
    Unix {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process listens there.
    #[error("admin: another process listens on unix:{}", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket is in the way.
    #[error("admin: {} is there and is no socket", .0.display())]
    NotASocket(PathBuf),
}

/// An open listener: connections wait until [`Opened::serve`] takes them. `Display` says where it is.
#[derive(Debug)]
pub struct Opened {
    socket: Bound,
    guard: Guard,
}

#[derive(Debug)]
enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// Opens the listener. Needs no runtime.
///
/// # Errors
/// When the address or path can't be listened on, or anybody could reach it without a token.
pub fn open(settings: &Settings) -> Result<Opened, OpenError> {
    let socket = match &settings.listen {
        Listen::Ip(address) => {
            if settings.token.is_none() && !address.ip().to_canonical().is_loopback() {
                return Err(OpenError::Unguarded(*address));
            }
            Bound::Tcp(tcp(*address).map_err(|source| OpenError::Tcp { address: *address, source })?)
        }
        Listen::Unix(path) => unix(path)?,
    };
    Ok(Opened { socket, guard: Guard::new(settings) })
}

fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Makes the socket for our own user alone.
fn unix(path: &Path) -> Result<Bound, OpenError> {
    let failed = |source| OpenError::Unix { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    match SocketFile::listen(path, Some(0o600), BACKLOG) {
        Ok((listener, file)) => Ok(Bound::Unix(listener, file)),
        Err(SocketFileError::System(source)) => Err(failed(source)),
        Err(SocketFileError::InUse) => Err(OpenError::InUse(path.to_owned())),
        Err(SocketFileError::NotASocket) => Err(OpenError::NotASocket(path.to_owned())),
    }
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Bound::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(_) => f.write_str("an address that is gone"),
            },
            Bound::Unix(_, file) => write!(f, "unix:{}", file.path().display()),
        }
    }
}

impl Opened {
    /// The TCP address that is listened on; for port 0 with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(..) => None,
        }
    }

    /// Answers requests until `shutdown` comes; then finishes those under way.
    ///
    /// # Errors
    /// When the runtime can't take the socket.
    pub async fn serve(self, house: Arc<dyn Service>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let router = routes::router(self.guard, house);
        let (socket, _file) = match self.socket {
            Bound::Tcp(listener) => (Accepting::Tcp(TcpListener::from_std(listener)?), None),
            Bound::Unix(listener, file) => (Accepting::Unix(UnixListener::from_std(listener)?), Some(file)),
        };
        let (end, ending) = watch::channel(());
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, socket.accept().await)
            };
            tokio::select! {
                () = &mut shutdown => break,
                Some(_ended) = connections.join_next() => {}
                (place, accepted) = accepted => match accepted {
                    Ok(stream) => {
                        let talk = converse(stream, router.clone(), ending.clone());
                        connections.spawn(async move {
                            talk.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!("an admin connection could not be accepted: {error}");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
        drop((socket, end));
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Accepting {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// One connection, until either side has enough of it.
async fn converse(stream: Box<dyn Stream>, router: Router, mut ending: watch::Receiver<()>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // What went wrong is the peer's: there is nobody to tell.
        _ended = connection.as_mut() => return,
        () = tokio::time::sleep(AGE_MAX) => {}
        _ = ending.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _late = tokio::time::timeout(END_MAX, connection).await;
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings(listen: Listen) -> Settings {
        Settings { listen, token: None, hosts: Vec::new() }
    }

    #[test]
    fn what_anybody_could_reach_needs_a_token() {
        let open_to_all = settings(Listen::Ip("0.0.0.0:0".parse().unwrap()));
        assert!(matches!(open(&open_to_all), Err(OpenError::Unguarded(_))));
        let guarded = Settings { token: Some(super::super::Token::new("t")), ..open_to_all };
        assert!(open(&guarded).is_ok());
    }

    #[test]
    fn a_socket_is_for_its_user_alone_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        let opened = open(&settings(Listen::Unix(path.clone()))).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(opened.to_string(), format!("unix:{}", path.display()));
        drop(opened);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_behind_is_taken_over_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let settings = settings(Listen::Unix(path.clone()));
        let _opened = open(&settings).unwrap();
        assert!(matches!(open(&settings), Err(OpenError::InUse(_))));
        assert!(path.exists());
    }

    #[test]
    fn a_file_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(open(&settings(Listen::Unix(path.clone()))), Err(OpenError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
