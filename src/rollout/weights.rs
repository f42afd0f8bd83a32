//! One route's split, as it is steered: by the file, by a person, by its canary.
//!
//! A person's word holds until another is given, or the canary is told to go on; the canary's holds against the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::canary::evidence::{Evidence, Side};
use policy::canary::machine::{Canary, CanaryCommand, NotAllowed};
use policy::canary::progress::{Change, Progress};
use policy::route::split::{Share, Shares};
use policy::time::Now;

use super::mirror::Mirror;
use super::split::Live;
use super::state::{KeptCanary, KeptRoute, KeptShares};
use crate::config::plan::{self, Webhook};
use crate::telemetry::clock;

/// One route's split, as it is steered.
#[derive(Debug)]
pub(crate) struct SplitWeights {
    route: Arc<str>,
    plan: Arc<plan::Split>,
    live: Arc<Live>,
    mirror: Option<Arc<Mirror>>,
    /// What the mirrors before this one have compared, and what of it differed.
    compared_before: (u64, u64),
    overridden: Option<Overridden>,
    canary: Option<Canary>,
    /// Changes of the canary that nobody has been told of.
    changes: Vec<Change>,
}

/// Weights that a person has set, or a canary that the file does not name any more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Overridden {
    /// The weights.
    pub shares: Shares,
    /// Who has set them.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Who sets weights where nobody does.
pub(crate) const CANARY: &str = "canary";

impl SplitWeights {
    /// A split that a plan names for the first time since the process began. `kept`: what is known of it from before.
    #[must_use]
    pub(crate) fn new(
        (route, plan): (&Arc<str>, &Arc<plan::Split>),
        mirror: Option<Arc<Mirror>>,
        kept: Option<&KeptRoute>,
    ) -> Self {
        let live = Arc::new(Live::new(plan.sides.len(), plan.shares.clone()));
        let mut steering = Self {
            route: Arc::clone(route),
            plan: Arc::clone(plan),
            live,
            mirror,
            compared_before: (0, 0),
            overridden: None,
            canary: None,
            changes: Vec::new(),
        };
        let kept = kept.filter(|kept| kept.file == written(plan));
        let set = |kept| overridden(plan, kept).or_else(|| left_behind(plan, kept));
        steering.overridden = kept.and_then(set);
        let now = clock::now();
        if let Some(canary) = &plan.canary {
            let name = plan.sides.get(canary.side).map(|side| &*side.name);
            let known = kept.and_then(|kept| kept.canary.as_ref()).filter(|kept| Some(&*kept.side) == name);
            let totals = steering.totals();
            steering.canary = Some(match known {
                Some(known) => Canary::resume(canary.rules.clone(), known.progress.clone(), now, totals),
                None => Canary::begin(canary.rules.clone(), now, totals),
            });
            if known.is_none() {
                steering.overridden = None;
                steering.has_begun();
            }
        }
        steering.set();
        steering
    }

    /// Takes up another plan of the same route. Where the file gives its sides other weights it has the last word, and
    /// all begins anew; which command it names them in does not matter.
    #[must_use]
    pub(crate) fn adopt(mut self, plan: &Arc<plan::Split>, mirror: Option<Arc<Mirror>>) -> Self {
        let is_as_before = written(plan) == written(&self.plan);
        let kept = self.kept();
        let names = |plan: &plan::Split| plan.sides.iter().map(|side| Arc::clone(&side.name)).collect::<Vec<_>>();
        if !is_as_before || names(plan) != names(&self.plan) {
            // Counts are kept by place. Where sides have others they begin anew, and so does a canary's evidence.
            let kept = kept.as_ref().filter(|_| is_as_before);
            let route = Arc::clone(&self.route);
            return Self::new((&route, plan), mirror, kept);
        }
        self.change_mirror(mirror);
        let now = clock::now();
        let was = self.plan.canary.as_ref().map(|canary| canary.side);
        self.plan = Arc::clone(plan);
        // By what is the canary now: else what its side has answered before would count for it, or for the others.
        let totals = self.totals();
        match (&plan.canary, self.canary.take()) {
            (Some(canary), Some(mut machine)) if was == Some(canary.side) => {
                machine.adopt(canary.rules.clone(), now, &totals);
                self.canary = Some(machine);
            }
            (Some(canary), _) => {
                self.canary = Some(Canary::begin(canary.rules.clone(), now, self.totals()));
                self.overridden = None;
                self.has_begun();
            }
            (None, Some(_)) => {
                let shares = (**self.live.shares()).clone();
                let by = || Overridden { shares, by: CANARY.to_owned(), at_ms: millis(now) };
                self.overridden = self.overridden.take().or_else(|| Some(by()));
            }
            (None, None) => {}
        }
        self.set();
        self
    }

