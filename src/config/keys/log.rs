//! The keys of `[log]`.

use super::{Kind, section};

section! {
    /// What is logged, how, and where to.
    once LOG "[log]"

    /// The access log: `"on"` or `"off"`. `"json"` and `"combined"` are `"on"` in that form, unless `access_format` names
    /// another one.
    access: Kind::Choice(&["on", "off", "json", "combined"]) => "on", now;
    /// The form of the access log: `"json"`, `"combined"` (Apache's), or a text with nginx's variables, such as
    /// `"$remote_addr $status $request_time"`. Left out: `"json"`, or what `access` says.
    access_format: Kind::Text, now;
    /// Where the access log goes: `"stdout"`, `"stderr"`, `"file:PATH"`, or `"syslog:unix:PATH"` with the path of a
    /// syslog socket, such as `/dev/log`. A file is created with mode 0640, and opened again on SIGUSR1 and when another
    /// file is at its path.
    access_to: Kind::Text => "stdout", now;
    /// The least important events that are logged.
    level: Kind::Choice(&["error", "warn", "info", "debug", "trace"]) => "info", now;
    /// Where the event log goes; as `access_to`.
    events_to: Kind::Text => "stderr", now;
}
