//! The journal's thread: writes records in batches, and completes their senders when they are durable.
//!
//! One write and one sync serve all waiting records (group commit). After a failure the file is not used any more: a
//! new segment is begun as soon as that works. A write that could not be recorded is rejected. An outcome record is
//! retried until it is written, because without it the write would be sent again after a restart and overwrite newer
//! ones.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use bytes::Bytes;
use policy::write::record::{Record, SegmentHead, TooLong, frame, write_frame_head};
use policy::write::segment_table::Position;

use super::commands::{Command, CompletionSender, Failed, OutcomeRecord, Shared};
use super::compact::compact;
use super::queue::WriteQueue;
use super::segments::Directory;
use super::submission::Submitted;
use crate::config::plan::Durability;
use crate::telemetry::{clock, random};

/// The length at which a segment is closed.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// The most bytes written at once.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// The longest delay of a sync with durability `batch-5ms`.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// The delay after which unwritten outcome records are retried, if no command comes before.
const RETRY: Duration = Duration::from_secs(1);

/// The state of the journal's thread.
pub(super) struct JournalWriter {
    directory: Arc<Directory>,
    identity: u128,
    /// The number of the current segment, or of the next one if none is open.
    segment: u64,
    /// The number of the next record.
    seq: u64,
    file: Option<(File, u64)>,
    file_bytes: u64,
    /// Since when the file has unsynced bytes.
    unsynced_since: Option<Duration>,
    /// Outcome records that could not be written, in order. Bounded by the writes that they concern.
    unwritten: Vec<OutcomeRecord>,
    /// Whether the last attempt failed, so that the failure is logged once and not for each write.
    is_failing: bool,
    /// The number of outcome records written.
    outcomes: u64,
    /// Segments to compact, each with whether it is damaged. One is compacted between two batches, because writers wait
    /// meanwhile.
    to_compact: VecDeque<(u64, bool)>,
    queue: Weak<WriteQueue>,
    shared: Arc<Shared>,
}

/// Where a journal goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct JournalPosition {
    /// The journal's identity.
    pub(super) identity: u128,
    /// The next segment.
    pub(super) segment: u64,
    /// The number of the next record.
    pub(super) seq: u64,
}

/// One record of a batch: its number, the bytes before the payload, and its item.
struct BatchRecord {
    seq: u64,
    frame_head: Vec<u8>,
    item: BatchItem,
}

enum BatchItem {
    Write(Submitted, CompletionSender),
    Outcome(OutcomeRecord, Bytes),
}

impl BatchRecord {
    /// The parts of its frame.
    fn frame(&self) -> [&[u8]; 2] {
        let payload = match &self.item {
            BatchItem::Write(submitted, _) => submitted.queued.packed().bytes(),
            BatchItem::Outcome(_, payload) => payload,
        };
        [&self.frame_head, payload]
    }

    fn bytes(&self) -> usize {
        self.frame().iter().map(|piece| piece.len()).sum()
    }
}

/// Records that are written at once.
#[derive(Default)]
struct RecordBatch {
    bytes: usize,
    entries: Vec<BatchRecord>,
    notes: u64,
    /// A record with durability `fsync` requires a sync before completion.
    is_synced: bool,
    /// A record with durability `batch-5ms` requires a sync soon.
    is_batched: bool,
}

impl RecordBatch {
    /// Adds a command to the batch under this number. `false`: the number was not used.
    fn add(&mut self, command: Command, seq: u64, mark: u64) -> bool {
        let (durability, made) = match command {
            Command::Write(submission, durability, completion) => {
                let Some(submitted) = submission.number(seq) else { return false };
                let head = write_frame_head(seq, submitted.queued.packed(), mark);
                (durability, (head, BatchItem::Write(submitted, completion)))
            }
            Command::Outcome(note) => {
                let record = Record { seq, payload: note.payload };
                let framed = frame(&record, mark);
                let note = OutcomeRecord { payload: record.payload, ..note };
                self.notes += 1;
                match framed {
                    Ok((head, payload)) => (note.durability, (Ok(head), BatchItem::Outcome(note, payload))),
                    Err(long) => (note.durability, (Err(long), BatchItem::Outcome(note, Bytes::new()))),
                }
            }
            Command::Sync => return false,
        };
        let (head, item) = made;
        match head {
            Ok(frame_head) => self.push(durability, BatchRecord { seq, frame_head, item }),
            Err(long) => item.fails(long),
        }
        true
    }

