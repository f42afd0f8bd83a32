//! What wrk found, read from the line that `peers/load.lua` makes it print.

use std::time::Duration;

/// One run of the load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadSummary {
    /// Answers that came whole.
    pub(crate) requests: u64,
    /// How long it took.
    pub(crate) duration: Duration,
    /// Bytes received, of answers that were cut off by the end too.
    pub(crate) bytes: u64,
    /// Half of the answers were faster.
    pub(crate) p50: Duration,
    /// 99 % of the answers were faster.
    pub(crate) p99: Duration,
    /// Failed connections, reads and writes, statuses from 400 on, and time-outs.
    pub(crate) errors: u64,
}

/// Reads the line that begins with `versus `, wherever it stands in the output; `None`: there is none, or it lacks a
/// number.
pub(crate) fn parse(output: &str) -> Option<LoadSummary> {
    let line = output.lines().find_map(|line| line.strip_prefix("versus "))?;
    let number = |name: &str| -> Option<u64> {
        let fields = line.split_ascii_whitespace().filter_map(|field| field.split_once('='));
        fields.filter(|(found, _)| *found == name).find_map(|(_, value)| value.parse().ok())
    };
    let errors = ["connect", "read", "write", "status", "timeout"].into_iter().map(number).sum::<Option<u64>>()?;
    Some(LoadSummary {
        requests: number("requests")?,
        duration: Duration::from_micros(number("duration")?),
        bytes: number("bytes")?,
        p50: Duration::from_micros(number("p50")?),
        p99: Duration::from_micros(number("p99")?),
        errors,
    })
}
