//! The composition root: makes a plan live, and keeps what was learnt when the next one comes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::plan::Plan;
use crate::flow::site::Generation;
use crate::store::Store;
use crate::upstream::group::Group;
use crate::upstream::probe::Watch;
use crate::writeback::Desk;
use crate::writeback::segments::OpenError;

/// What outlives a plan. Kept by the control thread.
#[derive(Debug)]
pub struct World {
    number: u64,
    store: Arc<Store>,
    /// What is written and not at its backend yet.
    desk: Option<Arc<Desk>>,
    upstreams: HashMap<Arc<str>, Kept>,
}

#[derive(Debug)]
struct Kept {
    group: Arc<Group>,
    /// Checks and name look-ups, for as long as the group is the present one.
    _watch: Watch,
}

impl World {
    /// A world in which nothing has been learnt yet, made for this plan.
    ///
    /// # Errors
    /// When the journal can't be opened.
    pub fn new(plan: &Plan) -> Result<Self, OpenError> {
        let desk = plan.server.state_dir.as_deref().map(Desk::open).transpose()?;
        Ok(Self { number: 0, store: Arc::new(Store::new(&plan.cache)), desk, upstreams: HashMap::new() })
    }

    /// What is written and not at its backend yet, if there is a journal.
    #[must_use]
    pub fn desk(&self) -> Option<&Arc<Desk>> {
        self.desk.as_ref()
    }

    /// Makes a plan live: upstreams that have not changed stay as they are, of others what was learnt of their
    /// backends is kept by name. To be called on the control thread, where the checks run.
    #[must_use]
    pub fn adopt(&mut self, plan: Plan) -> Arc<Generation> {
        self.number += 1;
        if self.store.fits(&plan.cache) {
            self.store.adopt(&plan.cache);
        } else {
            tracing::info!("the cache begins anew, as its sizes have changed");
            self.store = Arc::new(Store::new(&plan.cache));
        }
        let mut before = std::mem::take(&mut self.upstreams);
        let mut groups = Vec::with_capacity(plan.upstreams.len());
        for upstream in &plan.upstreams {
            let kept = match before.remove(&upstream.name) {
                Some(kept) if kept.group.plan == *upstream => kept,
                other => {
                    let group = Arc::new(Group::new(upstream.clone(), other.as_ref().map(|kept| &*kept.group)));
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
        Arc::new(Generation { number: self.number, plan, groups, store, desk })
    }
}
