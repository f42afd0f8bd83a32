//! Formats an access log line from a format with variables.
//!
//! Values are escaped as in nginx: `"`, `\`, control characters and bytes from 0x7f on as `\xXX`. A missing value is
//! `-`.

use std::time::Duration;

use super::access_record::Request;
use super::log_line::{LogLine, digits};
use super::text;
use crate::config::plan::{LogFormat, LogPart, Variable};

impl LogLine<'_> {
    /// Writes the line in this format.
    pub(super) fn text(&self, format: &LogFormat, out: &mut Vec<u8>) {
        for part in &format.parts {
            match part {
                LogPart::Text(text) => out.extend_from_slice(text.as_bytes()),
                LogPart::Variable(variable) => {
                    if self.variable(variable, format, out).is_none() {
                        out.push(b'-');
                    }
                }
            }
        }
        out.push(b'\n');
    }

    /// Writes the value of a variable; `None`: it is missing.
    fn variable(&self, variable: &Variable, format: &LogFormat, out: &mut Vec<u8>) -> Option<()> {
        let record = self.record;
        let request = record.request.as_deref();
        let captured = || request?.captured.as_deref().filter(|captured| std::ptr::eq(&*captured.format, format));
        match variable {
            Variable::RemoteAddr => out.extend_from_slice(&self.known.client.text),
            // The proxy does not authenticate clients.
            Variable::RemoteUser => return None,
            Variable::TimeLocal => out.extend_from_slice(self.known.second.common.as_bytes()),
            Variable::TimeIso8601 => {
                out.extend_from_slice(self.known.second.iso.as_bytes());
                out.extend_from_slice(b"+00:00");
            }
            Variable::Msec => seconds(out, self.wall),
            Variable::Request => request_line(out, request?),
            Variable::RequestMethod => escaped(out, request?.method.as_str().as_bytes()),
            Variable::RequestUri => target(out, request?),
            Variable::Uri => escaped(out, request?.target.path().as_bytes()),
            Variable::Args => value(out, request?.target.query()?.as_bytes())?,
            Variable::Argument(name) => value(out, argument(request?, name)?.as_bytes())?,
            Variable::ServerProtocol => out.extend_from_slice(text::version(request?.version)),
            Variable::Scheme => out.extend_from_slice(request?.scheme.as_bytes()),
            Variable::Host => value(out, host(request?)?.to_ascii_lowercase().as_bytes())?,
            Variable::RequestField(index) => value(out, captured()?.request.get(*index)?.as_ref()?)?,
            Variable::ResponseField(index) => value(out, captured()?.response.get(*index)?.as_ref()?)?,
            Variable::Cookie(index, name) => {
                value(out, cookie(captured()?.request.get(*index)?.as_ref()?, name)?.as_bytes())?;
            }
            Variable::Status => out.extend_from_slice(&digits(record.status)),
            Variable::BodyBytesSent => text::decimal(out, record.body_bytes_sent),
            Variable::RequestTime => seconds(out, self.took),
            Variable::RequestId => value(out, record.id.as_ref()?.as_bytes())?,
            Variable::UpstreamAddr => {
                let backend = record.backend.as_deref()?;
                let address = record
                    .address
                    .as_deref()
                    .or_else(|| ["http://", "https://"].iter().find_map(|scheme| backend.strip_prefix(scheme)));
                value(out, address.unwrap_or(backend).as_bytes())?;
            }
            Variable::UpstreamStatus => text::decimal(out, record.backend_status?.as_u16().into()),
            Variable::UpstreamConnectTime => seconds(out, record.connect_time?),
            Variable::UpstreamHeaderTime => seconds(out, record.header_time?),
            Variable::UpstreamResponseTime => record.header_time.map(|_| seconds(out, self.took))?,
            Variable::UpstreamCacheStatus => out.extend_from_slice(record.cache?.to_ascii_uppercase().as_bytes()),
            Variable::Route => value(out, record.route.as_ref()?.name.as_bytes())?,
            Variable::Upstream => value(out, record.upstream.as_deref()?.as_bytes())?,
            Variable::Side => value(out, record.side.as_ref()?.0.as_bytes())?,
            Variable::Tries => text::decimal(out, record.tries.into()),
            Variable::CacheReason => value(out, record.cache_reason?.as_bytes())?,
            Variable::TunnelTime => seconds(out, record.tunnel.as_ref()?.time),
            Variable::TunnelBytesIn => text::decimal(out, record.tunnel.as_ref()?.bytes_in),
            Variable::TunnelBytesOut => text::decimal(out, record.tunnel.as_ref()?.bytes_out),
            Variable::TunnelEnd => value(out, record.tunnel.as_ref()?.end.as_bytes())?,
            Variable::ProxyError => value(out, record.fault.as_deref()?.as_bytes())?,
        }
        Some(())
    }
}

fn request_line(out: &mut Vec<u8>, request: &Request) {
    escaped(out, request.method.as_str().as_bytes());
    out.push(b' ');
    target(out, request);
    out.push(b' ');
    out.extend_from_slice(text::version(request.version));
}

/// Writes a value; `None`: it is empty.
fn value(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    escaped(out, bytes);
    (!bytes.is_empty()).then_some(())
}

/// Escapes bytes as nginx does (`escape=default`).
fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | ..=0x1f | 0x7f.. => {
                let [high, low] = [byte >> 4, byte & 0xf].map(|nibble| text::hexadecimal(nibble).to_ascii_uppercase());
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
            plain => out.push(*plain),
        }
    }
}

fn target(out: &mut Vec<u8>, request: &Request) {
    escaped(out, request.target.to_string().as_bytes());
}

/// Seconds with milliseconds, as nginx writes times.
fn seconds(out: &mut Vec<u8>, time: Duration) {
    text::decimal(out, time.as_secs());
    out.push(b'.');
    out.extend_from_slice(&text::padded::<3>(time.subsec_millis()));
}

