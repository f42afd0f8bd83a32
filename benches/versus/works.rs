//! The workloads: their requests, and forebay's goals.
//!
//! `rounds` and `idle` define how they are measured.

use crate::peers::Peer;

/// The fields that a browser sends besides `Host`, as text lines.
const BROWSER: &str = include_str!("../browser.txt");

/// Bytes in a KiB.
const KIB: usize = 1024;

/// A kind of request, sent repeatedly on keep-alive connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// a: a GET of 1 KiB, forwarded.
    PassSmall,
    /// b: a GET of 1 KiB, from the cache.
    HitSmall,
    /// c: a GET of 100 KiB, from the cache.
    HitLarge,
    /// d: a GET of 100 KiB, forwarded.
    PassLarge,
    /// e: a GET of 10 MiB, forwarded.
    PassHuge,
    /// f: a POST of 1 KiB with a response of the same length.
    Post,
    /// a13: like a, with the thirteen fields of a browser.
    PassBrowser,
    /// b13: like b, with the same thirteen fields.
    HitBrowser,
    /// log: like a, with the access log written to a file.
    PassSmallLogged,
}

/// The rival of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// The best of these in each round.
    Best(&'static [Peer]),
    /// One peer.
    One(Peer),
}

/// A goal: the largest ratio of forebay's processor time to a rival's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Goal {
    /// The rival.
    pub(crate) rival: Rival,
    /// The largest ratio.
    pub(crate) at_most: f64,
}

/// The most KiB of memory per idle connection (workload i).
pub(crate) const IDLE_KIB_MAX: f64 = 2.3;

/// The peers with their usual fields.
const AS_RUN: &[Peer] = &[Peer::Nginx, Peer::Haproxy, Peer::Varnish];

/// The peers that can send the fields that forebay sends.
const SAME_FIELDS: &[Peer] = &[Peer::NginxSame, Peer::HaproxySame];

const fn goal(rival: Rival, at_most: f64) -> Goal {
    Goal { rival, at_most }
}

impl Work {
    /// All, in the order of their letters.
    pub(crate) const ALL: [Self; 9] = [
        Self::PassSmall,
        Self::HitSmall,
        Self::HitLarge,
        Self::PassLarge,
        Self::PassHuge,
        Self::Post,
        Self::PassBrowser,
        Self::HitBrowser,
        Self::PassSmallLogged,
    ];

