//! Warns about backends that are this proxy's own listeners, as far as the file alone shows.
//!
//! It is not an error, because one host may be routed through another. At run time a loop gets 508.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::document::Section;
use crate::config::plan::{Action, Address, Plan, Upstream};

/// Warns about each upstream with such a backend, also about the backends of routes.
pub(super) fn warn(routes: &[Section<'_>], upstreams: &[Section<'_>], plan: &Plan) {
    for (section, upstream) in upstreams.iter().zip(&plan.upstreams) {
        of_upstream(section, upstream, plan);
    }
    for (section, route) in routes.iter().zip(&plan.routes).filter(|(section, _)| section.has("backends")) {
        if let Action::Forward(index) = route.action
            && let Some(upstream) = plan.upstreams.get(index)
        {
            of_upstream(section, upstream, plan);
        }
    }
}

fn of_upstream(section: &Section<'_>, upstream: &Upstream, plan: &Plan) {
    for backend in &upstream.backends {
        let address = match &backend.address {
            Address::Ip(address) => Some(*address),
            Address::Name { host, port } if is_localhost(host) => Some((Ipv4Addr::LOCALHOST, *port).into()),
            Address::Name { .. } | Address::Unix(_) => None,
        };
        if let Some(listener) = address.and_then(|address| plan.listener_at(address, |_| false)) {
            let cause = format!("backend {} is this proxy's own listener {listener}", backend.name);
            let hint = "a request that goes there comes back; after three rounds it is answered 508";
            section.report.warn(section.at("backends"), cause, hint);
        }
    }
}

/// Whether a name is one of the loopback interface (RFC 6761 §6.3), or Debian's name for `::1`.
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost") || matches!(host, "ip6-localhost" | "localhost.localdomain")
}

impl Plan {
    /// The listener that would get connections to this address, if there is one. `is_local`: whether an address that is
    /// not loopback belongs to this machine.
    #[must_use]
    pub fn listener_at(&self, address: SocketAddr, is_local: impl Fn(IpAddr) -> bool) -> Option<SocketAddr> {
        let ip = address.ip().to_canonical();
        // A connection to the unspecified address goes to the loopback interface.
        let ip = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
        let takes = |listener: &SocketAddr| {
            let own = listener.ip().to_canonical();
            let is_wide = own.is_unspecified() && (ip.is_ipv4() || own.is_ipv6());
            listener.port() == address.port() && (own == ip || is_wide && (ip.is_loopback() || is_local(ip)))
        };
        self.tcp_addresses().find(takes)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{check_text, parse};

    fn loops(listen: &str, url: &str) -> usize {
        let in_place = format!("[[route]]\nbackends = [\"{url}\"]\n");
        let named = format!("[[upstream]]\nname = \"u\"\nbackends = [\"{url}\"]\n[[route]]\nupstream = \"u\"\n");
        let [one, other] = [in_place, named].map(|rest| {
            let text = format!("listen = [\"{listen}\"]\n{rest}");
            let found = check_text("f", &text).unwrap().warnings.list;
            found.iter().filter(|problem| problem.cause.contains("this proxy's own listener")).count()
        });
        assert_eq!(one, other, "{listen} {url}");
        one
    }

    #[test]
    fn a_backend_that_is_a_listener_is_named() {
        for (listen, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("127.0.0.1:8080", "http://localhost:8080"),
            ("127.0.0.1:8080", "http://0.0.0.0:8080"),
            ("0.0.0.0:8080", "http://127.9.9.9:8080"),
            ("[::]:8080", "http://127.0.0.1:8080"),
            ("[::]:8080", "http://[::1]:8080"),
            ("[::]:80", "http://app.localhost"),
            ("10.0.0.1:80", "http://10.0.0.1"),
        ] {
            assert_eq!(loops(listen, url), 1, "{listen} {url}");
        }
        for (listen, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8081"),
            ("127.0.0.2:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:8080", "http://[::1]:8080"),
            ("0.0.0.0:8080", "http://10.0.0.1:8080"),
            ("0.0.0.0:80", "http://localhost.example"),
            ("0.0.0.0:80", "unix:/run/a.sock"),
        ] {
            assert_eq!(loops(listen, url), 0, "{listen} {url}");
        }
    }

    #[test]
    fn other_addresses_of_the_machine_count_for_listeners_everywhere() {
        let plan =
            parse("f", "listen = [\"0.0.0.0:80\", \"10.0.0.2:81\"]\n[[route]]\nbackends = [\"http://a\"]").unwrap();
        let at = |address: &str| plan.listener_at(address.parse().unwrap(), |_| true);
        assert_eq!(at("10.0.0.1:80"), Some("0.0.0.0:80".parse().unwrap()));
        assert_eq!((at("10.0.0.1:81"), at("[fe80::1]:80")), (None, None));
    }
}
