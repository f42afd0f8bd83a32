//! Choosing a side of a split: by chance, by a client's key, and that key from a cookie, a field, an address.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use divan::{Bencher, black_box};
use policy::balance::prng::splitmix64;
use policy::message::cookies;
use policy::route::split::{Order, Share, Shares};
use policy::route::sticky::{Salt, Signer};

use crate::headers;

const SIDES: [usize; 3] = [2, 3, 10];
const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
const NOW: Duration = Duration::from_secs(1_790_000_000);
const MAX_AGE: Duration = Duration::from_hours(720);

/// The first has a tenth of all requests, the others share the rest alike.
fn shares(sides: usize) -> Option<Shares> {
    let mut weights = vec![Share::NONE; sides];
    *weights.first_mut()? = Share::WHOLE;
    Shares::new(weights).ok()?.with(0, Share::from_percent(10.0)?).ok()
}

#[divan::bench(args = SIDES)]
fn draw(bencher: Bencher<'_, '_>, sides: usize) {
    let mut random = 0;
    let shares = shares(sides);
    bencher.bench_local(|| {
        random = splitmix64(random);
        shares.as_ref().map(|shares| shares.draw(random))
    });
}

#[divan::bench(args = SIDES)]
fn keep(bencher: Bencher<'_, '_>, sides: usize) {
    let mut key = 0;
    let shares = shares(sides);
    let order = Order::of(NAMES.into_iter().take(sides));
    bencher.bench_local(|| {
        key = splitmix64(key);
        shares.as_ref().map(|shares| shares.keep(key, &order))
    });
}

#[divan::bench]
fn cookie_found(bencher: Bencher<'_, '_>) {
    let headers =
        headers(&[("cookie", "theme=dark; session=8f1c2b7e90aa41d3; consent=all; forebay_side=v1.7.6ab13b80.1c28")]);
    bencher.bench(|| cookies::find(black_box(&headers), "forebay_side").map(str::len));
}

#[divan::bench]
fn cookie_read(bencher: Bencher<'_, '_>) {
    let signer = Signer::new(b"a secret of the benchmark");
    let value = signer.issue(7, NOW);
    bencher.bench(|| signer.read(black_box(&value), NOW, MAX_AGE));
}

#[divan::bench]
fn cookie_issued(bencher: Bencher<'_, '_>) {
    let signer = Signer::new(b"a secret of the benchmark");
    bencher.bench(|| signer.issue(black_box(7), NOW));
}

#[divan::bench]
fn key_of_field(bencher: Bencher<'_, '_>) {
    let salt = Salt::of(["users-v2", "legacy"]);
    bencher.bench(|| salt.key(black_box(b"8f1c2b7e90aa41d3")));
}

#[divan::bench]
fn key_of_address(bencher: Bencher<'_, '_>) {
    let salt = Salt::of(["users-v2", "legacy"]);
    bencher.bench(|| salt.address_key(black_box(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))));
}
