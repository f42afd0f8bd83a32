//! The journal's thread: takes records from everybody, writes what has gathered at once, and tells when it is safe.
//!
//! One write and one sync serve all who wait (group commit). After a failure the file is not trusted any more: another
//! segment is begun as soon as that works. A write that could not be put down is refused; a note of what became of one
//! is owed until it is put down, for without it the write would be sent again after a restart, over newer ones.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use bytes::Bytes;
use policy::write::record::{Record, SegmentHead, TooLong, frame, write_frame_head};
use policy::write::segment_table::Position;

use super::orders::{Failed, Note, Order, Shared, Teller};
use super::queue::WriteQueue;
use super::rewrite::anew;
use super::segments::Directory;
use super::submission::Submitted;
use crate::config::plan::Durability;
use crate::telemetry::{clock, random};

/// A segment is ended when it is this long.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// The most bytes written at once.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How long `batch-5ms` leaves to the system.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// How long after a failure the notes that are owed are tried again, if no write comes before.
const RETRY: Duration = Duration::from_secs(1);

/// Who writes.
pub(super) struct JournalWriter {
    directory: Arc<Directory>,
    identity: u128,
    /// The number of the present segment, or of the next if there is none.
    segment: u64,
    /// The next record's number.
    seq: u64,
    file: Option<(File, u64)>,
    file_bytes: u64,
    /// Since when something is with the system only.
    unsynced_since: Option<Duration>,
    /// Notes that could not be put down, in their order: bounded by the writes that they are about.
    owed: Vec<Note>,
    /// Whether the last try has failed: told once, not for each write.
    is_failing: bool,
    /// How many notes were put down.
    noted: u64,
    /// Segments that are to be made small, and whether they are damaged: one between two batches, as writers wait meanwhile.
    thinning: VecDeque<(u64, bool)>,
    desk: Weak<WriteQueue>,
    shared: Arc<Shared>,
}

/// One record of a batch: its number, the first piece of its frame, and what it is.
struct Entry {
    seq: u64,
    frame_head: Vec<u8>,
    what: What,
}

enum What {
    Write(Submitted, Teller),
    Note(Note, Bytes),
}

impl Entry {
    /// The pieces of its frame.
    fn frame(&self) -> [&[u8]; 2] {
        let payload = match &self.what {
            What::Write(submitted, _) => submitted.queued.packed().bytes(),
            What::Note(_, payload) => payload,
        };
        [&self.frame_head, payload]
    }

    fn bytes(&self) -> usize {
        self.frame().iter().map(|piece| piece.len()).sum()
    }
}

/// What goes down at once.
#[derive(Default)]
struct Batch {
    bytes: usize,
    entries: Vec<Entry>,
    notes: u64,
    /// Somebody waits for the disk.
    is_synced: bool,
    /// Somebody trusts that the disk has it soon.
    is_batched: bool,
}

impl Batch {
    /// Takes an order in, under this number. `false`: it was not used.
    fn add(&mut self, order: Order, seq: u64, mark: u64) -> bool {
        let (durability, made) = match order {
            Order::Write(submission, durability, told) => {
                let Some(submitted) = submission.number(seq) else { return false };
                let head = write_frame_head(seq, submitted.queued.packed(), mark);
                (durability, (head, What::Write(submitted, told)))
            }
            Order::Note(note) => {
                let record = Record { seq, payload: note.payload };
                let framed = frame(&record, mark);
                let note = Note { payload: record.payload, ..note };
                self.notes += 1;
                match framed {
                    Ok((head, payload)) => (note.durability, (Ok(head), What::Note(note, payload))),
                    Err(long) => (note.durability, (Err(long), What::Note(note, Bytes::new()))),
                }
            }
            Order::Sync => return false,
        };
        let (head, what) = made;
        match head {
            Ok(frame_head) => self.push(durability, Entry { seq, frame_head, what }),
            Err(long) => what.fails(long),
        }
        true
    }

    fn push(&mut self, durability: Durability, entry: Entry) {
        self.bytes += entry.bytes();
        self.is_synced |= durability == Durability::Fsync;
        self.is_batched |= durability == Durability::Batch;
        self.entries.push(entry);
    }
}

impl What {
    fn fails(self, long: TooLong) {
        let (Self::Write(_, told) | Self::Note(Note { told, .. }, _)) = self;
        let _left = told.send(Err(Failed::Io(long.to_string().into())));
    }
}

impl JournalWriter {
    pub(super) fn new(
        directory: Arc<Directory>,
        from: (u128, u64, u64),
        desk: Weak<WriteQueue>,
        shared: Arc<Shared>,
    ) -> Self {
        let (identity, segment, seq) = from;
        Self {
            directory,
            identity,
            segment,
            seq,
            file: None,
            file_bytes: 0,
            unsynced_since: None,
            owed: Vec::new(),
            is_failing: false,
            noted: 0,
            thinning: VecDeque::new(),
            desk,
            shared,
        }
    }

