//! What is measured: the works, what each asks for, and what forebay has set itself as a goal.
//!
//! Says nothing about how it is measured; that is `rounds` and `idle`.

use crate::peers::Peer;

/// Bytes in a KiB.
const KIB: usize = 1024;

/// One kind of request, asked for again and again on kept-alive connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// a: a GET of 1 KiB, passed on.
    PassSmall,
    /// b: a GET of 1 KiB, from the cache.
    HitSmall,
    /// c: a GET of 100 KiB, from the cache.
    HitLarge,
    /// d: a GET of 100 KiB, passed on.
    PassLarge,
    /// e: a GET of 10 MiB, passed on.
    PassHuge,
    /// f: a POST of 1 KiB, answered with the same.
    Post,
    /// a once more, with the access log written to a file.
    PassSmallLogged,
}

/// Whom a goal compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// The best of these, looked for in each round.
    Best(&'static [Peer]),
    /// One peer.
    One(Peer),
}

/// How much a request may cost, as a ratio of processor time to a rival's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Goal {
    /// Compared with whom.
    pub(crate) rival: Rival,
    /// The ratio that it should not exceed.
    pub(crate) at_most: f64,
}

/// KiB of memory that an idle connection may cost (work i).
pub(crate) const IDLE_KIB_MAX: f64 = 10.0;

const ALL: &[Peer] = &[Peer::Nginx, Peer::Haproxy, Peer::Varnish];

const fn goal(rival: Rival, at_most: f64) -> Goal {
    Goal { rival, at_most }
}

impl Work {
    /// All, in the order of their letters.
    pub(crate) const ALL: [Self; 7] = [
        Self::PassSmall,
        Self::HitSmall,
        Self::HitLarge,
        Self::PassLarge,
        Self::PassHuge,
        Self::Post,
        Self::PassSmallLogged,
    ];

    /// What it is called on the command line and in tables.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::PassSmall => "a",
            Self::HitSmall => "b",
            Self::HitLarge => "c",
            Self::PassLarge => "d",
            Self::PassHuge => "e",
            Self::Post => "f",
            Self::PassSmallLogged => "log",
        }
    }

    /// What is done, in words.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::PassSmall => "pass a GET of 1 KiB",
            Self::HitSmall => "cache hit of 1 KiB",
            Self::HitLarge => "cache hit of 100 KiB",
            Self::PassLarge => "pass a GET of 100 KiB",
            Self::PassHuge => "pass a GET of 10 MiB",
            Self::Post => "pass a POST of 1 KiB",
            Self::PassSmallLogged => "pass a GET of 1 KiB, access log on",
        }
    }

    /// What is asked for; the backend and the proxies' configurations know these paths.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::PassSmall | Self::PassSmallLogged => "/pass/1k",
            Self::HitSmall => "/hit/1k",
            Self::HitLarge => "/hit/100k",
            Self::PassLarge => "/pass/100k",
            Self::PassHuge => "/pass/10m",
            Self::Post => "/pass/post",
        }
    }

    /// The length of the answer's body.
    pub(crate) fn body_bytes(self) -> usize {
        match self {
            Self::PassSmall | Self::PassSmallLogged | Self::HitSmall | Self::Post => KIB,
            Self::HitLarge | Self::PassLarge => 100 * KIB,
            Self::PassHuge => 10 * KIB * KIB,
        }
    }

    /// Connections of the load generator. Few for the large body, which fills the machine by itself.
    pub(crate) fn connections(self) -> usize {
        match self {
            Self::PassHuge => 4,
            Self::PassSmall
            | Self::HitSmall
            | Self::HitLarge
            | Self::PassLarge
            | Self::Post
            | Self::PassSmallLogged => 64,
        }
    }

    /// Whether the answer comes from the proxy's own store.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::HitSmall | Self::HitLarge)
    }

    /// Whether proxies write their access log during it.
    pub(crate) fn is_logged(self) -> bool {
        self == Self::PassSmallLogged
    }

    /// What forebay wants to reach.
    pub(crate) fn goals(self) -> &'static [Goal] {
        const PASS: &[Goal] = &[goal(Rival::Best(ALL), 0.95)];
        const HIT: &[Goal] =
            &[goal(Rival::Best(&[Peer::Nginx, Peer::Haproxy]), 0.80), goal(Rival::One(Peer::Varnish), 0.40)];
        const HIT_LARGE: &[Goal] = &[goal(Rival::One(Peer::Nginx), 1.00)];
        const PASS_LARGE: &[Goal] = &[goal(Rival::Best(ALL), 1.00)];
        const PASS_HUGE: &[Goal] = &[goal(Rival::One(Peer::Nginx), 1.05)];
        match self {
            Self::PassSmall | Self::Post => PASS,
            Self::HitSmall => HIT,
            Self::HitLarge => HIT_LARGE,
            Self::PassLarge => PASS_LARGE,
            Self::PassHuge => PASS_HUGE,
            Self::PassSmallLogged => &[],
        }
    }
}

impl Rival {
    /// Its members.
    pub(crate) fn peers(self) -> Vec<Peer> {
        match self {
            Self::Best(peers) => peers.to_vec(),
            Self::One(peer) => vec![peer],
        }
    }

    /// How a table names it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Best(peers) if peers == ALL => "the best peer".to_owned(),
            Self::Best(peers) => {
                format!("the best of {}", peers.iter().map(|peer| peer.name()).collect::<Vec<_>>().join(" and "))
            }
            Self::One(peer) => peer.name().to_owned(),
        }
    }
}
