//! `[tls.acme]` and the rest of the file: who needs it, what it needs, and whether an authority can reach it.

use std::ops::Range;
use std::sync::Arc;

use policy::certificate::challenge::Challenge;
use toml::de::DeValue;

use super::upstream;
use crate::config::document::Section;
use crate::config::plan::{Acme, Action, Edits, HostHeader, ListenAddress, Plan, Route, Upstream};

/// What the route and the upstream of `challenge_peer` are called.
const PEER: &str = "acme challenge_peer";

/// Reports what is missing for the names that listeners have.
pub(super) fn check(top: &Section<'_>, acme: Option<&Acme>, has_state_dir: bool) {
    let own = top.written("tls").and_then(|tls| place(tls, &["acme"]));
    let naming = top.items("listener").find_map(|listener| place(listener, &["tls", "acme"]));
    match (naming, acme) {
        (Some(names), None) => {
            let hint = "add [tls.acme] with terms_agreed = true";
            top.report.add(names, "acme needs [tls.acme]", hint);
        }
        (None, Some(acme)) if acme.challenge_peer.is_none() => {
            let hint = "name what it is for: [listener.tls] acme = [\"www.example.com\"]";
            top.report.warn(own.clone().unwrap_or_default(), "no listener has names for [tls.acme]", hint);
        }
        (Some(_) | None, _) => {}
    }
    if acme.is_some() && !has_state_dir {
        let hint = "its account, keys and certificates must survive a restart: state_dir = \"/var/lib/forebay\"";
        top.report.add(own.unwrap_or_default(), "[tls.acme] needs server.state_dir", hint);
    }
}

/// Where a value stands within a table, which other checks have read.
fn place(table: &DeValue<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (name, rest) = path.split_first()?;
    let value = table.as_table()?.get(*name)?;
    if rest.is_empty() { Some(value.span()) } else { place(value.get_ref(), rest) }
}

/// The route to the node of `challenge_peer`, and its upstream, which are added. No request finds the route by itself.
pub(super) fn peer(
    top: &Section<'_>,
    acme: Option<&Acme>,
    upstreams: &mut Vec<Upstream>,
    routes: &mut Vec<Route>,
) -> Option<usize> {
    let backend = acme?.challenge_peer.clone()?;
    let name: Arc<str> = Arc::from(PEER);
    let plain = upstream::with_one_backend(top, Arc::clone(&name), backend);
    upstreams.push(Upstream { host: HostHeader::Client, ..plain });
    routes.push(Route {
        name,
        action: Action::Forward(upstreams.len() - 1),
        cache: None,
        mirror: None,
        is_conditional: true,
        strip_prefix: None,
        add_prefix: None,
        rewrite: None,
        request_headers: Edits::default(),
        response_headers: Edits::default(),
    });
    Some(routes.len() - 1)
}

/// Warns when no listener can answer the authority.
pub(super) fn warn(top: &Section<'_>, plan: &Plan) {
    let Some(acme) = plan.acme.as_ref().filter(|_| plan.acme_names().next().is_some()) else { return };
    let own = top.written("tls").and_then(|tls| place(tls, &["acme"])).unwrap_or_default();
    if plan.challenges().is_empty() {
        let needs = |challenge: &Challenge| match challenge {
            Challenge::Http01 => "http-01 needs a listener without TLS that speaks HTTP/1.1",
            Challenge::TlsAlpn01 => {
                "tls-alpn-01 needs a listener that has the names, and no client_auth = \"required\""
            }
        };
        let hint = acme.challenges.iter().map(needs).collect::<Vec<_>>().join("; ");
        top.report.warn(own, "no listener can answer the challenges of the authority", hint);
    } else if !plan.challenges().iter().any(|challenge| plan.meets(*challenge, Some(challenge.port()))) {
        let ports =
            plan.challenges().iter().map(|one| format!("{} ({})", one.port(), one.as_str())).collect::<Vec<_>>();
        let cause = format!("no listener is at a port that the authority connects to: {}", ports.join(", "));
        top.report.warn(own, cause, "add one, or have the port of the names lead to a listener");
    }
}

impl Plan {
    /// The names that certificates are ordered for; a name may come more than once.
    pub fn acme_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| &tls.acme)
    }

    /// The challenges that a listener can answer, the preferred one first.
    #[must_use]
    pub fn challenges(&self) -> Vec<Challenge> {
        let listed = self.acme.iter().flat_map(|acme| &acme.challenges).copied();
        listed.filter(|challenge| self.meets(*challenge, None)).collect()
    }

    /// Whether a listener can answer a challenge: one at this port, if one is given.
    fn meets(&self, challenge: Challenge, port: Option<u16>) -> bool {
        self.listeners.iter().any(|listener| {
            let is_there = match (&listener.address, port) {
                (ListenAddress::Ip(address), Some(port)) => address.port() == port,
                (ListenAddress::Unix(_), Some(_)) => false,
                // Which port a service manager has opened shows at the start.
                (ListenAddress::Inherited(_), Some(_)) | (_, None) => true,
            };
            is_there
                && match (challenge, &listener.tls) {
                    (Challenge::Http01, None) => listener.protocols.http1(),
                    (Challenge::TlsAlpn01, Some(tls)) => tls.answers_challenges(),
                    (Challenge::Http01, Some(_)) | (Challenge::TlsAlpn01, None) => false,
                }
        })
    }
}
