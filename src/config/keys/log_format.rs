//! The format of the access log: a text with nginx's variables.

use http::{HeaderName, header};

/// A parsed format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFormat {
    /// The parts of a line, in order.
    pub parts: Vec<LogPart>,
    /// The request fields into which [`Variable::RequestField`] and [`Variable::Cookie`] are indexes.
    pub request_fields: Vec<HeaderName>,
    /// The response fields into which [`Variable::ResponseField`] is an index.
    pub response_fields: Vec<HeaderName>,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// Literal text.
    Text(Box<str>),
    /// The value of a variable.
    Variable(Variable),
}

/// Declares the variables: each variant with its names in the format.
macro_rules! variables {
    ($($(#[doc = $text:literal])* $variant:ident $(($($held:ty),*))? $(= $($name:literal)|+)?,)*) => {
        /// A variable. `docs/access-log.md` describes the names and values.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Variable {
            $($(#[doc = $text])* $(#[doc = concat!($("`$", $name, "` "),+)])? $variant $(($($held),*))?,)*
        }

        /// The variables without a parameter, by name.
        pub(super) const VARIABLES: &[(&str, Variable)] = &[$($($(($name, Variable::$variant),)+)?)*];
    };
}

variables! {
    RemoteAddr = "remote_addr",
    RemoteUser = "remote_user",
    TimeLocal = "time_local",
    TimeIso8601 = "time_iso8601",
    Msec = "msec",
    Request = "request",
    RequestMethod = "request_method",
    RequestUri = "request_uri",
    Uri = "uri",
    Args = "args" | "query_string",
    /// `$arg_NAME`
    Argument(Box<str>),
    ServerProtocol = "server_protocol",
    Scheme = "scheme",
    Host = "host",
    /// `$http_NAME`, `$content_type`, `$content_length`: an index into [`LogFormat::request_fields`].
    RequestField(usize),
    /// `$sent_http_NAME`: an index into [`LogFormat::response_fields`].
    ResponseField(usize),
    /// `$cookie_NAME`: the index of `Cookie` in [`LogFormat::request_fields`], and the cookie's name.
    Cookie(usize, Box<str>),
    Status = "status",
    BodyBytesSent = "body_bytes_sent",
    RequestTime = "request_time",
    RequestId = "request_id",
    UpstreamAddr = "upstream_addr" | "backend",
    UpstreamStatus = "upstream_status",
    UpstreamConnectTime = "upstream_connect_time",
    UpstreamHeaderTime = "upstream_header_time",
    UpstreamResponseTime = "upstream_response_time",
    UpstreamCacheStatus = "upstream_cache_status",
    Route = "route",
    Upstream = "upstream",
    Side = "side",
    Tries = "tries",
    CacheReason = "cache_reason",
    TunnelTime = "tunnel_time",
    TunnelBytesIn = "tunnel_bytes_in",
    TunnelBytesOut = "tunnel_bytes_out",
    TunnelEnd = "tunnel_end",
    ProxyError = "fault",
}

impl LogFormat {
    /// Parses a text with variables: `$name` or `${name}`.
    ///
    /// # Errors
    /// The name of an unknown variable.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut format = Self::default();
        let mut pieces = text.split('$');
        format.text(pieces.next().unwrap_or_default());
        for piece in pieces {
            let braced = piece.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, rest) = braced.unwrap_or_else(|| {
                let end = piece.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                piece.split_at(end.unwrap_or(piece.len()))
            });
            let variable = format.variable(name).ok_or_else(|| name.to_owned())?;
            format.parts.push(LogPart::Variable(variable));
            format.text(rest);
        }
        Ok(format)
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.parts.push(LogPart::Text(Box::from(text)));
        }
    }

    fn variable(&mut self, name: &str) -> Option<Variable> {
        if let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            return Some(variable.clone());
        }
        let after = |prefix| name.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
        if let Some(argument) = after("arg_") {
            return Some(Variable::Argument(Box::from(argument)));
        }
        if let Some(cookie) = after("cookie_") {
            return Some(Variable::Cookie(index(&mut self.request_fields, header::COOKIE), Box::from(cookie)));
        }
        let field = |name: &str| name.replace('_', "-").parse::<HeaderName>().ok();
        if let Some(sent) = after("sent_http_") {
            return Some(Variable::ResponseField(index(&mut self.response_fields, field(sent)?)));
        }
        let content = matches!(name, "content_type" | "content_length").then_some(name);
        Some(Variable::RequestField(index(&mut self.request_fields, field(content.or_else(|| after("http_"))?)?)))
    }
}

/// The index of a name in the list, to which it is added if it is missing.
fn index(list: &mut Vec<HeaderName>, name: HeaderName) -> usize {
    list.iter().position(|known| *known == name).unwrap_or_else(|| {
        list.push(name);
        list.len() - 1
    })
}
