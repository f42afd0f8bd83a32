//! The admin listener's socket and connections: opens, accepts, closes.
//!
//! Only forebay's own user can connect to a Unix socket: its directory is created with mode 0700, and the socket has
//! mode 0600 before a client can connect. Connections are bounded in number and in time.

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

/// The most connections at once; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;
/// The longest time for a whole request head to arrive, which is also how long an idle connection is kept.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// The age at which a connection is closed after its current request.
const AGE_MAX: Duration = Duration::from_secs(120);
/// How long the current request may take once its connection is to be closed.
const END_MAX: Duration = Duration::from_secs(12);
/// The pause after a failed `accept`: without it a lack of descriptors would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The length of the kernel's backlog.
const BACKLOG: i32 = 128;

/// Why the admin listener can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not loopback, and there is no token.
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
    /// The Unix socket can't be created.
    #[error("admin: can't listen on unix:{}: {source}", path.display())]
    Unix {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process accepts connections on this path.
    #[error("admin: another process listens on unix:{}", .0.display())]
    InUse(PathBuf),
    /// The path is taken by a file that is not a socket.
    #[error("admin: {} is there and is no socket", .0.display())]
    NotASocket(PathBuf),
}

/// An open listener. Connections wait in the backlog until [`Opened::serve`] accepts them. `Display` shows its address.
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

/// Opens the listener. Can be called outside of a runtime.
///
/// # Errors
/// When the address or path can't be listened on, or other machines could reach it without a token.
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

/// Creates a socket that only this user can connect to.
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
    /// The TCP address, with the port that the system chose for port 0; `None` for a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(..) => None,
        }
    }

    /// Serves requests until `shutdown` resolves, then finishes those in flight.
    ///
    /// # Errors
    /// When the socket can't be registered with the runtime.
    pub async fn serve(self, service: Arc<dyn Service>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let router = routes::router(self.guard, service);
        let (socket, _file) = match self.socket {
            Bound::Tcp(listener) => (Accepting::Tcp(TcpListener::from_std(listener)?), None),
            Bound::Unix(listener, file) => (Accepting::Unix(UnixListener::from_std(listener)?), Some(file)),
        };
        let (end, ending) = watch::channel(());
        let mut connections = JoinSet::new();
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, socket.accept().await)
            };
            tokio::select! {
                () = &mut shutdown => break,
                Some(_ended) = connections.join_next() => {}
                (permit, accepted) = accepted => match accepted {
                    Ok(stream) => {
                        let connection = serve_connection(stream, router.clone(), ending.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!("an admin connection could not be accepted: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
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

/// Serves one connection until the client closes it, it is too old, or the listener ends.
async fn serve_connection(stream: Box<dyn Stream>, router: Router, mut ending: watch::Receiver<()>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // An error here is a broken connection: no response can be sent.
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
