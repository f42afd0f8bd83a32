//! The codec and hyper read the same messages: what each accepts, and what it makes of them.
//!
//! The messages are generated from a seed that is part of the test. Where the two differ, [`classes`] must name why.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, missing_docs)]

mod classes;
mod generate;
mod ours;
mod theirs;

use std::collections::BTreeMap;

use classes::Class;
use generate::Generator;

const SEED: u64 = 0x0911_2023;
const MESSAGES: usize = 20_000;

/// A message as its reader understood it.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    /// Method and target, or status.
    line: String,
    is_http_1_1: bool,
    /// By name in lower case; the values of one name in order.
    fields: BTreeMap<String, Vec<Vec<u8>>>,
    content: Vec<u8>,
    trailers: BTreeMap<String, Vec<Vec<u8>>>,
}

/// Adds a field, except for those that frame the message: hyper removes some of them.
fn insert(fields: &mut BTreeMap<String, Vec<Vec<u8>>>, name: &[u8], value: &[u8]) {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    if name != "content-length" && name != "transfer-encoding" {
        fields.entry(name).or_default().push(value.to_vec());
    }
}

/// Counts agreements and the differences of each class. A difference without one is a failure.
#[derive(Default)]
struct Verdicts {
    accepted: usize,
    refused: usize,
    differing: BTreeMap<Class, usize>,
}

impl Verdicts {
    fn add(&mut self, bytes: &[u8], ours: Result<Message, String>, theirs: Option<Message>) {
        match (&ours, &theirs) {
            (Ok(ours), Some(theirs)) if ours == theirs => self.accepted += 1,
            (Err(_), None) => self.refused += 1,
            _ => {
                let text = String::from_utf8_lossy(bytes);
                let class = Class::of(bytes, &ours, theirs.as_ref());
                let class = class.unwrap_or_else(|| panic!("{text:?}\nours: {ours:?}\nhyper's: {theirs:?}"));
                *self.differing.entry(class).or_default() += 1;
            }
        }
    }

    /// A corpus that nearly all or nothing of passes would show little, and a class that never occurs nothing.
    fn check(&self, classes: &[Class]) {
        println!("{} accepted alike, {} refused alike, {:?}", self.accepted, self.refused, self.differing);
        assert!(self.accepted > MESSAGES / 8 && self.refused > MESSAGES / 20);
        assert!(self.differing.keys().eq(classes), "{:?}", self.differing);
    }
}

#[test]
fn requests_are_read_as_hyper_reads_them_but_for_named_classes() {
    let (mut generator, mut verdicts) = (Generator::new(SEED), Verdicts::default());
    let mut hyper = theirs::Hyper::new();
    for _ in 0..MESSAGES {
        let bytes = generator.request();
        verdicts.add(&bytes, ours::request(&bytes), hyper.request(&bytes));
    }
    verdicts.check(classes::OF_REQUESTS);
}

#[test]
fn responses_are_read_as_hyper_reads_them_but_for_named_classes() {
    let (mut generator, mut verdicts) = (Generator::new(SEED ^ 1), Verdicts::default());
    let mut hyper = theirs::Hyper::new();
    for _ in 0..MESSAGES {
        let (bytes, to_head) = generator.response();
        verdicts.add(&bytes, ours::response(&bytes, to_head), hyper.response(&bytes, to_head));
    }
    verdicts.check(classes::OF_RESPONSES);
}
