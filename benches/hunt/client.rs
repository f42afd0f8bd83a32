//! Clients: random actions one after the other, and checks of the results.

use std::io::Read;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use socket2::{Domain, Socket, Type};

use crate::Fallible;
use crate::ask::{Ask, How};
use crate::tally::Tally;
use crate::wire::{self, Framing, Head, Reader};

/// The most requests in one pipeline.
const PIPELINE_MAX: usize = 8;
/// The longest content in a pipeline, so that all of it can be written without waiting.
const PIPELINED_BYTES_MAX: usize = 2000;

/// The number of earlier requests reported with a fault.
const BEFORE_MAX: usize = 4;
/// How long a client that leaves during a response waits for part of it.
const PART_WAIT_MAX: Duration = Duration::from_millis(20);

/// The outcome of a request.
enum End {
    /// The correct response; the connection stays open.
    Goes,
    /// The correct response, the last of its connection.
    Closes,
    /// Recognisably truncated.
    Broken(String),
    /// A fault of the proxy.
    Fault(String),
}

/// Runs actions until the hunt ends.
pub(crate) fn run(address: SocketAddr, seed: u64, tally: &Tally) {
    let mut client = Client { address, rng: Rng::with_seed(seed), tally, kept: None, before: Vec::new().into() };
    while !tally.is_over() {
        let done = match client.rng.u8(..20) {
            0..=9 => client.batch(1),
            10..=13 => client.pipeline(),
            14 => client.expect(),
            15 => client.half_close(),
            16 => client.leave_pipeline(),
            _ => client.leave(),
        };
        if let Err(error) = done {
            tally.fault(&format!("a client: {error}"));
        }
    }
}

struct Client<'a> {
    address: SocketAddr,
    rng: Rng,
    tally: &'a Tally,
    kept: Option<Reader>,
    /// The latest requests on the current connection, for the report of a fault.
    before: std::cell::RefCell<Vec<String>>,
}