    /// Its name on the command line and in tables.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::PassSmall => "a",
            Self::HitSmall => "b",
            Self::HitLarge => "c",
            Self::PassLarge => "d",
            Self::PassHuge => "e",
            Self::Post => "f",
            Self::PassBrowser => "a13",
            Self::HitBrowser => "b13",
            Self::PassSmallLogged => "log",
        }
    }

    /// Its description.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::PassSmall => "pass a GET of 1 KiB",
            Self::HitSmall => "cache hit of 1 KiB",
            Self::HitLarge => "cache hit of 100 KiB",
            Self::PassLarge => "pass a GET of 100 KiB",
            Self::PassHuge => "pass a GET of 10 MiB",
            Self::Post => "pass a POST of 1 KiB",
            Self::PassBrowser => "pass a GET of 1 KiB with a browser's 13 fields",
            Self::HitBrowser => "cache hit of 1 KiB with a browser's 13 fields",
            Self::PassSmallLogged => "pass a GET of 1 KiB, access log on",
        }
    }

    /// The path of the request, known to the backend and the proxies' configurations.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::PassSmall | Self::PassBrowser | Self::PassSmallLogged => "/pass/1k",
            Self::HitSmall | Self::HitBrowser => "/hit/1k",
            Self::HitLarge => "/hit/100k",
            Self::PassLarge => "/pass/100k",
            Self::PassHuge => "/pass/10m",
            Self::Post => "/pass/post",
        }
    }

    /// The length of the response's body.
    pub(crate) fn body_bytes(self) -> usize {
        match self {
            Self::PassSmall
            | Self::HitSmall
            | Self::Post
            | Self::PassBrowser
            | Self::HitBrowser
            | Self::PassSmallLogged => KIB,
            Self::HitLarge | Self::PassLarge => 100 * KIB,
            Self::PassHuge => 10 * KIB * KIB,
        }
    }

    /// Connections of the load generator. Few for the large body, which saturates the machine alone.
    pub(crate) fn connections(self) -> usize {
        match self {
            Self::PassHuge => 4,
            Self::PassSmall
            | Self::HitSmall
            | Self::HitLarge
            | Self::PassLarge
            | Self::Post
            | Self::PassBrowser
            | Self::HitBrowser
            | Self::PassSmallLogged => 64,
        }
    }

    /// Whether the response comes from the proxy's cache.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::HitSmall | Self::HitLarge | Self::HitBrowser)
    }

    /// Whether proxies write their access log.
    pub(crate) fn is_logged(self) -> bool {
        self == Self::PassSmallLogged
    }

    /// Additional field lines of the request, each with its line end.
    pub(crate) fn fields(self) -> String {
        match self {
            Self::PassBrowser | Self::HitBrowser => BROWSER.lines().map(|line| format!("{line}\r\n")).collect(),
            Self::PassSmall
            | Self::HitSmall
            | Self::HitLarge
            | Self::PassLarge
            | Self::PassHuge
            | Self::Post
            | Self::PassSmallLogged => String::new(),
        }
    }

    /// Whether a proxy takes part. The cost of fields is negligible for a large body, and not every proxy writes a log.
    pub(crate) fn is_for(self, peer: Peer) -> bool {
        let is_small = self.body_bytes() == KIB;
        (is_small || !SAME_FIELDS.contains(&peer)) && (!self.is_logged() || peer.can_log())
    }

    /// The goals.
    pub(crate) fn goals(self) -> &'static [Goal] {
        const BEST: Rival = Rival::Best(AS_RUN);
        const SAME: Rival = Rival::Best(SAME_FIELDS);
        const FLOOR: Rival = Rival::One(Peer::Floor);
        const PASS: &[Goal] = &[goal(BEST, 0.75), goal(SAME, 0.70), goal(FLOOR, 1.15)];
        const HIT: &[Goal] = &[goal(SAME, 0.65), goal(FLOOR, 1.20)];
        const HIT_LARGE: &[Goal] = &[goal(Rival::One(Peer::Nginx), 0.90)];
        const PASS_LARGE: &[Goal] = &[goal(Rival::One(Peer::Haproxy), 0.75)];
        const PASS_HUGE: &[Goal] = &[goal(Rival::One(Peer::Haproxy), 0.85)];
        const POST: &[Goal] = &[goal(BEST, 0.72), goal(SAME, 0.65), goal(FLOOR, 1.20)];
        const LOGGED: &[Goal] = &[goal(SAME, 0.72)];
        match self {
            Self::PassSmall => PASS,
            Self::HitSmall => HIT,
            Self::HitLarge => HIT_LARGE,
            Self::PassLarge => PASS_LARGE,
            Self::PassHuge => PASS_HUGE,
            Self::Post => POST,
            Self::PassBrowser | Self::HitBrowser => &[],
            Self::PassSmallLogged => LOGGED,
        }
    }
}

impl Rival {
    /// Its peers.
    pub(crate) fn peers(self) -> Vec<Peer> {
        match self {
            Self::Best(peers) => peers.to_vec(),
            Self::One(peer) => vec![peer],
        }
    }

    /// Its name in a table.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Best(peers) if peers == SAME_FIELDS => "the best peer that sends the same fields".to_owned(),
            Self::Best(_) => "the best peer as users run it".to_owned(),
            Self::One(peer) => peer.name().to_owned(),
        }
    }
}
