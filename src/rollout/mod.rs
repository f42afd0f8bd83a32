//! Moving traffic: the shares of splits as they are now, the canaries that move them, and mirrors.
//!
//! What outlives a plan is here: weights that a person has set, how far each canary is, what a mirror has found. How a
//! canary is judged is `policy::canary`'s, whether two answers say the same `policy::compare`'s; which side a request
//! goes to is decided in `flow::split`.

pub(crate) mod comparison;
pub(crate) mod controller;
pub(crate) mod copied_request;
pub(crate) mod mirror;
pub(crate) mod mirror_worker;
pub(crate) mod split;
pub(crate) mod state;
pub(crate) mod tee;
pub(crate) mod webhook;
pub(crate) mod weights;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use self::mirror::Mirror;
use self::mirror_worker::MirrorWorker;
use self::split::Split;
use self::state::{Kept, StateFile, random_key};
use self::webhook::Reports;
use self::weights::SplitWeights;
use crate::config::plan::{Action, Plan};
use crate::telemetry::counters::Counters;
use crate::upstream::resolver::Resolver;

/// So many routes' states are kept; beyond, those of routes that are not there now are given up.
const ROUTES_MAX: usize = 1000;

/// Everything that moves traffic, as the control thread and the admin listener have it.
#[derive(Debug)]
pub(crate) struct Rollout {
    file: Option<StateFile>,
    /// What cookies are signed with where the file names no secret.
    own_key: Vec<u8>,
    reports: Reports,
    counters: Arc<Counters>,
    resolver: Arc<dyn Resolver>,
    /// Whether what holds now is in the file.
    is_saved: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The routes that split, in file order.
    steerings: Vec<SplitWeights>,
    /// The routes that mirror, in file order.
    mirrors: Vec<Arc<Mirror>>,
    /// What was kept of routes that are not there now, too: they may come back.
    kept: Kept,
    /// Sends copies; `None`: no plan has had a mirror yet.
    shadow: Option<MirrorWorker>,
}

/// What a plan's routes need, in the order of [`Plan::routes`].
#[derive(Debug)]
pub(crate) struct Adopted {
    /// The splits.
    pub splits: Vec<Option<Arc<Split>>>,
    /// The mirrors.
    pub mirrors: Vec<Option<Arc<Mirror>>>,
}

impl Rollout {
    /// Reads what was kept; the names of mirrors and webhooks are looked up by this resolver.
    ///
    /// # Errors
    /// When the key that cookies are signed with can't be read or made.
    pub(crate) fn open(state_dir: Option<&Path>, resolver: Arc<dyn Resolver>) -> io::Result<Self> {
        let file = state_dir.map(StateFile::new);
        let own_key = match &file {
            Some(file) => file.key()?,
            None => random_key()?,
        };
        let kept = file.as_ref().map(StateFile::read).unwrap_or_default();
        let state = State { kept, ..State::default() };
        let (reports, counters) = (Reports::new(Arc::clone(&resolver)), Arc::default());
        let is_saved = AtomicBool::new(true);
        Ok(Self { file, own_key, reports, counters, resolver, is_saved, state: Mutex::new(state) })
    }

    /// Takes up a plan: weights that were set and canaries go on where the file's own weights have not changed.
    ///
    /// # Errors
    /// When the thread that copies are sent on can't be started.
    pub(crate) fn adopt(&self, plan: &Plan) -> io::Result<Adopted> {
        let mut state = self.state.lock();
        let mirrors = state.adopt_mirrors(plan, &self.counters, &self.resolver)?;
        let mut before = std::mem::take(&mut state.steerings);
        let mut splits = Vec::with_capacity(plan.routes.len());
        for (route, mirror) in plan.routes.iter().zip(&mirrors) {
            let Action::Split(split) = &route.action else {
                splits.push(None);
                continue;
            };
            let old = before.iter().position(|old| old.route() == &*route.name).map(|index| before.swap_remove(index));
            let kept = state.kept.routes.get(&*route.name);
            let steering = match old {
                Some(old) => old.adopt(split, mirror.clone()),
                None => SplitWeights::new((&route.name, split), mirror.clone(), kept),
            };
            splits.push(Some(Arc::new(Split::new(split, Arc::clone(steering.live()), &self.own_key))));
            state.steerings.push(steering);
        }
        self.report(&mut state);
        self.save(&mut state);
        Ok(Adopted { splits, mirrors })
    }

    /// Whether what was changed at run time survives a restart: there is a place for it, and it could be written.
    #[must_use]
    pub(crate) fn is_kept(&self) -> bool {
        self.file.is_some() && self.is_saved()
    }

    /// Whether the last try to write what is to be kept succeeded; also true where nothing is kept.
    #[must_use]
    pub(crate) fn is_saved(&self) -> bool {
        self.is_saved.load(Ordering::Relaxed)
    }

