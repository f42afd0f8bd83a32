//! `listen` and `[[listener]]`: where clients connect.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use policy::message::network::Network;

use super::Plan;

/// Where clients connect. A listener is known by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; port 0: one that the system chooses.
    Ip(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// An address where clients connect, and what is particular to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: ListenAddress,
    /// The port of the `https` URLs that requests by `http` are redirected to; `None`: they are served.
    pub redirect_https: Option<NonZeroU16>,
    /// Whose forwarding headers are believed; `None`: those of `[server]`.
    pub trusted_proxies: Option<Vec<Network>>,
}

impl Listener {
    /// A listener for plain HTTP/1.1 without anything particular.
    #[must_use]
    pub const fn plain(address: ListenAddress) -> Self {
        Self { address, redirect_https: None, trusted_proxies: None }
    }
}

impl Plan {
    /// The TCP addresses where clients connect, as the file says them.
    pub fn tcp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(|listener| match listener.address {
            ListenAddress::Ip(address) => Some(address),
            ListenAddress::Unix(_) => None,
        })
    }

    /// Whose forwarding headers are believed on a listener.
    #[must_use]
    pub fn trusted_proxies(&self, listener: Option<&ListenAddress>) -> &[Network] {
        let own = self.listeners.iter().filter_map(|known| Some((&known.address, known.trusted_proxies.as_ref()?)));
        let mut own = own.filter(|(address, _)| Some(*address) == listener);
        own.next().map_or(&self.server.trusted_proxies, |(_, networks)| networks)
    }

    /// The port of the `https` URLs that a listener's requests by `http` are redirected to.
    #[must_use]
    pub fn redirect_https(&self, listener: Option<&ListenAddress>) -> Option<NonZeroU16> {
        let redirecting = self.listeners.iter().filter_map(|known| Some((&known.address, known.redirect_https?)));
        let mut redirecting = redirecting.filter(|(address, _)| Some(*address) == listener);
        redirecting.next().map(|(_, port)| port)
    }
}
