//! Declares `[log]`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::log_format::{self, LogFormat};
use super::{table, words};
use crate::config::document::{Section, Text};
use crate::config::problem::did_you_mean;

/// Apache's combined format.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// The longest text with variables, in bytes.
const FORMAT_BYTES_MAX: usize = 8 * 1024;

table! {
    /// What forebay logs, in which format, and where to.
    pub struct Log "[log]";

    /// Whether forebay writes the access log. `"json"` and `"combined"` mean `"on"` in that format, unless
    /// `access_format` names another one.
    access: AccessLog as Choice(&["on", "off", "json", "combined"]) = "on" => access, now;
    /// The format of the access log: `"json"`, `"combined"` (Apache's), or a text with nginx's variables, such as
    /// `"$remote_addr $status $request_time"`. Left out: `"json"`, or what `access` says.
    access_format as Text, now;
    /// Where the access log goes: `"stdout"`, `"stderr"`, `"file:PATH"`, or `"syslog:unix:PATH"` with the path of a
    /// syslog socket, such as `/dev/log`. forebay creates a file with mode 0640, and opens it again on SIGUSR1 and when
    /// another file is at its path.
    access_to: LogTarget as Text = "stdout" => target, now;
    /// The least important level of events that forebay logs.
    level: Level = "info", now;
    /// Where the event log goes; the same values as in `access_to`.
    events_to: LogTarget as Text = "stderr" => target, now;
}

/// The format of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// One JSON object a line, with nginx's field names.
    Json,
    /// A text with variables.
    Text(Arc<LogFormat>),
    /// None.
    Off,
}

/// The target of a log.
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

words! {
    /// The level of the event log.
    pub enum Level {
        /// What needs a person.
        Error = "error",
        /// What a person should look at.
        Warn = "warn",
        /// What changed.
        Info = "info",
        /// Why.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

fn access(section: &Section<'_>, key: &str) -> AccessLog {
    let words = [("on", Some("json")), ("off", None), ("json", Some("json")), ("combined", Some("combined"))];
    let word = section.choice(key, &words).unwrap_or(Some("json"));
    let given = section.text("access_format");
    let format = match &given {
        Some(text) => written(section, text),
        None if word == Some("combined") => LogFormat::parse(COMBINED).ok(),
        None => None,
    };
    match (word, format) {
        (None, _) => AccessLog::Off,
        (Some(_), Some(format)) => AccessLog::Text(Arc::new(format)),
        (Some(_), None) => AccessLog::Json,
    }
}

/// Parses `access_format`; `None`: JSON, or a malformed text, which is reported.
fn written(section: &Section<'_>, text: &Text) -> Option<LogFormat> {
    const HINT: &str = "write \"json\", \"combined\", or a text with variables such as $remote_addr";
    let value = text.value.as_str();
    match value {
        "json" => return None,
        "combined" => return LogFormat::parse(COMBINED).ok(),
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
        _ => match LogFormat::parse(value) {
            Ok(format) => return Some(format),
            Err(name) => {
                let known = || log_format::VARIABLES.iter().map(|(name, _)| *name);
                let list = || known().collect::<Vec<_>>().join(", ");
                let all = || format!("known: {}; and http_NAME, sent_http_NAME, arg_NAME, cookie_NAME", list());
                let hint = did_you_mean(&name, known()).unwrap_or_else(all);
                section.report.add(text.span.clone(), format!("access_format has no variable ${name}"), hint);
            }
        },
    }
    None
}

fn target(section: &Section<'_>, key: &str) -> LogTarget {
    let Some(text) = section.text(key) else { return LogTarget::Stdout };
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
    target.unwrap_or(LogTarget::Stdout)
}