    pub(super) fn run(mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let first = match self.wake_in() {
                None => orders.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(wait) => orders.recv_timeout(wait),
            };
            match first {
                Ok(order) => self.write(Some(order), orders),
                Err(mpsc::RecvTimeoutError::Timeout) if self.is_owing() => self.write(None, orders),
                Err(mpsc::RecvTimeoutError::Timeout) => self.sync_late(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.finish(orders),
            }
            self.thin_next();
        }
    }

    fn wake_in(&self) -> Option<Duration> {
        match self.unsynced_since {
            _ if !self.thinning.is_empty() => Some(Duration::ZERO),
            Some(since) => Some((since + BATCH_WAIT).saturating_sub(clock::mono())),
            None => self.is_owing().then_some(RETRY),
        }
    }

    /// Whether there is something to do without an order.
    fn is_owing(&self) -> bool {
        !self.owed.is_empty() || self.is_waited_for()
    }

    /// Whether somebody waits for notes that are put down, but not on the disk.
    fn is_waited_for(&self) -> bool {
        let safe = *self.shared.safe.borrow();
        safe < self.noted && safe < self.shared.wanted.load(Ordering::SeqCst)
    }

    fn finish(&mut self, orders: &mpsc::Receiver<Order>) {
        if !self.owed.is_empty() {
            self.write(None, orders);
        }
        self.sync();
    }

    /// An order has left the channel.
    fn taken(&self, order: Order) -> Order {
        match &order {
            Order::Write(..) => drop(self.shared.waiting.fetch_sub(1, Ordering::Relaxed)),
            Order::Sync => self.shared.is_asked.store(false, Ordering::SeqCst),
            Order::Note(_) => {}
        }
        order
    }

    /// Writes what is owed, an order, and all that have gathered behind it.
    fn write(&mut self, first: Option<Order>, orders: &mpsc::Receiver<Order>) {
        let first = first.map(|order| self.taken(order));
        let mark = match self.open() {
            Ok(mark) => mark,
            Err(error) => {
                let gathered: Vec<Order> =
                    first.into_iter().chain(orders.try_iter().map(|order| self.taken(order))).collect();
                self.refuse(gathered, &error);
                return self.failed(Vec::new(), &error);
            }
        };
        let mut batch = Batch::default();
        for order in std::mem::take(&mut self.owed).into_iter().map(Order::Note).chain(first) {
            self.seq += u64::from(batch.add(order, self.seq, mark));
        }
        while batch.bytes < BATCH_BYTES_MAX
            && let Ok(order) = orders.try_recv()
        {
            self.seq += u64::from(batch.add(self.taken(order), self.seq, mark));
        }
        let is_synced = batch.is_synced || *self.shared.safe.borrow() < self.shared.wanted.load(Ordering::SeqCst);
        let start = SegmentHead::BYTES as u64 + self.file_bytes;
        if let Err(error) = self.put(&batch, is_synced) {
            let is_cut = self.give_up();
            self.failed(batch.entries, &error);
            if is_cut {
                self.are_safe(self.noted);
            }
            return;
        }
        self.noted += batch.notes;
        if is_synced {
            self.unsynced_since = None;
            self.are_safe(self.noted);
        } else if batch.is_batched {
            self.unsynced_since.get_or_insert_with(clock::mono);
        }
        self.tell(batch.entries, start);
        if self.file_bytes >= SEGMENT_BYTES_MAX {
            self.end_segment();
        } else {
            self.tidy();
        }
    }

    /// So many notes are on the disk: those that are owed come after them.
    fn are_safe(&self, notes: u64) {
        self.shared.safe.send_if_modified(|safe| std::mem::replace(safe, notes) != notes);
    }

