//! A plan made live: what a worker needs to answer requests under it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::plan::{Action, Plan, Route, RouteCache};
use crate::exchange::fault::Fault;
use crate::observe::counters::Counters;
use crate::store::{Caching, Store};
use crate::upstream::group::Group;
use crate::upstream::local::LocalGroup;
use crate::writeback::Desk;

/// A plan, and what all workers share of its upstreams.
#[derive(Debug)]
pub struct Generation {
    /// Counts the plans of this process, from 1.
    pub number: u64,
    /// What the file says.
    pub plan: Plan,
    /// The upstreams, in the order of [`Plan::upstreams`].
    pub groups: Vec<Arc<Group>>,
    /// What is stored; it outlives plans.
    pub store: Arc<Store>,
    /// What is written and not at its backend yet; `None`: there is no journal.
    pub desk: Option<Arc<Desk>>,
}

impl Generation {
    /// The space of each caching route that answers for this host and path may be stored for, whatever else they ask,
    /// and its rules. Made anew each time: for purges, not for every request.
    pub fn spaces_of(&self, host: &str, path: &str) -> impl Iterator<Item = (Box<[u8]>, Arc<RouteCache>)> {
        let routes = self.plan.table.all(host, path).into_iter().filter_map(|index| self.plan.routes.get(index));
        routes.filter_map(|route| space(&self.plan, route))
    }

    /// The space of each caching route, and its rules.
    pub fn spaces(&self) -> impl Iterator<Item = (Box<[u8]>, Arc<RouteCache>)> {
        self.plan.routes.iter().filter_map(|route| space(&self.plan, route))
    }
}

/// A plan as one worker has it. A request keeps the one that it began under.
#[derive(Debug)]
pub struct Site {
    /// What all workers share.
    pub generation: Arc<Generation>,
    /// What this worker has counted.
    pub counters: Arc<Counters>,
    routes: Vec<Rc<str>>,
    /// How each route caches, those that do.
    cachings: Vec<Option<Rc<Caching>>>,
    caches: bool,
    upstreams: Vec<Rc<LocalGroup>>,
}

impl Site {
    /// This worker's part of a generation. Upstreams that have not changed keep their balancer and connections.
    #[must_use]
    pub fn new(generation: Arc<Generation>, before: Option<&Self>, counters: &Arc<Counters>) -> Self {
        let workers = generation.plan.server.workers.get();
        let upstreams = generation
            .groups
            .iter()
            .map(|group| {
                let known = before.and_then(|site| site.upstreams.iter().find(|old| *old.name == *group.plan.name));
                match known {
                    Some(old) if Arc::ptr_eq(&old.shared, group) => Rc::clone(old),
                    Some(_) | None => {
                        Rc::new(LocalGroup::new(Arc::clone(group), known.map(Rc::as_ref), counters, workers))
                    }
                }
            })
            .collect::<Vec<_>>();
        for old in before.iter().flat_map(|site| &site.upstreams) {
            old.leave(upstreams.iter().find(|new| new.name == old.name).map(Rc::as_ref));
        }
        let routes = generation.plan.routes.iter().map(|route| Rc::from(&*route.name)).collect();
        let cachings: Vec<Option<Rc<Caching>>> =
            generation.plan.routes.iter().map(|route| caching(&generation, route, counters)).collect();
        let caches = cachings.iter().any(Option::is_some);
        Self { generation, counters: Arc::clone(counters), routes, cachings, caches, upstreams }
    }

    /// What the file says.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.generation.plan
    }

    /// The name of the route with this index.
    #[must_use]
    pub fn route_name(&self, index: usize) -> Option<Rc<str>> {
        self.routes.get(index).map(Rc::clone)
    }

    /// What is written and not at its backend yet, if there is a journal.
    #[must_use]
    pub fn desk(&self) -> Option<&Arc<Desk>> {
        self.generation.desk.as_ref()
    }

    /// Whether any route caches.
    #[must_use]
    pub fn caches(&self) -> bool {
        self.caches
    }

    /// How the route with this index caches; `None`: it does not.
    #[must_use]
    pub fn caching(&self, index: usize) -> Option<&Rc<Caching>> {
        self.cachings.get(index)?.as_ref()
    }

    /// All caching routes that answers for this host and path may be stored for, whatever else they ask.
    pub fn cachings_of(&self, host: &str, path: &str) -> impl Iterator<Item = &Rc<Caching>> {
        self.plan().table.all(host, path).into_iter().filter_map(|index| self.caching(index))
    }

    /// The upstream with this index.
    ///
    /// # Errors
    /// None that a checked plan can bring about.
    pub fn upstream(&self, index: usize) -> Result<&Rc<LocalGroup>, Fault> {
        self.upstreams.get(index).ok_or(Fault::NoRoute)
    }

    /// The upstreams.
    pub fn upstreams(&self) -> impl Iterator<Item = &Rc<LocalGroup>> {
        self.upstreams.iter()
    }
}

/// Where a route's answers are stored, and by which rules; `None`: they are not. Its answers are its own if it asks for more than a host and a path; else they are shared by
/// whatever routes lead to the same upstream by the same rules. What was stored by other rules, before a reload say, is
/// not found any more: it may have been for some clients only.
fn space(plan: &Plan, route: &Route) -> Option<(Box<[u8]>, Arc<RouteCache>)> {
    let rules = Arc::clone(route.cache.as_ref()?);
    let Action::Forward(upstream) = route.action else { return None };
    let upstream = &plan.upstreams.get(upstream)?.name;
    // Names hold no control characters.
    let own = if route.is_conditional { format!("\n{}", route.name) } else { String::new() };
    let mut how = DefaultHasher::new();
    format!("{:?}{:?}", rules.key, rules.exceptions).hash(&mut how);
    let space = format!("{upstream}{own}\n{:016x}", how.finish()).into_bytes().into_boxed_slice();
    Some((space, rules))
}

fn caching(generation: &Generation, route: &Route, counters: &Arc<Counters>) -> Option<Rc<Caching>> {
    let (space, rules) = space(&generation.plan, route)?;
    let is_plain = rules.key.headers.is_empty() && rules.key.cookies.is_empty();
    Some(Rc::new(Caching {
        store: Arc::clone(&generation.store),
        limits: generation.plan.cache.clone(),
        rules,
        space,
        is_plain,
        counters: Arc::clone(counters),
    }))
}
