//! Session tickets that all nodes with one secret can read: their keys come from the secret and the time.
//!
//! A ticket is a period of time, a nonce, and the encrypted session. Its key is good for that period and the next one, and
//! can't be made without the secret. Clocks of nodes may differ by less than a period.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use parking_lot::Mutex;
use rustls::server::ProducesTickets;

use crate::config::plan::Token;
use crate::telemetry::clock;

/// What keys of this kind are made for: no other use of the same secret makes them.
const PURPOSE: &[u8] = b"forebay session tickets 1";
/// How long a key of AES-256 is, in bytes.
const KEY_BYTES: usize = 32;
/// How many keys are of use at one moment: those of the period before, of this one, and of the next, which another node may
/// have begun.
const KEYS_MAX: usize = 3;

/// Makes tickets, and reads those of other nodes.
pub(super) struct SharedTickets {
    root: Prk,
    /// The hash of what sessions depend on.
    context: [u8; KEY_BYTES],
    period_seconds: u64,
    keys: Mutex<Vec<(u64, Arc<RandomizedNonceKey>)>>,
}

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl SharedTickets {
    /// Keys that change once a `period`. Tickets are of use only where `context` is the same: what a session that is resumed
    /// is not verified by anew.
    pub(super) fn new(secret: &Token, context: &[u8], period: Duration) -> Self {
        let mut hash = [0; KEY_BYTES];
        for (to, from) in hash.iter_mut().zip(digest(&SHA256, context).as_ref()) {
            *to = *from;
        }
        Self {
            root: Salt::new(HKDF_SHA256, PURPOSE).extract(secret.reveal().as_bytes()),
            context: hash,
            period_seconds: period.as_secs().max(1),
            keys: Mutex::default(),
        }
    }

    fn period(&self) -> u64 {
        clock::now().wall.as_secs() / self.period_seconds
    }

    /// The key of a period, if it is of use now.
    fn key(&self, period: u64) -> Option<Arc<RandomizedNonceKey>> {
        let now = self.period();
        let is_of_use = |period: u64| period.abs_diff(now) <= 1;
        if !is_of_use(period) {
            return None;
        }
        let mut keys = self.keys.lock();
        if let Some((_, key)) = keys.iter().find(|(known, _)| *known == period) {
            return Some(Arc::clone(key));
        }
        keys.retain(|(known, _)| is_of_use(*known));
        keys.truncate(KEYS_MAX - 1);
        let mut bytes = [0; KEY_BYTES];
        self.root.expand(&[&self.context, &period.to_be_bytes()], KeyLength).ok()?.fill(&mut bytes).ok()?;
        let key = Arc::new(RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?);
        keys.push((period, Arc::clone(&key)));
        Some(key)
    }
}

impl ProducesTickets for SharedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.period_seconds.saturating_mul(2)).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let period = self.period();
        let (key, name) = (self.key(period)?, period.to_be_bytes());
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        Some([&name[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.key(u64::from_be_bytes(*name))?;
        let mut sealed = sealed.to_vec();
        let plain = key.open_in_place(Nonce::from(nonce), Aad::from(*name), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl std::fmt::Debug for SharedTickets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SharedTickets").field("period_seconds", &self.period_seconds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn tickets(secret: &str, context: &str) -> SharedTickets {
        SharedTickets::new(&Token::new(secret), context.as_bytes(), HOUR)
    }

    #[test]
    fn a_ticket_is_read_by_every_node_with_the_secret_and_the_context() {
        let ticket = tickets("secret", "a").encrypt(b"session").unwrap();
        assert_eq!(tickets("secret", "a").decrypt(&ticket), Some(b"session".to_vec()));
        assert_eq!(tickets("secreT", "a").decrypt(&ticket), None);
        assert_eq!(tickets("secret", "b").decrypt(&ticket), None);
        assert!(!ticket.windows(7).any(|window| window == b"session"));
    }

    #[test]
    fn a_changed_or_cut_ticket_is_not_read() {
        let tickets = tickets("secret", "");
        let ticket = tickets.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "changed at {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut at {at}");
        }
        assert_ne!(tickets.encrypt(b"session").unwrap(), ticket);
    }

    #[test]
    fn a_ticket_is_of_use_in_its_period_and_in_the_next() {
        let tickets = tickets("secret", "");
        let now = tickets.period();
        assert!(tickets.key(now - 1).is_some() && tickets.key(now + 1).is_some());
        assert!(tickets.key(now - 3).is_none() && tickets.key(now + 3).is_none() && tickets.key(u64::MAX).is_none());
        assert!(tickets.keys.lock().len() <= KEYS_MAX);
    }
}
