//! Many clients who ask for the same at once.

use crate::{Client, Forebay, Origin, eventually};

/// What they ask for.
const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";

/// A client that has sent this and waits.
#[track_caller]
#[must_use]
pub fn asking(forebay: &Forebay, request: &str) -> Client {
    let mut client = forebay.client();
    client.send(request);
    client
}

/// So many who `GET /` for the host `shop.test` at once; returns when all of them are inside.
#[track_caller]
#[must_use]
pub fn crowd(forebay: &Forebay, count: usize) -> Vec<Client> {
    let before = forebay.gauges().in_flight;
    let clients = (0..count).map(|_| asking(forebay, GET)).collect();
    forebay.eventually("all are inside", |gauges| gauges.in_flight == before + count);
    clients
}

/// One who asks first, and so many who ask after the backend has the first one's request.
#[track_caller]
#[must_use]
pub fn leader_and_followers(forebay: &Forebay, origin: &Origin, count: usize) -> (Client, Vec<Client>) {
    let leader = asking(forebay, GET);
    eventually("the backend is asked", || origin.held() == 1);
    (leader, crowd(forebay, count))
}
