//! The pending writes and tickets of one key, in order.

use std::collections::VecDeque;

use super::lane::DueSlot;
use super::{Lane, Seq, Ticket, UpstreamId};

/// An item of a URI queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UriQueueItem {
    /// A write that is in the journal.
    Write(Seq),
    /// A request that bypasses the journal after everything before it is done.
    Ticket(Ticket),
}

/// The state of a URI queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UriQueueState {
    /// Not placed yet: its first item has just changed.
    Unplaced,
    /// In the lane's list of those that wait for more writes to coalesce.
    Patient(Lane, DueSlot),
    /// In the lane's list of those that are sent at that time.
    Urgent(Lane, DueSlot),
    /// Waits until its upstream is up again.
    Asleep(UpstreamId, DueSlot),
    /// One write is in flight, on behalf of the first `covers` items.
    InFlight { sent: Seq, covers: usize },
    /// The ticket at its front has its turn.
    Held,
}

/// The items of a URI queue, in order. Nearly always there is one, which needs no allocation.
#[derive(Debug)]
pub(super) enum Items {
    One(UriQueueItem),
    /// Zero items, or two and more.
    Many(Box<Several>),
}

/// Any number of items, boxed so that a URI queue with one item is small.
#[derive(Debug, Default)]
pub(super) struct Several(VecDeque<UriQueueItem>);

impl Items {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &UriQueueItem> {
        let (one, many) = match self {
            Self::One(item) => (Some(item), None),
            Self::Many(items) => (None, Some(items.0.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn front(&self) -> Option<&UriQueueItem> {
        self.iter().next()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front().is_none()
    }

    pub(super) fn push_back(&mut self, item: UriQueueItem) {
        match self {
            Self::One(first) => *self = Self::Many(Box::new(Several(VecDeque::from([*first, item])))),
            Self::Many(items) if items.0.is_empty() => *self = Self::One(item),
            Self::Many(items) => items.0.push_back(item),
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<UriQueueItem> {
        match self {
            Self::One(item) => {
                let item = *item;
                *self = Self::default();
                Some(item)
            }
            Self::Many(items) => items.0.pop_front(),
        }
    }

    /// Removes an item at any position. Linear in the number of items, unless it is first.
    fn remove(&mut self, wanted: UriQueueItem) -> bool {
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

/// The URI queue of one key. Empty only during an operation.
#[derive(Debug)]
pub(super) struct UriQueue {
    pub(super) items: Items,
    pub(super) place: UriQueueState,
    /// Failed attempts in a row, of any write: a newer write does not make the backend healthy.
    pub(super) failures: u32,
    /// The lane that counts it as stuck.
    pub(super) stuck: Option<Lane>,
    /// The number of writes that are never coalesced.
    pub(super) others: u32,
    /// The number of tickets.
    pub(super) tickets: u32,
}

impl UriQueue {
    pub(super) fn new() -> Self {
        Self {
            items: Items::default(),
            place: UriQueueState::Unplaced,
            failures: 0,
            stuck: None,
            others: 0,
            tickets: 0,
        }
    }

    /// The last write.
    pub(super) fn last_write(&self) -> Option<Seq> {
        self.items.iter().rev().find_map(|item| match item {
            UriQueueItem::Write(seq) => Some(*seq),
            UriQueueItem::Ticket(_) => None,
        })
    }

    /// Removes an item at any position. Linear in the length, unless it is first.
    pub(super) fn remove(&mut self, wanted: UriQueueItem) -> bool {
        self.items.remove(wanted)
    }
}
