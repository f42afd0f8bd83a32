//! The current weights of one route's split: set by the file, an operator, or a canary.
//!
//! An operator's weights hold until they are replaced, or the canary is resumed. A canary's weights override the
//! file's.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::canary::evidence::{Evidence, Side};
use policy::canary::machine::{Canary, CanaryCommand, NotAllowed};
use policy::canary::progress::{Change, Progress};
use policy::route::split::{Share, Shares};
use policy::time::Now;

use super::mirror::Mirror;
use super::split::Live;
use super::state::{SavedCanary, SavedRoute, SavedShares};
use crate::config::plan::{self, Webhook};
use crate::telemetry::clock;

/// The state of one route's split.
#[derive(Debug)]
pub(crate) struct SplitWeights {
    route: Arc<str>,
    plan: Arc<plan::Split>,
    live: Arc<Live>,
    mirror: Option<Arc<Mirror>>,
    /// The number of pairs that earlier mirrors compared, and of those that differed.
    compared_before: (u64, u64),
    overridden: Option<Overridden>,
    canary: Option<Canary>,
    /// Changes of the canary that are not reported yet.
    changes: Vec<Change>,
}

/// Weights set by an operator, or left by a canary that is no longer in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Overridden {
    /// The weights.
    pub shares: Shares,
    /// Who has set them.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The author of weights that a removed canary has left.
pub(crate) const CANARY: &str = "canary";

impl SplitWeights {
    /// A split that is new in this process; `saved`: its persisted state.
    #[must_use]
    pub(crate) fn new(
        (route, plan): (&Arc<str>, &Arc<plan::Split>),
        mirror: Option<Arc<Mirror>>,
        saved: Option<&SavedRoute>,
    ) -> Self {
        let live = Arc::new(Live::new(plan.sides.len(), plan.shares.clone()));
        let mut split_weights = Self {
            route: Arc::clone(route),
            plan: Arc::clone(plan),
            live,
            mirror,
            compared_before: (0, 0),
            overridden: None,
            canary: None,
            changes: Vec::new(),
        };
        let saved = saved.filter(|saved| saved.file == written(plan));
        let set = |saved| overridden(plan, saved).or_else(|| left_behind(plan, saved));
        split_weights.overridden = saved.and_then(set);
        let now = clock::now();
        if let Some(canary) = &plan.canary {
            let name = plan.sides.get(canary.side).map(|side| &*side.name);
            let known = saved.and_then(|saved| saved.canary.as_ref()).filter(|saved| Some(&*saved.side) == name);
            let totals = split_weights.totals();
            split_weights.canary = Some(match known {
                Some(known) => Canary::resume(canary.rules.clone(), known.progress.clone(), now, totals),
                None => Canary::begin(canary.rules.clone(), now, totals),
            });
            if known.is_none() {
                split_weights.overridden = None;
                split_weights.has_begun();
            }
        }
        split_weights.set();
        split_weights
    }

