//! Words for a mirror that compares: two origins that answer the same request, and what is found of their answers.

use serde_json::Value;

use crate::{Forebay, Origin, Script, forward, ok};

/// An origin whose answers are compared with another's, and forebay before both. The route is called `all`.
pub struct Compared {
    /// Compares.
    pub forebay: Forebay,
    /// Serves clients.
    pub main: Origin,
    /// Gets the copies.
    pub shadow: Origin,
}

impl Compared {
    /// By these keys of `[route.mirror]`.
    ///
    /// # Panics
    ///
    /// When they are refused.
    #[must_use]
    #[track_caller]
    pub fn by(keys: &str) -> Self {
        let (main, shadow) = (Origin::start(ok("")), Origin::start(ok("")));
        let forebay = Forebay::start(forward([&main]).mirrored(&shadow, keys));
        Self { forebay, main, shadow }
    }

    /// Which answers there are from now on.
    pub fn answer(&self, ours: &Script, theirs: &Script) {
        self.main.now(ours.clone());
        self.shadow.now(theirs.clone());
    }

    /// What was found so far, once so many pairs were looked at.
    ///
    /// # Panics
    ///
    /// When they were not in time.
    #[track_caller]
    pub fn after(&self, pairs: u64) -> Value {
        let seen = |found: &Value| number(&found["compared"]) + skipped(found);
        self.forebay.mirror_until("all", |mirror| seen(&mirror["comparison"]) == pairs)["comparison"].clone()
    }

    /// What is found of these two answers to one request, counted anew.
    ///
    /// # Panics
    ///
    /// When it is not in time.
    #[track_caller]
    pub fn found(&self, ours: &Script, theirs: &Script) -> Value {
        self.answer(ours, theirs);
        self.forebay.reset_mirror("all");
        drop(self.forebay.get("/"));
        self.after(1)
    }

    /// These two are compared and don't differ.
    ///
    /// # Panics
    ///
    /// When they are not, or do.
    #[track_caller]
    pub fn are_equal(&self, ours: &Script, theirs: &Script) {
        let found = self.found(ours, theirs);
        assert!(found["compared"] == 1 && found["mismatched"] == 0, "{found:#}");
        assert!(places(&found["differences"]).is_empty() && places(&found["samples"]).is_empty(), "{found:#}");
    }

    /// These two are compared, and differ in just these kinds at these paths.
    ///
    /// # Panics
    ///
    /// When they are not, or differ otherwise.
    #[track_caller]
    pub fn differ(&self, ours: &Script, theirs: &Script, wanted: &[(&str, &str)]) {
        let found = self.found(ours, theirs);
        assert!(found["compared"] == 1 && found["mismatched"] == 1, "{found:#}");
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(places(&found["differences"]), wanted, "{found:#}");
    }

    /// These two are not compared, for this reason; for any, if it is empty.
    ///
    /// # Panics
    ///
    /// When they are, or for another.
    #[track_caller]
    pub fn are_skipped(&self, ours: &Script, theirs: &Script, reason: &str) {
        let found = self.found(ours, theirs);
        assert!(found["compared"] == 0 && found["mismatched"] == 0, "{found:#}");
        assert!(reason.is_empty() || found["skipped"][reason] == 1, "not {reason}: {found:#}");
    }
}

/// How many pairs were not compared, for whatever reason.
#[must_use]
pub fn skipped(found: &Value) -> u64 {
    found["skipped"].as_object().into_iter().flatten().map(|(_, count)| number(count)).sum()
}

/// Kinds and paths of these differences, in the order of the alphabet.
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
