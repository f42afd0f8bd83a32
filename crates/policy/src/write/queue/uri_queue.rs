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
pub(super) enum Step {
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

/// The items of a line, in order. Nearly always there is one, which takes no memory of its own.
#[derive(Debug)]
pub(super) enum Items {
    One(Item),
    /// Any other number.
    Many(Box<Several>),
}

/// Any number of items: boxed, so that a line with one is small.
#[derive(Debug, Default)]
pub(super) struct Several(VecDeque<Item>);

impl Items {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Item> {
        let (one, many) = match self {
            Self::One(item) => (Some(item), None),
            Self::Many(items) => (None, Some(items.0.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn front(&self) -> Option<&Item> {
        self.iter().next()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front().is_none()
    }

    pub(super) fn push_back(&mut self, item: Item) {
        match self {
            Self::One(first) => *self = Self::Many(Box::new(Several(VecDeque::from([*first, item])))),
            Self::Many(items) if items.0.is_empty() => *self = Self::One(item),
            Self::Many(items) => items.0.push_back(item),
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<Item> {
        match self {
            Self::One(item) => {
                let item = *item;
                *self = Self::default();
                Some(item)
            }
            Self::Many(items) => items.0.pop_front(),
        }
    }

    /// Takes one item out, wherever it stands. Linear in their number, unless it stands in front.
    fn remove(&mut self, wanted: Item) -> bool {
        match self {
            Self::One(item) if *item == wanted => {
                *self = Self::default();
                true
            }
            Self::One(_) => false,
            Self::Many(items) => {
                let position = items.0.iter().position(|item| *item == wanted);
                position.is_some_and(|position| items.0.remove(position).is_some())
            }
        }
    }
}

impl Default for Items {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

/// The line of one key. Never empty but for a moment.
#[derive(Debug)]
pub(super) struct UriQueue {
    pub(super) items: Items,
    pub(super) place: Step,
    /// Failed attempts in a row, of whichever write: a newer write doesn't make a sick backend well.
    pub(super) failures: u32,
    /// The lane that counts it among its stuck lines.
    pub(super) stuck: Option<Lane>,
    /// How many of the items are writes that are never coalesced.
    pub(super) others: u32,
    /// How many of the items are tickets.
    pub(super) tickets: u32,
}

impl UriQueue {
    pub(super) fn new() -> Self {
        Self { items: Items::default(), place: Step::Unplaced, failures: 0, stuck: None, others: 0, tickets: 0 }
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
        self.items.remove(wanted)
    }
}
