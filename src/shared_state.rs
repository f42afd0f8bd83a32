//! The composition root: makes a plan live, and keeps what was learnt when the next one comes.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::cache::Store;
use crate::cache::purge::start_sweeping;
use crate::config::plan::{self, Plan};
use crate::proxy::worker_state::Snapshot;
use crate::rollout::state::StateFile;
use crate::rollout::{Adopted, Rollout};
use crate::telemetry::notice::Notice;
use crate::telemetry::{clock, random};
use crate::upstream::probe::Watch;
use crate::upstream::resolver::Resolver;
use crate::upstream::shared::SharedUpstream;
use crate::write_queue::WriteQueue;
use crate::write_queue::segments::OpenError;

/// Why a world can't begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The journal can't be opened.
    #[error("the journal can't be opened: {0}")]
    Journal(#[from] OpenError),
    /// What must survive a restart can't be kept.
    #[error("server.state_dir can't be used: {0}")]
    State(#[source] io::Error),
}

/// What outlives a plan. Kept by the control thread.
#[derive(Debug)]
pub(crate) struct SharedState {
    number: u64,
    store: Arc<Store>,
    /// What is written and not at its backend yet.
    desk: Option<Arc<WriteQueue>>,
    rollout: Arc<Rollout>,
    resolver: Arc<dyn Resolver>,
    /// The name that `Via` is signed with unless the file gives one.
    via_name: Arc<str>,
    upstreams: HashMap<Arc<str>, Kept>,
}

#[derive(Debug)]
struct Kept {
    group: Arc<SharedUpstream>,
    /// Checks and name look-ups, for as long as the group is the present one.
    _watch: Watch,
}

impl SharedState {
    /// A world in which nothing has been learnt yet, made for this plan; names are looked up by this resolver. To be
    /// called on the control thread, where the store is swept.
    ///
    /// # Errors
    /// When the journal can't be opened, or what moves traffic can't be kept.
    pub(crate) fn new(plan: &Plan, resolver: Arc<dyn Resolver>) -> Result<Self, BeginError> {
        let state_dir = plan.server.state_dir.as_deref();
        let desk = state_dir.map(WriteQueue::open).transpose()?;
        // After the journal: whoever holds that has the directory to itself.
        let rollout = Arc::new(Rollout::open(state_dir, Arc::clone(&resolver)).map_err(BeginError::State)?);
        let store = new_store(&plan.cache);
        let make = || format!("forebay-{:08x}", random::roll() >> 32);
        let via_name = match state_dir {
            Some(directory) => StateFile::new(directory).via_name(make).map_err(BeginError::State)?,
            None => make(),
        };
        Ok(Self { number: 0, store, desk, rollout, via_name: via_name.into(), resolver, upstreams: HashMap::new() })
    }

    /// What moves traffic.
    #[must_use]
    pub(crate) fn rollout(&self) -> &Arc<Rollout> {
        &self.rollout
    }

    /// What is written and not at its backend yet, if there is a journal.
    #[must_use]
    pub(crate) fn desk(&self) -> Option<&Arc<WriteQueue>> {
        self.desk.as_ref()
    }

    /// Makes a plan live: upstreams that have not changed stay as they are, of others what was learnt of their
    /// backends is kept by name. To be called on the control thread, where the checks run.
    ///
    /// # Errors
    /// When the system has no thread for what it needs; then nothing has changed.
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
        for upstream in &plan.upstreams {
            let kept = match before.remove(&upstream.name) {
                Some(kept) if kept.group.plan == *upstream && kept.group.has_present_files() => kept,
                other => {
                    let old = other.as_ref().map(|kept| &*kept.group);
                    let resolver = Arc::clone(&self.resolver);
                    let group = Arc::new(SharedUpstream::new(upstream.clone(), old, resolver, clock::now()));
                    let watch = Watch::start(&group);
                    Kept { group, _watch: watch }
                }
            };
            groups.push(Arc::clone(&kept.group));
            self.upstreams.insert(upstream.name.clone(), kept);
        }
        if let Some(desk) = &self.desk {
            desk.adopt(&plan, &self.store);
        }
        let (store, desk) = (Arc::clone(&self.store), self.desk.clone());
        let loop_notice = Notice::default();
        let via_name = plan.server.via_name.clone().unwrap_or_else(|| Arc::clone(&self.via_name));
        Ok(Arc::new(Snapshot {
            number: self.number,
            plan,
            groups,
            splits,
            mirrors,
            store,
            desk,
            via_name,
            loop_notice,
        }))
    }
}

/// An empty store, and the sweep that gives back the memory of what is invalidated in it.
fn new_store(plan: &plan::Cache) -> Arc<Store> {
    let store = Arc::new(Store::new(plan));
    start_sweeping(&store);
    store
}
