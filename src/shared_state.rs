//! The state that all workers share and that survives a reload: cache, journal, upstreams, splits and mirrors.
//!
//! [`SharedState::adopt`] builds a [`Snapshot`] of it for each new Plan.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::acme::Published;
use crate::cache::Store;
use crate::cache::purge::start_sweeping;
use crate::config::plan::{self, Plan};
use crate::proxy::worker_state::Snapshot;
use crate::rollout::state::StateFile;
use crate::rollout::{Adopted, Rollout};
use crate::telemetry::notice::Notice;
use crate::telemetry::route_stats::RouteTraffic;
use crate::telemetry::{clock, random};
use crate::upstream::probe::Watch;
use crate::upstream::resolver::Resolver;
use crate::upstream::shared::SharedUpstream;
use crate::write_queue::WriteQueue;
use crate::write_queue::segments::OpenError;

/// Why the shared state can't be created.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The journal can't be opened.
    #[error("the journal can't be opened: {0}")]
    Journal(#[from] OpenError),
    /// A file in `server.state_dir` can't be read or written.
    #[error("server.state_dir can't be used: {0}")]
    State(#[source] io::Error),
}

/// The state that survives a reload. The control thread owns it.
#[derive(Debug)]
pub(crate) struct SharedState {
    /// The number of the last snapshot.
    number: u64,
    store: Arc<Store>,
    /// `None` without `server.state_dir`.
    write_queue: Option<Arc<WriteQueue>>,
    rollout: Arc<Rollout>,
    resolver: Arc<dyn Resolver>,
    /// The pseudonym in `Via`, unless the file has `server.via_name`.
    via_name: Arc<str>,
    /// The answers to challenges of ACME authorities.
    published: Arc<Published>,
    /// The upstreams of the Plan in force, by name.
    upstreams: HashMap<Arc<str>, LiveUpstream>,
    /// What the requests of each route came to, by the route's name.
    traffic: HashMap<Arc<str>, Arc<RouteTraffic>>,
}

#[derive(Debug)]
struct LiveUpstream {
    shared: Arc<SharedUpstream>,
    /// The active checks and name look-ups of this upstream. Dropping it stops them.
    _watch: Watch,
}

impl SharedState {
    /// Creates the state for a process that starts with this Plan, and reads the journal. Must be called on the control
    /// thread, whose runtime sweeps the cache.
    ///
    /// # Errors
    /// When the journal can't be opened, or a file in `server.state_dir` can't be read or written.
    pub(crate) fn new(plan: &Plan, resolver: Arc<dyn Resolver>, published: Arc<Published>) -> Result<Self, BeginError> {
        let state_dir = plan.server.state_dir.as_deref();
        let write_queue = state_dir.map(WriteQueue::open).transpose()?;
        // After the journal, whose lock keeps other processes out of the directory.
        let rollout = Arc::new(Rollout::open(state_dir, Arc::clone(&resolver)).map_err(BeginError::State)?);
        let store = new_store(&plan.cache);
        let random_name = || format!("forebay-{:08x}", random::roll() >> 32);
        let via_name = match state_dir {
            Some(directory) => StateFile::new(directory).via_name(random_name).map_err(BeginError::State)?,
            None => random_name(),
        };
        let via_name = via_name.into();
        let (upstreams, traffic) = (HashMap::new(), HashMap::new());
        Ok(Self { number: 0, store, write_queue, rollout, via_name, resolver, published, upstreams, traffic })
    }

    /// Splits, canaries and mirrors.
    #[must_use]
    pub(crate) fn rollout(&self) -> &Arc<Rollout> {
        &self.rollout
    }

    /// The queue of writes that are not at their backend yet; `None` without `server.state_dir`.
    #[must_use]
    pub(crate) fn write_queue(&self) -> Option<&Arc<WriteQueue>> {
        self.write_queue.as_ref()
    }

    /// Puts a Plan in force and returns its snapshot. An upstream that has not changed keeps its state. A changed one
    /// is created anew, and takes over the health of backends with the same name. Must be called on the control
    /// thread, whose runtime runs the active checks.
    ///
    /// # Errors
    /// When a thread can't be started; then nothing has changed.
    pub(crate) fn adopt(&mut self, plan: Plan) -> io::Result<Arc<Snapshot>> {
        let Adopted { splits, mirrors } = self.rollout.adopt(&plan)?;
        self.number += 1;
        if self.store.fits(&plan.cache) {
            self.store.adopt(&plan.cache);
        } else {
            tracing::info!("the cache is emptied, because its limits have changed");
            self.store = new_store(&plan.cache);
        }
        let mut before = std::mem::take(&mut self.upstreams);
        let mut groups = Vec::with_capacity(plan.upstreams.len());
        for planned in &plan.upstreams {
            let upstream = match before.remove(&planned.name) {
                Some(same) if same.shared.plan == *planned && same.shared.has_present_files() => same,
                changed => {
                    let old = changed.as_ref().map(|old| &*old.shared);
                    let resolver = Arc::clone(&self.resolver);
                    let shared = Arc::new(SharedUpstream::new(planned.clone(), old, resolver, clock::now()));
                    let watch = Watch::start(&shared);
                    LiveUpstream { shared, _watch: watch }
                }
            };
            groups.push(Arc::clone(&upstream.shared));
            self.upstreams.insert(planned.name.clone(), upstream);
        }
        if let Some(write_queue) = &self.write_queue {
            write_queue.adopt(&plan, &self.store);
        }
        let mut known = std::mem::take(&mut self.traffic);
        let traffic: Vec<_> = plan.routes.iter().map(|route| known.remove(&route.name).unwrap_or_default()).collect();
        let names = plan.routes.iter().map(|route| Arc::clone(&route.name));
        self.traffic = names.zip(traffic.iter().map(Arc::clone)).collect();
        let (store, desk) = (Arc::clone(&self.store), self.write_queue.clone());
        let loop_notice = Notice::default();
        let via_name = plan.server.via_name.clone().unwrap_or_else(|| Arc::clone(&self.via_name));
        Ok(Arc::new(Snapshot {
            number: self.number,
            plan,
            groups,
            splits,
            traffic,
            mirrors,
            store,
            desk,
            via_name,
            loop_notice,
            published: Arc::clone(&self.published),
        }))
    }
}

/// Creates an empty store and starts the task that frees the memory of its invalidated entries.
fn new_store(plan: &plan::Cache) -> Arc<Store> {
    let store = Arc::new(Store::new(plan));
    start_sweeping(&store);
    store
}
