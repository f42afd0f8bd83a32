//! Look-ups of a Plan's listeners.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use policy::message::network::Network;

use super::{ListenAddress, Plan, Protocols};

impl Plan {
    /// The TCP addresses of the client listeners, as in the file.
    pub fn tcp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(|listener| match listener.address {
            ListenAddress::Ip(address) => Some(address),
            ListenAddress::Unix(_) | ListenAddress::Inherited(_) => None,
        })
    }

    /// The networks whose forwarding headers a listener trusts. Empty for a listener that the file no longer has and
    /// whose connections are still open: the other networks of the file were never meant for its clients.
    #[must_use]
    pub fn trusted_proxies(&self, listener: Option<&ListenAddress>) -> &[Network] {
        let Some(address) = listener else { return &self.server.trusted_proxies };
        let known = self.listeners.iter().find(|known| known.address == *address);
        known.map_or(&[], |known| known.trusted_proxies.as_ref().unwrap_or(&self.server.trusted_proxies))
    }

    /// Whether no listener redirects requests or trusts forwarding headers.
    #[must_use]
    pub fn takes_requests_as_they_come(&self) -> bool {
        let trusts = |trusted: &Option<Vec<Network>>| trusted.as_ref().is_some_and(|trusted| !trusted.is_empty());
        self.server.trusted_proxies.is_empty()
            && self.listeners.iter().all(|known| known.redirect_https.is_none() && !trusts(&known.trusted_proxies))
    }

    /// The protocols of a listener.
    #[must_use]
    pub fn protocols(&self, listener: &ListenAddress) -> Protocols {
        let known = self.listeners.iter().find(|known| known.address == *listener);
        known.map_or(Protocols::Http1, |known| known.protocols)
    }

    /// The port of the `https` URLs to which a listener redirects requests; `None`: it does not redirect.
    #[must_use]
    pub fn redirect_https(&self, listener: Option<&ListenAddress>) -> Option<NonZeroU16> {
        let redirecting = self.listeners.iter().filter_map(|known| Some((&known.address, known.redirect_https?)));
        let mut redirecting = redirecting.filter(|(address, _)| Some(*address) == listener);
        redirecting.next().map(|(_, port)| port)
    }
}
