//! `forebay canary`: splits, their canaries and mirrors of a running proxy, seen and directed.
//!
//! How they are shown is for `view` to say.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use policy::route::split::Share;
use serde::Serialize;

use super::reach::{Question, Reach, segment};
use super::{EXIT_USAGE, output};
use crate::admin::api::rollout::{
    AUTHOR_CHARS_MAX, Canaries, Canary, Mirrors, OrderRequest, Split, Splits, WeightsRequest, is_author,
};
use crate::telemetry::clock;

mod view;

/// The variable that names who gives an order when `--by` does not.
const USER_VARIABLE: &str = "USER";

/// What to do with splits, canaries and mirrors.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum What {
    /// List splits, their weights and canaries (also when nothing is said)
    List,
    /// Show a route's split, its canary, what it waits for, and what has become of it so far
    Show(Route),
    /// Give sides of a split other weights; those that are not named share the rest. A canary that runs pauses
    Set {
        #[command(flatten)]
        route: Route,
        /// A side and its share of requests, as users-v2=35
        #[arg(required = true, value_name = "SIDE=PERCENT", value_parser = weight)]
        weights: Vec<Weight>,
        #[command(flatten)]
        signature: Signature,
    },
    /// Give a split the weights of the configuration again. A canary that runs pauses
    Reset(Directed),
    /// Have a canary stay as it is
    Pause(Directed),
    /// Have a paused canary go on
    Resume(Directed),
    /// Have a canary go to the next step now, without a verdict
    Promote {
        /// To the last step
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        directed: Directed,
    },
    /// Take a canary's share away for good
    Abort(Directed),
    /// Have a canary begin with its first step
    Restart(Directed),
    /// List mirrors, or show one: where its answers differ, and samples of them
    Mirror {
        /// The route
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        route: Option<String>,
        /// Count its comparisons anew
        #[arg(long, requires = "route")]
        reset: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct Route {
    /// The route, by its name
    #[arg(value_name = "ROUTE", value_parser = NonEmptyStringValueParser::new())]
    name: String,
}

/// Who gives an order.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct Signature {
    /// Who orders it, for those who look later [default: $USER]
    #[arg(long, value_name = "NAME", value_parser = name)]
    by: Option<String>,
}

/// An order to one route.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct Directed {
    #[command(flatten)]
    route: Route,
    #[command(flatten)]
    signature: Signature,
}

/// A side's new share.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Weight {
    side: String,
    share: Share,
}

fn name(text: &str) -> Result<String, String> {
    let message = || format!("a name has 1 to {AUTHOR_CHARS_MAX} characters, and no control characters");
    if is_author(text) { Ok(text.to_owned()) } else { Err(message()) }
}

fn weight(text: &str) -> Result<Weight, String> {
    let (side, percent) = text.rsplit_once('=').ok_or("say SIDE=PERCENT, as users-v2=35")?;
    if side.is_empty() {
        return Err("the side has no name: say SIDE=PERCENT, as users-v2=35".to_owned());
    }
    let percent = percent.strip_suffix('%').unwrap_or(percent).trim_end();
    let share = percent.parse().ok().and_then(Share::from_percent);
    let share = share.ok_or("percent is a number from 0 to 100, with up to three decimals")?;
    Ok(Weight { side: side.to_owned(), share })
}

