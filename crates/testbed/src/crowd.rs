//! Many concurrent clients with the same request.

use crate::{Client, Forebay, Origin, eventually};

/// Their request.
const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";

/// A client that has sent this request and waits.
#[track_caller]
#[must_use]
pub fn asking(forebay: &Forebay, request: &str) -> Client {
    let mut client = forebay.client();
    client.send(request);
    client
}

/// Sends `GET /` for the host `shop.test` from this many clients at once; returns when forebay has accepted all of
/// them.
#[track_caller]
#[must_use]
pub fn crowd(forebay: &Forebay, count: usize) -> Vec<Client> {
    let before = forebay.gauges().in_flight;
    let clients = (0..count).map(|_| asking(forebay, GET)).collect();
    forebay.eventually("all are inside", |gauges| gauges.in_flight == before + count);
    clients
}

/// Sends one request first, and from this many clients more after the backend has received it.
#[track_caller]
#[must_use]
pub fn leader_and_followers(forebay: &Forebay, origin: &Origin, count: usize) -> (Client, Vec<Client>) {
    let leader = asking(forebay, GET);
    eventually("the backend is asked", || origin.held() == 1);
    (leader, crowd(forebay, count))
}
