//! `forebay purge`: has a running proxy forget what it has stored.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::reach::{Question, Reach};
use crate::admin::api::{PurgeRequest, Purged};

/// What to purge, and how.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    what: What,
    /// Only make it stale: served while it is fetched anew, where that is allowed
    #[arg(long)]
    soft: bool,
    /// Wait until all that is stored has been swept, and say how many responses that touched
    #[arg(long)]
    wait: bool,
}

/// One of these.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One URL, as `http://shop.example.com/api/orders/7`
    url: Option<String>,
    /// Every URL that begins so
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Everything with this tag; may be given several times
    #[arg(long)]
    tag: Vec<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

/// Purges, and prints how many responses that touched, as far as that is known.
#[must_use]
pub(crate) fn run(config: &Path, reach: &Reach, purge: &Purge) -> ExitCode {
    let body = serde_json::to_vec(&order(purge)).unwrap_or_default();
    reach.tell(config, Question::post("/api/v1/purge", body), shown)
}

fn shown(answer: &Purged) -> String {
    match answer {
        Purged { purged: Some(purged), .. } => format!("{purged} purged\n"),
        Purged { purged: None, epoch } => {
            format!("purged; memory is being swept (epoch {})\n", epoch.unwrap_or_default())
        }
    }
}

fn order(purge: &Purge) -> PurgeRequest {
    let What { url, prefix, tag, all } = purge.what.clone();
    PurgeRequest {
        url,
        prefix,
        tags: Some(tag).filter(|tags| !tags.is_empty()),
        all: Some(true).filter(|_| all),
        soft: purge.soft,
        wait: purge.wait,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        purge: Purge,
    }

    fn asked(words: &[&str]) -> Result<String, clap::Error> {
        let line = Line::try_parse_from(std::iter::once(&"purge").chain(words))?;
        Ok(serde_json::to_string(&order(&line.purge)).unwrap())
    }

    #[test]
    fn the_order_says_what_the_line_says() {
        for (words, expected) in [
            (vec!["http://a/b"], r#"{"url":"http://a/b","soft":false,"wait":false}"#),
            (vec!["--soft", "--prefix", "http://a/b"], r#"{"prefix":"http://a/b","soft":true,"wait":false}"#),
            (vec!["--tag", "a", "--tag", "b"], r#"{"tags":["a","b"],"soft":false,"wait":false}"#),
            (vec!["--all", "--wait"], r#"{"all":true,"soft":false,"wait":true}"#),
        ] {
            assert_eq!(asked(&words).unwrap(), expected);
        }
    }

    #[test]
    fn none_or_several_kinds_are_refused() {
        assert!(asked(&[]).is_err());
        assert!(asked(&["--soft"]).is_err());
        assert!(asked(&["http://a/b", "--all"]).is_err());
        assert!(asked(&["--tag", "a", "--all"]).is_err());
    }
}
