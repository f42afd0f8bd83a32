//! Checks `webhook` of a canary: an `http://` URL.

use std::sync::Arc;

use http::uri::PathAndQuery;

use super::upstream;
use crate::config::document::Section;
use crate::config::keys::backend::{self, Refusal};
use crate::config::plan::{Backend, Webhook};

/// The webhook of a route's canary. `None`: it has none, or the URL is malformed, which is reported.
pub(super) fn of_canary(section: &Section<'_>, route: &Arc<str>) -> Option<Webhook> {
    let text = section.text("webhook")?;
    match split(&text.value) {
        Ok((backend, target)) => {
            let name = Arc::from(format!("webhook of {route}"));
            Some(Webhook { upstream: upstream::with_one_backend(section, name, backend), target })
        }
        Err((cause, hint)) => {
            section.report.add(text.span.clone(), format!("webhook {text} {cause}"), hint);
            None
        }
    }
}

/// Splits a URL into its backend, and its path and query.
fn split(url: &str) -> Result<(Backend, String), Refusal> {
    let (scheme, rest) = url.split_once("://").ok_or(("is no URL", "write \"http://host:port/path\""))?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(("is not http", "only plain http:// is there yet; a relay on this machine can speak TLS"));
    }
    if rest.contains('#') {
        return Err(("holds a fragment", "leave # and what follows out: it is never sent"));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(("holds a user", "leave user and password out; a secret can stand in the path"));
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    if target.parse::<PathAndQuery>().is_err() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(("has a path that can't be sent", "write other characters percent-encoded: %20"));
    }
    Ok((backend::of_url(&format!("http://{authority}"))?, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_backend_and_a_target() {
        for (url, name, expected) in [
            ("http://127.0.0.1:9/hook", "http://127.0.0.1:9", "/hook"),
            ("HTTP://Hooks.internal", "http://hooks.internal:80", "/"),
            ("http://[::1]:81/a/b?c=d", "http://[::1]:81", "/a/b?c=d"),
            ("http://a?c=d@e", "http://a:80", "/?c=d@e"),
        ] {
            let (backend, target) = split(url).unwrap_or_else(|(cause, _)| panic!("{url} {cause}"));
            assert_eq!((&*backend.name, target.as_str()), (name, expected), "{url}");
        }
    }

    #[test]
    fn what_can_t_be_told_by_plain_http_is_refused() {
        for (url, cause) in [
            ("", "is no URL"),
            ("127.0.0.1:9/hook", "is no URL"),
            ("unix:/run/hook.sock", "is no URL"),
            ("https://a/hook", "is not http"),
            ("ftp://a/hook", "is not http"),
            ("http://user:pass@a/hook", "holds a user"),
            ("http://a/hook#x", "holds a fragment"),
            ("http://a/ho ok", "has a path that can't be sent"),
            ("http://a/é", "has a path that can't be sent"),
            ("http:///hook", "has no valid host"),
            ("http://a:0/hook", "has a bad port"),
            ("http://bad host/hook", "has no valid host"),
        ] {
            assert_eq!(split(url).err().map(|refusal| refusal.0), Some(cause), "{url}");
        }
    }
}
