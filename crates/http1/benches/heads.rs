//! `cargo bench -p http1`: how many instructions it takes to scan one head, beside httparse on the same bytes.
//!
//! Each parser scans each head under callgrind, some times and twice as often; the difference, divided, is what one head
//! costs. One `RequestHead` is used for all of them, as on a connection. httparse gets an array of headers that
//! is not initialised. The counts don't depend on the load of the machine, but on the toolchain.

use std::error::Error;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::process::{Command, ExitCode};

use http1::{HeadLimits, RequestHead, ResponseHead};

const TIMES: u32 = 1_000;

/// What a load generator sends.
const BARE: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// What a browser sends.
const BROWSER: &[u8] = b"GET /products/chairs?page=2&sort=price HTTP/1.1\r\n\
Host: shop.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://shop.example.com/products\r\n\
Connection: keep-alive\r\n\
Cookie: theme=dark; session=8f1c2b7e90aa41d3; consent=all\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\
Priority: u=0, i\r\n\r\n";

/// What an application answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: nginx/1.22.1\r\n\
Date: Mon, 30 Nov 2026 17:41:30 GMT\r\n\
Content-Type: application/json; charset=utf-8\r\n\
Content-Length: 1024\r\n\
Connection: keep-alive\r\n\
Cache-Control: public, max-age=60\r\n\
ETag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\n\
X-Request-Id: 5f0c7a3e-9a51-4b1f-8a55-0f2f6f5a1c2d\r\n\r\n";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [parser, head, times] = arguments.as_slice() {
        scan(parser, head, times.parse().unwrap_or(0));
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("not measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Box<dyn Error>> {
    println!("{:<10} {:>8} {:>8} {:>6}", "head", "http1", "httparse", "ratio");
    for head in ["bare", "browser", "answer"] {
        let (ours, theirs) = (cost("http1", head)?, cost("httparse", head)?);
        println!("{head:<10} {ours:>8} {theirs:>8} {:>6.2}", f64::from(ours) / f64::from(theirs));
    }
    Ok(())
}

/// What one more scan costs.
fn cost(parser: &str, head: &str) -> Result<u32, Box<dyn Error>> {
    let few = total(parser, head, TIMES)?;
    let many = total(parser, head, 2 * TIMES)?;
    Ok(many.checked_sub(few).ok_or("more scans cost less")? / TIMES)
}

fn total(parser: &str, head: &str, times: u32) -> Result<u32, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([parser, head, &times.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    Ok(collected.ok_or("callgrind wrote no count")?.1.trim().parse()?)
}

fn scan(parser: &str, head: &str, times: u32) {
    let bytes = match head {
        "bare" => BARE,
        "browser" => BROWSER,
        _ => ANSWER,
    };
    match (parser, bytes == ANSWER) {
        ("http1", false) => {
            let mut head = RequestHead::default();
            for _ in 0..times {
                head.reset();
                assert_eq!(head.scan(black_box(bytes), &HeadLimits::default()), Ok(Some(bytes.len())));
                black_box(&head);
            }
        }
        ("http1", true) => {
            let mut head = ResponseHead::default();
            for _ in 0..times {
                head.reset();
                assert_eq!(head.scan(black_box(bytes), &HeadLimits::default()), Ok(Some(bytes.len())));
                black_box(&head);
            }
        }
        (_, is_response) => {
            for _ in 0..times {
                let mut fields = [const { MaybeUninit::uninit() }; 100];
                let found = if is_response {
                    let mut head = httparse::Response::new(&mut []);
                    let parser = httparse::ParserConfig::default();
                    parser.parse_response_with_uninit_headers(&mut head, black_box(bytes), &mut fields)
                } else {
                    httparse::Request::new(&mut []).parse_with_uninit_headers(black_box(bytes), &mut fields)
                };
                assert_eq!(found, Ok(httparse::Status::Complete(bytes.len())));
                black_box(&fields);
            }
        }
    }
}
