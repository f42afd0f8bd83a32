//! How the backend that can be told to fail behaves at the moment.

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
}

impl Mode {
    /// Every mode with the word that asks for it.
    pub(super) const WORDS: [(&'static str, Self); 5] = [
        ("ok", Self::Ok),
        ("fail", Self::Fail),
        ("hang", Self::Hang),
        ("truncate", Self::Truncate),
        ("reset", Self::Reset),
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
        }
    }
}

/// The present mode of one backend.
#[derive(Debug, Default)]
pub(super) struct Mood(Mutex<Mode>);

impl Mood {
    /// What it is now.
    pub(super) fn now(&self) -> Mode {
        *self.0.lock()
    }

    /// From the next request on it is this.
    pub(super) fn turn(&self, mode: Mode) {
        *self.0.lock() = mode;
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
    fn an_unknown_word_asks_for_nothing() {
        assert_eq!(Mode::asked(Some("mode=sulk")), None);
        assert_eq!(Mode::asked(Some("moody=fail")), None);
        assert_eq!(Mode::asked(None), None);
    }
}
