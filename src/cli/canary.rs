//! `forebay canary`: shows and controls the splits, canaries and mirrors of a running proxy.
//!
//! `view` formats them as text.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use policy::route::split::Share;
use serde::Serialize;

use super::admin_client::{AdminClient, AdminRequest, segment};
use super::{EXIT_USAGE, output};
use crate::admin::api::rollout::{
    AUTHOR_CHARS_MAX, Canaries, Canary, CommandRequest, Mirrors, Split, Splits, WeightsRequest, is_author,
};
use crate::telemetry::clock;

mod view;

/// The environment variable with the author of an order; `--by` overrides it.
const USER_VARIABLE: &str = "USER";

/// The arguments of `forebay canary`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Action {
    /// List splits, their weights and canaries (also when no command is given)
    List,
    /// Show a route's split and its canary: progress, action it waits for, and history
    Show(Route),
    /// Override weights of a split; the sides that are not named share the rest. Pauses a running canary
    Set {
        #[command(flatten)]
        route: Route,
        /// A side and its share of requests, as users-v2=35
        #[arg(required = true, value_name = "SIDE=PERCENT", value_parser = weight)]
        weights: Vec<Weight>,
        #[command(flatten)]
        author: Author,
    },
    /// Set the weights of a split back to those of the configuration. Pauses a running canary
    Reset(OrderArguments),
    /// Pause a canary at its current step
    Pause(OrderArguments),
    /// Resume a paused canary
    Resume(OrderArguments),
    /// Move a canary to the next step now, without a verdict
    Promote {
        /// Move it to the last step
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        order: OrderArguments,
    },
    /// Set a canary's share to 0 for good
    Abort(OrderArguments),
    /// Restart a canary at its first step
    Restart(OrderArguments),
    /// List mirrors, or show one: where its responses differ, with samples
    Mirror {
        /// The route
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        route: Option<String>,
        /// Reset the counts and samples of its comparison
        #[arg(long, requires = "route")]
        reset: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct Route {
    /// The name of the route
    #[arg(value_name = "ROUTE", value_parser = NonEmptyStringValueParser::new())]
    name: String,
}

/// The author of an order.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct Author {
    /// Your name, which the API and the event log show [default: $USER]
    #[arg(long, value_name = "NAME", value_parser = name)]
    by: Option<String>,
}

/// The arguments of an order to one route.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct OrderArguments {
    #[command(flatten)]
    route: Route,
    #[command(flatten)]
    author: Author,
}

/// The new weight of a side.
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

/// Sends the requests to the admin API, and prints the responses.
#[must_use]
pub(crate) fn run(config: &Path, admin_client: &AdminClient, rollout: &Rollout) -> ExitCode {
    let action = rollout.action.as_ref().unwrap_or(&Action::List);
    let request = match request(action, std::env::var(USER_VARIABLE).ok()) {
        Ok(request) => request,
        Err(message) => {
            output::print_error(&format!("forebay: {message}\n"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match action {
        Action::List => {
            let second = AdminRequest::get("/api/v1/canary");
            admin_client.print_both(config, (request, second), |splits: &Splits, canaries: Option<&Canaries>| {
                view::list(&splits.splits, canaries.map_or(&[], |canaries| &canaries.canaries))
            })
        }
        Action::Show(route) => {
            let second = AdminRequest::get(format!("/api/v1/canary/{}", segment(&route.name)));
            admin_client.print_both(config, (request, second), |split: &Split, canary: Option<&Canary>| {
                view::show(split, canary, clock::now().wall)
            })
        }
        Action::Set { .. } | Action::Reset(_) => admin_client.print(config, request, view::weights),
        Action::Pause(_) | Action::Resume(_) | Action::Promote { .. } | Action::Abort(_) | Action::Restart(_) => {
            admin_client.print(config, request, view::order_result)
        }
        Action::Mirror { route: None, .. } => {
            admin_client.print(config, request, |mirrors: &Mirrors| view::mirrors(&mirrors.mirrors))
        }
        Action::Mirror { route: Some(_), .. } => admin_client.print(config, request, view::mirror),
    }
}

/// The first request of an action. `user`: the author of an order without `--by`.
fn request(action: &Action, user: Option<String>) -> Result<AdminRequest, String> {
    let user = user.filter(|user| is_author(user));
    let by = |author: &Author| author.by.clone().or_else(|| user.clone());
    let direct = |order: &OrderArguments, verb: &str, full: bool| {
        let target = format!("/api/v1/canary/{}/{verb}", segment(&order.route.name));
        AdminRequest::post(target, to_json(&CommandRequest { by: by(&order.author), full }))
    };
    Ok(match action {
        Action::List => AdminRequest::get("/api/v1/split"),
        Action::Show(route) => AdminRequest::get(format!("/api/v1/split/{}", segment(&route.name))),
        Action::Set { route, weights, author } => {
            let order = WeightsRequest { weights: shares(weights)?, by: by(author) };
            AdminRequest::post(format!("/api/v1/split/{}", segment(&route.name)), to_json(&order))
        }
        Action::Reset(OrderArguments { route, author }) => {
            let target = format!("/api/v1/split/{}/reset", segment(&route.name));
            AdminRequest::post(target, to_json(&CommandRequest { by: by(author), full: false }))
        }
        Action::Pause(order) => direct(order, "pause", false),
        Action::Resume(order) => direct(order, "resume", false),
        Action::Promote { full, order } => direct(order, "promote", *full),
        Action::Abort(order) => direct(order, "abort", false),
        Action::Restart(order) => direct(order, "restart", false),
        Action::Mirror { route: None, .. } => AdminRequest::get("/api/v1/mirror"),
        Action::Mirror { route: Some(route), reset: false, .. } => {
            AdminRequest::get(format!("/api/v1/mirror/{}", segment(route)))
        }
        Action::Mirror { route: Some(route), reset: true, .. } => {
            AdminRequest::post(format!("/api/v1/mirror/{}/reset", segment(route)), Vec::new())
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

/// Serializes a request. Can't fail: serialization fails only for maps whose keys are not strings.
fn to_json(order: &impl Serialize) -> Vec<u8> {
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

    fn asked(words: &str, user: Option<&str>) -> AdminRequest {
        request(&parsed(words).unwrap().action.unwrap(), user.map(str::to_owned)).unwrap()
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
            assert_eq!(asked(words, Some("alice")), AdminRequest::get(target), "{words}");
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
            let expected = AdminRequest::post(format!("/api/v1/{target}"), body.as_bytes().to_vec());
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
        assert_eq!(parsed("").unwrap().action, None);
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
        let twice = request(&parsed("set users a=1 a=2").unwrap().action.unwrap(), None);
        assert_eq!(twice, Err("side \"a\" is named twice".to_owned()));
    }
}
