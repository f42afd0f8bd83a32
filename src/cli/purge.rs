//! `forebay purge`: purges responses from the cache of a running proxy.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::admin_client::{AdminClient, AdminRequest};
use crate::admin::api::{PurgeRequest, Purged};

/// The arguments of `forebay purge`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    target: Target,
    /// Only make responses stale: they may be served while forebay refreshes them
    #[arg(long)]
    soft: bool,
    /// Wait until the whole cache has been swept, and print how many responses were purged
    #[arg(long)]
    wait: bool,
}

/// What to purge: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// One URL, as `http://shop.example.com/api/orders/7`
    url: Option<String>,
    /// Every URL with this prefix
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Everything with this tag; may be given several times
    #[arg(long)]
    tag: Vec<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

/// Purges, and prints how many responses were purged, as far as that is known.
#[must_use]
pub(crate) fn run(config: &Path, admin_client: &AdminClient, purge: &Purge) -> ExitCode {
    let body = serde_json::to_vec(&request_body(purge)).unwrap_or_default();
    admin_client.print(config, AdminRequest::post("/api/v1/purge", body), text)
}

fn text(answer: &Purged) -> String {
    match answer {
        Purged { purged: Some(purged), .. } => format!("{purged} purged\n"),
        Purged { purged: None, epoch } => {
            format!("purged; memory is being swept (epoch {})\n", epoch.unwrap_or_default())
        }
    }
}

fn request_body(purge: &Purge) -> PurgeRequest {
    let Target { url, prefix, tag, all } = purge.target.clone();
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
        Ok(serde_json::to_string(&request_body(&line.purge)).unwrap())
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
