//! Declares `split` and `sticky_cookie` of a route.

use std::time::Duration;

use super::token::{Token, token};
use super::{table, words};
use crate::config::document::Section;
use crate::config::grammar::{is_host_name, is_token};

/// One minute.
const MINUTE: Duration = Duration::from_secs(60);

/// 400 days: the longest time that browsers keep a cookie (RFC 6265bis §4.1.2.2).
const COOKIE_AGE_MAX: Duration = Duration::from_secs(400 * 86_400);

table! {
    /// One side of a split. The first of these decides, and the access log says which one did: `override_header`, if
    /// the request has it and it names a side; the side on which `sticky` keeps the client; chance, by weight. When no
    /// backend of that side can take the request, another side gets it, by the weights of the others and never one with
    /// weight 0 (`fallback`); this counts as a failed request of the first side. A side that `override_header` names
    /// has no fallback.
    pub(super) const SPLIT "split = [{ … }]";

    /// The upstream of this side: the name of an `[[upstream]]` that no other side has.
    upstream as Text = required("write { upstream = \"users-v2\", weight = 20 }");
    /// Its share of the requests in percent, with up to three decimals; all sides together must have 100. A side with 0
    /// gets only requests whose `override_header` names it. Weights set at run time, by hand or by a canary, override
    /// these until the file's own weights change.
    weight as Percent(0.0, 100.0) = required("write { upstream = \"users-v2\", weight = 20 }");
}

table! {
    /// The cookie of `sticky = "cookie"`. It holds a random key of the client, signed, and not the side: forebay
    /// computes the side from the key and the weights. So one cookie works for all routes, and a client is on the same
    /// side wherever the same upstreams are split. The cookie is `HttpOnly`, and `Secure` for clients that came by
    /// https. If a request has no cookie, or one that is forged or too old, forebay sets a new one and uses the side
    /// that it selects, except where `override_header` decided. A response that sets the cookie is `private`, because a
    /// shared cache in front would give it to many clients.
    pub struct StickyCookie "sticky_cookie = { … }" => check_host_prefix;

    /// Its name. Routes of one host with different values of the keys below need different names.
    name: String as Text = "forebay_side" => name;
    /// Its `Path`.
    path: String as Text = "/" => path;
    /// Its `Domain`: browsers send the cookie to all names below, too. Left out: only to the host of the request.
    domain: Option<String> as Text => domain;
    /// How long the cookie is valid. After that the client gets a new one, and perhaps another side.
    max_age: Duration as Duration(MINUTE, COOKIE_AGE_MAX) = "30d";
    /// Its `SameSite`. With `none` the cookie is always `Secure`, so browsers keep it only if they come by https.
    same_site: SameSite = "lax";
    /// The signing key, at least 16 visible characters, the same on all proxies of a site. Write it as `"${env:NAME}"`
    /// or `"${file:/path}"`. Left out: forebay makes a key and stores it in `state_dir`, or without one makes a new key
    /// at each start.
    secret: Option<Token> as Text => token;
}

words! {
    /// The `SameSite` of a cookie.
    pub enum SameSite {
        /// `Lax`.
        Lax = "lax",
        /// `Strict`.
        Strict = "strict",
        /// `None`; such a cookie is always `Secure`.
        None = "none",
    }
}

fn check_host_prefix(cookie: &StickyCookie, section: &Section<'_>) {
    if cookie.name.starts_with("__Host-") && (cookie.path != "/" || cookie.domain.is_some()) {
        let hint = "a name that starts with __Host- takes path = \"/\" and no domain";
        section.report.add(section.at("name"), "browsers would refuse this cookie", hint);
    }
}

fn name(section: &Section<'_>, key: &str) -> String {
    let Some(text) = section.text(key) else { return String::new() };
    if !is_token(&text.value) {
        let hint = "letters, digits and - _ without blanks";
        section.report.add(text.span.clone(), "this is no name of a cookie", hint);
    }
    text.value
}

/// Reads the path of a cookie (RFC 6265 §4.1.1).
fn path(section: &Section<'_>, key: &str) -> String {
    let Some(text) = section.text(key) else { return String::new() };
    let is_plain = text.value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    if !text.value.starts_with('/') || !is_plain {
        let hint = "start with a slash, in visible ASCII without semicolons: \"/api\"";
        section.report.add(text.span.clone(), format!("{text} is no path of a cookie"), hint);
    }
    text.value
}

fn domain(section: &Section<'_>, key: &str) -> Option<String> {
    let text = section.text(key)?;
    let domain = text.value.to_ascii_lowercase();
    if !is_host_name(&domain) {
        let hint = "write a name without dot at the front, scheme and port: \"example.com\"";
        section.report.add(text.span.clone(), format!("{text} is no domain of a cookie"), hint);
    }
    Some(domain)
}
