//! Coalescing under thousands of random histories: arrivals, clients that leave, backends that are slow, fail or answer
//! what must not be shared, slow readers, and reports that come too late.
//!
//! After every step the rules hold that make coalescing safe; see `World::check`. A failure names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use policy::cache::coalescing::{Action, Arrival, CoalescedFetches, CoalescingLimits, FETCHES_MAX, FetchResult, Id};
use policy::time::Now;

const SEEDS: u64 = 3_000;
const STEPS: usize = 150;
const KEYS: u8 = 3;

const LIMITS: CoalescingLimits = CoalescingLimits {
    flights_max: 2,
    followers_max: 6,
    attempts_max: 2,
    another_after: Duration::from_secs(3),
    remembered_max: 2,
    remember_for: Duration::from_secs(8),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Leads, and waits for a head.
    Asking,
    /// Led, until another leader's head came first; waits for its own.
    Apart,
    /// Leads, and passes a storable body on.
    Fetching { written: u64 },
    /// Follows, and waits for a head.
    Waiting { since: Duration },
    /// Reads along from a leader's body.
    Reading { leader: Id, read: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Person {
    key: u8,
    doing: Doing,
    /// Has nobody behind it who could leave: it refreshes a stale hit, or its client has left.
    alone: bool,
}

/// How often what happened in all histories: a simulation that never gets anywhere proves nothing.
#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, u64>);

struct World {
    flights: CoalescedFetches<u8>,
    dice: Rng,
    now: Duration,
    people: BTreeMap<Id, Person>,
    answered: BTreeSet<Id>,
    /// When the last leader of each key began.
    began: BTreeMap<u8, Duration>,
    next: u64,
    seen: Seen,
}

impl World {
    fn new(seed: u64, seen: Seen) -> Self {
        let dice = Rng::with_seed(seed);
        let flights = CoalescedFetches::new(LIMITS);
        let (people, answered, began) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { flights, dice, now: Duration::ZERO, people, answered, began, next: 0, seen }
    }

    fn now(&self) -> Now {
        Now::at(self.now)
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.0.entry(what).or_default() += 1;
    }

    fn anybody(&mut self, wanted: impl Fn(&Person) -> bool) -> Option<(Id, Person)> {
        let found: Vec<_> = self.people.iter().filter(|(_, person)| wanted(person)).collect();
        self.dice.choice(found).map(|(id, person)| (*id, *person))
    }

    fn set(&mut self, id: Id, doing: Doing) {
        if let Some(person) = self.people.get_mut(&id) {
            person.doing = doing;
        }
    }

    /// This one has what it came for, or an error: for the first and last time.
    fn answer(&mut self, id: Id) {
        assert!(self.people.remove(&id).is_some(), "{id:?} is not here to be answered");
        assert!(self.answered.insert(id), "{id:?} is answered twice");
    }

    fn is_waiting(&self, id: Id) -> bool {
        matches!(self.people.get(&id), Some(Person { doing: Doing::Waiting { .. }, .. }))
    }

    /// Those of this key whose answer may be for all.
    fn leaders(&self, key: u8) -> Vec<(Id, Doing)> {
        let leads = |person: &Person| matches!(person.doing, Doing::Asking | Doing::Fetching { .. });
        let leaders = self.people.iter().filter(|(_, person)| person.key == key && leads(person));
        leaders.map(|(id, person)| (*id, person.doing)).collect()
    }

    /// The one whose body can be read along.
    fn fetcher(&self, key: u8) -> Option<Id> {
        match self.leaders(key).as_slice() {
            [(id, Doing::Fetching { .. })] => Some(*id),
            leaders => {
                let asks = leaders.iter().all(|(_, doing)| *doing == Doing::Asking);
                assert!(asks && leaders.len() <= FETCHES_MAX, "too many lead {key}: {leaders:?}");
                None
            }
        }
    }

    fn waiting(&self, key: u8) -> Vec<(Id, Duration)> {
        let since = |(id, person): (&Id, &Person)| {
            let Doing::Waiting { since } = person.doing else { return None };
            (person.key == key).then_some((*id, since))
        };
        self.people.iter().filter_map(since).collect()
    }

    /// The time at which another of this key is to lead, if nothing else happens.
    fn due(&self, key: u8) -> Option<Duration> {
        let (_, since) = *self.waiting(key).first()?;
        let has_room = self.leaders(key).len() < FETCHES_MAX;
        has_room.then(|| since.max(*self.began.get(&key).unwrap_or(&since)) + LIMITS.another_after)
    }

    fn promote(&mut self, id: Id) {
        let Some(&Person { key, doing: Doing::Waiting { since }, .. }) = self.people.get(&id) else {
            return assert_eq!(Some(id), None, "is promoted but does not wait");
        };
        assert_eq!(self.waiting(key).first().map(|(first, _)| *first), Some(id), "another has waited longer");
        if !self.leaders(key).is_empty() {
            assert!(self.now >= since + LIMITS.another_after, "{id:?} leads too soon");
            self.see("led beside another");
        }
        self.see("promoted");
        self.began.insert(key, self.now);
        self.set(id, Doing::Asking);
    }

    fn obey(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Read(ids) => ids.into_iter().for_each(|id| self.read_along(id)),
                Action::Release(ids) => {
                    self.see("released");
                    for id in ids {
                        assert!(self.is_waiting(id), "{id:?} is released but does not wait");
                        self.answer(id);
                    }
                }
                Action::Promote(id) => self.promote(id),
                Action::Fail(ids) => {
                    self.see("failed with its leader");
                    for id in ids {
                        assert!(self.is_waiting(id), "{id:?} fails but does not wait");
                        self.answer(id);
                    }
                }
            }
        }
    }

    fn read_along(&mut self, id: Id) {
        assert!(self.is_waiting(id), "{id:?} may read but does not wait");
        let leader = self.people.get(&id).and_then(|person| self.fetcher(person.key));
        assert!(leader.is_some(), "{id:?} may read but there is no head");
        let Some(leader) = leader else { return };
        self.see("read along");
        self.set(id, Doing::Reading { leader, read: 0 });
    }

    /// A leader's body ends. Who reads along gets the rest of a whole one from the store, or else an error.
    fn end_body(&mut self, id: Id, whole: bool) {
        self.see(if whole { "stored" } else { "broken" });
        let along = |person: &Person| matches!(person.doing, Doing::Reading { leader, .. } if leader == id);
        let readers: Vec<Id> = self.people.iter().filter(|(_, person)| along(person)).map(|(id, _)| *id).collect();
        readers.into_iter().for_each(|reader| self.answer(reader));
        self.answer(id);
    }

    fn arrive(&mut self) {
        let (id, key) = (Id(self.next), self.dice.u8(..KEYS));
        self.next += 1;
        let since = self.now;
        let (leads, fetcher) = (!self.leaders(key).is_empty(), self.fetcher(key));
        let doing = match (self.flights.arrive(&key, id, self.now()), fetcher) {
            (Arrival::Fetch, None) if !leads => Doing::Asking,
            (Arrival::Follow, None) if leads => Doing::Waiting { since },
            (Arrival::Read, Some(leader)) => Doing::Reading { leader, read: 0 },
            (Arrival::Alone, None) if !leads => return self.see("went alone"),
            (Arrival::Full, None) if leads => return self.see("refused"),
            (arrival, _) => return assert_eq!(format!("{arrival:?}"), format!("fits {leads} {fetcher:?}")),
        };
        if doing == Doing::Asking {
            self.began.insert(key, since);
        }
        self.people.insert(id, Person { key, doing, alone: false });
    }

    fn refresh(&mut self) {
        let (id, key) = (Id(self.next), self.dice.u8(..KEYS));
        self.next += 1;
        if self.flights.refresh(&key, id, self.now()) {
            self.see("refreshed");
            self.began.insert(key, self.now);
            self.people.insert(id, Person { key, doing: Doing::Asking, alone: true });
        }
    }

    fn leave(&mut self) {
        if let Some((id, _)) = self.anybody(|person| !person.alone) {
            self.part(id);
        }
    }

    fn part(&mut self, id: Id) {
        let Some(person) = self.people.get_mut(&id) else { return };
        let key = person.key;
        if matches!(person.doing, Doing::Fetching { .. }) {
            person.alone = true;
        } else {
            self.people.remove(&id);
            self.answered.insert(id);
        }
        let actions = self.flights.leave(&key, id, self.now());
        self.obey(actions);
    }

    fn head(&mut self) {
        let asks = |person: &Person| matches!(person.doing, Doing::Asking | Doing::Apart);
        let Some((id, person)) = self.anybody(asks) else { return };
        let head = match self.dice.u8(..10) {
            0..5 => FetchResult::Storable,
            5 => FetchResult::Uncacheable,
            6 => FetchResult::Unshared,
            _ => FetchResult::Failed,
        };
        self.come(id, person, head);
    }

    /// A leader's head comes, or one that was a leader.
    fn come(&mut self, id: Id, person: Person, head: FetchResult) {
        let key = person.key;
        assert_eq!(self.flights.is_led_by(&key, id), person.doing == Doing::Asking);
        let actions = self.flights.head(&key, id, head, self.now());
        if person.doing == Doing::Apart {
            assert_eq!(actions, []);
            self.see("answered apart");
            return self.answer(id);
        }
        if matches!(head, FetchResult::Storable) {
            self.set(id, Doing::Fetching { written: 0 });
        } else {
            self.answer(id);
        }
        if matches!(head, FetchResult::Storable | FetchResult::Uncacheable) {
            for (other, doing) in self.leaders(key) {
                if doing == Doing::Asking {
                    self.set(other, Doing::Apart);
                }
            }
        }
        self.obey(actions);
    }

    fn body(&mut self) {
        let Some((id, person)) = self.anybody(|person| matches!(person.doing, Doing::Fetching { .. })) else { return };
        let Doing::Fetching { written } = person.doing else { return };
        match self.dice.u8(..10) {
            0 => {
                assert!(self.flights.outgrown(&person.key, id, self.now()));
                self.end_body(id, false);
            }
            1..4 => {
                assert!(self.flights.done(&person.key, id));
                let whole = self.dice.bool();
                self.end_body(id, whole);
            }
            _ => {
                let written = written + self.dice.u64(..3);
                self.set(id, Doing::Fetching { written });
            }
        }
    }

    /// One reader takes a little of what there is: at its own pace, so the machine need not know.
    fn read(&mut self) {
        let Some((id, person)) = self.anybody(|person| matches!(person.doing, Doing::Reading { .. })) else { return };
        let Doing::Reading { leader, read } = person.doing else { return };
        let written = match self.people.get(&leader) {
            Some(Person { doing: Doing::Fetching { written }, .. }) => *written,
            found => return assert_eq!(format!("{found:?}"), "a reader has a body to read from"),
        };
        let read = written.min(read + self.dice.u64(..2));
        self.set(id, Doing::Reading { leader, read });
    }

    /// Somebody who has been answered or has left reports once more.
    fn report_late(&mut self) {
        let Some(id) = self.dice.choice(self.answered.iter().copied()) else { return };
        let (key, now) = (self.dice.u8(..KEYS), self.now());
        assert_eq!(self.flights.head(&key, id, FetchResult::Uncacheable, now), []);
        assert_eq!(self.flights.leave(&key, id, now), []);
        assert!(!self.flights.is_led_by(&key, id));
        assert!(!self.flights.outgrown(&key, id, now) && !self.flights.done(&key, id));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let actions = self.flights.tick(self.now());
        self.obey(actions);
        assert!(self.flights.next_due().is_none_or(|due| due > self.now), "a tick leaves nothing undone");
    }

    fn step(&mut self) {
        match self.dice.u8(..24) {
            0..8 => self.arrive(),
            8 => self.refresh(),
            9 | 10 => self.leave(),
            11..14 => self.head(),
            14..17 => self.body(),
            17..20 => self.read(),
            20 => self.report_late(),
            _ => {
                let time = Duration::from_millis(self.dice.u64(..3_000));
                self.wait(time);
            }
        }
    }

    /// No more leaders than may be, nobody who waits for a key that nobody fetches or is not to lead in time, and nothing
    /// kept for anybody else.
    fn check(&self) {
        for key in 0..KEYS {
            let (waiting, fetcher) = (self.waiting(key).len(), self.fetcher(key));
            assert!(waiting == 0 || fetcher.is_none(), "{waiting} wait for what is there");
            assert!(waiting == 0 || !self.leaders(key).is_empty(), "{waiting} wait for nobody");
            assert!(waiting <= LIMITS.followers_max);
            let due = self.due(key);
            assert!(
                due.is_none_or(|due| self.flights.next_due().is_some_and(|next| next <= due)),
                "{key} is invalidated"
            );
        }
        let flights = (0..KEYS).filter(|key| !self.leaders(*key).is_empty()).count();
        assert_eq!(self.flights.len(), flights);
        assert!(flights <= LIMITS.flights_max && self.flights.remembered() <= LIMITS.remembered_max);
    }

    /// Nobody arrives or leaves any more, and each backend answers at last: every wait comes to an end.
    fn fall_silent(&mut self) {
        while let Some((id, person)) = self.anybody(|person| !matches!(person.doing, Doing::Waiting { .. })) {
            match person.doing {
                Doing::Asking | Doing::Apart => self.head(),
                Doing::Fetching { .. } => self.body(),
                Doing::Reading { .. } | Doing::Waiting { .. } => self.read(),
            }
            self.check();
            assert!(self.people.contains_key(&id) || self.answered.contains(&id));
        }
        assert!(self.people.is_empty(), "some wait for ever: {:?}", self.people);
        self.wait(LIMITS.remember_for);
        assert_eq!((self.flights.len(), self.flights.remembered(), self.flights.next_due()), (0, 0, None));
    }

    /// Everybody leaves, and the backends finish what goes on without them: only the memory is left.
    fn empty_the_house(&mut self) {
        while let Some((id, _)) = self.anybody(|person| !person.alone) {
            self.part(id);
            self.check();
        }
        while let Some((id, person)) = self.anybody(|_| true) {
            if matches!(person.doing, Doing::Fetching { .. }) {
                assert!(self.flights.done(&person.key, id));
                self.answer(id);
            } else {
                self.come(id, person, FetchResult::Storable);
            }
        }
        assert!(self.flights.is_empty() && self.people.is_empty());
        assert_eq!(self.flights.next_due().is_some(), self.flights.remembered() > 0);
    }
}

#[test]
fn every_history_is_safe_and_comes_to_an_end() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        // Shown with a failure only.
        println!("seed {seed}");
        let mut world = World::new(seed, seen);
        for _ in 0..STEPS {
            world.step();
            world.check();
        }
        if seed % 2 == 0 {
            world.empty_the_house();
        }
        world.fall_silent();
        seen = world.seen;
    }
    let expected = [
        "answered apart",
        "broken",
        "failed with its leader",
        "led beside another",
        "promoted",
        "read along",
        "refreshed",
        "refused",
        "released",
        "stored",
        "went alone",
    ];
    assert_eq!(seen.0.keys().copied().collect::<Vec<_>>(), expected);
    assert!(seen.0.values().all(|count| *count > SEEDS / 10), "{seen:?}");
}
