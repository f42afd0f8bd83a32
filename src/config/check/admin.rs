//! Checks `[admin]` against the client listeners.

use std::net::SocketAddr;

use crate::config::document::Section;
use crate::config::plan::{Admin, AdminAddress, ListenAddress, Listener};

/// Reports an admin listener on an address of a client listener.
pub(super) fn check(section: &Section<'_>, admin: &Admin, clients: &[Listener]) {
    if let Some(text) = section.text("listen")
        && clients.iter().any(|client| takes(&client.address, &admin.listen))
    {
        section.report.add(text.span.clone(), format!("{text} is for clients already"), "take another port");
    }
}

/// Whether a client listener would get connections to the address of the admin listener.
fn takes(client: &ListenAddress, admin: &AdminAddress) -> bool {
    match (client, admin) {
        (ListenAddress::Ip(client), AdminAddress::Ip(admin)) => overlap(*client, *admin),
        (ListenAddress::Unix(client), AdminAddress::Unix(admin)) => client == admin,
        (ListenAddress::Ip(_) | ListenAddress::Inherited(_), AdminAddress::Unix(_))
        | (ListenAddress::Unix(_) | ListenAddress::Inherited(_), AdminAddress::Ip(_)) => false,
    }
}

/// Whether two addresses overlap: same port, and same IP address or one of them unspecified.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && is_same
}
