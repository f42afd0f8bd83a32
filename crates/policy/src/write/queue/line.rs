//! What waits for one key, in its order.

use std::collections::VecDeque;

use super::lane::Slot;
use super::{Lane, Seq, Ticket, Upstream};

/// A place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A write that is in the journal.
    Write(Seq),
    /// Somebody who wants to write past the journal, when all before it is done.
    Ticket(Ticket),
}

/// Where a line itself stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere yet: its first item has just changed.
    Unplaced,
    /// Among the lane's lines that wait for more to coalesce.
    Patient(Lane, Slot),
    /// Among the lane's lines that go out at that time.
    Urgent(Lane, Slot),
    /// Waits until its upstream is up again.
    Asleep(Upstream, Slot),
    /// One write is under way, which stands for the first `covers` items.
    InFlight { sent: Seq, covers: usize },
    /// The ticket at its front has its turn.
    Held,
}

/// The line of one key. Never empty but for a moment.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) items: VecDeque<Item>,
    pub(super) place: Place,
    /// Failed attempts in a row, of whichever write: a newer write doesn't make a sick backend well.
    pub(super) failures: u32,
    /// The lane that counts it among its stuck lines.
    pub(super) stuck: Option<Lane>,
    /// How many of the items are writes that are never coalesced.
    pub(super) others: usize,
    /// How many of the items are tickets.
    pub(super) tickets: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { items: VecDeque::new(), place: Place::Unplaced, failures: 0, stuck: None, others: 0, tickets: 0 }
    }

    /// The write that stands last.
    pub(super) fn last_write(&self) -> Option<Seq> {
        self.items.iter().rev().find_map(|item| match item {
            Item::Write(seq) => Some(*seq),
            Item::Ticket(_) => None,
        })
    }

    /// Takes one item out, wherever it stands. Linear in the line's length, unless it stands in front.
    pub(super) fn remove(&mut self, wanted: Item) -> bool {
        let Some(position) = self.items.iter().position(|item| *item == wanted) else { return false };
        self.items.remove(position).is_some()
    }
}
