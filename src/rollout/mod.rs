//! Moves traffic: the current weights of splits, the canaries that change them, and mirrors.
//!
//! Holds the state that survives a reload: weights set by operators, the progress of canaries, the results of mirrors.
//! `policy::canary` judges canaries, `policy::compare` compares responses, and `proxy::split` selects the target of a
//! request.

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
use self::state::{SavedState, StateFile, random_key};
use self::webhook::Reports;
use self::weights::SplitWeights;
use crate::config::plan::{Action, Plan};
use crate::telemetry::counters::Counters;
use crate::upstream::resolver::Resolver;

/// The most routes whose state is persisted; beyond, the state of routes that do not exist now is dropped.
const ROUTES_MAX: usize = 1000;

/// The state of splits, canaries and mirrors, shared by the control thread and the admin listener.
#[derive(Debug)]
pub(crate) struct Rollout {
    file: Option<StateFile>,
    /// The key that signs cookies if the file has no secret.
    own_key: Vec<u8>,
    reports: Reports,
    counters: Arc<Counters>,
    resolver: Arc<dyn Resolver>,
    /// Whether the current state is persisted.
    is_saved: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The routes with a split, in file order.
    split_weights: Vec<SplitWeights>,
    /// The routes with a mirror, in file order.
    mirrors: Vec<Arc<Mirror>>,
    /// The persisted state, which includes routes that do not exist now: they may return.
    saved: SavedState,
    /// Sends copies; `None`: no plan had a mirror so far.
    mirror_worker: Option<MirrorWorker>,
}

/// The splits and mirrors of a plan's routes, in the order of [`Plan::routes`].
#[derive(Debug)]
pub(crate) struct Adopted {
    /// The splits.
    pub splits: Vec<Option<Arc<Split>>>,
    /// The mirrors.
    pub mirrors: Vec<Option<Arc<Mirror>>>,
}

impl Rollout {
    /// Reads the persisted state; `resolver` resolves the names of mirrors and webhooks.
    ///
    /// # Errors
    /// If the key that signs cookies cannot be read or created.
    pub(crate) fn open(state_dir: Option<&Path>, resolver: Arc<dyn Resolver>) -> io::Result<Self> {
        let file = state_dir.map(StateFile::new);
        let own_key = match &file {
            Some(file) => file.key()?,
            None => random_key()?,
        };
        let saved = file.as_ref().map(StateFile::read).unwrap_or_default();
        let state = State { saved, ..State::default() };
        let (reports, counters) = (Reports::new(Arc::clone(&resolver)), Arc::default());
        let is_saved = AtomicBool::new(true);
        Ok(Self { file, own_key, reports, counters, resolver, is_saved, state: Mutex::new(state) })
    }

    /// Applies a plan. Weights set by operators and canaries continue where the file's own weights are unchanged.
    ///
    /// # Errors
    /// If the thread that sends copies cannot be started.
    pub(crate) fn adopt(&self, plan: &Plan) -> io::Result<Adopted> {
        let mut state = self.state.lock();
        let mirrors = state.adopt_mirrors(plan, &self.counters, &self.resolver)?;
        let mut before = std::mem::take(&mut state.split_weights);
        let mut splits = Vec::with_capacity(plan.routes.len());
        for (route, mirror) in plan.routes.iter().zip(&mirrors) {
            let Action::Split(split) = &route.action else {
                splits.push(None);
                continue;
            };
            let old = before.iter().position(|old| old.route() == &*route.name).map(|index| before.swap_remove(index));
            let saved = state.saved.routes.get(&*route.name);
            let split_weights = match old {
                Some(old) => old.adopt(split, mirror.clone()),
                None => SplitWeights::new((&route.name, split), mirror.clone(), saved),
            };
            splits.push(Some(Arc::new(Split::new(split, Arc::clone(split_weights.live()), &self.own_key))));
            state.split_weights.push(split_weights);
        }
        self.report(&mut state);
        self.save(&mut state);
        Ok(Adopted { splits, mirrors })
    }

    /// Whether changes at run time survive a restart: there is a state directory, and the last save succeeded.
    #[must_use]
    pub(crate) fn is_persistent(&self) -> bool {
        self.file.is_some() && self.is_saved()
    }

    /// Whether the last save succeeded; also true without a state directory.
    #[must_use]
    pub(crate) fn is_saved(&self) -> bool {
        self.is_saved.load(Ordering::Relaxed)
    }

    /// The counters of the mirror worker.
    #[must_use]
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The queue of webhook reports.
    #[must_use]
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Maps each split.
    pub(crate) fn each_split<R>(&self, view: impl FnMut(&SplitWeights) -> R) -> Vec<R> {
        self.state.lock().split_weights.iter().map(view).collect()
    }

