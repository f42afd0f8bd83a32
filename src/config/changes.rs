//! Compares two Plans, for the event log: what a reload has changed, and what waits for the next start.

use std::collections::BTreeMap;
use std::fmt;

use super::keys::Reload;
use super::plan::{CacheMode, Listener, Plan, Upstream};
use super::settings::Settings;

/// The most names in one list of changes.
const NAMES_MAX: usize = 20;

/// The differences between two Plans. `Display` lists those that take effect at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    listeners: Difference,
    routes: Difference,
    upstreams: Difference,
    backends: Difference,
    /// Other changed keys that take effect at once.
    settings: Vec<String>,
    /// Keys that differ from the settings at the start of the process, and take effect at the next start.
    next_start: Vec<String>,
}

/// The differences of one kind of named things, such as routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Changes {
    /// The changes from `old` to `new`. `started`: the settings at the start of the process; `has_journal`: whether the
    /// process can queue writes.
    #[must_use]
    pub fn between(old: &Plan, new: &Plan, (started, has_journal): (&Settings, bool)) -> Self {
        let mut changes = Self {
            listeners: Difference::of(listeners(old), listeners(new), |old, new| old == new),
            routes: Difference::of(routes(old), routes(new), |old, new| old == new),
            upstreams: Difference::of(upstreams(old), upstreams(new), |old, new| is_same_but_backends(old, new)),
            backends: backends(old, new),
            settings: Vec::new(),
            next_start: Vec::new(),
        };
        for (name, setting) in &new.settings.keys {
            let before = match setting.reload {
                Reload::Now => &old.settings,
                Reload::NextStart => started,
            };
            if before.keys.get(name) == Some(setting) {
                continue;
            }
            match setting.reload {
                // `listeners` has its addresses.
                Reload::Now if name == "listen" => {}
                Reload::Now => changes.settings.push(name.clone()),
                Reload::NextStart => changes.next_start.push(name.clone()),
            }
        }
        if !has_journal {
            let is_queued = |cache: &super::plan::RouteCache| matches!(cache.mode, CacheMode::Back(_));
            let queueing = new.routes.iter().filter(|route| route.cache.as_deref().is_some_and(is_queued));
            changes.next_start.extend(queueing.map(|route| format!("mode = \"write-back\" of route {}", route.name)));
        }
        changes
    }

    /// The keys that take effect at the next start, as text; `None`: there are none.
    #[must_use]
    pub fn next_start(&self) -> Option<String> {
        (!self.next_start.is_empty()).then(|| names(&self.next_start))
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("listeners", &self.listeners),
            ("routes", &self.routes),
            ("upstreams", &self.upstreams),
            ("backends", &self.backends),
        ];
        let mut parts: Vec<String> = Vec::new();
        for (kind, difference) in kinds {
            let words =
                [("added", &difference.added), ("removed", &difference.removed), ("changed", &difference.changed)];
            let words = words.into_iter().filter(|(_, names)| !names.is_empty());
            parts.extend(words.map(|(word, all)| format!("{kind} {word}: {}", names(all))));
        }
        if !self.settings.is_empty() {
            parts.push(format!("keys changed: {}", names(&self.settings)));
        }
        match parts.is_empty() {
            true => out.write_str("nothing has changed"),
            false => out.write_str(&parts.join("; ")),
        }
    }
}

fn names(all: &[String]) -> String {
    let shown = all.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Difference {
    /// Compares two lists by name. If a name occurs several times, the first is compared with the first, and so on.
    fn of<T>(
        old: impl Iterator<Item = (String, T)>,
        new: impl Iterator<Item = (String, T)>,
        is_same: impl Fn(&T, &T) -> bool,
    ) -> Self {
        let mut before: BTreeMap<(String, usize), T> = numbered(old).collect();
        let mut difference = Self::default();
        for ((name, number), new) in numbered(new) {
            match before.remove(&(name.clone(), number)) {
                None => difference.added.push(name),
                Some(old) if !is_same(&old, &new) => difference.changed.push(name),
                Some(_) => {}
            }
        }
        difference.removed = before.into_keys().map(|(name, _)| name).collect();
        difference
    }
}

fn numbered<T>(all: impl Iterator<Item = (String, T)>) -> impl Iterator<Item = ((String, usize), T)> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    all.map(move |(name, one)| {
        let number = seen.entry(name.clone()).or_default();
        *number += 1;
        ((name, *number), one)
    })
}

fn listeners(plan: &Plan) -> impl Iterator<Item = (String, &Listener)> {
    plan.listeners.iter().map(|listener| (listener.address.to_string(), listener))
}

fn routes(plan: &Plan) -> impl Iterator<Item = (String, u64)> {
    plan.routes.iter().zip(&plan.settings.routes).map(|(route, digest)| (route.name.to_string(), *digest))
}

fn upstreams(plan: &Plan) -> impl Iterator<Item = (String, &Upstream)> {
    plan.upstreams.iter().map(|upstream| (upstream.name.to_string(), upstream))
}

fn is_same_but_backends(old: &Upstream, new: &Upstream) -> bool {
    let bare = |upstream: &Upstream| Upstream { backends: Vec::new(), ..upstream.clone() };
    old == new || bare(old) == bare(new)
}

/// The differences between backends of upstreams that are in both Plans.
fn backends(old: &Plan, new: &Plan) -> Difference {
    let of = |plan: &Plan, other: &Plan| {
        let known: std::collections::HashSet<&str> = other.upstreams.iter().map(|upstream| &*upstream.name).collect();
        let common = plan.upstreams.iter().filter(|upstream| known.contains(&*upstream.name));
        let each = |upstream: &Upstream| {
            let name = upstream.name.clone();
            upstream.backends.iter().map(move |backend| (format!("{name} {}", backend.name), backend.clone())).collect()
        };
        common.map(each).collect::<Vec<Vec<_>>>().into_iter().flatten()
    };
    Difference::of(of(old, new), of(new, old), |old, new| old == new)
}

#[cfg(test)]
mod tests;
