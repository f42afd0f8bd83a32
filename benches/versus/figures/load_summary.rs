//! The results of wrk, parsed from the line that `peers/load.lua` prints.

use std::time::Duration;

/// One run of the load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadSummary {
    /// Complete responses.
    pub(crate) requests: u64,
    /// Duration of the run.
    pub(crate) duration: Duration,
    /// Bytes received, including responses cut off by the end.
    pub(crate) bytes: u64,
    /// The median latency.
    pub(crate) p50: Duration,
    /// The 99th percentile of the latency.
    pub(crate) p99: Duration,
    /// Failed connections, reads and writes, statuses from 400 on, and time-outs.
    pub(crate) errors: u64,
}

/// Parses the line that begins with `versus ` anywhere in the output; `None` if there is none, or a number is missing.
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
