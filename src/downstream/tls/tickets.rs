//! Keys for session tickets that rotate (RFC 8446 §4.6.1): a ticket is good until the second rotation after it was given.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::GetRandomFailed;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;

/// Ticket keys of which a new one is made this often.
pub(super) fn rotating(every: Duration) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    let seconds = u32::try_from(every.as_secs()).unwrap_or(u32::MAX / 2);
    Ok(Arc::new(TicketRotator::new(seconds, key)?))
}

fn key() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    match Ticketer::new() {
        Ok(key) => Ok(Box::new(Key(key))),
        Err(_) => Err(GetRandomFailed),
    }
}

/// One key.
#[derive(Debug)]
struct Key(Arc<dyn ProducesTickets>);

impl ProducesTickets for Key {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}
