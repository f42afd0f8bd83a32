//! A split as all workers share it: the shares that hold now, and what has been seen of each side.

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
    /// What the file says.
    pub plan: Arc<plan::Split>,
    /// What outlives the plan.
    pub live: Arc<Live>,
    /// Makes a client's key its key here.
    pub salt: Salt,
    /// Its sides in the order of their names.
    pub order: Order,
    /// Signs the cookies of a split that has its own.
    pub signer: Option<Signer>,
}

impl Split {
    /// The split of a plan; `own_key` signs cookies where the file names no secret.
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

/// The shares of a split, as one worker looks at them.
#[derive(Debug)]
pub(crate) struct Watched(Cache<Arc<ArcSwap<Shares>>, Arc<Shares>>);

impl Watched {
    /// The shares that hold now.
    pub(crate) fn shares(&mut self) -> &Shares {
        self.0.load()
    }
}

/// What of a split outlives plans.
#[derive(Debug)]
pub(crate) struct Live {
    sides: usize,
    shares: Arc<ArcSwap<Shares>>,
    /// Those of each worker, one a side.
    tallies: Mutex<Vec<Box<[Arc<TargetStats>]>>>,
}

impl Live {
    /// A split of which nothing has been seen yet.
    #[must_use]
    pub(crate) fn new(sides: usize, shares: Shares) -> Self {
        Self { sides, shares: Arc::new(ArcSwap::from_pointee(shares)), tallies: Mutex::default() }
    }

    /// The shares that hold now.
    #[must_use]
    pub(crate) fn shares(&self) -> Guard<Arc<Shares>> {
        self.shares.load()
    }

    /// The shares that hold whenever they are looked at, for one worker: that is quicker than [`Live::shares`].
    #[must_use]
    pub(crate) fn watch(&self) -> Watched {
        Watched(Cache::new(Arc::clone(&self.shares)))
    }

    /// From the next request on these shares hold.
    pub(crate) fn set(&self, shares: Shares) {
        if **self.shares.load() != shares {
            self.shares.store(Arc::new(shares));
        }
    }

    /// Another worker's tallies, one for each side.
    #[must_use]
    pub(crate) fn enroll(&self) -> Box<[Arc<TargetStats>]> {
        let tallies: Box<[Arc<TargetStats>]> = (0..self.sides).map(|_| Arc::default()).collect();
        self.tallies.lock().push(tallies.clone());
        tallies
    }

    /// What all workers have seen of a side.
    #[must_use]
    pub(crate) fn seen(&self, side: usize) -> Side {
        let mut seen = Side::default();
        self.add_seen(side, &mut seen);
        seen
    }

    /// Adds what all workers have seen of a side.
    pub(crate) fn add_seen(&self, side: usize, to: &mut Side) {
        self.tallies.lock().iter().filter_map(|tallies| tallies.get(side)).for_each(|tally| tally.add_to(to));
    }
}
