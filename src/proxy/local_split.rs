//! A split, as one worker has it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use message::FieldLine;
use policy::route::sticky::Verified;

use crate::config::plan;
use crate::rollout::split::{Split, Watched};
use crate::telemetry::target_stats::TargetStats;

/// A split, as one worker has it.
#[derive(Debug)]
pub(crate) struct LocalSplit {
    /// What all workers share.
    pub shared: Arc<Split>,
    /// The names of its sides.
    pub names: Box<[Rc<str>]>,
    /// What this worker has seen of each.
    pub tallies: Box<[Arc<TargetStats>]>,
    /// The line that tells clients of each side, by what has decided; empty: they are told nothing.
    pub notes: Notes,
    /// The shares that hold.
    pub watched: RefCell<Watched>,
    /// The cookies that this worker has verified lately, of a split that has its own.
    pub verified: Option<RefCell<Verified>>,
}

/// For each side of a split, and each of [`By`], the line that tells a client of both. `None`: it would be none.
pub(crate) type Notes = Box<[[Option<Rc<FieldLine>>; 4]]>;

/// What the clients of a split are told: each note is made once, not for each request.
#[must_use]
pub(crate) fn notes(plan: &plan::Split) -> Notes {
    let Some(name) = &plan.side_header else { return Box::default() };
    let note = |side: &str, by: By| FieldLine::new(name, format!("{side}; by={}", by.word())).ok().map(Rc::new);
    plan.sides.iter().map(|side| By::ALL.map(|by| note(&side.name, by))).collect()
}

/// What has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The request named the side.
    Override,
    /// The client keeps its side.
    Sticky,
    /// Chance, by the shares.
    Weight,
    /// The side decided on can take nothing now, so another stands in.
    Fallback,
}

impl By {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 4] = [Self::Override, Self::Sticky, Self::Weight, Self::Fallback];

    /// Its word in the log and towards the client.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Sticky => "sticky",
            Self::Weight => "weight",
            Self::Fallback => "fallback",
        }
    }
}
