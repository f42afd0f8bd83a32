//! Numbers of which each worker keeps its own part, so that an addition touches no cache line of another worker. A reader
//! adds the parts up.

use std::sync::Arc;

use parking_lot::Mutex;

/// The parts of all workers.
#[derive(Debug)]
pub(crate) struct PerWorker<T>(Mutex<Vec<Arc<T>>>);

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> PerWorker<T> {
    /// A part for one more worker, which alone writes it. A part that its worker has dropped is handed out again with the
    /// counts that it has, so the number of parts stays that of the workers, however often the configuration is reloaded.
    #[must_use]
    pub(crate) fn enroll(&self) -> Arc<T> {
        let mut parts = self.0.lock();
        if let Some(free) = parts.iter().find(|part| Arc::strong_count(part) == 1) {
            return Arc::clone(free);
        }
        let part = Arc::<T>::default();
        parts.push(Arc::clone(&part));
        part
    }
}

impl<T> PerWorker<T> {
    /// Calls `read` with each part.
    pub(crate) fn for_each(&self, read: impl FnMut(&T)) {
        self.0.lock().iter().map(Arc::as_ref).for_each(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::counters::Counter;

    fn sum(parts: &PerWorker<Counter>) -> u64 {
        let mut sum = 0;
        parts.for_each(|part| sum += part.get());
        sum
    }

    #[test]
    fn a_dropped_part_is_handed_out_again_and_its_counts_stay() {
        let parts = PerWorker::<Counter>::default();
        let (one, two) = (parts.enroll(), parts.enroll());
        one.add(3);
        two.add(4);
        drop(one);
        let three = parts.enroll();
        three.up();
        assert_eq!(sum(&parts), 8);
        assert_eq!(parts.0.lock().len(), 2);
    }
}
