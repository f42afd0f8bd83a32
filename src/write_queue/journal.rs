//! The way to the journal's thread, and to know what is safe.
//!
//! What waits for the thread is bounded: writes by their number and by the room that is set aside for each, notes by the
//! writes that they are about.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use policy::write::record::Payload;
use tokio::sync::oneshot;

use super::orders::{Failed, Note, Order, Shared, Told};
use super::submission::Submission;
use crate::config::plan::Durability;

/// The most writes that wait for the thread, those that were taken back included.
const WAITING_MAX: usize = 16_384;

/// The journal: a thread, and the way to it.
#[derive(Debug)]
pub(crate) struct Journal {
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    identity: u128,
    /// How many notes were put in.
    noted: AtomicU64,
    shared: Arc<Shared>,
}

impl Journal {
    /// Starts the thread, which does this with the orders that it takes.
    pub(super) fn start(
        identity: u128,
        shared: Arc<Shared>,
        run: impl FnOnce(&mpsc::Receiver<Order>) + Send + 'static,
    ) -> Self {
        let (orders, taken) = mpsc::channel();
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || run(&taken)).ok();
        let orders = thread.is_some().then_some(orders);
        Self { orders: Mutex::new(orders), thread: Mutex::new(thread), identity, noted: AtomicU64::new(0), shared }
    }

    /// Hands a write over. The answer comes when it is as safe as asked for.
    ///
    /// # Errors
    /// [`Failed::Behind`]: too many wait.
    pub(super) fn submit(&self, submission: Arc<Submission>, durability: Durability) -> Result<Told, Failed> {
        if self.shared.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Failed::Behind);
        }
        let (told, answer) = oneshot::channel();
        self.order(Order::Write(submission, durability, told));
        Ok(answer)
    }

    /// Puts in what became of a write. The answer comes when it is as safe as asked for, once the disk works.
    pub(super) fn append(&self, payload: Payload, durability: Durability) -> Told {
        let (told, answer) = oneshot::channel();
        self.order(Order::Note(Note { payload, durability, told }));
        answer
    }

    /// Returns when all notes of what became of writes are on the disk, whatever was asked for them: waits while it fails.
    pub(crate) async fn notes_are_safe(&self) {
        let noted = self.noted.load(Ordering::Acquire);
        let mut safe = self.shared.safe.subscribe();
        if *safe.borrow() >= noted {
            return;
        }
        self.shared.wanted.fetch_max(noted, Ordering::SeqCst);
        // One such order at a time: the thread looks at `wanted` after it has taken it back.
        if !self.shared.is_asked.swap(true, Ordering::SeqCst) {
            self.order(Order::Sync);
        }
        let _ended = safe.wait_for(|safe| *safe >= noted).await;
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &*self.orders.lock() {
            self.noted.fetch_add(u64::from(matches!(order, Order::Note(_))), Ordering::Release);
            // A thread that has ended drops the order, and with it the teller.
            let _ended = orders.send(order);
        }
    }

    /// The journal's identity.
    #[must_use]
    pub(crate) fn identity(&self) -> u128 {
        self.identity
    }

    /// Writes what is still to be written, and ends. What comes later is refused.
    pub(crate) fn close(&self) {
        drop(self.orders.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }
}