/// Does what is asked, and prints the answer.
#[must_use]
pub(crate) fn run(config: &Path, reach: &Reach, rollout: &Rollout) -> ExitCode {
    let what = rollout.what.as_ref().unwrap_or(&What::List);
    let question = match question(what, std::env::var(USER_VARIABLE).ok()) {
        Ok(question) => question,
        Err(message) => {
            output::complain(&format!("forebay: {message}\n"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match what {
        What::List => {
            let second = Question::get("/api/v1/canary");
            reach.tell_both(config, (question, second), |splits: &Splits, canaries: Option<&Canaries>| {
                view::list(&splits.splits, canaries.map_or(&[], |canaries| &canaries.canaries))
            })
        }
        What::Show(route) => {
            let second = Question::get(format!("/api/v1/canary/{}", segment(&route.name)));
            reach.tell_both(config, (question, second), |split: &Split, canary: Option<&Canary>| {
                view::show(split, canary, clock::now().wall)
            })
        }
        What::Set { .. } | What::Reset(_) => reach.tell(config, question, view::weights),
        What::Pause(_) | What::Resume(_) | What::Promote { .. } | What::Abort(_) | What::Restart(_) => {
            reach.tell(config, question, view::directed)
        }
        What::Mirror { route: None, .. } => {
            reach.tell(config, question, |mirrors: &Mirrors| view::mirrors(&mirrors.mirrors))
        }
        What::Mirror { route: Some(_), .. } => reach.tell(config, question, view::mirror),
    }
}

/// What to ask first; `user`: who orders it where the line does not say.
fn question(what: &What, user: Option<String>) -> Result<Question, String> {
    let user = user.filter(|user| is_author(user));
    let by = |signature: &Signature| signature.by.clone().or_else(|| user.clone());
    let direct = |directed: &Directed, verb: &str, full: bool| {
        let target = format!("/api/v1/canary/{}/{verb}", segment(&directed.route.name));
        Question::post(target, written(&OrderRequest { by: by(&directed.signature), full }))
    };
    Ok(match what {
        What::List => Question::get("/api/v1/split"),
        What::Show(route) => Question::get(format!("/api/v1/split/{}", segment(&route.name))),
        What::Set { route, weights, signature } => {
            let order = WeightsRequest { weights: shares(weights)?, by: by(signature) };
            Question::post(format!("/api/v1/split/{}", segment(&route.name)), written(&order))
        }
        What::Reset(Directed { route, signature }) => {
            let target = format!("/api/v1/split/{}/reset", segment(&route.name));
            Question::post(target, written(&OrderRequest { by: by(signature), full: false }))
        }
        What::Pause(directed) => direct(directed, "pause", false),
        What::Resume(directed) => direct(directed, "resume", false),
        What::Promote { full, directed } => direct(directed, "promote", *full),
        What::Abort(directed) => direct(directed, "abort", false),
        What::Restart(directed) => direct(directed, "restart", false),
        What::Mirror { route: None, .. } => Question::get("/api/v1/mirror"),
        What::Mirror { route: Some(route), reset: false, .. } => {
            Question::get(format!("/api/v1/mirror/{}", segment(route)))
        }
        What::Mirror { route: Some(route), reset: true, .. } => {
            Question::post(format!("/api/v1/mirror/{}/reset", segment(route)), Vec::new())
        }
    })
}

fn shares(weights: &[Weight]) -> Result<BTreeMap<String, f64>, String> {
    let mut shares = BTreeMap::new();
    for Weight { side, share } in weights {
        if shares.insert(side.clone(), share.percent()).is_some() {
            return Err(format!("side {side:?} is named twice"));
        }
    }
    Ok(shares)
}

/// An order as JSON. None of ours fails to become that: no map of theirs has keys that are no text.
fn written(order: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(order).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        rollout: Rollout,
    }

    fn parsed(words: &str) -> Result<Rollout, clap::Error> {
        let line = Line::try_parse_from(std::iter::once("canary").chain(words.split_whitespace()))?;
        Ok(line.rollout)
    }

    fn asked(words: &str, user: Option<&str>) -> Question {
        question(&parsed(words).unwrap().what.unwrap(), user.map(str::to_owned)).unwrap()
    }

    #[test]
    fn the_line_asks_what_it_says() {
        for (words, target) in [
            ("list", "/api/v1/split"),
            ("show users", "/api/v1/split/users"),
            ("show /api/users", "/api/v1/split/%2Fapi%2Fusers"),
            ("mirror", "/api/v1/mirror"),
            ("mirror a/b", "/api/v1/mirror/a%2Fb"),
        ] {
            assert_eq!(asked(words, Some("alice")), Question::get(target), "{words}");
        }
        let by = r#"{"by":"alice","full":false}"#;
        for (words, target, body) in [
            ("set users users-v2=35", "split/users", r#"{"weights":{"users-v2":35.0},"by":"alice"}"#),
            ("set /a b=0.5% c=99.5", "split/%2Fa", r#"{"weights":{"b":0.5,"c":99.5},"by":"alice"}"#),
            ("set a b=c=0 --by bob", "split/a", r#"{"weights":{"b=c":0.0},"by":"bob"}"#),
            ("reset users", "split/users/reset", by),
            ("pause users", "canary/users/pause", by),
            ("resume users", "canary/users/resume", by),
            ("promote users", "canary/users/promote", by),
            ("promote users --full", "canary/users/promote", r#"{"by":"alice","full":true}"#),
            ("abort users --by bob", "canary/users/abort", r#"{"by":"bob","full":false}"#),
            ("restart /a", "canary/%2Fa/restart", by),
            ("mirror users --reset", "mirror/users/reset", ""),
        ] {
            let expected = Question::post(format!("/api/v1/{target}"), body.as_bytes().to_vec());
            assert_eq!(asked(words, Some("alice")), expected, "{words}");
        }
    }

    #[test]
    fn a_user_without_a_name_orders_without_one() {
        for user in [None, Some(""), Some("a\nb")] {
            assert_eq!(asked("pause users", user).body, br#"{"full":false}"#);
        }
        assert!(parsed("pause users --by").is_err());
        assert!(parsed("pause users --by=").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(parsed("").unwrap().what, None);
        for words in [
            "show",
            "set users",
            "set users users-v2",
            "set users =5",
            "set users a=",
            "set users a=x",
            "set users a=101",
            "set users a=-1",
            "set users a=NaN",
            "set users a=0.0001",
            "pause",
            "pause a b",
            "abort users --full",
            "mirror --reset",
            "stop users",
        ] {
            assert!(parsed(words).is_err(), "{words}");
        }
        let twice = question(&parsed("set users a=1 a=2").unwrap().what.unwrap(), None);
        assert_eq!(twice, Err("side \"a\" is named twice".to_owned()));
    }
}
