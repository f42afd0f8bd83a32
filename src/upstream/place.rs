//! A request's place in the queue of its upstream.

use std::pin::Pin;

use tokio::sync::futures::Notified;

use super::shared::SharedUpstream;

/// A place in a queue, given up on drop.
#[derive(Debug)]
pub struct Place<'a> {
    group: &'a SharedUpstream,
    is_first: bool,
}

impl SharedUpstream {
    /// A place in the queue; `None`: `length` wait already.
    #[must_use]
    pub fn queue_up(&self, length: usize) -> Option<Place<'_>> {
        let is_first = self.queue().enter(self.number, length)?;
        Some(Place { group: self, is_first })
    }
}

impl Place<'_> {
    /// Waits for the next wake-up: what is freed from here on is not missed.
    #[must_use]
    pub fn woken(&self) -> Pin<Box<Notified<'_>>> {
        self.group.queue().woken()
    }

    /// Whether one that has not been woken may look for room. Only the first may: others would overtake those that
    /// have just been woken.
    #[must_use]
    pub fn may_look(&self) -> bool {
        self.is_first || self.group.queue().has_strangers()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let queue = self.group.queue();
        queue.give_up(self.group.number);
        // Those that came later have not looked: if there is room for one more, it is their turn.
        if self.group.has_room() {
            queue.capacity_freed();
        }
    }
}
