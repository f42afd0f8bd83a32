//! The keys of `[[listener]]`.

use super::{Kind, section};

section! {
    /// An address where clients connect, with what is particular to it. A listener is known by its address: a reload that
    /// keeps the address keeps the socket and the connections.
    LISTENER "[[listener]]"

    /// `ip:port`, or `unix:/path` for a socket in the file system, whose clients count as `127.0.0.1`. The mode of such a
    /// socket follows the process's umask.
    address: Kind::Text;
    /// The protocols that are spoken. Only `"http/1.1"` so far.
    protocols: Kind::Texts => "http/1.1";
    /// The port of the `https` URLs to which every request is redirected (308) that has not come by `https`; 443 is left
    /// out of the URL. Left out: nothing is redirected.
    redirect_https: Kind::Count(1, 65_535);
    /// Networks in CIDR form, or single addresses, whose forwarding headers are believed on this listener. Left out: those
    /// of `[server]`.
    trusted_proxies: Kind::Texts;
}
