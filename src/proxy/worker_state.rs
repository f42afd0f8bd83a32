//! A plan made live: what a worker needs to answer requests under it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;
use std::sync::Arc;

use policy::message::scheme::Scheme;
use policy::message::via::Signature;
use policy::route::sticky::Verified;

use super::local_split::{self, LocalSplit};
use super::target::RouteTarget;
use crate::acme::Published;
use crate::cache::{Caching, Store};
use crate::config::plan::{Action, Plan, Route, RouteCache};
use crate::exchange::ClientConnection;
use crate::rollout::mirror::Mirror;
use crate::rollout::split::Split;
use crate::telemetry::access_record::RouteRecord;
use crate::telemetry::counters::Counters;
use crate::telemetry::notice::Notice;
use crate::telemetry::route_stats::RouteTraffic;
use crate::telemetry::target_stats::TargetStats;
use crate::upstream::local::LocalUpstream;
use crate::upstream::shared::SharedUpstream;
use crate::write_queue::WriteQueue;

/// A plan, and what all workers share of its upstreams.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Counts the plans of this process, from 1.
    pub number: u64,
    /// What the file says.
    pub plan: Plan,
    /// The upstreams, in the order of [`Plan::upstreams`].
    pub groups: Vec<Arc<SharedUpstream>>,
    /// The splits, in the order of [`Plan::routes`].
    pub splits: Vec<Option<Arc<Split>>>,
    /// What the requests of each route came to, in the order of [`Plan::routes`]. It outlives plans.
    pub traffic: Vec<Arc<RouteTraffic>>,
    /// The mirrors, in the order of [`Plan::routes`].
    pub mirrors: Vec<Option<Arc<Mirror>>>,
    /// What is stored; it outlives plans.
    pub store: Arc<Store>,
    /// What is written and not at its backend yet; `None`: there is no journal.
    pub desk: Option<Arc<WriteQueue>>,
    /// The name that `Via` is signed with.
    pub via_name: Arc<str>,
    /// Says when loops may be told of again.
    pub loop_notice: Notice,
    /// The answers to challenges of ACME authorities.
    pub published: Arc<Published>,
}

impl Snapshot {
    /// The space of each caching route that answers for this host and path may be stored for, whatever else they ask,
    /// and its rules. Made anew each time: for purges, not for every request.
    pub(crate) fn spaces_of(&self, host: &str, path: &str) -> impl Iterator<Item = (Box<[u8]>, Arc<RouteCache>)> {
        let routes = self.plan.table.all(host, &self.plan.match_path(path)).into_iter();
        let routes = routes.filter_map(|index| self.plan.routes.get(index));
        routes.flat_map(|route| spaces(&self.plan, route))
    }

    /// The space of each caching route, and its rules.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = (Box<[u8]>, Arc<RouteCache>)> {
        self.plan.routes.iter().flat_map(|route| spaces(&self.plan, route))
    }
}

/// A plan as one worker has it. A request keeps the one that it began under.
#[derive(Debug)]
pub(crate) struct WorkerState {
    /// What all workers share.
    pub generation: Arc<Snapshot>,
    /// What this worker has counted.
    pub counters: Arc<Counters>,
    routes: Vec<Rc<RouteRecord>>,
    /// The ways on of each route: none, one, or one for each side of its split.
    onwards: Vec<Box<[Rc<RouteTarget>]>>,
    /// Those of splits once more, for who names a side by hand: what they see says nothing about it.
    by_hand: Vec<Box<[Rc<RouteTarget>]>>,
    splits: Vec<Option<LocalSplit>>,
    /// How each route caches: not at all, in one way, or in one for each side of its split.
    cachings: Vec<Box<[Rc<Caching>]>>,
    caches: bool,
    takes_requests_as_they_come: bool,
    signature: Option<Rc<Signature>>,
    upstreams: Vec<Rc<LocalUpstream>>,
}

