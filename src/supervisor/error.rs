//! The errors of starting and of reloading.

use std::io;
use std::sync::Arc;

use crate::admin;
use crate::config::plan::ListenAddress;
use crate::downstream::listener::ListenError;
use crate::shared_state::BeginError;
use crate::tls::TlsError;

/// Why a proxy can't start, or can't put a new Plan in force.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener's certificates can't be used.
    #[error("listener {address}: {source}")]
    Tls {
        /// The listener's address.
        address: ListenAddress,
        /// Why not.
        source: TlsError,
    },
    /// A file of `[upstream.tls]` can't be used.
    #[error("upstream {upstream}: {source}")]
    UpstreamTls {
        /// The upstream's name.
        upstream: Arc<str>,
        /// Why not.
        source: TlsError,
    },
    /// `[tls.acme]` can't be used.
    #[error("tls.acme: {0}")]
    Acme(#[source] TlsError),
    /// The admin listener can't be opened.
    #[error(transparent)]
    Admin(#[from] admin::OpenError),
    /// A log's target can't be opened.
    #[error("{0}")]
    Log(#[source] io::Error),
    /// The system has no thread or descriptor left, or a runtime can't be created.
    #[error("can't start: {0}")]
    Resources(#[from] io::Error),
    /// The shared state can't be created.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The proxy is stopping.
    #[error("the proxy is stopping")]
    Stopping,
}
