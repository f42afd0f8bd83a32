//! A split as shared by all workers: the current shares, and the results of each side.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache, Guard};
use parking_lot::Mutex;
use policy::canary::evidence::Side;
use policy::route::split::{Order, Shares};
use policy::route::sticky::{Salt, Signer};

use crate::config::plan::{self, Sticky};
use crate::telemetry::target_stats::TargetStats;

/// A split under one plan.
#[derive(Debug)]
pub(crate) struct Split {
    /// Its configuration.
    pub plan: Arc<plan::Split>,
    /// The state that survives a reload.
    pub live: Arc<Live>,
    /// The salt of this split's client keys.
    pub salt: Salt,
    /// Its sides in the order of their names.
    pub order: Order,
    /// Signs the split's cookies, if it sets its own.
    pub signer: Option<Signer>,
}

impl Split {
    /// A split with a configuration; `own_key` signs cookies if the file has no secret.
    #[must_use]
    pub(crate) fn new(plan: &Arc<plan::Split>, live: Arc<Live>, own_key: &[u8]) -> Self {
        let signer = match &plan.sticky {
            Sticky::Cookie(cookie) => {
                Some(Signer::new(cookie.secret.as_ref().map_or(own_key, |secret| secret.reveal().as_bytes())))
            }
            Sticky::None | Sticky::ClientIp | Sticky::Header(_) | Sticky::TheirCookie(_) => None,
        };
        let names = || plan.sides.iter().map(|side| &*side.name);
        let (salt, order) = (Salt::of(names()), Order::of(names()));
        Self { plan: Arc::clone(plan), live, salt, order, signer }
    }
}

/// One worker's cached view of a split's shares.
#[derive(Debug)]
pub(crate) struct Watched(Cache<Arc<ArcSwap<Shares>>, Arc<Shares>>);

impl Watched {
    /// The current shares.
    pub(crate) fn shares(&mut self) -> &Shares {
        self.0.load()
    }
}

/// The state of a split that survives a reload.
#[derive(Debug)]
pub(crate) struct Live {
    sides: usize,
    shares: Arc<ArcSwap<Shares>>,
    /// The statistics of each worker, one for each side.
    tallies: Mutex<Vec<Box<[Arc<TargetStats>]>>>,
}

impl Live {
    /// The state of a new split.
    #[must_use]
    pub(crate) fn new(sides: usize, shares: Shares) -> Self {
        Self { sides, shares: Arc::new(ArcSwap::from_pointee(shares)), tallies: Mutex::default() }
    }

    /// The current shares.
    #[must_use]
    pub(crate) fn shares(&self) -> Guard<Arc<Shares>> {
        self.shares.load()
    }

    /// A cached view of the shares for one worker, faster than [`Live::shares`].
    #[must_use]
    pub(crate) fn watch(&self) -> Watched {
        Watched(Cache::new(Arc::clone(&self.shares)))
    }

    /// Sets the shares for following requests.
    pub(crate) fn set(&self, shares: Shares) {
        if **self.shares.load() != shares {
            self.shares.store(Arc::new(shares));
        }
    }

    /// Registers a worker; returns its statistics, one for each side.
    #[must_use]
    pub(crate) fn enroll(&self) -> Box<[Arc<TargetStats>]> {
        let tallies: Box<[Arc<TargetStats>]> = (0..self.sides).map(|_| Arc::default()).collect();
        self.tallies.lock().push(tallies.clone());
        tallies
    }

    /// The results of a side, of all workers.
    #[must_use]
    pub(crate) fn seen(&self, side: usize) -> Side {
        let mut seen = Side::default();
        self.add_seen(side, &mut seen);
        seen
    }

    /// Adds the results of a side, of all workers, to `to`.
    pub(crate) fn add_seen(&self, side: usize, to: &mut Side) {
        self.tallies.lock().iter().filter_map(|tallies| tallies.get(side)).for_each(|tally| tally.add_to(to));
    }
}
