//! One upstream, as one worker has it: its balancer, its connections, its retry budget.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use policy::balance::peak_ewma::Ewma;
use policy::balance::{
    Balancer, Consistent, IpHash, LeastConnections, PeakEwma, Random, RoundRobin, TwoChoices, Weighted,
};
use policy::retry::budget::Budget;

use super::backend::Backend;
use super::group::Group;
use super::pool::Pool;
use crate::config::plan::{Balance, Upstream};
use crate::observe::counters::Counters;
use crate::observe::dice;

/// One upstream, as one worker has it.
pub struct LocalGroup {
    /// What all workers share.
    pub shared: Arc<Group>,
    /// The upstream's name.
    pub name: Rc<str>,
    /// The backends, in file order.
    pub backends: Vec<Rc<LocalBackend>>,
    /// Chooses among them.
    pub balancer: RefCell<Balancer>,
    /// How many retries are left.
    pub budget: RefCell<Budget>,
    /// What this worker has counted.
    pub counters: Arc<Counters>,
}

/// One backend, as one worker has it.
pub struct LocalBackend {
    /// What all workers share.
    pub shared: Arc<Backend>,
    /// Its name.
    pub name: Rc<str>,
    /// Connections that wait for a request.
    pub pool: Pool,
    /// How fast it answered lately.
    pub latency: RefCell<Ewma>,
}

impl LocalGroup {
    /// This worker's part of a group; connections to backends that the part before had too are kept.
    #[must_use]
    pub fn new(shared: Arc<Group>, before: Option<&Self>, counters: &Arc<Counters>, workers: usize) -> Self {
        // By address in memory: a search for each of thousands of backends would hold the worker up.
        let known: HashMap<*const Backend, &Rc<LocalBackend>> =
            before.iter().flat_map(|group| &group.backends).map(|known| (Arc::as_ptr(&known.shared), known)).collect();
        let backends = shared
            .backends
            .iter()
            .map(|backend| {
                known.get(&Arc::as_ptr(backend)).copied().map_or_else(
                    || {
                        Rc::new(LocalBackend {
                            shared: Arc::clone(backend),
                            name: Rc::from(&*backend.name),
                            pool: Pool::default(),
                            latency: RefCell::default(),
                        })
                    },
                    Rc::clone,
                )
            })
            .collect();
        let retry = &shared.plan.retry;
        let floor = f64::from(retry.budget_floor) / f64::from(u32::try_from(workers).unwrap_or(u32::MAX)).max(1.0);
        Self {
            name: Rc::from(&*shared.plan.name),
            backends,
            balancer: RefCell::new(balancer(&shared.plan)),
            budget: RefCell::new(Budget::new(retry.budget_percent, floor)),
            counters: Arc::clone(counters),
            shared,
        }
    }

    /// A plan without this upstream holds from now on, or one with the backends in `next`: to the others no request
    /// goes any more, save those under way.
    pub fn leave(&self, next: Option<&Self>) {
        let kept: HashSet<*const LocalBackend> = next.iter().flat_map(|next| &next.backends).map(Rc::as_ptr).collect();
        for backend in self.backends.iter().filter(|backend| !kept.contains(&Rc::as_ptr(backend))) {
            backend.pool.close();
        }
    }

    /// Drops connections that have been idle too long.
    pub fn tidy(&self, now: std::time::Duration) {
        for backend in &self.backends {
            backend.pool.tidy(now, self.shared.plan.timeouts.pool_idle);
        }
    }
}

impl std::fmt::Debug for LocalGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalGroup").field("name", &self.name).finish_non_exhaustive()
    }
}

fn balancer(plan: &Upstream) -> Balancer {
    let weights: Vec<u32> = plan.backends.iter().map(|backend| backend.weight).collect();
    let names: Vec<&str> = plan.backends.iter().map(|backend| &*backend.name).collect();
    match plan.balance {
        // Each worker begins elsewhere, so that they don't all meet at the first backend.
        Balance::RoundRobin => Balancer::RoundRobin(RoundRobin::new(dice::below(names.len()))),
        Balance::Weighted => Balancer::Weighted(Weighted::new(&weights)),
        Balance::LeastConnections => Balancer::LeastConnections(LeastConnections::new(&weights)),
        Balance::IpHash => Balancer::IpHash(IpHash::new(&names)),
        Balance::Random => Balancer::Random(Random::new(&weights)),
        Balance::TwoChoices => Balancer::TwoChoices(TwoChoices),
        Balance::PeakEwma => Balancer::PeakEwma(PeakEwma),
        Balance::Hash(_) => Balancer::Consistent(Consistent::new(&names, &weights)),
    }
}
