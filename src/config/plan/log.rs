//! What the plan says of `[log]`: which lines, in which form, and where they go.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::HeaderName;

/// `[log]`: what is logged, how, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The access log's form.
    pub access: AccessLog,
    /// Where the access log goes.
    pub access_to: LogTarget,
    /// The level of events: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: Level,
    /// Where the event log goes.
    pub events_to: LogTarget,
}

/// The form of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// One JSON object a line, with nginx's field names.
    Json,
    /// A text with variables.
    Text(Arc<LogFormat>),
    /// None.
    Off,
}

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

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// `stdout`: standard output.
    Stdout,
    /// `stderr`: standard error.
    Stderr,
    /// `file:PATH`: a file that forebay opens.
    File(Box<Path>),
    /// `syslog:unix:PATH`: the socket of a syslog server.
    Syslog(Box<Path>),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => out.write_str("stdout"),
            Self::Stderr => out.write_str("stderr"),
            Self::File(path) => write!(out, "file:{}", path.display()),
            Self::Syslog(path) => write!(out, "syslog:unix:{}", path.display()),
        }
    }
}

/// The level of the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What needs a person.
    Error,
    /// What a person should look at.
    Warn,
    /// What changed.
    Info,
    /// Why.
    Debug,
    /// Everything.
    Trace,
}
