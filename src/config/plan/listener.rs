//! What is asked of a plan's listeners.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use policy::message::network::Network;

use super::{ListenAddress, Plan, Protocols};

impl Plan {
    /// The TCP addresses where clients connect, as the file says them.
    pub fn tcp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(|listener| match listener.address {
            ListenAddress::Ip(address) => Some(address),
            ListenAddress::Unix(_) => None,
        })
    }

    /// Whose forwarding headers are believed on a listener. On one that the file no longer names, whose connections are still
    /// open, no headers are believed: the file's other networks were never meant for its clients.
    #[must_use]
    pub fn trusted_proxies(&self, listener: Option<&ListenAddress>) -> &[Network] {
        let Some(address) = listener else { return &self.server.trusted_proxies };
        let known = self.listeners.iter().find(|known| known.address == *address);
        known.map_or(&[], |known| known.trusted_proxies.as_ref().unwrap_or(&self.server.trusted_proxies))
    }

    /// Whether no listener redirects requests, or believes what they say of who asked.
    #[must_use]
    pub fn takes_requests_as_they_come(&self) -> bool {
        let believes = |trusted: &Option<Vec<Network>>| trusted.as_ref().is_some_and(|trusted| !trusted.is_empty());
        self.server.trusted_proxies.is_empty()
            && self.listeners.iter().all(|known| known.redirect_https.is_none() && !believes(&known.trusted_proxies))
    }

    /// The protocols that are spoken on a listener.
    #[must_use]
    pub fn protocols(&self, listener: &ListenAddress) -> Protocols {
        let known = self.listeners.iter().find(|known| known.address == *listener);
        known.map_or(Protocols::Http1, |known| known.protocols)
    }

    /// The port of the `https` URLs that a listener's requests by `http` are redirected to.
    #[must_use]
    pub fn redirect_https(&self, listener: Option<&ListenAddress>) -> Option<NonZeroU16> {
        let redirecting = self.listeners.iter().filter_map(|known| Some((&known.address, known.redirect_https?)));
        let mut redirecting = redirecting.filter(|(address, _)| Some(*address) == listener);
        redirecting.next().map(|(_, port)| port)
    }
}