    /// Another mirror counts from nothing; what is told of here goes on, or what it finds would be taken for known.
    fn change_mirror(&mut self, mirror: Option<Arc<Mirror>>) {
        let is_same = self.mirror.as_ref().zip(mirror.as_ref()).is_some_and(|(old, new)| Arc::ptr_eq(old, new));
        if !is_same {
            self.compared_before = self.compared();
        }
        self.mirror = mirror;
    }

    fn compared(&self) -> (u64, u64) {
        let (compared, mismatched) = self.mirror.as_ref().and_then(|mirror| mirror.compared()).unwrap_or_default();
        (self.compared_before.0 + compared, self.compared_before.1 + mismatched)
    }

    /// Gives sides other weights, in percent, by name; the others share the rest in proportion.
    ///
    /// # Errors
    /// With a text for people.
    pub(crate) fn weigh<'a>(&mut self, weights: impl Iterator<Item = (&'a str, f64)>, by: &str) -> Result<(), String> {
        let mut given: Vec<Option<Share>> = vec![None; self.plan.sides.len()];
        for (name, percent) in weights {
            let index = self.plan.sides.iter().position(|side| *side.name == *name);
            let place = index.and_then(|index| given.get_mut(index)).ok_or_else(|| self.no_side(name))?;
            let share = Share::from_percent(percent)
                .ok_or_else(|| format!("{percent} is no weight: percent from 0 to 100, at most three decimals"))?;
            *place = Some(share);
        }
        if given.iter().all(Option::is_none) {
            return Err("weights names no side; say which has how much, in percent".to_owned());
        }
        let shares = self
            .proportions(&given)
            .with_given(|side| given.get(side).copied().flatten())
            .map_err(|error| error.to_string())?;
        self.override_with(shares, by);
        Ok(())
    }

    /// The shares that say in which proportion sides share what is not given: the present ones, or the file's where
    /// those that are not given have nothing now.
    fn proportions(&self, given: &[Option<Share>]) -> Shares {
        let present = self.live.shares();
        let mut others = present.all().iter().zip(given).filter(|(_, given)| given.is_none());
        let have_some = others.any(|(share, _)| *share > Share::NONE);
        if have_some { (**present).clone() } else { self.plan.shares.clone() }
    }

    fn no_side(&self, name: &str) -> String {
        let names: Vec<&str> = self.plan.sides.iter().map(|side| &*side.name).collect();
        format!("{name} is no side of this split; there are {}", names.join(", "))
    }

    /// Gives the sides the file's weights again.
    pub(crate) fn reset(&mut self, by: &str) {
        // A canary that is there would have its own way again at once.
        match self.canary {
            Some(_) => self.override_with(self.plan.shares.clone(), by),
            None => {
                self.overridden = None;
                self.set();
                tracing::info!(route = %self.route, by, "the weights are the file's again");
            }
        }
    }

    fn override_with(&mut self, shares: Shares, by: &str) {
        let now = clock::now();
        let share = self.plan.canary.as_ref().map(|canary| shares.of(canary.side)).unwrap_or_default();
        let change = self.canary.as_mut().and_then(|canary| canary.weights_were_set(share, by, now));
        self.changes.extend(change);
        self.overridden = Some(Overridden { shares, by: by.to_owned(), at_ms: millis(now) });
        self.set();
        tracing::info!(route = %self.route, by, "weights are set: {}", self.weights());
    }

    /// The weights that hold now: `users-v2 35, legacy 65`.
    fn weights(&self) -> String {
        let shares = self.live.shares();
        let weight = |(side, share): (&plan::Side, &Share)| format!("{} {share}", side.name);
        let weights: Vec<String> = self.plan.sides.iter().zip(shares.all()).map(weight).collect();
        weights.join(", ")
    }

    /// Has the canary do something; `None`: there is no canary.
    ///
    /// # Errors
    /// When it can't do that now.
    pub(crate) fn command(&mut self, command: CanaryCommand, by: &str) -> Option<Result<(), NotAllowed>> {
        let totals = self.totals();
        let directed = self.canary.as_mut()?.command(command, by, clock::now(), &totals);
        Some(directed.map(|change| {
            if command != CanaryCommand::Pause {
                self.overridden = None;
            }
            tracing::info!(route = %self.route, weight = %change.share, "canary {}: {}", change.event.name(), change.reason);
            self.changes.push(change);
            self.set();
        }))
    }

    /// Lets the canary look at what there is. Says whether something has changed.
    pub(crate) fn tick(&mut self, now: Now) -> bool {
        let totals = self.canary.is_some().then(|| self.totals());
        let Some((canary, totals)) = self.canary.as_mut().zip(totals) else { return false };
        let Some(change) = canary.tick(now, &totals) else { return false };
        let name = self.plan.canary.as_ref().and_then(|plan| self.plan.sides.get(plan.side)).map(|side| &*side.name);
        let (route, side) = (&self.route, name.unwrap_or_default());
        tracing::info!(%route, side, weight = %change.share, "canary {}: {}", change.event.name(), change.reason);
        self.changes.push(change);
        self.overridden = None;
        self.set();
        true
    }

    /// What has been seen since the process began.
    #[must_use]
    pub(crate) fn totals(&self) -> Evidence {
        let of_canary = self.plan.canary.as_ref().map(|canary| canary.side);
        let mut evidence = Evidence::default();
        for side in 0..self.plan.sides.len() {
            let whose = if Some(side) == of_canary { &mut evidence.canary } else { &mut evidence.stable };
            self.live.add_seen(side, whose);
        }
        (evidence.compared, evidence.mismatched) = self.compared();
        evidence
    }

    /// What is to be kept of it; `None`: nothing.
    #[must_use]
    pub(crate) fn kept(&self) -> Option<KeptRoute> {
        let overridden = self.overridden.as_ref().map(|overridden| KeptShares {
            percent: named(&self.plan, &overridden.shares),
            by: overridden.by.clone(),
            at_ms: overridden.at_ms,
        });
        let side = self.plan.canary.as_ref().and_then(|canary| self.plan.sides.get(canary.side));
        let canary = self
            .canary
            .as_ref()
            .zip(side)
            .map(|(canary, side)| KeptCanary { side: side.name.to_string(), progress: worth_keeping(canary) });
        let is_worth_it = overridden.is_some() || canary.is_some();
        is_worth_it.then(|| KeptRoute { file: written(&self.plan), overridden, canary })
    }

    /// The changes that nobody has been told of.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The route.
    #[must_use]
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// What the file says.
    #[must_use]
    pub(crate) fn plan(&self) -> &Arc<plan::Split> {
        &self.plan
    }

    /// The split as the workers share it.
    #[must_use]
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// What a person has set.
    #[must_use]
    pub(crate) fn overridden(&self) -> Option<&Overridden> {
        self.overridden.as_ref()
    }

    /// Its canary.
    #[must_use]
    pub(crate) fn canary(&self) -> Option<&Canary> {
        self.canary.as_ref()
    }

    /// Who is told of changes.
    #[must_use]
    pub(crate) fn webhook(&self) -> Option<&Arc<Webhook>> {
        self.plan.canary.as_ref()?.webhook.as_ref()
    }

    /// What has been seen of one side.
    #[must_use]
    pub(crate) fn seen(&self, side: usize) -> Side {
        self.live.seen(side)
    }

    fn has_begun(&mut self) {
        let first = self.canary.as_ref().and_then(|canary| canary.progress().history.front().cloned());
        self.changes.extend(first);
    }

    /// Has the shares hold that are to hold now.
    fn set(&self) {
        let canary = self.canary.as_ref().zip(self.plan.canary.as_ref());
        let shares = match (&self.overridden, canary) {
            (Some(overridden), _) => Ok(overridden.shares.clone()),
            (None, Some((machine, plan))) => self.plan.shares.with(plan.side, machine.share()),
            (None, None) => Ok(self.plan.shares.clone()),
        };
        self.live.set(shares.unwrap_or_else(|_| self.plan.shares.clone()));
    }
}

