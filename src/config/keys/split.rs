//! The sides of a route's `split`, and the cookie that keeps a client on one.

use std::time::Duration;

use super::token::{Token, token};
use super::{table, words};
use crate::config::document::Section;
use crate::config::grammar::{is_host_name, is_token};

/// One minute.
const MINUTE: Duration = Duration::from_secs(60);

/// 400 days: browsers keep no cookie longer (RFC 6265bis §4.1.2.2).
const COOKIE_AGE_MAX: Duration = Duration::from_secs(400 * 86_400);

table! {
    /// One side of a split. What decides is asked in this order, and the access log tells what did: `override_header`,
    /// if the request has it and it names a side; else the side that `sticky` keeps the client on; else chance, by
    /// weight. When no backend of the side can take the request, another side stands in, drawn by the weights of the
    /// others and never one with weight 0 (`fallback`); that counts as a failed request of the side that could not. A
    /// side named by `override_header` has no stand-in.
    pub(super) const SPLIT "split = [{ … }]";

    /// The upstream that this side is: one of an `[[upstream]]`, and of no other side.
    upstream as Text = required("write { upstream = \"users-v2\", weight = 20 }");
    /// Its share of the requests in percent, with up to three decimals; all sides together have 100. 0 takes only what
    /// `override_header` sends there. Weights set at run time, by hand or by a canary, go before these until the file's
    /// own change.
    weight as Percent(0.0, 100.0) = required("write { upstream = \"users-v2\", weight = 20 }");
}

table! {
    /// The cookie of `sticky = "cookie"`. It holds a random key of the client, signed, not the side: which side that is
    /// follows from key and weights. So one cookie serves all routes, and clients are on the same side wherever the
    /// same upstreams are split. It is `HttpOnly`, and `Secure` for clients that came by https. A request that brings
    /// none, or one that is forged or too old, is given a new one, and answered by the side that it will give; not where
    /// `override_header` decided. An answer that brings the cookie is made `private`: a cache in front that many share
    /// would hand it to all of them.
    pub struct StickyCookie "sticky_cookie = { … }" => is_kept;

    /// Its name. Routes of one host that differ in what follows need different names.
    name: String as Text = "forebay_side" => name;
    /// Its `Path`.
    path: String as Text = "/" => path;
    /// Its `Domain`: it is sent to all names below, too. Left out: to the host alone that was asked for.
    domain: Option<String> as Text => domain;
    /// How long it is good for. After that the client gets a new one, and perhaps another side.
    max_age: Duration as Duration(MINUTE, COOKIE_AGE_MAX) = "30d";
    /// Its `SameSite`; with `none` it is always `Secure`, so browsers keep it only where they come by https.
    same_site: SameSite = "lax";
    /// What it is signed with, at least 16 visible characters: write it as `"${env:NAME}"` or `"${file:/path}"`, the
    /// same on all proxies of a site. Left out: a key of the proxy's own, kept in `state_dir`, or without one made anew
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

fn is_kept(cookie: &StickyCookie, section: &Section<'_>) {
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

/// The path of a cookie (RFC 6265 §4.1.1).
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
