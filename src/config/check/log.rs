//! `[log]`: the forms and targets of logs.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, header};

use crate::config::document::{Section, Text};
use crate::config::plan::{AccessLog, Level, Log, LogFormat, LogPart, LogTarget, Variable};
use crate::config::problem::did_you_mean;

/// Apache's combined format.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// The longest text with variables, in bytes.
const FORMAT_BYTES_MAX: usize = 8 * 1024;

/// The variables that have a name of their own.
const VARIABLES: [(&str, Variable); 35] = [
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

/// Checks `[log]`.
pub(super) fn log(section: &Section<'_>) -> Log {
    let level = [
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
    Log {
        access: access(section),
        access_to: target(section, "access_to").unwrap_or(LogTarget::Stdout),
        level: section.choice("level", &level).unwrap_or(Level::Info),
        events_to: target(section, "events_to").unwrap_or(LogTarget::Stderr),
    }
}

fn access(section: &Section<'_>) -> AccessLog {
    let words = [("on", Some("json")), ("off", None), ("json", Some("json")), ("combined", Some("combined"))];
    let word = section.choice("access", &words).unwrap_or(Some("json"));
    let given = section.text("access_format");
    let form = match &given {
        Some(text) => written(section, text),
        None if word == Some("combined") => format(COMBINED).ok(),
        None => None,
    };
    match (word, form) {
        (None, _) => AccessLog::Off,
        (Some(_), Some(form)) => AccessLog::Text(Arc::new(form)),
        (Some(_), None) => AccessLog::Json,
    }
}

/// The form that `access_format` asks for; `None` is JSON, also when the text is reported as wrong.
fn written(section: &Section<'_>, text: &Text) -> Option<LogFormat> {
    const HINT: &str = "write \"json\", \"combined\", or a text with variables such as $remote_addr";
    let value = text.value.as_str();
    match value {
        "json" => return None,
        "combined" => return format(COMBINED).ok(),
        _ if value.len() > FORMAT_BYTES_MAX => {
            section.report.add(text.span.clone(), "access_format is too long", "at most 8KiB");
        }
        _ if value.chars().any(|character| character.is_control() && character != '\t') => {
            let hint = "each exchange has one line: leave out line breaks and other control characters";
            section.report.add(text.span.clone(), "access_format holds a control character", hint);
        }
        _ if !value.contains('$') => {
            let hint = did_you_mean(value, ["json", "combined"]).unwrap_or_else(|| HINT.to_owned());
            section.report.add(text.span.clone(), format!("access_format can't be {text}"), hint);
        }
        _ => match format(value) {
            Ok(format) => return Some(format),
            Err(name) => {
                let known = || VARIABLES.iter().map(|(name, _)| *name);
                let all = || format!("known: {}; and http_NAME, sent_http_NAME, arg_NAME, cookie_NAME", list(known()));
                let hint = did_you_mean(&name, known()).unwrap_or_else(all);
                section.report.add(text.span.clone(), format!("access_format has no variable ${name}"), hint);
            }
        },
    }
    None
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// Reads a text with variables: `$name` or `${name}`.
///
/// # Errors
/// The name that is not known.
fn format(text: &str) -> Result<LogFormat, String> {
    let mut format = LogFormat::default();
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

impl LogFormat {
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

fn target(section: &Section<'_>, key: &str) -> Option<LogTarget> {
    let text = section.text(key)?;
    let value = text.value.as_str();
    let path = |prefix| value.strip_prefix(prefix).filter(|path: &&str| !path.is_empty()).map(Path::new);
    let target = match value {
        "stdout" => Some(LogTarget::Stdout),
        "stderr" => Some(LogTarget::Stderr),
        _ => path("syslog:unix:")
            .map(|path| LogTarget::Syslog(Box::from(path)))
            .or_else(|| Some(LogTarget::File(Box::from(path("file:")?)))),
    };
    if target.is_none() {
        let hint = if value.starts_with('/') || value.starts_with('.') {
            format!("did you mean \"file:{value}\"?")
        } else {
            "write \"stdout\", \"stderr\", \"file:/path\" or \"syslog:unix:/dev/log\"".to_owned()
        };
        section.report.add(text.span.clone(), format!("{key} can't be {text}"), hint);
    }
    target
}