    fn push(&mut self, durability: Durability, entry: BatchRecord) {
        self.bytes += entry.bytes();
        self.is_synced |= durability == Durability::Fsync;
        self.is_batched |= durability == Durability::Batch;
        self.entries.push(entry);
    }
}

impl BatchItem {
    fn fails(self, long: TooLong) {
        let (Self::Write(_, completion) | Self::Outcome(OutcomeRecord { completion, .. }, _)) = self;
        let _left = completion.send(Err(Failed::Io(long.to_string().into())));
    }
}

impl JournalWriter {
    pub(super) fn new(
        directory: Arc<Directory>,
        JournalPosition { identity, segment, seq }: JournalPosition,
        queue: Weak<WriteQueue>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            directory,
            identity,
            segment,
            seq,
            file: None,
            file_bytes: 0,
            unsynced_since: None,
            unwritten: Vec::new(),
            is_failing: false,
            outcomes: 0,
            to_compact: VecDeque::new(),
            queue,
            shared,
        }
    }

    pub(super) fn run(mut self, commands: &mpsc::Receiver<Command>) {
        loop {
            let first = match self.wake_in() {
                None => commands.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(wait) => commands.recv_timeout(wait),
            };
            match first {
                Ok(command) => self.write(Some(command), commands),
                Err(mpsc::RecvTimeoutError::Timeout) if self.has_work() => self.write(None, commands),
                Err(mpsc::RecvTimeoutError::Timeout) => self.sync_late(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.finish(commands),
            }
            self.compact_next();
        }
    }

    fn wake_in(&self) -> Option<Duration> {
        match self.unsynced_since {
            _ if !self.to_compact.is_empty() => Some(Duration::ZERO),
            Some(since) => Some((since + BATCH_WAIT).saturating_sub(clock::mono())),
            None => self.has_work().then_some(RETRY),
        }
    }

    /// Whether there is work without a command.
    fn has_work(&self) -> bool {
        !self.unwritten.is_empty() || self.is_sync_awaited()
    }

    /// Whether a caller waits for outcome records that are written but not synced.
    fn is_sync_awaited(&self) -> bool {
        let synced = *self.shared.synced.borrow();
        synced < self.outcomes && synced < self.shared.wanted.load(Ordering::SeqCst)
    }

    fn finish(&mut self, commands: &mpsc::Receiver<Command>) {
        if !self.unwritten.is_empty() {
            self.write(None, commands);
        }
        self.sync();
    }

    /// Accounts for a command that has left the channel.
    fn received(&self, command: Command) -> Command {
        match &command {
            Command::Write(..) => drop(self.shared.waiting.fetch_sub(1, Ordering::Relaxed)),
            Command::Sync => self.shared.is_sync_queued.store(false, Ordering::SeqCst),
            Command::Outcome(_) => {}
        }
        command
    }

    /// Writes unwritten outcome records, the given command, and all commands that have queued up behind it.
    fn write(&mut self, first: Option<Command>, commands: &mpsc::Receiver<Command>) {
        let first = first.map(|command| self.received(command));
        let mark = match self.open() {
            Ok(mark) => mark,
            Err(error) => {
                let gathered: Vec<Command> =
                    first.into_iter().chain(commands.try_iter().map(|command| self.received(command))).collect();
                self.reject(gathered, &error);
                return self.failed(Vec::new(), &error);
            }
        };
        let mut batch = RecordBatch::default();
        for command in std::mem::take(&mut self.unwritten).into_iter().map(Command::Outcome).chain(first) {
            self.seq += u64::from(batch.add(command, self.seq, mark));
        }
        while batch.bytes < BATCH_BYTES_MAX
            && let Ok(command) = commands.try_recv()
        {
            self.seq += u64::from(batch.add(self.received(command), self.seq, mark));
        }
        let is_synced = batch.is_synced || *self.shared.synced.borrow() < self.shared.wanted.load(Ordering::SeqCst);
        let start = SegmentHead::BYTES as u64 + self.file_bytes;
        if let Err(error) = self.put(&batch, is_synced) {
            let is_cut = self.abandon_file();
            self.failed(batch.entries, &error);
            if is_cut {
                self.publish_synced(self.outcomes);
            }
            return;
        }
        self.outcomes += batch.notes;
        if is_synced {
            self.unsynced_since = None;
            self.publish_synced(self.outcomes);
        } else if batch.is_batched {
            self.unsynced_since.get_or_insert_with(clock::mono);
        }
        self.complete(batch.entries, start);
        if self.file_bytes >= SEGMENT_BYTES_MAX {
            self.end_segment();
        } else {
            self.remove_unneeded_segments();
        }
    }

    /// Publishes that this many outcome records are synced; unwritten ones come after them.
    fn publish_synced(&self, notes: u64) {
        self.shared.synced.send_if_modified(|synced| std::mem::replace(synced, notes) != notes);
    }

    /// Completes records that are written; the first begins at `start` in the file.
    fn complete(&mut self, entries: Vec<BatchRecord>, start: u64) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("journal: can be written again");
        }
        let queue = self.queue.upgrade();
        let mut offset = start;
        let short = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        for entry in entries {
            let bytes = entry.bytes() as u64;
            match entry.item {
                BatchItem::Write(submitted, completion) => {
                    if let Some(queue) = &queue {
                        let place = Position { segment: self.segment, offset: short(offset), bytes: short(bytes) };
                        queue.recorded(entry.seq, submitted, place, completion);
                    }
                }
                BatchItem::Outcome(note, _) => drop(note.completion.send(Ok(entry.seq))),
            }
            offset += bytes;
        }
        if let Some(queue) = queue {
            queue.wake_flusher();
        }
    }

    /// Rejects commands that could not be attempted.
    fn reject(&mut self, commands: Vec<Command>, error: &io::Error) {
        let failed = Failed::Io(error.to_string().into());
        for command in commands {
            match command {
                Command::Write(_, _, completion) => drop(completion.send(Err(failed.clone()))),
                Command::Outcome(note) => self.unwritten.push(note),
                Command::Sync => {}
            }
        }
    }

    /// Rejects writes of a failed batch; everything else is retried.
    fn failed(&mut self, entries: Vec<BatchRecord>, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!("journal: can't be written: {error}");
        }
        let failed = Failed::Io(error.to_string().into());
        for entry in entries {
            match entry.item {
                BatchItem::Write(_, completion) => drop(completion.send(Err(failed.clone()))),
                BatchItem::Outcome(note, _) => self.unwritten.push(note),
            }
        }
        // The disk may be full of records that are no longer needed.
        self.remove_unneeded_segments();
    }

    fn put(&mut self, batch: &RecordBatch, sync: bool) -> io::Result<()> {
        let Some((file, _)) = &mut self.file else { return Err(io::Error::other("no segment")) };
        let pieces = batch.entries.iter().flat_map(BatchRecord::frame).map(IoSlice::new);
        write_all(file, &mut pieces.collect::<Vec<_>>())?;
        if sync {
            file.sync_data()?;
        }
        self.file_bytes += batch.bytes as u64;
        Ok(())
    }

    /// The mark of the current segment; begins a segment if none is open.
    fn open(&mut self) -> io::Result<u64> {
        if let Some((_, mark)) = &self.file {
            return Ok(*mark);
        }
        let mark = random::roll();
        let head = SegmentHead { journal: self.identity, first_seq: self.seq, mark };
        let file = match self.directory.begin(self.segment, &head) {
            Ok(file) => file,
            Err(error) => {
                // A partial file contains no record. If it cannot be removed either, the next attempt uses another
                // number.
                if error.kind() == io::ErrorKind::AlreadyExists || self.directory.remove(self.segment).is_err() {
                    self.segment += 1;
                }
                return Err(error);
            }
        };
        if let Some(queue) = self.queue.upgrade() {
            queue.begun(self.segment);
        }
        self.file = Some((file, mark));
        self.file_bytes = 0;
        Ok(mark)
    }

    /// Closes the file after a failure: truncates the unacknowledged bytes if that works, and appends nothing more.
    /// Returns whether the bytes before are synced.
    fn abandon_file(&mut self) -> bool {
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
        // The next segment is begun before others are removed, because its number shows which numbers are used.
        if self.open().is_ok() {
            self.remove_unneeded_segments();
            self.schedule_compaction();
        }
    }

    /// Schedules compaction of segments that keep others from being removed.
    fn schedule_compaction(&mut self) {
        let Some(queue) = self.queue.upgrade().filter(|_| self.to_compact.is_empty()) else { return };
        self.to_compact = queue.worth_compacting(self.segment, self.bytes_before()).into();
    }

    /// Compacts the next scheduled segment.
    fn compact_next(&mut self) {
        let Some((segment, is_damaged)) = self.to_compact.pop_front() else { return };
        // Records that were promised a sync within milliseconds must not wait for the compaction.
        self.sync_late();
        let Some(queue) = self.queue.upgrade() else { return };
        if let Some(live) = queue.live_in(segment).filter(|live| !live.is_empty()) {
            let done = compact(self.identity, &self.directory, live)
                .and_then(|(bytes, places)| self.directory.replace(segment, &bytes, is_damaged).map(|()| places));
            match done {
                Ok(places) => queue.compacted(segment, self.segment, &places),
                Err(error) => tracing::warn!("journal: segment {segment} can't be compacted: {error}"),
            }
        }
        // Before the next segment: that one may hold records about writes in a segment that can be removed now.
        self.remove_unneeded_segments();
        if self.to_compact.is_empty() {
            queue.compaction_done(self.segment, self.bytes_before());
        }
    }

    /// The total length of the segments before the current one.
    fn bytes_before(&self) -> u64 {
        let segments = self.directory.segments().unwrap_or_default().into_iter();
        segments.filter(|segment| *segment < self.segment).map(|segment| self.directory.bytes(segment)).sum()
    }

    fn sync_late(&mut self) {
        if self.unsynced_since.is_some() {
            self.sync();
        }
    }

    /// After a failed sync the file is not used any more.
    fn sync(&mut self) {
        self.unsynced_since = None;
        let Some((file, _)) = &self.file else { return };
        match file.sync_data() {
            Ok(()) => self.publish_synced(self.outcomes),
            Err(error) => {
                tracing::error!("journal: can't be synced: {error}");
                self.file = None;
                self.segment += 1;
            }
        }
    }

    fn remove_unneeded_segments(&self) {
        let Some(queue) = self.queue.upgrade() else { return };
        let unneeded = queue.remove_unneeded(self.segment, self.file.is_some());
        let mut rest = unneeded.as_slice();
        while let [(segment, is_damaged), behind @ ..] = rest {
            let done =
                if *is_damaged { self.directory.rename_damaged(*segment) } else { self.directory.remove(*segment) };
            if let Err(error) = done {
                tracing::warn!("journal: segment {segment} can't be removed, nor those behind it: {error}");
                return queue.keep((*segment, *is_damaged), behind);
            }
            rest = behind;
        }
    }
}

/// Writes all pieces without copying them together.
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