    /// Applies another plan of the same route. If the file's weights of its sides have changed, they take effect and
    /// the state is reset. The order of the sides has no effect.
    #[must_use]
    pub(crate) fn adopt(mut self, plan: &Arc<plan::Split>, mirror: Option<Arc<Mirror>>) -> Self {
        let is_as_before = written(plan) == written(&self.plan);
        let saved = self.saved();
        let names = |plan: &plan::Split| plan.sides.iter().map(|side| Arc::clone(&side.name)).collect::<Vec<_>>();
        if !is_as_before || names(plan) != names(&self.plan) {
            // Counts are kept by index. If the sides have changed, the counts restart, and so does the evidence of the
            // canary.
            let saved = saved.as_ref().filter(|_| is_as_before);
            let route = Arc::clone(&self.route);
            return Self::new((&route, plan), mirror, saved);
        }
        self.change_mirror(mirror);
        let now = clock::now();
        let was = self.plan.canary.as_ref().map(|canary| canary.side);
        self.plan = Arc::clone(plan);
        // Computed with the new canary: otherwise results of its side before would count for the wrong side.
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

    /// Replaces the mirror. A new mirror counts from zero; the totals reported here continue, or its results would be
    /// missed.
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

    /// Sets the weights of some sides in percent, by name; the others share the rest in proportion.
    ///
    /// # Errors
    /// With a text for the operator.
    pub(crate) fn set_weights<'a>(
        &mut self,
        weights: impl Iterator<Item = (&'a str, f64)>,
        by: &str,
    ) -> Result<(), String> {
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

    /// The shares that determine the proportions of sides without a given weight: the current ones, or the file's if
    /// those sides have no share now.
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

    /// Restores the file's weights.
    pub(crate) fn reset(&mut self, by: &str) {
        // A running canary would change them again at once.
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

    /// The current weights: `users-v2 35, legacy 65`.
    fn weights(&self) -> String {
        let shares = self.live.shares();
        let weight = |(side, share): (&plan::Side, &Share)| format!("{} {share}", side.name);
        let weights: Vec<String> = self.plan.sides.iter().zip(shares.all()).map(weight).collect();
        weights.join(", ")
    }

    /// Gives the canary a command; `None`: there is no canary.
    ///
    /// # Errors
    /// If its phase does not allow the command.
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

    /// Evaluates the canary. Returns whether something has changed.
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

    /// The results since the process began.
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

    /// The state to persist; `None`: nothing.
    #[must_use]
    pub(crate) fn saved(&self) -> Option<SavedRoute> {
        let overridden = self.overridden.as_ref().map(|overridden| SavedShares {
            percent: named(&self.plan, &overridden.shares),
            by: overridden.by.clone(),
            at_ms: overridden.at_ms,
        });
        let side = self.plan.canary.as_ref().and_then(|canary| self.plan.sides.get(canary.side));
        let canary = self
            .canary
            .as_ref()
            .zip(side)
            .map(|(canary, side)| SavedCanary { side: side.name.to_string(), progress: worth_keeping(canary) });
        let is_worth_it = overridden.is_some() || canary.is_some();
        is_worth_it.then(|| SavedRoute { file: written(&self.plan), overridden, canary })
    }

    /// Takes the changes that are not reported yet.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The route.
    #[must_use]
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// The configuration.
    #[must_use]
    pub(crate) fn plan(&self) -> &Arc<plan::Split> {
        &self.plan
    }

    /// The state shared with the workers.
    #[must_use]
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The weights set by an operator.
    #[must_use]
    pub(crate) fn overridden(&self) -> Option<&Overridden> {
        self.overridden.as_ref()
    }

    /// Its canary.
    #[must_use]
    pub(crate) fn canary(&self) -> Option<&Canary> {
        self.canary.as_ref()
    }

    /// The receiver of reports.
    #[must_use]
    pub(crate) fn webhook(&self) -> Option<&Arc<Webhook>> {
        self.plan.canary.as_ref()?.webhook.as_ref()
    }

    /// The results of one side.
    #[must_use]
    pub(crate) fn seen(&self, side: usize) -> Side {
        self.live.seen(side)
    }

    fn has_begun(&mut self) {
        let first = self.canary.as_ref().and_then(|canary| canary.progress().history.front().cloned());
        self.changes.extend(first);
    }

    /// Publishes the current shares to the workers.
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

/// The progress to persist. The elapsed time is capped at the duration of a step, so that a canary that waits for
/// requests for days causes no writes.
fn worth_keeping(canary: &Canary) -> Progress {
    let mut progress = canary.progress().clone();
    progress.held = progress.held.min(canary.rules().hold.max(canary.rules().rollback_interval));
    progress
}

/// The file's weights in the persisted form.
fn written(plan: &plan::Split) -> BTreeMap<String, f64> {
    named(plan, &plan.shares)
}

/// Shares in percent, by side.
fn named(plan: &plan::Split, shares: &Shares) -> BTreeMap<String, f64> {
    plan.sides.iter().zip(shares.all()).map(|(side, share)| (side.name.to_string(), share.percent())).collect()
}

/// The weights set by an operator.
fn overridden(plan: &plan::Split, saved: &SavedRoute) -> Option<Overridden> {
    let saved = saved.overridden.as_ref()?;
    let share = |side: &plan::Side| Share::from_percent(*saved.percent.get(&*side.name)?);
    let shares = plan.sides.iter().map(share).collect::<Option<Vec<_>>>()?;
    Some(Overridden { shares: Shares::new(shares).ok()?, by: saved.by.clone(), at_ms: saved.at_ms })
}

/// The last weights of a canary that was removed from the file: removing it moves no traffic, by a reload or a restart.
fn left_behind(plan: &plan::Split, saved: &SavedRoute) -> Option<Overridden> {
    let canary = saved.canary.as_ref().filter(|_| plan.canary.is_none())?;
    let side = plan.sides.iter().position(|side| *side.name == *canary.side)?;
    let shares = plan.shares.with(side, canary.progress.share).ok()?;
    let at_ms = canary.progress.history.front().map_or_else(|| millis(clock::now()), |change| change.at_ms);
    Some(Overridden { shares, by: CANARY.to_owned(), at_ms })
}

fn millis(now: Now) -> u64 {
    u64::try_from(now.wall.as_millis()).unwrap_or(u64::MAX)
}
