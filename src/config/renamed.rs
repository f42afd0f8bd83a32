//! Keys that have a new name. The old name works for one release, with a warning.

/// The place of a key, its old name and its new one.
struct Renamed(&'static str, &'static str, &'static str);

const RENAMED: [Renamed; 4] = [
    Renamed("[cache]", "wait_max", "coalesce_wait_max"),
    Renamed("[cache]", "waiting_max", "coalesce_waiting_max"),
    Renamed("[cache]", "pass_for", "hit_for_miss"),
    Renamed("[cache]", "lead_bytes_max", "fetch_ahead_bytes_max"),
];

/// The new name of a key of this table; `None`: it has not been renamed.
pub(super) fn new_name(heading: &str, old: &str) -> Option<&'static str> {
    RENAMED.iter().find(|renamed| renamed.0 == heading && renamed.1 == old).map(|renamed| renamed.2)
}

/// The old name of a key of this table; `None`: it has none.
pub(super) fn old_name(heading: &str, new: &str) -> Option<&'static str> {
    RENAMED.iter().find(|renamed| renamed.0 == heading && renamed.2 == new).map(|renamed| renamed.1)
}