    /// Tells that it is down; the first of it stands there in the file.
    fn tell(&mut self, entries: Vec<Entry>, start: u64) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("journal: can be written again");
        }
        let desk = self.desk.upgrade();
        let mut offset = start;
        let short = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        for entry in entries {
            let bytes = entry.bytes() as u64;
            match entry.what {
                What::Write(submitted, told) => {
                    if let Some(desk) = &desk {
                        let place = Position { segment: self.segment, offset: short(offset), bytes: short(bytes) };
                        desk.recorded(entry.seq, submitted, place, told);
                    }
                }
                What::Note(note, _) => drop(note.told.send(Ok(entry.seq))),
            }
            offset += bytes;
        }
        if let Some(desk) = desk {
            desk.wake_flusher();
        }
    }

    /// These could not even be tried.
    fn refuse(&mut self, orders: Vec<Order>, error: &io::Error) {
        let failed = Failed::Io(error.to_string().into());
        for order in orders {
            match order {
                Order::Write(_, _, told) => drop(told.send(Err(failed.clone()))),
                Order::Note(note) => self.owed.push(note),
                Order::Sync => {}
            }
        }
    }

    /// Writes are refused; all else is tried again.
    fn failed(&mut self, entries: Vec<Entry>, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!("journal: can't be written: {error}");
        }
        let failed = Failed::Io(error.to_string().into());
        for entry in entries {
            match entry.what {
                What::Write(_, told) => drop(told.send(Err(failed.clone()))),
                What::Note(note, _) => self.owed.push(note),
            }
        }
        // What is done with may be what fills the disk.
        self.tidy();
    }

    fn put(&mut self, batch: &Batch, sync: bool) -> io::Result<()> {
        let Some((file, _)) = &mut self.file else { return Err(io::Error::other("no segment")) };
        let pieces = batch.entries.iter().flat_map(Entry::frame).map(IoSlice::new);
        write_all(file, &mut pieces.collect::<Vec<_>>())?;
        if sync {
            file.sync_data()?;
        }
        self.file_bytes += batch.bytes as u64;
        Ok(())
    }

    /// The present segment's mark; a segment is begun if there is none.
    fn open(&mut self) -> io::Result<u64> {
        if let Some((_, mark)) = &self.file {
            return Ok(*mark);
        }
        let mark = random::roll();
        let head = SegmentHead { journal: self.identity, first_seq: self.seq, mark };
        let file = match self.directory.begin(self.segment, &head) {
            Ok(file) => file,
            Err(error) => {
                // What there is of it has no record. If it can't even be removed, the next try takes another name.
                if error.kind() == io::ErrorKind::AlreadyExists || self.directory.remove(self.segment).is_err() {
                    self.segment += 1;
                }
                return Err(error);
            }
        };
        if let Some(desk) = self.desk.upgrade() {
            desk.begun(self.segment);
        }
        self.file = Some((file, mark));
        self.file_bytes = 0;
        Ok(mark)
    }

    /// After a failure: what was not acknowledged is taken back if that works, and nothing follows it in this file. Whether
    /// what it held before is on the disk.
    fn give_up(&mut self) -> bool {
        self.unsynced_since = None;
        self.segment += 1;
        let length = SegmentHead::BYTES as u64 + self.file_bytes;
        self.file.take().is_some_and(|(file, _)| file.set_len(length).and_then(|()| file.sync_all()).is_ok())
    }

    fn end_segment(&mut self) {
        self.sync();
        if self.file.take().is_some() {
            self.segment += 1;
        }
        // The next is begun before others are removed, as it tells which numbers are used.
        if self.open().is_ok() {
            self.tidy();
            self.thin();
        }
    }

    /// Whether segments are to be made small that keep others from being removed.
    fn thin(&mut self) {
        let Some(desk) = self.desk.upgrade().filter(|_| self.thinning.is_empty()) else { return };
        self.thinning = desk.worth_thinning(self.segment, self.bytes_before()).into();
    }

    /// Makes the next of them small.
    fn thin_next(&mut self) {
        let Some((segment, is_damaged)) = self.thinning.pop_front() else { return };
        // Nobody who was promised it within some milliseconds waits for this.
        self.sync_late();
        let Some(desk) = self.desk.upgrade() else { return };
        if let Some(live) = desk.live_in(segment).filter(|live| !live.is_empty()) {
            let done = anew(self.identity, &self.directory, live)
                .and_then(|(bytes, places)| self.directory.replace(segment, &bytes, is_damaged).map(|()| places));
            match done {
                Ok(places) => desk.thinned(segment, self.segment, &places),
                Err(error) => tracing::warn!("journal: segment {segment} can't be compacted: {error}"),
            }
        }
        // Before the next: the notes in that may be about what can go now.
        self.tidy();
        if self.thinning.is_empty() {
            desk.thinning_done(self.segment, self.bytes_before());
        }
    }

    /// How many bytes are in the segments before the present one.
    fn bytes_before(&self) -> u64 {
        let segments = self.directory.segments().unwrap_or_default().into_iter();
        segments.filter(|segment| *segment < self.segment).map(|segment| self.directory.bytes(segment)).sum()
    }

    fn sync_late(&mut self) {
        if self.unsynced_since.is_some() {
            self.sync();
        }
    }

    /// After a failure the file is not trusted any more.
    fn sync(&mut self) {
        self.unsynced_since = None;
        let Some((file, _)) = &self.file else { return };
        match file.sync_data() {
            Ok(()) => self.are_safe(self.noted),
            Err(error) => {
                tracing::error!("journal: can't be synced: {error}");
                self.file = None;
                self.segment += 1;
            }
        }
    }

    fn tidy(&self) {
        let Some(desk) = self.desk.upgrade() else { return };
        let unneeded = desk.unneeded(self.segment, self.file.is_some());
        let mut rest = unneeded.as_slice();
        while let [(segment, is_damaged), behind @ ..] = rest {
            let done = if *is_damaged { self.directory.set_aside(*segment) } else { self.directory.remove(*segment) };
            if let Err(error) = done {
                tracing::warn!("journal: segment {segment} can't be removed, nor those behind it: {error}");
                return desk.keep((*segment, *is_damaged), behind);
            }
            rest = behind;
        }
    }
}

/// Writes all of these, without copying them together.
fn write_all(file: &mut File, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !pieces.is_empty() {
        match file.write_vectored(pieces) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut pieces, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