/// How far a canary has come. That a step has lasted long enough is all that matters of its length then: a canary that
/// waits for requests for days writes nothing anew.
fn worth_keeping(canary: &Canary) -> Progress {
    let mut progress = canary.progress().clone();
    progress.held = progress.held.min(canary.rules().hold.max(canary.rules().rollback_interval));
    progress
}

/// The file's weights, as they are kept.
fn written(plan: &plan::Split) -> BTreeMap<String, f64> {
    named(plan, &plan.shares)
}

/// Shares by side, in percent.
fn named(plan: &plan::Split, shares: &Shares) -> BTreeMap<String, f64> {
    plan.sides.iter().zip(shares.all()).map(|(side, share)| (side.name.to_string(), share.percent())).collect()
}

/// Weights that a person has set.
fn overridden(plan: &plan::Split, kept: &KeptRoute) -> Option<Overridden> {
    let kept = kept.overridden.as_ref()?;
    let share = |side: &plan::Side| Share::from_percent(*kept.percent.get(&*side.name)?);
    let shares = plan.sides.iter().map(share).collect::<Option<Vec<_>>>()?;
    Some(Overridden { shares: Shares::new(shares).ok()?, by: kept.by.clone(), at_ms: kept.at_ms })
}

/// The weights that a canary had come to when the file named it last: taking it out of the file moves no traffic,
/// be it by a reload or a restart.
fn left_behind(plan: &plan::Split, kept: &KeptRoute) -> Option<Overridden> {
    let canary = kept.canary.as_ref().filter(|_| plan.canary.is_none())?;
    let side = plan.sides.iter().position(|side| *side.name == *canary.side)?;
    let shares = plan.shares.with(side, canary.progress.share).ok()?;
    let at_ms = canary.progress.history.front().map_or_else(|| millis(clock::now()), |change| change.at_ms);
    Some(Overridden { shares, by: CANARY.to_owned(), at_ms })
}

fn millis(now: Now) -> u64 {
    u64::try_from(now.wall.as_millis()).unwrap_or(u64::MAX)
}