/// The host without the port.
fn host(request: &Request) -> Option<&str> {
    let authority = request.target.authority().map(http::uri::Authority::as_str);
    let authority = authority.or_else(|| text::ascii(request.host.as_ref()?))?;
    let end = authority.rfind(':').filter(|colon| authority.rfind(']').is_none_or(|bracket| bracket < *colon));
    authority.get(..end.unwrap_or(authority.len()))
}

/// The first query parameter with this name.
fn argument<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let arguments = request.target.query()?.split('&').filter_map(|argument| argument.split_once('='));
    arguments.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// The first cookie with this name.
fn cookie<'a>(field: &'a [u8], name: &str) -> Option<&'a str> {
    let cookies = text::ascii(field)?.split(';').filter_map(|cookie| cookie.trim().split_once('='));
    cookies.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use message::Fields;

    use super::super::captured::Captured;
    use super::*;
    use crate::config;
    use crate::config::plan::AccessLog;
    use crate::telemetry::access_record::AccessRecord;
    use crate::telemetry::log_line::Known;
    use crate::telemetry::request_id::RequestId;
    use http::{Method, StatusCode, Version};

    fn format(text: &str) -> Arc<LogFormat> {
        let file = format!(
            "listen = [\"127.0.0.1:80\"]\n[log]\naccess_format = '{text}'\n[[route]]\npath = \"/\"\nrespond = {{}}\n"
        );
        match config::parse("test.toml", &file).unwrap().log.access {
            AccessLog::Text(format) => format,
            other @ (AccessLog::Json | AccessLog::Off) => panic!("{other:?}"),
        }
    }

    fn written(text: &str) -> String {
        let format = format(text);
        let agent = &b"say \"hi\"\\\xff\x09x"[..];
        let headers = Fields::from_iter([("user-agent", agent), ("x-tenant", b"blue"), ("cookie", b"a=1; user=me")]);
        let mut captured = Captured::new(&format, &headers);
        if let Some(captured) = &mut captured {
            captured.answered(&Fields::from_iter([("content-type", "text/plain")]));
        }
        let request = Request {
            method: Method::GET,
            target: "/a?b=c&d=".parse().unwrap(),
            version: Version::HTTP_11,
            scheme: "http",
            host: Some(Bytes::from_static(b"Shop.Example:8080")),
            referer: None,
            user_agent: None,
            forwarded_for: None,
            content_length: None,
            captured,
        };
        let record = AccessRecord {
            id: Some(RequestId::Given(Bytes::from_static(b"abc"))),
            request: Some(Box::new(request)),
            status: Some(StatusCode::OK),
            body_bytes_sent: 5,
            backend: Some("http://10.0.0.1:80".into()),
            backend_status: Some(StatusCode::OK),
            header_time: Some(Duration::from_millis(2)),
            cache: Some("miss"),
            ..AccessRecord::default()
        };
        let wall = Duration::from_millis(784_111_777_250);
        let mut known = Known::default();
        known.set(wall, "10.0.0.7".parse().unwrap());
        let mut out = Vec::new();
        LogLine { record: &record, known: &known, wall, took: Duration::from_micros(1_234_567) }
            .text(&format, &mut out);
        String::from_utf8(out).unwrap().strip_suffix('\n').unwrap().to_owned()
    }

    #[test]
    fn each_variable_has_nginx_name_and_form() {
        for (text, expected) in [
            ("$remote_addr|$remote_user|$scheme", "10.0.0.7|-|http"),
            ("$time_local", "06/Nov/1994:08:49:37 +0000"),
            ("$time_iso8601 $msec", "1994-11-06T08:49:37+00:00 784111777.250"),
            ("$request", "GET /a?b=c&d= HTTP/1.1"),
            ("$request_method $uri $args $query_string", "GET /a b=c&d= b=c&d="),
            ("$arg_b $arg_d $arg_none", "c - -"),
            ("$request_uri $server_protocol", "/a?b=c&d= HTTP/1.1"),
            ("$host $http_host", "shop.example -"),
            ("\"$http_user_agent\"", "\"say \\x22hi\\x22\\x5C\\xFF\\x09x\""),
            ("$http_x_tenant,$http_referer,$content_type", "blue,-,-"),
            ("$cookie_user $cookie_none", "me -"),
            ("$sent_http_content_type $sent_http_etag", "text/plain -"),
            ("$status $body_bytes_sent $request_time", "200 5 1.234"),
            ("$request_id", "abc"),
            ("$upstream_addr $upstream_status $upstream_connect_time", "10.0.0.1:80 200 -"),
            ("$upstream_header_time $upstream_response_time", "0.002 1.234"),
            ("$upstream_cache_status $route $tries $fault", "MISS - 0 -"),
            ("a$${request_id}b 100%", "aabcb 100%"),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
    }

    #[test]
    fn what_another_format_has_captured_is_not_taken_for_its_own() {
        let (old, new) = (format("$http_a"), format("$http_b"));
        let headers = Fields::from_iter([("a", "1")]);
        let record = AccessRecord {
            request: Some(Box::new(Request {
                method: Method::GET,
                target: "/".parse().unwrap(),
                version: Version::HTTP_11,
                scheme: "http",
                host: None,
                referer: None,
                user_agent: None,
                forwarded_for: None,
                content_length: None,
                captured: Captured::new(&old, &headers),
            })),
            ..AccessRecord::default()
        };
        let known = Known::default();
        let line = LogLine { record: &record, known: &known, wall: Duration::ZERO, took: Duration::ZERO };
        let mut out = Vec::new();
        line.text(&new, &mut out);
        assert_eq!(out, b"-\n");
    }
}
