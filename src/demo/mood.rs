//! How a backend that can be told to fail behaves at the moment.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// A way to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// As every other backend.
    #[default]
    Ok,
    /// 500 at once.
    Fail,
    /// No answer, until the client gives up.
    Hang,
    /// A body that ends before its promised length.
    Truncate,
    /// A TCP reset instead of an answer.
    Reset,
    /// 500 to one request of ten.
    Flaky,
    /// 50 ms later than every other backend.
    Slow,
    /// As `Ok`, and what is told differs from the old service no more.
    Fixed,
}

impl Mode {
    /// Every mode with the word that asks for it.
    pub(super) const WORDS: [(&'static str, Self); 8] = [
        ("ok", Self::Ok),
        ("fail", Self::Fail),
        ("hang", Self::Hang),
        ("truncate", Self::Truncate),
        ("reset", Self::Reset),
        ("flaky", Self::Flaky),
        ("slow", Self::Slow),
        ("fixed", Self::Fixed),
    ];

    /// The mode that a query such as `mode=fail` asks for.
    pub(super) fn asked(query: Option<&str>) -> Option<Self> {
        let word = query?.split('&').find_map(|pair| pair.strip_prefix("mode="))?;
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, mode)| *mode)
    }

    /// The word that asks for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Hang => "hang",
            Self::Truncate => "truncate",
            Self::Reset => "reset",
            Self::Flaky => "flaky",
            Self::Slow => "slow",
            Self::Fixed => "fixed",
        }
    }
}

/// Of so many requests in a row a flaky backend fails the last.
const FLAKY_ONE_OF: u64 = 10;

/// The present mode of one backend.
#[derive(Debug, Default)]
pub(super) struct Mood {
    mode: Mutex<Mode>,
    asked: AtomicU64,
}

impl Mood {
    /// What it is now.
    pub(super) fn now(&self) -> Mode {
        *self.mode.lock()
    }

    /// Whether it is the turn of a request that a flaky backend fails.
    pub(super) fn is_unlucky(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) % FLAKY_ONE_OF == FLAKY_ONE_OF - 1
    }

    /// From the next request on it is this.
    pub(super) fn turn(&self, mode: Mode) {
        *self.mode.lock() = mode;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_asked_for_by_its_own_word() {
        for (word, mode) in Mode::WORDS {
            assert_eq!(Mode::asked(Some(&format!("x=1&mode={word}"))), Some(mode));
            assert_eq!(mode.word(), word);
        }
    }

    #[test]
    fn one_of_ten_is_unlucky() {
        let mood = Mood::default();
        assert_eq!((0..100).filter(|_| mood.is_unlucky()).count(), 10);
    }

    #[test]
    fn an_unknown_word_asks_for_nothing() {
        assert_eq!(Mode::asked(Some("mode=sulk")), None);
        assert_eq!(Mode::asked(Some("moody=fail")), None);
        assert_eq!(Mode::asked(None), None);
    }
}
