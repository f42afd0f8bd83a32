//! Access control of the admin API: `Host`, `Origin` and the token. Also turns a panic of a handler into a 500.
//!
//! A browser on the same machine can reach a loopback address for any web page that it shows. The check of `Host`
//! refuses pages whose name was changed to resolve to this address (DNS rebinding); the check of `Origin` refuses
//! requests that pages of other sites send. Responses have no CORS fields, so that no other page can read them.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, ORIGIN, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body::Body as _;
use policy::message::host::Host;
use tokio::task::JoinSet;

use super::{ApiError, Listen, Settings, Token};

/// The longest body of a request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// The settings that decide which requests are served.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Token>,
    /// `admin.hosts`, in lower case, without a final dot.
    hosts: Vec<Box<str>>,
    /// The address of the listener; `None` for a Unix socket.
    address: Option<IpAddr>,
}

impl Guard {
    pub(super) fn new(settings: &Settings) -> Self {
        let normal = |host: &str| host.trim_end_matches('.').to_ascii_lowercase().into();
        let address = match &settings.listen {
            Listen::Ip(address) => Some(address.ip().to_canonical()),
            Listen::Unix(_) => None,
        };
        Self { token: settings.token.clone(), hosts: settings.hosts.iter().map(|host| normal(host)).collect(), address }
    }

    /// Checks that `Host` and the target name this listener, and that no page of another site sent the request.
    fn check_host_and_origin(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let mut lines = headers.get_all(HOST).iter();
        let (Some(host), None) = (lines.next(), lines.next()) else {
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "one Host is needed"));
        };
        let target = uri.authority().map(|authority| authority.as_str().as_bytes());
        for named in std::iter::once(host.as_bytes()).chain(target) {
            let named =
                Host::parse(named).map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
            if !self.serves_host(&named.normal()) {
                let message = "this host is not served here: add it to admin.hosts";
                return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, message));
            }
        }
        let is_same = |origin: &HeaderValue| {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, authority)| authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()))
        };
        if !headers.get_all(ORIGIN).iter().all(is_same) {
            return Err(ApiError::new(StatusCode::FORBIDDEN, "requests of pages of other sites are refused"));
        }
        Ok(())
    }

    /// Whether a host in normal form names this listener. A listener on all addresses accepts every IP address as
    /// `Host`: DNS rebinding needs a name.
    fn serves_host(&self, name: &str) -> bool {
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match bare.parse::<IpAddr>() {
            Ok(named) => {
                let named = named.to_canonical();
                let listens = |address: IpAddr| address == named || address.is_unspecified();
                named.is_loopback()
                    || self.address.is_some_and(listens)
                    || self.hosts.iter().any(|host| **host == *name)
            }
            Err(_) => name == "localhost" || self.hosts.iter().any(|host| **host == *name),
        }
    }

    /// Whether a request has the token (RFC 6750 §2.1), or no token is needed.
    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let Some((scheme, shown)) = line.as_bytes().split_at_checked(b"Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(shown)
    }
}

/// Refuses requests for other hosts and of other sites, and marks every response as not to be stored.
pub(super) async fn check_request(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let is_short = request.body().size_hint().lower() <= REQUEST_BYTES_MAX as u64;
    let mut answer = match guard.check_host_and_origin(request.uri(), request.headers()) {
        Ok(()) if is_short => next.run(request).await,
        // Refused by its `Content-Length`, before the body arrives.
        Ok(()) => ApiError::too_long().into_response(),
        Err(refusal) => refusal.into_response(),
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Refuses requests without the token (401).
pub(super) async fn require_token(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if guard.has_token(request.headers()) {
        return next.run(request).await;
    }
    let mut answer = ApiError::new(StatusCode::UNAUTHORIZED, "a bearer token is needed").into_response();
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"forebay admin\""));
    answer
}

/// Runs the rest of the stack in a separate task, which is aborted with the request. A panic in it becomes a 500, and
/// does not end the connection's task.
pub(super) async fn catch_panics(request: Request, next: Next) -> Response {
    let mut task = JoinSet::new();
    task.spawn(next.run(request));
    match task.join_next().await {
        Some(Ok(answer)) => answer,
        Some(Err(_)) | None => {
            tracing::error!("the answer to an admin request has failed");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(listen: &str, token: Option<&str>) -> Guard {
        Guard::new(&Settings {
            listen: Listen::Ip(listen.parse().unwrap()),
            token: token.map(Token::new),
            hosts: vec!["Admin.Example.com.".into()],
        })
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            let name: http::HeaderName = name;
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn only_names_of_ours_are_admitted() {
        let guard = guard("10.0.0.7:9900", None);
        for (host, serves_host) in [
            ("localhost", true),
            ("LOCALHOST:1234", true),
            ("127.0.0.1:9900", true),
            ("127.9.9.9", true),
            ("[::1]:9900", true),
            ("[::ffff:127.0.0.1]", true),
            ("10.0.0.7:9900", true),
            ("admin.example.com", true),
            ("10.0.0.8:9900", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.nip.example", false),
            ("[fe80::1]", false),
        ] {
            let admitted = guard.check_host_and_origin(&Uri::from_static("/"), &headers(&[("host", host)]));
            assert_eq!(admitted.map_err(|refusal| refusal.status).err().is_none(), serves_host, "{host}");
        }
        let target = Uri::from_static("http://evil.example/live");
        assert!(guard.check_host_and_origin(&target, &headers(&[("host", "localhost")])).is_err());
    }

    #[test]
    fn where_every_address_is_listened_on_any_address_may_be_named_but_no_name() {
        let guard = guard("0.0.0.0:9900", Some("t"));
        assert!(guard.serves_host("192.0.2.1"));
        assert!(!guard.serves_host("evil.example"));
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let guard = guard("127.0.0.1:9900", None);
        for (origin, is_fine) in [
            ("http://127.0.0.1:9900", true),
            ("http://127.0.0.1:9901", false),
            ("http://evil.example", false),
            ("null", false),
        ] {
            let fields = headers(&[("host", "127.0.0.1:9900"), ("origin", origin)]);
            assert_eq!(guard.check_host_and_origin(&Uri::from_static("/"), &fields).is_ok(), is_fine, "{origin}");
        }
    }

    #[test]
    fn a_missing_or_second_host_is_refused() {
        let guard = guard("127.0.0.1:9900", None);
        assert!(guard.check_host_and_origin(&Uri::from_static("/"), &headers(&[])).is_err());
        let twice = headers(&[("host", "localhost"), ("host", "localhost")]);
        assert!(guard.check_host_and_origin(&Uri::from_static("/"), &twice).is_err());
    }

    #[test]
    fn the_token_is_asked_for_in_one_form() {
        let guard = guard("127.0.0.1:9900", Some("s3cret"));
        for (value, is_fine) in [
            ("Bearer s3cret", true),
            ("bearer s3cret", true),
            ("Bearer  s3cret", false),
            ("Bearer s3cre", false),
            ("Basic s3cret", false),
            ("s3cret", false),
        ] {
            assert_eq!(guard.has_token(&headers(&[("authorization", value)])), is_fine, "{value}");
        }
        assert!(!guard.has_token(&headers(&[])));
    }
}