    /// What the sending of copies has counted.
    #[must_use]
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Where changes are told.
    #[must_use]
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Each split.
    pub(crate) fn each_steering<R>(&self, view: impl FnMut(&SplitWeights) -> R) -> Vec<R> {
        self.state.lock().steerings.iter().map(view).collect()
    }

    /// Changes a route's split, and looks at it when what came of it is kept, as far as it can be. `None`: it has none.
    pub(crate) fn steer<R, E>(
        &self,
        route: &str,
        change: impl FnOnce(&mut SplitWeights) -> Result<(), E>,
        view: impl FnOnce(&SplitWeights) -> R,
    ) -> Option<Result<R, E>> {
        let mut state = self.state.lock();
        let index = state.steerings.iter().position(|steering| steering.route() == route)?;
        let changed = change(state.steerings.get_mut(index)?);
        self.report(&mut state);
        self.save(&mut state);
        changed.map(|()| state.steerings.get(index).map(view)).transpose()
    }

    /// Each mirror.
    #[must_use]
    pub(crate) fn mirrors(&self) -> Vec<Arc<Mirror>> {
        self.state.lock().mirrors.clone()
    }

    /// Whether there is anything to look at.
    #[must_use]
    pub(crate) fn has_canaries(&self) -> bool {
        // Whoever holds the lock looks, or changes something: then there may be.
        self.state.try_lock().is_none_or(|state| state.steerings.iter().any(|steering| steering.canary().is_some()))
    }

    /// Lets every canary look at what there is. To be called a few times a second.
    pub(crate) fn tick(&self, now: policy::time::Now, saves: bool) {
        let mut state = self.state.lock();
        let mut has_changed = false;
        for steering in &mut state.steerings {
            has_changed |= steering.tick(now);
        }
        if has_changed {
            self.report(&mut state);
        }
        if has_changed || saves {
            self.save(&mut state);
        }
    }

    /// Ends what runs beside: copies under way are given up.
    pub(crate) fn close(&self) {
        let shadow = self.state.lock().shadow.take();
        drop(shadow);
    }

    /// Tells of what has changed since the last time.
    fn report(&self, state: &mut State) {
        for steering in &mut state.steerings {
            for change in steering.take_changes() {
                self.reports.tell(steering.route(), steering.webhook(), &change);
            }
        }
    }

    fn save(&self, state: &mut State) {
        let Some(file) = &self.file else { return };
        let before = state.kept.clone();
        for steering in &state.steerings {
            match steering.kept() {
                Some(kept) => drop(state.kept.routes.insert(steering.route().to_owned(), kept)),
                None => drop(state.kept.routes.remove(steering.route())),
            }
        }
        if state.kept.routes.len() > ROUTES_MAX {
            let State { kept, steerings, .. } = &mut *state;
            kept.routes.retain(|route, _| steerings.iter().any(|steering| steering.route() == route));
        }
        let written = if state.kept == before { Ok(()) } else { file.write(&state.kept) };
        let was_saved = self.is_saved.swap(written.is_ok(), Ordering::Relaxed);
        match written {
            Ok(()) if was_saved => {}
            Ok(()) => tracing::info!("weights and canaries are saved again"),
            Err(error) => {
                // Tried again before long, and said once.
                state.kept = before;
                if was_saved {
                    tracing::error!("weights and canaries can't be saved, and would be lost at a restart: {error}");
                }
            }
        }
    }
}

impl State {
    /// The mirrors of a plan. One that has not changed goes on as it is.
    fn adopt_mirrors(
        &mut self,
        plan: &Plan,
        counters: &Arc<Counters>,
        resolver: &Arc<dyn Resolver>,
    ) -> io::Result<Vec<Option<Arc<Mirror>>>> {
        if self.shadow.is_none() && plan.routes.iter().any(|route| route.mirror.is_some()) {
            self.shadow = Some(MirrorWorker::start(counters)?);
        }
        let before = std::mem::take(&mut self.mirrors);
        let mut mirrors = Vec::with_capacity(plan.routes.len());
        for route in &plan.routes {
            let written = route.mirror.as_ref();
            let queue = self.shadow.as_ref().and_then(MirrorWorker::queue);
            let group = |upstream: usize| plan.upstreams.get(upstream).map(|plan| Mirror::group(plan, resolver));
            let made = written.zip(queue).and_then(|(written, queue)| Mirror::new(&route.name, written, group, queue));
            let known = made.as_ref().and_then(|made| before.iter().find(|old| old.is_like(made)).map(Arc::clone));
            let mirror = known.or_else(|| made.map(Arc::new));
            self.mirrors.extend(mirror.clone());
            mirrors.push(mirror);
        }
        if let Some(shadow) = &self.shadow {
            shadow.adopt(&self.mirrors);
        }
        Ok(mirrors)
    }
}