impl WorkerState {
    /// This worker's part of a generation. Upstreams that have not changed keep their balancer and connections.
    #[must_use]
    pub(crate) fn new(generation: Arc<Snapshot>, before: Option<&Self>, counters: &Arc<Counters>) -> Self {
        let workers = generation.plan.server.workers.get();
        // By name: there may be thousands, and a worker stands still while it looks for them.
        let known = by_name(before.map(|site| &*site.upstreams).unwrap_or_default());
        let upstreams = generation
            .groups
            .iter()
            .map(|group| match known.get(&*group.plan.name) {
                Some(old) if Arc::ptr_eq(&old.shared, group) => Rc::clone(old),
                old => Rc::new(LocalUpstream::new(Arc::clone(group), old.map(|old| &***old), counters, workers)),
            })
            .collect::<Vec<_>>();
        let kept = by_name(&upstreams);
        for old in known.values() {
            let new = kept.get(&*old.name).copied();
            if !new.is_some_and(|new| Rc::ptr_eq(new, old)) {
                old.leave(new.map(Rc::as_ref));
            }
        }
        let routes = route_records(&generation);
        let splits: Vec<Option<LocalSplit>> =
            generation.splits.iter().map(|split| split.as_ref().map(|split| local_split(split, before))).collect();
        let routed = generation.plan.routes.iter().zip(&splits).zip(&generation.mirrors);
        let onwards: Vec<Box<[Rc<RouteTarget>]>> = routed
            .map(|((route, split), mirror)| onwards(route, split.as_ref(), mirror.as_ref(), &upstreams))
            .collect();
        let uncounted = |onward: &Rc<RouteTarget>| Rc::new(RouteTarget { tally: None, ..RouteTarget::clone(onward) });
        let by_hand = onwards.iter().map(|ways| ways.iter().map(uncounted).collect()).collect();
        let cachings: Vec<Box<[Rc<Caching>]>> =
            generation.plan.routes.iter().map(|route| cachings(&generation, route, counters)).collect();
        let caches = cachings.iter().any(|ways| !ways.is_empty());
        let counters = Arc::clone(counters);
        // A copy: workers that shared one would share the count of its users, too.
        let signature = Signature::new(&generation.via_name).map(Rc::new);
        let takes_requests_as_they_come = generation.plan.takes_requests_as_they_come();
        Self {
            signature,
            generation,
            counters,
            routes,
            onwards,
            by_hand,
            splits,
            cachings,
            caches,
            takes_requests_as_they_come,
            upstreams,
        }
    }

    /// What the file says.
    #[must_use]
    pub(crate) fn plan(&self) -> &Plan {
        &self.generation.plan
    }

    /// What is recorded of the route with this index.
    #[must_use]
    pub(crate) fn route_record(&self, index: usize) -> Option<Rc<RouteRecord>> {
        self.routes.get(index).map(Rc::clone)
    }

    /// What is written and not at its backend yet, if there is a journal.
    #[must_use]
    pub(crate) fn desk(&self) -> Option<&Arc<WriteQueue>> {
        self.generation.desk.as_ref()
    }

    /// How this proxy signs `Via`.
    #[must_use]
    pub(crate) fn signature(&self) -> Option<&Rc<Signature>> {
        self.signature.as_ref()
    }

    /// Whether any route caches.
    #[must_use]
    pub(crate) fn caches(&self) -> bool {
        self.caches
    }

    /// Whether a request of this client is served as it comes: it is not redirected, and no field of it says who asked to
    /// somebody who believes it.
    #[must_use]
    pub(crate) fn serves_as_it_comes(&self, client: &ClientConnection, says_who_asked: bool) -> bool {
        let listener = client.listener.as_deref();
        let is_redirected = || client.scheme == Scheme::Http && self.plan().redirect_https(listener).is_some();
        let is_believed = || says_who_asked && !self.plan().trusted_proxies(listener).is_empty();
        self.takes_requests_as_they_come || (!is_redirected() && !is_believed())
    }

    /// How this side of a route caches; `None`: it does not.
    #[must_use]
    pub(crate) fn caching(&self, route: usize, side: usize) -> Option<&Rc<Caching>> {
        let ways = self.cachings.get(route)?;
        // One for all sides: they may stand in for one another.
        ways.get(side).or_else(|| ways.first())
    }

    /// All ways of caching that answers for this host and path may be stored in, whatever else they ask.
    pub(crate) fn cachings_of(&self, host: &str, path: &str) -> impl Iterator<Item = &Rc<Caching>> {
        let routes = self.plan().table.all(host, &self.plan().match_path(path)).into_iter();
        routes.filter_map(|index| self.cachings.get(index)).flatten()
    }

    /// How this route caches in this space; `None`: it has no such space.
    #[must_use]
    pub(crate) fn caching_in(&self, route: usize, space: &[u8]) -> Option<&Rc<Caching>> {
        self.cachings.get(route)?.iter().find(|caching| *caching.space == *space)
    }

    /// The split of the route with this index, if it has one.
    #[must_use]
    pub(crate) fn split(&self, route: usize) -> Option<&LocalSplit> {
        self.splits.get(route)?.as_ref()
    }

    /// The way on from this side of a route; `None`: it leads nowhere.
    #[must_use]
    pub(crate) fn onward(&self, route: usize, side: usize) -> Option<&Rc<RouteTarget>> {
        self.onwards.get(route)?.get(side)
    }

    /// The way on from a side that was named by hand.
    #[must_use]
    pub(crate) fn onward_by_hand(&self, route: usize, side: usize) -> Option<&Rc<RouteTarget>> {
        self.by_hand.get(route)?.get(side)
    }

