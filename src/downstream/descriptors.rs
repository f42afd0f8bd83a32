//! How many descriptors this process may have open, and how many connections they are enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for other things than connections that are served: sockets that are listened on, with one connection each
/// that waits; files; what each worker's runtime has.
const RESERVED: u64 = 64;
/// A client's connection may need another one, to a backend.
const PER_CONNECTION: u64 = 2;
/// The most connections when the configuration says nothing.
const CONNECTIONS_MAX: u64 = 65_536;
/// The fewest: with less than this a proxy is of no use.
const CONNECTIONS_MIN: u64 = 8;

/// Raises the limit of open files as far as the system lets us, and returns it.
#[must_use]
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
            limit.current
        }
    }
    .unwrap_or(u64::MAX)
}

/// How many client connections there may be, with this limit of open files; warns when the configuration says more
/// than are safe.
#[must_use]
pub(crate) fn connections_max(configured: Option<usize>, limit: u64) -> usize {
    let safe = (limit.saturating_sub(RESERVED) / PER_CONNECTION).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
    let Some(configured) = configured else { return usize::try_from(safe).unwrap_or(usize::MAX) };
    let needed = (configured as u64).saturating_mul(PER_CONNECTION).saturating_add(RESERVED);
    if needed > limit {
        tracing::warn!(
            "connections_max = {configured} may need {needed} open files ({configured} clients, as many connections \
             to backends, and {RESERVED}), but the limit is {limit}, enough for {safe}: raise it (ulimit -n, \
             LimitNOFILE), or lower connections_max"
        );
    }
    configured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_are_for_clients() {
        for (limit, expected) in [
            (0, 8),
            (64, 8),
            (80, 8),
            (1024, 480),
            (131_136, 65_536),
            (131_135, 65_535),
            (1 << 20, 65_536),
            (u64::MAX, 65_536),
        ] {
            assert_eq!(connections_max(None, limit), expected, "{limit}");
        }
        assert_eq!(connections_max(Some(1_000_000), 64), 1_000_000);
    }
}
