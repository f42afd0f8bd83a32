//! The cache in the access log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use testbed::{Client, DEADLINE, Origin, answer, eventually, validated};

/// forebay as a separate process with a readable access log.
struct Logged {
    process: Child,
    address: SocketAddr,
    lines: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Logged {
    /// One caching route for all requests, with these keys, in front of this origin.
    fn before(origin: &Origin, keys: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let config = format!(
            "listen = [\"{address}\"]\n[server]\nworkers = 1\n[log]\naccess = \"json\"\nlevel = \"error\"\n[[route]]\nname = \"shop\"\npath = \"/\"\nbackends = [\"{}\"]\n[route.cache]\n{keys}\n",
            origin.url()
        );
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.arg("-c").arg(&file).arg("run").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let logged = Self { process, address, lines, _folder: folder };
        eventually("it listens", || TcpStream::connect(address).is_ok());
        logged
    }

    /// The log line of this request.
    #[track_caller]
    fn line(&self, method: &str, target: &str, fields: &str) -> String {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n");
        Client::to(self.address).send(request).read_response_to(method).is_status(200);
        let line = self.lines.recv_timeout(DEADLINE).expect("a line is logged");
        assert!(line.contains(&format!("\"request_uri\":\"{target}\"")), "{line}");
        line
    }

    /// Asserts the result and reason of the cache in the log line of this request; an empty reason matches any.
    #[track_caller]
    fn says(&self, [method, target, fields]: [&str; 3], cache: &str, reason: &str) -> String {
        let line = self.line(method, target, fields);
        assert!(line.contains(&format!("\"cache\":\"{cache}\"")), "{line}");
        assert!(reason.is_empty() || line.contains(&format!("\"cache_reason\":\"{reason}\"")), "{line}");
        line
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

#[test]
fn each_line_says_what_the_cache_made_of_the_exchange_and_why() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=60")], "one"));
    origin.at("/secret", answer(200, &[("Cache-Control", "no-store")], "one"));
    origin.at("/asked", validated("\"1\"", "one", &[("Cache-Control", "max-age=0")]));
    origin.at("/old", answer(200, &[("Age", "100"), ("Cache-Control", "max-age=60")], "one"));
    let logged = Logged::before(&origin, "");
    logged.says(["GET", "/a", ""], "miss", "");
    let hit = logged.says(["GET", "/a", ""], "hit", "");
    assert!(hit.contains("\"status\":200") && hit.contains("\"body_bytes_sent\":3"), "{hit}");
    assert!(
        hit.contains("\"route\":\"shop\"") && !hit.contains("\"backend\"") && !hit.contains("cache_reason"),
        "{hit}"
    );
    logged.says(["HEAD", "/a", ""], "hit", "");
    logged.says(["GET", "/secret", ""], "miss", "no-store");
    logged.says(["POST", "/b", "Content-Length: 0\r\n"], "bypass", "method");
    logged.says(["GET", "/a", "If-Match: *\r\n"], "bypass", "precondition");
    logged.says(["GET", "/asked", ""], "miss", "");
    let confirmed = logged.says(["GET", "/asked", ""], "revalidated", "stale");
    assert!(confirmed.contains("\"upstream_status\":304"), "{confirmed}");
    logged.says(["GET", "/old", ""], "miss", "");
    logged.says(["GET", "/old", "Cache-Control: max-stale\r\n"], "stale", "");
    logged.says(["GET", "/a", "Cache-Control: no-cache\r\n"], "miss", "request");
}

/// A log line without the values that differ between requests.
fn lasting(line: &str) -> serde_json::Value {
    let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
    line.as_object_mut().unwrap().retain(|name, _| !name.contains("time") && !name.contains("id"));
    line
}

#[test]
fn a_hit_is_logged_alike_whether_or_not_it_takes_the_whole_course() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=60")], "one"));
    let logged = Logged::before(&origin, "");
    logged.says(["GET", "/a?b=c", ""], "miss", "");
    let plain = "User-Agent: me\r\nReferer: there\r\nX-Forwarded-For: 192.0.2.1\r\n";
    // A request that came through another proxy.
    let looked_at = format!("{plain}Via: 1.1 other\r\n");
    let lines = [plain, &looked_at].map(|fields| logged.says(["GET", "/a?b=c", fields], "hit", ""));
    assert_eq!(lasting(&lines[0]), lasting(&lines[1]));
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["request_id"].as_str().map(str::len), Some(32), "{line}");
    }
}

#[test]
fn a_route_that_does_not_cache_logs_nothing_of_it() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=60")], "one"));
    let line = Logged::before(&origin, "mode = \"off\"").line("GET", "/a", "");
    assert!(!line.contains("\"cache"), "{line}");
}
