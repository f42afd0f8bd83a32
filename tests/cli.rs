//! The commands of the binary: output, streams and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use testbed::{Origin, Process, forward, ok};

const FINE: &str = "listen = [\"127.0.0.1:0\"]\n[[route]]\nbackends = [\"http://127.0.0.1:9\"]\n";
const WARNED: &str = "listen = [\"127.0.0.1:0\"]\n";
const WRONG: &str = "listen = [\"127.0.0.1:0\"]\n[server]\nworker = 1\n";

fn forebay(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(words).env_remove("FOREBAY_CONFIG").stdin(Stdio::null());
    command
}

/// Runs a command with a configuration on its standard input.
fn told(words: &[&str], config: &str) -> Output {
    let mut child = forebay(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (words, config, code) in [
        (&["version"][..], FINE, 0),
        (&["--help"], FINE, 0),
        (&["check"], FINE, 0),
        (&["check"], WRONG, 1),
        (&["check", "--json"], WRONG, 1),
    ] {
        std::fs::write(file.path(), config).unwrap();
        let mut command = forebay(words);
        command.env("FOREBAY_CONFIG", file.path());
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        command.stdout(closed());
        // Captures standard error, which would have the message of a panic.
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"), "{words:?}");
        let both = command.stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(both.code(), Some(code), "{words:?}");
    }
}

#[test]
fn a_full_disk_is_reported() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = forebay(&["version"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("forebay: can't write to standard output: "), "{}", text(&output.stderr));
}

#[test]
fn check_takes_a_file_or_standard_input() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), FINE).unwrap();
    let path = file.path().to_str().unwrap();
    for words in [&["check", path][..], &["check", "-c", path], &["-c", path, "check"], &["-t", "-c", path]] {
        let output = told(words, "");
        assert_eq!(text(&output.stdout), format!("{path}: fine (1 route, 1 upstream, 1 backend)\n"), "{words:?}");
    }
    for words in [["check", "-"].as_slice(), &["check", "-c", "-"], &["-t", "-c", "-"]] {
        let output = told(words, FINE);
        assert_eq!(text(&output.stdout), "standard input: fine (1 route, 1 upstream, 1 backend)\n", "{words:?}");
        let output = told(words, WRONG);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
        assert!(text(&output.stderr).starts_with("standard input:3:1: unknown key"), "{}", text(&output.stderr));
    }
}

#[test]
fn warnings_fail_a_strict_check_only() {
    let output = told(&["check", "-"], WARNED);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("warning: there is no route"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("fine"));
    let output = told(&["check", "--strict", "-"], WARNED);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
}

#[test]
fn check_answers_in_json() {
    let parsed = |output: &Output| -> serde_json::Value { serde_json::from_slice(&output.stdout).unwrap() };
    let output = told(&["check", "--json", "-"], WRONG);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()));
    let found = parsed(&output);
    assert_eq!((found["ok"].as_bool(), found["problems"][0]["line"].as_u64()), (Some(false), Some(3)));
    let found = parsed(&told(&["check", "--json", "-"], WARNED));
    assert_eq!((found["ok"].as_bool(), found["problems"][0]["severity"].as_str()), (Some(true), Some("warning")));
    let found = parsed(&told(&["check", "--json", "-"], FINE));
    assert_eq!((found["routes"].as_u64(), found["problems"].as_array().map(Vec::len)), (Some(1), Some(0)));
}

#[test]
fn listeners_that_overlap_are_refused() {
    for (listen, is_refused) in [
        ("\"0.0.0.0:8080\", \"127.0.0.1:8080\"", true),
        ("\"127.0.0.1:8080\", \"0.0.0.0:8080\"", true),
        ("\"[::]:8080\", \"[::1]:8080\"", true),
        ("\"[::]:8080\", \"0.0.0.0:8080\"", false),
        ("\"127.0.0.1:8080\", \"127.0.0.2:8080\"", false),
        ("\"127.0.0.1:0\", \"127.0.0.1:0\"", false),
    ] {
        let output = told(&["check", "-"], &format!("listen = [{listen}]\n[[route]]\nrespond = {{ status = 200 }}\n"));
        assert_eq!(output.status.code(), Some(i32::from(is_refused)), "{listen}");
        assert_eq!(text(&output.stderr).contains("overlap"), is_refused, "{listen}: {}", text(&output.stderr));
    }
}

#[test]
fn check_looks_at_the_machine_only_when_told_to() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!("listen = [\"{address}\"]\n[[route]]\nbackends = [\"http://nowhere.invalid\"]\n");
    let output = told(&["check", "-"], &config);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let output = told(&["check", "--machine", "-"], &config);
    let problems = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(problems.contains(&format!("can't listen on {address}")), "{problems}");
    assert!(problems.contains("warning: backend name \"nowhere.invalid\" can't be resolved"), "{problems}");
}

#[test]
fn a_port_that_a_running_forebay_has_is_no_problem() {
    let origin = Origin::start(ok("fine"));
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), forward([&origin]).admin());
    let address = process.address();
    let config = format!("listen = [\"{address}\"]\n[[route]]\nbackends = [\"{}\"]\n", origin.url());
    let output = told(&["check", "--machine", "-"], &config);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn help_names_the_exit_codes() {
    for words in [&["--help"][..], &["-h"]] {
        let output = told(words, "");
        assert!(text(&output.stdout).contains("Exit codes: 0 success, 1 wrong configuration or usage, 2 failed"));
    }
}
