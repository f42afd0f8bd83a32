//! The way to the journal's thread, and to know what is safe.
//!
//! What waits for the thread is bounded: writes by their number and by the room that is set aside for each, notes by the
//! writes that they are about.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use policy::write::record::Payload;
use tokio::sync::{oneshot, watch};

use super::journal_writer::JournalWriter;
use super::queue::WriteQueue;
use super::segments::Directory;
use super::submit::Submission;
use crate::config::plan::Durability;

/// The most writes that wait for the thread, those that were taken back included.
const WAITING_MAX: usize = 16_384;

/// Why a record is not safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failed {
    /// The disk is full or fails.
    #[error("the journal can't be written: {0}")]
    Io(Arc<str>),
    /// Too many writes wait for it.
    #[error("the journal is behind")]
    Behind,
    /// It was not safe in time.
    #[error("the journal did not take it in time")]
    Late,
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Told when a record is safe: its number, or why it is not.
pub type Told = oneshot::Receiver<Result<u64, Failed>>;
pub(super) type Teller = oneshot::Sender<Result<u64, Failed>>;

/// What the thread is to do.
pub(super) enum Order {
    /// To write this, if it is still wanted.
    Write(Arc<Submission>, Durability, Teller),
    /// To write what became of a write.
    Note(Note),
    /// To make safe what came before.
    Sync,
}

/// What became of a write.
pub(super) struct Note {
    pub(super) payload: Payload,
    pub(super) durability: Durability,
    pub(super) told: Teller,
}

/// What the thread shares with those who wait for it.
#[derive(Debug)]
pub(super) struct Shared {
    /// How many writes were handed over and are not begun with.
    pub(super) waiting: AtomicUsize,
    /// How many bytes were written.
    pub(super) bytes: AtomicU64,
    /// How many notes, from the first on, are on the disk.
    pub(super) safe: watch::Sender<u64>,
    /// How many of them somebody waits for.
    pub(super) wanted: AtomicU64,
    /// The thread has been told to look at `wanted`, and has not yet.
    pub(super) is_asked: AtomicBool,
}

/// The journal: a thread, and the way to it.
#[derive(Debug)]
pub struct Journal {
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    identity: u128,
    /// How many notes were put in.
    noted: AtomicU64,
    shared: Arc<Shared>,
}

impl Journal {
    /// Starts the thread. `(identity, segment, seq)`: the journal's identity, and the first numbers that are free.
    pub(super) fn start(directory: Arc<Directory>, from: (u128, u64, u64), desk: Weak<WriteQueue>) -> Self {
        let (orders, taken) = mpsc::channel();
        let shared = Arc::new(Shared {
            waiting: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            safe: watch::Sender::new(0),
            wanted: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
        });
        let identity = from.0;
        let clerk = JournalWriter::new(directory, from, desk, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || clerk.run(&taken)).ok();
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
    pub async fn notes_are_safe(&self) {
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
    pub fn identity(&self) -> u128 {
        self.identity
    }

    /// How many bytes were written since the start.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Writes what is still to be written, and ends. What comes later is refused.
    pub fn close(&self) {
        drop(self.orders.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }
}