impl Client<'_> {
    /// The kept connection, or a new one.
    fn connection(&mut self) -> Fallible<Reader> {
        if let Some(kept) = self.kept.take()
            && self.rng.u8(..16) > 0
        {
            return Ok(kept);
        }
        self.before.borrow_mut().clear();
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        socket.connect(&self.address.into())?;
        socket.set_tcp_nodelay(true)?;
        Ok(wire::reader(socket)?)
    }

    fn draw(&mut self, most: usize) -> Ask {
        self.tally.begin();
        Ask::draw(&mut self.rng, most)
    }

    fn pipeline(&mut self) -> Fallible<()> {
        let count = self.rng.usize(2..=PIPELINE_MAX);
        self.batch(count)
    }

    /// Sends this many requests at once, and reads their responses in order.
    fn batch(&mut self, count: usize) -> Fallible<()> {
        let most = if count == 1 { usize::MAX } else { PIPELINED_BYTES_MAX };
        let mut asks: Vec<_> = (0..count).map(|_| self.draw(most)).collect();
        let last = asks.len() - 1;
        asks.iter_mut().take(last).for_each(|ask| ask.is_http_1_0 = false);
        let mut bytes = Vec::new();
        for ask in &asks {
            let (head, body) = ask.write(&mut self.rng);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(&body);
        }
        let mut connection = self.connection()?;
        // A rejection may end the connection early; earlier responses are still readable.
        let written = wire::write(&connection, &bytes, &mut self.rng);
        for ask in &asks {
            match self.judge(ask, read(&mut connection, ask)) {
                End::Goes => {}
                End::Closes => return Ok(()),
                End::Broken(_) | End::Fault(_) => return Ok(()),
            }
        }
        if written.is_ok() {
            self.keep(connection);
        }
        Ok(())
    }

    fn keep(&mut self, connection: Reader) {
        if !connection.buffer().is_empty() {
            self.tally.fault(&format!(
                "bytes behind the last response: {:?}",
                connection.buffer().escape_ascii().to_string()
            ));
            return;
        }
        if self.rng.u8(..10) == 0 {
            std::thread::sleep(Duration::from_micros(self.rng.u64(..5000)));
        }
        self.kept = Some(connection);
    }

    /// Counts an outcome, and checks whether it is allowed for the request.
    fn judge(&self, ask: &Ask, end: End) -> End {
        match &end {
            End::Goes | End::Closes => self.tally.count(&format!("answered: {:?}", ask.how)),
            End::Broken(_) if ask.may_fail() => self.tally.count(&format!("broken, as it must be: {:?}", ask.how)),
            // Upload bytes after an early response may cost the connection.
            End::Broken(_) if self.is_after_early() => self.tally.count("closed after an early response"),
            End::Broken(why) | End::Fault(why) => {
                self.tally.fault(&format!("{ask:?}: {why}; before it {:?}", self.before.borrow()))
            }
        }
        let mut before = self.before.borrow_mut();
        before.push(format!("{} {} {:?}", ask.method, ask.route, ask.how));
        if before.len() > BEFORE_MAX {
            before.remove(0);
        }
        end
    }

    fn is_after_early(&self) -> bool {
        let before = self.before.borrow();
        before.last().is_some_and(|last| last.starts_with('P') && (last.ends_with("Early") || last.ends_with("Refuse")))
    }

    /// Sends a request whose body waits for an interim response.
    fn expect(&mut self) -> Fallible<()> {
        let mut ask = self.draw(usize::MAX);
        ask.expects = ask.upload.is_some();
        let (head, body) = ask.write(&mut self.rng);
        let mut connection = self.connection()?;
        let _refused = wire::write(&connection, &head, &mut self.rng);
        let mut is_kept = true;
        if ask.expects {
            let first = match wire::head(&mut connection) {
                Ok(Some(first)) => first,
                Ok(None) | Err(_) => {
                    self.judge(&ask, End::Broken("no response to an expectation".to_owned()));
                    return Ok(());
                }
            };
            if status(&first) != Some(100) {
                // A final response: the body is not sent, so the connection cannot be reused.
                let end = read_from(&mut connection, &ask, first);
                self.judge(&ask, end);
                return Ok(());
            }
            is_kept = wire::write(&connection, &body, &mut self.rng).is_ok();
        }
        let end = read(&mut connection, &ask);
        if matches!(self.judge(&ask, end), End::Goes) && is_kept {
            self.keep(connection);
        }
        Ok(())
    }

    /// A client that shuts down its sending side may get a response or none, but not a wrong one.
    fn half_close(&mut self) -> Fallible<()> {
        let ask = self.draw(usize::MAX);
        let (head, body) = ask.write(&mut self.rng);
        let mut connection = self.connection()?;
        let _broken = wire::write(&connection, &[head, body].concat(), &mut self.rng);
        let _broken = connection.get_ref().shutdown(Shutdown::Write);
        match read(&mut connection, &ask) {
            End::Fault(why) => self.tally.fault(&format!("half-closed {ask:?}: {why}")),
            End::Goes | End::Closes => self.tally.count("half-closed, answered"),
            End::Broken(_) => self.tally.count("half-closed, given up"),
        }
        Ok(())
    }

    /// Leaves at a random point of the request, while waiting, or of the response.
    fn leave(&mut self) -> Fallible<()> {
        let mut ask = self.draw(usize::MAX);
        ask.is_left = ask.upload.is_some();
        let (head, body) = ask.write(&mut self.rng);
        let bytes = [head, body].concat();
        let sent = if ask.is_left || self.rng.bool() {
            // Often within the last bytes, near the end of a body.
            let least = if self.rng.bool() { bytes.len().saturating_sub(8) } else { 0 };
            bytes.split_at(self.rng.usize(least..bytes.len())).0
        } else {
            bytes.as_slice()
        };
        let mut connection = self.connection()?;
        let _broken = wire::write(&connection, sent, &mut self.rng);
        if sent.len() == bytes.len() && self.rng.bool() {
            let part = self.rng.u64(1..=ask.length as u64 + 300);
            connection.get_ref().set_read_timeout(Some(PART_WAIT_MAX))?;
            let _broken = (&mut connection).take(part).read_to_end(&mut Vec::new());
        } else if self.rng.bool() {
            std::thread::sleep(Duration::from_micros(self.rng.u64(..3000)));
        }
        self.tally.count("left");
        self.close(connection);
        Ok(())
    }

    /// Leaves at a random point of a pipeline.
    fn leave_pipeline(&mut self) -> Fallible<()> {
        let mut connection = self.connection()?;
        let mut asks: Vec<_> = (0..self.rng.usize(2..=PIPELINE_MAX)).map(|_| self.draw(PIPELINED_BYTES_MAX)).collect();
        // A reset would be reported by the writes after an HTTP/1.0 request, not by the read of its response.
        asks.iter_mut().for_each(|ask| ask.is_http_1_0 = false);
        let mut bytes = Vec::new();
        for ask in &asks {
            let (head, body) = ask.write(&mut self.rng);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(&body);
        }
        let _broken = wire::write(&connection, &bytes, &mut self.rng);
        let answered = self.rng.usize(..asks.len());
        for ask in asks.iter().take(answered) {
            match self.judge(ask, read(&mut connection, ask)) {
                End::Goes => {}
                End::Closes | End::Broken(_) | End::Fault(_) => return Ok(()),
            }
        }
        self.tally.count("left in a pipeline");
        self.close(connection);
        Ok(())
    }

    fn close(&mut self, connection: Reader) {
        if self.rng.bool() {
            wire::reset(connection);
        }
    }
}

