//! The index against the simplest thing that does the same: a queue that is searched from end to end.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{Displaced, Index};

const OVERHEAD: u64 = Index::<u8, u32>::OVERHEAD_BYTES;

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u64),
    Get(u8),
    Remove(u8),
    Pin(u8),
    Unpin(u8),
    Resize(u64),
    Purge,
    Reclaim(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..12_u8;
    prop_oneof![
        6 => (key.clone(), 0..400_u64).prop_map(|(key, bytes)| Step::Insert(key, bytes)),
        4 => key.clone().prop_map(Step::Get),
        1 => key.clone().prop_map(Step::Remove),
        1 => key.clone().prop_map(Step::Pin),
        1 => key.prop_map(Step::Unpin),
        1 => (0..3000_u64).prop_map(Step::Resize),
        1 => Just(Step::Purge),
        1 => (0..4_usize).prop_map(Step::Reclaim),
    ]
}

/// The same by searching a queue, least recently used first.
#[derive(Default)]
struct Model {
    queue: VecDeque<Line>,
    bytes_max: u64,
}

#[derive(Clone, Copy)]
struct Line {
    key: u8,
    value: u32,
    bytes: u64,
    pinned: bool,
    purged: bool,
}

impl Model {
    fn bytes(&self, counts: impl Fn(&Line) -> bool) -> u64 {
        self.queue.iter().filter(|line| counts(line)).map(|line| line.bytes).sum()
    }

    fn take(&mut self, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        let at = self.queue.iter().position(wanted)?;
        self.queue.remove(at)
    }

    fn shrink(&mut self) -> Vec<(u8, u32)> {
        let mut evicted = Vec::new();
        while self.bytes(|_| true) > self.bytes_max {
            let Some(line) = self.take(|line| !line.pinned) else { break };
            evicted.push((line.key, line.value));
        }
        evicted
    }

    fn insert(&mut self, key: u8, value: u32, bytes: u64) -> Option<Displaced<u8, u32>> {
        let bytes = bytes + OVERHEAD;
        if bytes + self.bytes(|line| line.pinned && line.key != key) > self.bytes_max {
            return None;
        }
        let old = self.take(|line| line.key == key && line.pinned).or_else(|| self.take(|line| line.key == key));
        let pinned = old.is_some_and(|old| old.pinned);
        self.queue.push_back(Line { key, value, bytes, pinned, purged: false });
        let (gone, replaced): (Vec<Line>, Vec<Line>) = old.into_iter().partition(|old| old.purged);
        let mut evicted: Vec<_> = gone.iter().map(|line| (line.key, line.value)).collect();
        evicted.extend(self.shrink());
        Some(Displaced { replaced: replaced.first().map(|line| line.value), evicted })
    }

    fn apply(&mut self, step: &Step) -> Vec<(u8, u32)> {
        let live = |key: u8| move |line: &Line| line.key == key && !line.purged;
        match *step {
            Step::Insert(..) => unreachable!(),
            Step::Get(key) => {
                let found = self.take(live(key));
                self.queue.extend(found);
                found.iter().map(|line| (key, line.value)).collect()
            }
            Step::Remove(key) => self.take(live(key)).iter().map(|line| (key, line.value)).collect(),
            Step::Pin(key) => {
                self.queue.iter_mut().filter(|line| live(key)(line)).for_each(|line| line.pinned = true);
                Vec::new()
            }
            Step::Unpin(key) => {
                let found = self.take(|line| line.key == key && line.pinned);
                self.queue.extend(found.map(|line| Line { pinned: false, ..line }));
                if found.is_some() { self.shrink() } else { Vec::new() }
            }
            Step::Resize(bytes_max) => {
                self.bytes_max = bytes_max;
                self.shrink()
            }
            Step::Purge => {
                self.queue.iter_mut().for_each(|line| line.purged |= !line.pinned);
                Vec::new()
            }
            Step::Reclaim(max) => {
                (0..max).map_while(|_| self.take(|line| line.purged)).map(|line| (line.key, line.value)).collect()
            }
        }
    }
}

fn apply(index: &mut Index<u8, u32>, step: &Step) -> Vec<(u8, u32)> {
    match *step {
        Step::Insert(..) => unreachable!(),
        Step::Get(key) => index.get(&key).map(|value| (key, *value)).into_iter().collect(),
        Step::Remove(key) => index.remove(&key).into_iter().collect(),
        Step::Pin(key) => {
            index.pin(&key);
            Vec::new()
        }
        Step::Unpin(key) => index.unpin(&key),
        Step::Resize(bytes_max) => index.resize(bytes_max),
        Step::Purge => {
            index.purge_all();
            Vec::new()
        }
        Step::Reclaim(max) => index.reclaim(max),
    }
}

proptest! {
    #[test]
    fn it_does_what_a_naive_queue_does(steps in proptest::collection::vec(step(), 1..200)) {
        let mut index = Index::new(2000);
        let mut model = Model { bytes_max: 2000, ..Model::default() };
        for (value, step) in (0..).zip(&steps) {
            if let Step::Insert(key, bytes) = *step {
                prop_assert_eq!(index.insert(key, value, bytes).ok(), model.insert(key, value, bytes));
            } else {
                prop_assert_eq!(apply(&mut index, step), model.apply(step), "{:?}", step);
            }
            prop_assert_eq!(index.bytes(), model.bytes(|_| true));
            prop_assert_eq!(index.bytes_pinned(), model.bytes(|line| line.pinned));
            prop_assert_eq!(index.len(), model.queue.iter().filter(|line| !line.purged).count());
            prop_assert!(index.bytes() <= index.bytes_max().max(index.bytes_pinned()));
        }
    }
}