    /// The upstreams.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Rc<LocalUpstream>> {
        self.upstreams.iter()
    }
}

fn route_records(generation: &Snapshot) -> Vec<Rc<RouteRecord>> {
    let routes = generation.plan.routes.iter().zip(&generation.traffic);
    routes
        .map(|(route, traffic)| Rc::new(RouteRecord { name: route.name.as_ref().into(), stats: traffic.enroll() }))
        .collect()
}

fn by_name(upstreams: &[Rc<LocalUpstream>]) -> HashMap<&str, &Rc<LocalUpstream>> {
    upstreams.iter().map(|upstream| (&*upstream.name, upstream)).collect()
}

/// This worker's part of a split; its tallies go on where the split has not changed.
fn local_split(split: &Arc<Split>, before: Option<&WorkerState>) -> LocalSplit {
    let known = before.iter().flat_map(|site| site.splits.iter().flatten());
    let known = known.into_iter().find(|known| Arc::ptr_eq(&known.shared.live, &split.live));
    LocalSplit {
        shared: Arc::clone(split),
        names: split.plan.sides.iter().map(|side| Rc::from(&*side.name)).collect(),
        tallies: known.map_or_else(|| split.live.enroll(), |known| known.tallies.clone()),
        notes: local_split::notes(&split.plan),
        watched: RefCell::new(split.live.watch()),
        verified: split.signer.clone().map(|signer| RefCell::new(Verified::new(signer, split.salt))),
    }
}

fn onwards(
    route: &Route,
    split: Option<&LocalSplit>,
    mirror: Option<&Arc<Mirror>>,
    upstreams: &[Rc<LocalUpstream>],
) -> Box<[Rc<RouteTarget>]> {
    let own = route.mirror.as_ref().map(|mirror| mirror.upstream);
    let onward = |upstream: usize, tally: Option<&Arc<TargetStats>>| {
        let group = Rc::clone(upstreams.get(upstream)?);
        let mirror = mirror.filter(|_| own != Some(upstream)).map(Arc::clone);
        Some(Rc::new(RouteTarget { group, tally: tally.map(Arc::clone), mirror }))
    };
    match &route.action {
        Action::Forward(upstream) => onward(*upstream, None).into_iter().collect(),
        Action::Split(plan) => {
            let tallies = split.iter().flat_map(|split| split.tallies.iter());
            plan.sides.iter().zip(tallies).filter_map(|(side, tally)| onward(side.upstream, Some(tally))).collect()
        }
        Action::Redirect(_) | Action::Respond(_) => Box::default(),
    }
}

/// Where a route's answers are stored, and by which rules: nowhere, in one space, or in one for each side of its split.
/// Its answers are its own if it asks for more than a host and a path; else they are shared by whatever routes lead to
/// the same upstream by the same rules. What was stored by other rules, before a reload say, is not found any more: it
/// may have been for some clients only.
fn spaces(plan: &Plan, route: &Route) -> Vec<(Box<[u8]>, Arc<RouteCache>)> {
    let Some(rules) = &route.cache else { return Vec::new() };
    let name = |upstream: usize| plan.upstreams.get(upstream).map(|upstream| upstream.name.to_string());
    // Names hold no control characters.
    let upstreams: Vec<String> = match &route.action {
        Action::Forward(upstream) => name(*upstream).into_iter().collect(),
        Action::Split(split) => {
            let mut names: Vec<String> = split.sides.iter().filter_map(|side| name(side.upstream)).collect();
            if split.shares_cache {
                names.sort_unstable();
                names = vec![names.join("\t")];
            }
            names
        }
        Action::Redirect(_) | Action::Respond(_) => Vec::new(),
    };
    let own = if route.is_conditional { format!("\n{}", route.name) } else { String::new() };
    let mut how = DefaultHasher::new();
    format!("{:?}{:?}", rules.key, rules.exceptions).hash(&mut how);
    let how = how.finish();
    let space = |upstream: String| format!("{upstream}{own}\n{how:016x}").into_bytes().into_boxed_slice();
    upstreams.into_iter().map(|upstream| (space(upstream), Arc::clone(rules))).collect()
}

fn cachings(generation: &Snapshot, route: &Route, counters: &Arc<Counters>) -> Box<[Rc<Caching>]> {
    let caching = |(space, rules): (Box<[u8]>, Arc<RouteCache>)| {
        let is_plain = rules.key.headers.is_empty() && rules.key.cookies.is_empty();
        Rc::new(Caching {
            store: Arc::clone(&generation.store),
            limits: generation.plan.cache.clone(),
            rules,
            space,
            is_plain,
            counters: Arc::clone(counters),
        })
    };
    spaces(&generation.plan, route).into_iter().map(caching).collect()
}