    /// Changes a route's split with `change`, persists the result as far as possible, and calls `view` with it. `None`:
    /// the route has no split.
    pub(crate) fn change_split<R, E>(
        &self,
        route: &str,
        change: impl FnOnce(&mut SplitWeights) -> Result<(), E>,
        view: impl FnOnce(&SplitWeights) -> R,
    ) -> Option<Result<R, E>> {
        let mut state = self.state.lock();
        let index = state.split_weights.iter().position(|split_weights| split_weights.route() == route)?;
        let changed = change(state.split_weights.get_mut(index)?);
        self.report(&mut state);
        self.save(&mut state);
        changed.map(|()| state.split_weights.get(index).map(view)).transpose()
    }

    /// All mirrors.
    #[must_use]
    pub(crate) fn mirrors(&self) -> Vec<Arc<Mirror>> {
        self.state.lock().mirrors.clone()
    }

    /// Whether there is a canary to evaluate.
    #[must_use]
    pub(crate) fn has_canaries(&self) -> bool {
        // If the lock is taken, assume that there is one: its holder evaluates or changes the splits.
        self.state
            .try_lock()
            .is_none_or(|state| state.split_weights.iter().any(|split_weights| split_weights.canary().is_some()))
    }

    /// Evaluates every canary; call it a few times a second.
    pub(crate) fn tick(&self, now: policy::time::Now, saves: bool) {
        let mut state = self.state.lock();
        let mut has_changed = false;
        for split_weights in &mut state.split_weights {
            has_changed |= split_weights.tick(now);
        }
        if has_changed {
            self.report(&mut state);
        }
        if has_changed || saves {
            self.save(&mut state);
        }
    }

    /// Stops the mirror worker; copies in flight are cancelled.
    pub(crate) fn close(&self) {
        let mirror_worker = self.state.lock().mirror_worker.take();
        drop(mirror_worker);
    }

    /// Queues reports of the changes since the last call.
    fn report(&self, state: &mut State) {
        for split_weights in &mut state.split_weights {
            for change in split_weights.take_changes() {
                self.reports.queue(split_weights.route(), split_weights.webhook(), &change);
            }
        }
    }

    fn save(&self, state: &mut State) {
        let Some(file) = &self.file else { return };
        let before = state.saved.clone();
        for split_weights in &state.split_weights {
            match split_weights.saved() {
                Some(saved) => drop(state.saved.routes.insert(split_weights.route().to_owned(), saved)),
                None => drop(state.saved.routes.remove(split_weights.route())),
            }
        }
        if state.saved.routes.len() > ROUTES_MAX {
            let State { saved, split_weights, .. } = &mut *state;
            saved.routes.retain(|route, _| split_weights.iter().any(|split_weights| split_weights.route() == route));
        }
        let written = if state.saved == before { Ok(()) } else { file.write(&state.saved) };
        let was_saved = self.is_saved.swap(written.is_ok(), Ordering::Relaxed);
        match written {
            Ok(()) if was_saved => {}
            Ok(()) => tracing::info!("weights and canaries are saved again"),
            Err(error) => {
                // The save is retried soon, and the failure logged once.
                state.saved = before;
                if was_saved {
                    tracing::error!("weights and canaries can't be saved, and would be lost at a restart: {error}");
                }
            }
        }
    }
}

impl State {
    /// The mirrors of a plan. An unchanged one continues.
    fn adopt_mirrors(
        &mut self,
        plan: &Plan,
        counters: &Arc<Counters>,
        resolver: &Arc<dyn Resolver>,
    ) -> io::Result<Vec<Option<Arc<Mirror>>>> {
        if self.mirror_worker.is_none() && plan.routes.iter().any(|route| route.mirror.is_some()) {
            self.mirror_worker = Some(MirrorWorker::start(counters)?);
        }
        let before = std::mem::take(&mut self.mirrors);
        let mut mirrors = Vec::with_capacity(plan.routes.len());
        for route in &plan.routes {
            let written = route.mirror.as_ref();
            let queue = self.mirror_worker.as_ref().and_then(MirrorWorker::queue);
            let group = |upstream: usize| plan.upstreams.get(upstream).map(|plan| Mirror::group(plan, resolver));
            let made = written.zip(queue).and_then(|(written, queue)| Mirror::new(&route.name, written, group, queue));
            let known = made.as_ref().and_then(|made| before.iter().find(|old| old.is_like(made)).map(Arc::clone));
            let mirror = known.or_else(|| made.map(Arc::new));
            self.mirrors.extend(mirror.clone());
            mirrors.push(mirror);
        }
        if let Some(mirror_worker) = &self.mirror_worker {
            mirror_worker.adopt(&self.mirrors);
        }
        Ok(mirrors)
    }
}
