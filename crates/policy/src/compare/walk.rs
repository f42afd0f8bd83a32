//! Compares two JSON documents.
//!
//! The order of members is ignored; elements are compared by index. Parts that `ignore` names are skipped.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::document::Node;
use super::redact::Shown;
use super::rules::Pointer;
use super::trail::{Step, Trail};
use super::{Difference, Found, Kind};

/// The remaining tokens of the `ignore` pointers that match the path so far.
type Tails<'r> = Vec<&'r [Option<Box<str>>]>;

/// The members of an object.
type Members<'d> = [(Cow<'d, str>, Node<'d>)];

/// Adds the differences between two documents.
pub(super) fn compare(ignore: &[Pointer], ours: &Node<'_>, theirs: &Node<'_>, found: &mut Found) {
    let tails: Tails<'_> = ignore.iter().map(|pointer| pointer.tokens.as_slice()).collect();
    Walk { trail: Trail::default(), found }.values(ours, theirs, &tails);
}

struct Walk<'d, 'f> {
    trail: Trail<'d>,
    found: &'f mut Found,
}

impl<'d> Walk<'d, '_> {
    fn values(&mut self, ours: &'d Node<'d>, theirs: &'d Node<'d>, tails: &Tails<'_>) {
        match (ours, theirs) {
            (Node::Array(ours), Node::Array(theirs)) => self.arrays(ours, theirs, tails),
            (Node::Object(ours), Node::Object(theirs)) => self.objects(ours, theirs, tails),
            (ours, theirs) if ours == theirs => {}
            (ours, theirs) if ours.is_of_type(theirs) => self.add(Kind::Value, Some(ours), Some(theirs)),
            (ours, theirs) => self.add(Kind::Type, Some(ours), Some(theirs)),
        }
    }

    fn arrays(&mut self, ours: &'d [Node<'d>], theirs: &'d [Node<'d>], tails: &Tails<'_>) {
        let common = ours.len().min(theirs.len());
        let surplus = common..ours.len().max(theirs.len());
        if surplus.into_iter().any(|index| below(tails, Step::Element(index)).is_some()) {
            self.add_shown(Kind::Length, Shown::array(ours.len()), Shown::array(theirs.len()));
        }
        for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            if self.found.is_full() {
                return;
            }
            self.step(Step::Element(index), tails, |walk, tails| walk.values(ours, theirs, tails));
        }
    }

    /// Both lists are sorted by name, so one pass over both suffices.
    fn objects(&mut self, ours: &'d Members<'d>, theirs: &'d Members<'d>, tails: &Tails<'_>) {
        let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
        while !self.found.is_full() {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((our_name, _)), Some((their_name, _))) => our_name.cmp(their_name),
            };
            let our_member = if order.is_le() { ours.next() } else { None };
            let their_member = if order.is_ge() { theirs.next() } else { None };
            let Some((name, _)) = our_member.or(their_member) else { return };
            let (ours, theirs) = (our_member.map(|(_, value)| value), their_member.map(|(_, value)| value));
            self.step(Step::Member(name), tails, |walk, tails| match (ours, theirs) {
                (Some(ours), Some(theirs)) => walk.values(ours, theirs, tails),
                (Some(ours), None) => walk.add(Kind::Missing, Some(ours), None),
                (None, theirs) => walk.add(Kind::Added, None, theirs),
            });
        }
    }

    /// Compares the values one step below, unless they are ignored.
    fn step(&mut self, step: Step<'d>, tails: &Tails<'_>, look: impl FnOnce(&mut Self, &Tails<'_>)) {
        if let Some(tails) = below(tails, step) {
            self.trail.enter(step);
            look(self, &tails);
            self.trail.leave();
        }
    }

    fn add(&mut self, kind: Kind, ours: Option<&Node<'_>>, theirs: Option<&Node<'_>>) {
        let secret = self.trail.is_secret();
        let shown = |node: Option<&Node<'_>>| node.map_or_else(Shown::absent, |node| Shown::json(node, secret));
        self.add_shown(kind, shown(ours), shown(theirs));
    }

    fn add_shown(&mut self, kind: Kind, ours: Shown, theirs: Shown) {
        let place = self.trail.place().into_boxed_str();
        self.found.add(Difference { kind, path: self.trail.path(), ours, theirs, place });
    }
}

/// The remaining tokens one step below; `None`: a pointer ends there.
fn below<'r>(tails: &Tails<'r>, step: Step<'_>) -> Option<Tails<'r>> {
    let mut below = Vec::new();
    for tail in tails {
        match tail.split_first() {
            Some((token, rest)) if step.is_meant_by(token.as_deref()) => match rest {
                [] => return None,
                rest => below.push(rest),
            },
            Some(_) | None => {}
        }
    }
    Some(below)
}
