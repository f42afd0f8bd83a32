//! What must be true: the lines as a reader of the contract would keep them, and a backend that remembers what it did.

use std::collections::{BTreeMap, BTreeSet};

use policy::write::class::Class;
use policy::write::queue::{KeyState, QueueEntry, RecoveryEvent, Seq, Ticket};

/// A place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Write(Seq),
    Through(Ticket),
}

/// The backend's side of one key.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    /// What changed it last.
    pub(crate) last: Option<Who>,
    /// Of those that it said it had done, the last in their order.
    confirmed: Option<Who>,
    /// What it may have done since, though that is dead or was given up.
    excused: BTreeSet<Who>,
    /// In this order it did what it had not done before.
    first: Vec<Seq>,
}

/// The contract, kept by the simplest means.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) known: BTreeMap<Seq, QueueEntry<u8>>,
    pub(crate) acknowledged: BTreeSet<Seq>,
    pub(crate) lines: BTreeMap<u8, Vec<Who>>,
    pub(crate) dead: BTreeSet<Seq>,
    /// Settled or discarded at any time; a crash may have undone that.
    pub(crate) ended: BTreeSet<Seq>,
    pub(crate) revived: BTreeSet<Seq>,
    /// The note that they are not to be sent is durable.
    pub(crate) cancelled: BTreeSet<Seq>,
    pub(crate) backend: BTreeMap<u8, Resource>,
    /// In which order all came to their lines.
    ranks: BTreeMap<Who, usize>,
    ranked: usize,
}

impl Truth {
    pub(crate) fn class(&self, seq: Seq) -> Class {
        self.known[&seq].class
    }

    pub(crate) fn line(&mut self, key: u8) -> &mut Vec<Who> {
        self.lines.entry(key).or_default()
    }

    pub(crate) fn joins(&mut self, key: u8, who: Who) {
        self.line(key).push(who);
        self.rank(who);
    }

    /// This one is behind all who came before.
    pub(crate) fn rank(&mut self, who: Who) {
        self.ranked += 1;
        self.ranks.insert(who, self.ranked);
    }

    pub(crate) fn is_pending(&self, seq: Seq) -> bool {
        self.lines.values().any(|line| line.contains(&Who::Write(seq)))
    }

    pub(crate) fn pending(&self) -> Vec<Seq> {
        let writes = self.lines.values().flatten().filter_map(|who| match who {
            Who::Write(seq) => Some(*seq),
            Who::Through(_) => None,
        });
        writes.collect()
    }

    pub(crate) fn state(&self, key: u8) -> KeyState {
        let line = self.lines.get(&key).map(Vec::as_slice).unwrap_or_default();
        let mut state = KeyState::Clean;
        for who in line {
            if let Who::Write(seq) = who {
                match (self.class(*seq), state) {
                    (Class::Other, _) | (_, KeyState::Opaque) => state = KeyState::Opaque,
                    (class, _) => state = KeyState::Dirty { seq: *seq, class },
                }
            }
        }
        state
    }

    /// What is sent is the front of its line, and what it stands for may be coalesced, and all of that that may.
    pub(crate) fn check_send(&self, key: u8, sent: Seq, supersedes: &[Seq]) {
        assert!(!self.cancelled.contains(&sent), "{sent} was cancelled and is sent");
        let line = &self.lines[&key];
        let group: Vec<Who> = supersedes.iter().chain([&sent]).map(|seq| Who::Write(*seq)).collect();
        assert!(line.starts_with(&group), "{group:?} is sent, but {line:?} is pending");
        let entry = &self.known[&sent];
        let alike = |seq: &Seq| {
            let other = &self.known[seq];
            (other.lane, other.upstream) == (entry.lane, entry.upstream)
                && other.class != Class::Other
                && entry.class != Class::Other
        };
        assert!(supersedes.iter().all(alike), "{sent} does not make all of {supersedes:?} needless");
        if let Some(Who::Write(next)) = line.get(group.len()) {
            assert!(!alike(next), "{next} is not sent with {sent}");
        }
    }

    /// The front of a line is over.
    pub(crate) fn ends(&mut self, seq: Seq) {
        let key = self.known[&seq].key;
        let line = self.line(key);
        assert_eq!(line.first(), Some(&Who::Write(seq)), "{seq} ends out of its order");
        line.remove(0);
        assert!(!self.dead.contains(&seq), "{seq} is dead and ends again");
    }