fn status(head: &Head) -> Option<u16> {
    head.first.strip_prefix("HTTP/1.").filter(|rest| rest.starts_with(['0', '1']))?.get(2..5)?.parse().ok()
}

/// Reads the response to a request, and the interim ones before it.
fn read(connection: &mut Reader, ask: &Ask) -> End {
    match wire::head(connection) {
        Ok(Some(head)) => read_from(connection, ask, head),
        Ok(None) => End::Broken("closed in place of a response".to_owned()),
        Err(error) => End::Broken(error.to_string()),
    }
}

fn read_from(connection: &mut Reader, ask: &Ask, head: Head) -> End {
    let wanted = format!("{:016x}", ask.nonce);
    let Some(status) = status(&head) else { return End::Fault(format!("status line {:?}", head.first)) };
    if head.field("x-nonce").is_some_and(|nonce| nonce != wanted) {
        return End::Fault(format!("the response {:?} to {:?}", head.first, head.field("x-nonce")));
    }
    if status < 200 {
        if ask.is_http_1_0 {
            return End::Fault(format!("{status} for HTTP/1.0"));
        }
        return read(connection, ask);
    }
    let is_own = head.field("x-nonce").is_none();
    if status >= 500 && is_own && !ask.may_fail() || !matches!(status, 200 | 413 | 500..) {
        return End::Fault(format!("{:?}", head.first));
    }
    if (status == 413) != (ask.how == How::Refuse && status < 500) {
        return End::Fault(format!("{:?} for {:?}", head.first, ask.how));
    }
    if status < 500 && is_own && ask.route != "through" {
        return End::Fault("a response without a number".to_owned());
    }
    let framing = match head.framing() {
        Ok(framing) => framing.unwrap_or(Framing::UntilClose),
        Err(error) => return End::Fault(error.to_string()),
    };
    if ask.is_http_1_0 && matches!(framing, Framing::Chunked) {
        return End::Fault("chunks for HTTP/1.0".to_owned());
    }
    let body = if ask.method == "HEAD" { Ok(Vec::new()) } else { wire::body(connection, framing) };
    let closes = matches!(framing, Framing::UntilClose)
        || head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
        || ask.is_http_1_0;
    let length = match status {
        200 if ask.method == "HEAD" => 0,
        200 => ask.length,
        413 => 10,
        _ if is_own && closes => return End::Closes,
        _ if is_own => return End::Goes,
        _ => return End::Fault(format!("{:?} by the backend", head.first)),
    };
    match body {
        Err(error) => End::Broken(error.to_string()),
        Ok(body) if status == 200 && ask.is_cut() && ask.route != "through" => {
            End::Fault(format!("{} bytes of a body that broke off look whole", body.len()))
        }
        Ok(body) if body != wire::content(ask.nonce, length) => {
            let start: Vec<u8> = body.iter().copied().take(80).collect();
            End::Fault(format!("{} bytes for {length}, or others: {}", body.len(), start.escape_ascii()))
        }
        Ok(_) if closes => End::Closes,
        Ok(_) => End::Goes,
    }
}
