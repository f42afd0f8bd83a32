//! One backend for each client address, as long as that backend is open.
//!
//! While it is closed, only its clients move, each to the next open backend along the ring; they return with it.
//! Ignores weights and load; [`super::Consistent`] honours both.

use super::ring::Ring;
use super::{Draw, EndpointView};

/// A consistent hash ring with 160 points for each backend.
#[derive(Clone, Debug)]
pub struct IpHash {
    ring: Ring,
}

impl IpHash {
    /// One name for each backend. A backend keeps its clients across a reload as long as it keeps its name.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        Self { ring: Ring::new(names.iter().map(|name| (*name, 1))) }
    }

    pub(super) fn pick(&mut self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        let owner = self.ring.walk(draw.key).next()?;
        if endpoints.open(owner) {
            return Some(owner);
        }
        // Checked for each backend first: a walk that finds none would visit every point of the ring.
        endpoints.usable().iter().find(|&&index| endpoints.open(index))?;
        self.ring.walk(draw.key).find(|&index| endpoints.open(index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key;
    use super::super::scripted::Scripted;
    use super::*;

    fn balancer(count: usize) -> IpHash {
        let names: Vec<String> = (0..count).map(|index| format!("http://10.1.0.{index}:80")).collect();
        IpHash::new(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn draw(client: usize) -> Draw {
        let address = std::net::Ipv4Addr::from_bits(0xc000_0200 + client as u32);
        Draw { key: key::of_address(address.into()), random: 0, retry: false }
    }

    #[test]
    fn with_one_backend_closed_among_ten_thousand_few_looks_suffice() {
        let mut balancer = balancer(10_000);
        let mut scripted = Scripted::of(10_000);
        for client in 0..1_000 {
            let picked = balancer.pick(&scripted, &draw(client)).expect("all are open");
            scripted.free[picked] = false;
            assert!(balancer.pick(&scripted, &draw(client)).is_some());
            scripted.free[picked] = true;
        }
        assert!(scripted.asked() < 1_000 * 8);
    }

    #[test]
    fn with_everything_closed_each_endpoint_is_looked_at_once_or_twice() {
        let mut balancer = balancer(200);
        let mut scripted = Scripted::of(200);
        scripted.free.fill(false);
        assert_eq!(balancer.pick(&scripted, &draw(1)), None);
        assert!(scripted.asked() <= 201);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn only_the_clients_of_a_closed_backend_move_and_they_come_back(
            count in 2_usize..=200,
            closed in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        ) {
            let mut balancer = balancer(count);
            let mut scripted = Scripted::of(count);
            let home: Vec<_> = (0..500).map(|client| balancer.pick(&scripted, &draw(client))).collect();
            for index in &closed {
                scripted.free[index.index(count)] = false;
            }
            for (client, home) in home.iter().enumerate() {
                let at = home.expect("all were open");
                match balancer.pick(&scripted, &draw(client)) {
                    Some(index) if scripted.free[at] => prop_assert_eq!(index, at),
                    Some(index) => prop_assert!(scripted.free[index]),
                    None => prop_assert!(scripted.free.iter().all(|free| !free)),
                }
            }
            scripted.free.fill(true);
            for (client, home) in home.iter().enumerate() {
                prop_assert_eq!(balancer.pick(&scripted, &draw(client)), *home);
            }
        }
    }

    #[test]
    fn the_clients_of_a_closed_backend_spread_over_many_others() {
        let mut balancer = balancer(10);
        let mut scripted = Scripted::of(10);
        let moved: Vec<_> = (0..5_000).filter(|client| balancer.pick(&scripted, &draw(*client)) == Some(0)).collect();
        scripted.set_usable(0, false);
        let mut takers = [0; 10];
        for client in &moved {
            takers[balancer.pick(&scripted, &draw(*client)).expect("nine are open")] += 1;
        }
        assert!(takers.iter().skip(1).all(|taken| *taken > 0 && *taken < moved.len() / 2), "{takers:?}");
    }
}