    /// The backend does it, and says so or doesn't.
    pub(crate) fn apply(&mut self, key: u8, who: Who, confirmed: bool) {
        let resource = self.backend.entry(key).or_default();
        resource.last = Some(who);
        if let Who::Write(seq) = who
            && !resource.first.contains(&seq)
        {
            resource.first.push(seq);
        }
        let is_newer = resource.confirmed.is_none_or(|last| self.ranks[&last] <= self.ranks[&who]);
        let went_through = matches!(resource.confirmed, Some(Who::Through(_)));
        assert!(is_newer || !went_through, "{who:?} is sent again, over what {:?} wrote since", resource.confirmed);
        if confirmed && is_newer {
            resource.confirmed = Some(who);
            resource.excused.clear();
        }
    }

    /// Nobody will know whether the backend has done these, nor try again.
    pub(crate) fn excuse(&mut self, key: u8, whom: &[Who]) {
        let resource = self.backend.entry(key).or_default();
        resource.excused.extend(whom);
        // What was done, was sent again after a crash, and is refused this time.
        if resource.confirmed.is_some_and(|last| whom.contains(&last)) {
            resource.confirmed = resource.last;
        }
    }

    pub(crate) fn was_applied(&self, seq: Seq) -> bool {
        self.backend.get(&self.known[&seq].key).is_some_and(|resource| resource.first.contains(&seq))
    }

    /// After a crash: what the surviving records say; and nobody may miss what was acknowledged.
    pub(crate) fn restart(&mut self, events: &[RecoveryEvent<u8>]) {
        self.lines.clear();
        self.dead.clear();
        for event in events {
            match event {
                RecoveryEvent::Write(entry) => {
                    let (key, who) = (entry.key, Who::Write(entry.seq));
                    if !self.dead.contains(&entry.seq) && !self.line(key).contains(&who) {
                        self.line(key).push(who);
                    }
                }
                RecoveryEvent::Settled(seq) => self.leaves(*seq),
                RecoveryEvent::Cancelled(seq) => {
                    self.lines.values_mut().for_each(|line| line.retain(|who| *who != Who::Write(*seq)));
                    self.cancelled.insert(*seq);
                }
                RecoveryEvent::Dead { seq, .. } => {
                    if self.is_pending(*seq) {
                        self.lines.values_mut().for_each(|line| line.retain(|who| *who != Who::Write(*seq)));
                        self.dead.insert(*seq);
                    }
                }
                RecoveryEvent::Revived(seq) if self.dead.remove(seq) => {
                    let key = self.known[seq].key;
                    self.line(key).push(Who::Write(*seq));
                }
                RecoveryEvent::Revived(_) => {}
                RecoveryEvent::Discarded(seq) => {
                    if self.dead.remove(seq) {
                        self.ended.insert(*seq);
                    }
                }
            }
        }
        let pending: BTreeSet<Seq> = self.pending().into_iter().collect();
        for seq in &self.acknowledged {
            let is_there = pending.contains(seq) || self.dead.contains(seq) || self.ended.contains(seq);
            let is_there = is_there || self.cancelled.contains(seq);
            assert!(is_there, "{seq} was acknowledged and is lost");
        }
    }

    fn leaves(&mut self, seq: Seq) {
        self.dead.remove(&seq);
        for line in self.lines.values_mut() {
            if let Some(place) = line.iter().position(|who| *who == Who::Write(seq)) {
                line.drain(..=place);
            }
        }
    }

    /// When all is flushed: each key is as the last write left it that is not dead.
    pub(crate) fn check_end(&self) {
        assert_eq!(self.pending(), Vec::<u64>::new(), "pending at the end");
        for (key, resource) in &self.backend {
            let is_right = resource.last == resource.confirmed
                || resource.last.is_some_and(|last| resource.excused.contains(&last));
            assert!(is_right, "{key} is as {:?} left it: {resource:?}", resource.last);
            // A PUT that another superseded may be sent behind that, if the note of it is damaged.
            let is_strict = |seq: &Seq| !self.revived.contains(seq) && self.class(*seq) == Class::Other;
            let seen: Vec<Seq> = resource.first.iter().copied().filter(is_strict).collect();
            assert!(seen.is_sorted(), "{key} saw {seen:?}");
        }
        for seq in &self.acknowledged {
            let is_over = self.ended.contains(seq) || self.dead.contains(seq) || self.cancelled.contains(seq);
            assert!(is_over, "{seq} was never sent");
        }
    }
}
