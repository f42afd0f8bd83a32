//! The form of an access log's line: a text with nginx's variables.

use http::{HeaderName, header};

/// The variables that have a name of their own.
pub(super) const VARIABLES: [(&str, Variable); 35] = [
    ("remote_addr", Variable::RemoteAddr),
    ("remote_user", Variable::RemoteUser),
    ("time_local", Variable::TimeLocal),
    ("time_iso8601", Variable::TimeIso8601),
    ("msec", Variable::Msec),
    ("request", Variable::Request),
    ("request_method", Variable::RequestMethod),
    ("request_uri", Variable::RequestUri),
    ("uri", Variable::Uri),
    ("args", Variable::Args),
    ("query_string", Variable::Args),
    ("server_protocol", Variable::ServerProtocol),
    ("scheme", Variable::Scheme),
    ("host", Variable::Host),
    ("status", Variable::Status),
    ("body_bytes_sent", Variable::BodyBytesSent),
    ("request_time", Variable::RequestTime),
    ("request_id", Variable::RequestId),
    ("upstream_addr", Variable::UpstreamAddr),
    ("upstream_status", Variable::UpstreamStatus),
    ("upstream_connect_time", Variable::UpstreamConnectTime),
    ("upstream_header_time", Variable::UpstreamHeaderTime),
    ("upstream_response_time", Variable::UpstreamResponseTime),
    ("upstream_cache_status", Variable::UpstreamCacheStatus),
    ("route", Variable::Route),
    ("upstream", Variable::Upstream),
    ("side", Variable::Side),
    ("tries", Variable::Tries),
    ("cache_reason", Variable::CacheReason),
    ("tunnel_time", Variable::TunnelTime),
    ("tunnel_bytes_in", Variable::TunnelBytesIn),
    ("tunnel_bytes_out", Variable::TunnelBytesOut),
    ("tunnel_end", Variable::TunnelEnd),
    ("fault", Variable::Fault),
    ("backend", Variable::UpstreamAddr),
];

/// A line of the access log as a text with variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFormat {
    /// The line, in order.
    pub parts: Vec<LogPart>,
    /// The request's fields that [`Variable::RequestField`] and [`Variable::Cookie`] count.
    pub request_fields: Vec<HeaderName>,
    /// The response's fields that [`Variable::ResponseField`] counts.
    pub response_fields: Vec<HeaderName>,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// Text as it stands.
    Text(Box<str>),
    /// A value of the exchange.
    Variable(Variable),
}

/// A value of an exchange. Names, and what the values are: `docs/access-log.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `$remote_addr`
    RemoteAddr,
    /// `$remote_user`
    RemoteUser,
    /// `$time_local`
    TimeLocal,
    /// `$time_iso8601`
    TimeIso8601,
    /// `$msec`
    Msec,
    /// `$request`
    Request,
    /// `$request_method`
    RequestMethod,
    /// `$request_uri`
    RequestUri,
    /// `$uri`
    Uri,
    /// `$args`, `$query_string`
    Args,
    /// `$arg_NAME`
    Argument(Box<str>),
    /// `$server_protocol`
    ServerProtocol,
    /// `$scheme`
    Scheme,
    /// `$host`
    Host,
    /// `$http_NAME`, `$content_type`, `$content_length`: an index into [`LogFormat::request_fields`].
    RequestField(usize),
    /// `$sent_http_NAME`: an index into [`LogFormat::response_fields`].
    ResponseField(usize),
    /// `$cookie_NAME`: the index of `Cookie` in [`LogFormat::request_fields`], and the cookie's name.
    Cookie(usize, Box<str>),
    /// `$status`
    Status,
    /// `$body_bytes_sent`
    BodyBytesSent,
    /// `$request_time`
    RequestTime,
    /// `$request_id`
    RequestId,
    /// `$upstream_addr`
    UpstreamAddr,
    /// `$upstream_status`
    UpstreamStatus,
    /// `$upstream_connect_time`
    UpstreamConnectTime,
    /// `$upstream_header_time`
    UpstreamHeaderTime,
    /// `$upstream_response_time`
    UpstreamResponseTime,
    /// `$upstream_cache_status`
    UpstreamCacheStatus,
    /// `$route`
    Route,
    /// `$upstream`
    Upstream,
    /// `$side`
    Side,
    /// `$tries`
    Tries,
    /// `$cache_reason`
    CacheReason,
    /// `$tunnel_time`
    TunnelTime,
    /// `$tunnel_bytes_in`
    TunnelBytesIn,
    /// `$tunnel_bytes_out`
    TunnelBytesOut,
    /// `$tunnel_end`
    TunnelEnd,
    /// `$fault`
    Fault,
}

impl LogFormat {
    /// Reads a text with variables: `$name` or `${name}`.
    ///
    /// # Errors
    /// The name that is not known.
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

/// Where this name is in the list; it is added if it is not there.
fn index(list: &mut Vec<HeaderName>, name: HeaderName) -> usize {
    list.iter().position(|known| *known == name).unwrap_or_else(|| {
        list.push(name);
        list.len() - 1
    })
}
