//! The index against the simplest thing that does the same: a queue that is searched from end to end.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{Displaced, Epoch, Index, RemovedEntry};

const OVERHEAD: u64 = Index::<u8, u32>::OVERHEAD_BYTES;
/// Room for more than 16 entries, so that some of them stay where they are when they are used.
const BYTES_MAX: u64 = 6000;

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u64),
    Touch(u8),
    Take(u8),
    Resize(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..24_u8;
    prop_oneof![
        6 => (key.clone(), 0..400_u64).prop_map(|(key, bytes)| Step::Insert(key, bytes)),
        4 => key.clone().prop_map(Step::Touch),
        1 => key.prop_map(Step::Take),
        1 => (0..6000_u64).prop_map(Step::Resize),
    ]
}

/// The same by searching a queue, least recently used first.
struct Model {
    queue: VecDeque<Line>,
    bytes_max: u64,
    links: usize,
}

#[derive(Clone, Copy)]
struct Line {
    key: u8,
    value: u32,
    bytes: u64,
    linked: usize,
}

impl Line {
    fn left(self) -> RemovedEntry<u8, u32> {
        RemovedEntry { key: self.key, value: self.value, checked: Epoch::default() }
    }
}

impl Model {
    fn bytes(&self) -> u64 {
        self.queue.iter().map(|line| line.bytes).sum()
    }

    fn take(&mut self, key: u8) -> Option<Line> {
        let at = self.queue.iter().position(|line| line.key == key)?;
        self.queue.remove(at)
    }

    fn shrink(&mut self) -> Vec<RemovedEntry<u8, u32>> {
        let mut evicted = Vec::new();
        while self.bytes() > self.bytes_max {
            let Some(line) = self.queue.pop_front() else { break };
            evicted.push(line.left());
        }
        evicted
    }

    fn insert(&mut self, key: u8, value: u32, bytes: u64) -> Option<Displaced<u8, u32>> {
        let bytes = bytes + OVERHEAD;
        if bytes > self.bytes_max {
            return None;
        }
        let replaced = self.take(key).map(|line| line.value);
        self.links += 1;
        self.queue.push_back(Line { key, value, bytes, linked: self.links });
        Some(Displaced { replaced, evicted: self.shrink() })
    }

    fn apply(&mut self, step: &Step) -> Vec<RemovedEntry<u8, u32>> {
        match *step {
            Step::Insert(..) => unreachable!(),
            Step::Touch(key) => {
                let (links, entries) = (self.links, self.queue.len());
                let found = self.queue.iter().find(|line| line.key == key).copied();
                if found.is_some_and(|line| links - line.linked > entries / 8) {
                    self.links += 1;
                    self.take(key);
                    self.queue.extend(found.map(|line| Line { linked: self.links, ..line }));
                }
                found.into_iter().map(Line::left).collect()
            }
            Step::Take(key) => self.take(key).into_iter().map(Line::left).collect(),
            Step::Resize(bytes_max) => {
                self.bytes_max = bytes_max;
                self.shrink()
            }
        }
    }
}

fn apply(index: &mut Index<u8, u32>, step: &Step) -> Vec<RemovedEntry<u8, u32>> {
    match *step {
        Step::Insert(..) => unreachable!(),
        Step::Touch(key) => {
            let found = index.find(&key).and_then(|place| index.touch(place));
            found.map(|value| RemovedEntry { key, value: *value, checked: Epoch::default() }).into_iter().collect()
        }
        Step::Take(key) => index.find(&key).and_then(|place| index.take(place)).into_iter().collect(),
        Step::Resize(bytes_max) => index.resize(bytes_max),
    }
}

proptest! {
    #[test]
    fn it_does_what_a_naive_queue_does(steps in proptest::collection::vec(step(), 1..200)) {
        let mut index = Index::new(BYTES_MAX);
        let mut model = Model { queue: VecDeque::new(), bytes_max: BYTES_MAX, links: 0 };
        for (value, step) in (0..).zip(&steps) {
            if let Step::Insert(key, bytes) = *step {
                let inserted = index.insert(key, value, bytes, Epoch::default()).ok();
                prop_assert_eq!(inserted, model.insert(key, value, bytes));
            } else {
                prop_assert_eq!(apply(&mut index, step), model.apply(step), "{:?}", step);
            }
            prop_assert_eq!(index.bytes(), model.bytes());
            prop_assert_eq!(index.len(), model.queue.len());
            prop_assert!(index.bytes() <= index.bytes_max());
            let mut found: Vec<u8> = (0..index.slots()).filter_map(|slot| index.key(index.at(slot)?).copied()).collect();
            found.sort_unstable();
            let mut held: Vec<u8> = model.queue.iter().map(|line| line.key).collect();
            held.sort_unstable();
            prop_assert_eq!(found, held);
        }
    }
}
