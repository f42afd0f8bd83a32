//! Helpers for mirrors with comparison: two origins that answer the same request, and the reported differences.

use serde_json::Value;

use crate::{Forebay, Origin, Script, forward, ok};

/// Two origins whose responses are compared, and forebay in front of them. The route is called `all`.
pub struct Compared {
    /// The proxy.
    pub forebay: Forebay,
    /// The origin that serves clients.
    pub main: Origin,
    /// The origin of the mirror.
    pub shadow: Origin,
}

impl Compared {
    /// Starts with these keys of `[route.mirror]`.
    ///
    /// # Panics
    /// If the configuration is rejected.
    #[must_use]
    #[track_caller]
    pub fn by(keys: &str) -> Self {
        let (main, shadow) = (Origin::start(ok("")), Origin::start(ok("")));
        let forebay = Forebay::start(forward([&main]).mirrored(&shadow, keys));
        Self { forebay, main, shadow }
    }

    /// Sets the responses of both origins.
    pub fn answer(&self, ours: &Script, theirs: &Script) {
        self.main.now(ours.clone());
        self.shadow.now(theirs.clone());
    }

    /// The report after this many pairs.
    ///
    /// # Panics
    /// If they do not arrive in time.
    #[track_caller]
    pub fn after(&self, pairs: u64) -> Value {
        let seen = |found: &Value| number(&found["compared"]) + skipped(found);
        self.forebay.mirror_until("all", |mirror| seen(&mirror["comparison"]) == pairs)["comparison"].clone()
    }

    /// The report about these two responses to one request, after a reset.
    ///
    /// # Panics
    /// If it does not arrive in time.
    #[track_caller]
    pub fn found(&self, ours: &Script, theirs: &Script) -> Value {
        self.answer(ours, theirs);
        self.forebay.reset_mirror("all");
        drop(self.forebay.get("/"));
        self.after(1)
    }

    /// Asserts that these two are compared and equal.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn are_equal(&self, ours: &Script, theirs: &Script) {
        let found = self.found(ours, theirs);
        assert!(found["compared"] == 1 && found["mismatched"] == 0, "{found:#}");
        assert!(places(&found["differences"]).is_empty() && places(&found["samples"]).is_empty(), "{found:#}");
    }

    /// Asserts that these two are compared, and differ exactly in these kinds at these paths.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn differ(&self, ours: &Script, theirs: &Script, wanted: &[(&str, &str)]) {
        let found = self.found(ours, theirs);
        assert!(found["compared"] == 1 && found["mismatched"] == 1, "{found:#}");
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(places(&found["differences"]), wanted, "{found:#}");
    }

    /// Asserts that these two are not compared, for this reason; for any if it is empty.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn are_skipped(&self, ours: &Script, theirs: &Script, reason: &str) {
        let found = self.found(ours, theirs);
        assert!(found["compared"] == 0 && found["mismatched"] == 0, "{found:#}");
        assert!(reason.is_empty() || found["skipped"][reason] == 1, "not {reason}: {found:#}");
    }
}

/// The number of pairs that were not compared, for any reason.
#[must_use]
pub fn skipped(found: &Value) -> u64 {
    found["skipped"].as_object().into_iter().flatten().map(|(_, count)| number(count)).sum()
}

/// The kinds and paths of these differences, sorted.
#[must_use]
pub fn places(differences: &Value) -> Vec<(&str, &str)> {
    let differences = differences.as_array().into_iter().flatten();
    let mut places: Vec<_> =
        differences.map(|one| (one["kind"].as_str().unwrap_or("?"), one["path"].as_str().unwrap_or("?"))).collect();
    places.sort_unstable();
    places
}

#[track_caller]
fn number(count: &Value) -> u64 {
    count.as_u64().unwrap_or_else(|| panic!("not a count: {count}"))
}
