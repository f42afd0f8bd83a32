//! The faults that a backend simulates on request (`POST /control?mode=…`).

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// How the backend responds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Without a fault.
    #[default]
    Ok,
    /// With 500 at once.
    Fail,
    /// Not at all: the request hangs until the client gives up.
    Hang,
    /// With a body that ends before its `Content-Length`.
    Truncate,
    /// With a TCP reset instead of a response.
    Reset,
    /// With 500 to every tenth request.
    Flaky,
    /// 50 ms later than without a fault.
    Slow,
    /// Without a fault, and with the same data as the old service.
    Fixed,
}

impl Mode {
    /// Every mode with its name in a query.
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

    /// Parses the mode of a query such as `mode=fail`.
    pub(super) fn parse(query: Option<&str>) -> Option<Self> {
        let word = query?.split('&').find_map(|pair| pair.strip_prefix("mode="))?;
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, mode)| *mode)
    }

    /// The name in a query.
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

/// A flaky backend fails one of this many requests in a row.
const FLAKY_ONE_OF: u64 = 10;

/// The current mode of one backend.
#[derive(Debug, Default)]
pub(super) struct Fault {
    mode: Mutex<Mode>,
    /// Counts the requests in mode `flaky`.
    requests: AtomicU64,
}

impl Fault {
    /// The current mode.
    pub(super) fn mode(&self) -> Mode {
        *self.mode.lock()
    }

    /// Counts a request to a flaky backend, and returns whether it must fail.
    pub(super) fn next_fails(&self) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed) % FLAKY_ONE_OF == FLAKY_ONE_OF - 1
    }

    /// Sets the mode of the next request on.
    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock() = mode;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_asked_for_by_its_own_word() {
        for (word, mode) in Mode::WORDS {
            assert_eq!(Mode::parse(Some(&format!("x=1&mode={word}"))), Some(mode));
            assert_eq!(mode.word(), word);
        }
    }

    #[test]
    fn one_of_ten_next_fails() {
        let fault = Fault::default();
        assert_eq!((0..100).filter(|_| fault.next_fails()).count(), 10);
    }

    #[test]
    fn an_unknown_word_asks_for_nothing() {
        assert_eq!(Mode::parse(Some("mode=sulk")), None);
        assert_eq!(Mode::parse(Some("mood=fail")), None);
        assert_eq!(Mode::parse(None), None);
    }
}
