//! The backend: one thread per connection, with a response determined by the path, which its reader can check byte by
//! byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::Fallible;

/// The pause between pieces of a slow body.
const SLOW: Duration = Duration::from_millis(3);

/// The content for a target: its text repeated up to this length.
pub(crate) fn content(target: &str, length: usize) -> Vec<u8> {
    target.bytes().chain([b'\n']).cycle().take(length).collect()
}

/// The length of a target's content, which the target contains: `/pass/1234/…`.
pub(crate) fn length(target: &str) -> usize {
    target.split('/').nth(2).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Starts the backend on a free port. It ends with the process.
pub(crate) fn start() -> Fallible<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// Answers requests until the peer closes, or a response is to be truncated.
fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some((method, target)) = head(&mut reader)? {
        if !answer(&mut writer, &method, &target)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads a complete request; `None`: the peer has closed.
fn head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(String, String)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut body = 0_u64;
    let mut is_chunked = false;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(length) = line.strip_prefix("content-length:") {
            body = length.trim().parse().unwrap_or(0);
        }
        is_chunked |= line.starts_with("transfer-encoding:");
    }
    if is_chunked {
        chunks(reader)?;
    } else {
        io::copy(&mut reader.take(body), &mut io::sink())?;
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    Ok(words.next().zip(words.next()))
}

fn chunks(reader: &mut BufReader<TcpStream>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        io::copy(&mut reader.take(size + 2), &mut io::sink())?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// `false`: close the connection.
fn answer(writer: &mut TcpStream, method: &str, target: &str) -> io::Result<bool> {
    let is_write = matches!(method, "PUT" | "DELETE" | "POST");
    let status = match target {
        _ if target.starts_with("/refused/") && is_write => "422 Unprocessable Content",
        _ => "200 OK",
    };
    let content = if is_write { Vec::new() } else { content(target, length(target)) };
    let caching = if target.starts_with("/hit/") { "cache-control: max-age=1\r\ncache-tag: t\r\n" } else { "" };
    write!(writer, "HTTP/1.1 {status}\r\n{caching}content-length: {}\r\n\r\n", content.len())?;
    if method == "HEAD" {
        return Ok(true);
    }
    if target.ends_with("/cut") {
        writer.write_all(content.get(..content.len() / 2).unwrap_or_default())?;
        return Ok(false);
    }
    if target.ends_with("/slow") {
        for piece in content.chunks(content.len() / 8 + 1) {
            writer.write_all(piece)?;
            std::thread::sleep(SLOW);
        }
    } else {
        writer.write_all(&content)?;
    }
    Ok(true)
}
