//! Handshakes with clients, bounded in time and in number at once.
//!
//! When there are too many the one that has taken longest is given up: a client that is slow on purpose makes room for
//! those that are not.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use message::Fields;
use policy::certificate::{encode, subject, x509};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::Tls;
use crate::config::plan::ClientAuth;
use crate::downstream::socket::{Carrier, Socket};
use crate::exchange::client_tls::ClientTls;
use crate::telemetry::counters::Counters;

/// The longest certificate of a client, in bytes: backends are sent it in a field.
const CLIENT_CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Broken(#[from] io::Error),
    #[error("it has taken too long")]
    Late,
    #[error("there are too many handshakes at once")]
    Crowded,
    #[error("the client's certificate is longer than {CLIENT_CERTIFICATE_BYTES_MAX} bytes, or can't be read")]
    Certificate,
}

/// The handshakes that one worker has under way on one listener.
#[derive(Default)]
pub(in crate::downstream) struct Handshakes {
    /// In the order of their beginning. What is dropped gives the handshake up.
    pending: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
    begun: Cell<u64>,
}

/// A handshake among those that are under way.
struct Place<'h> {
    handshakes: &'h Handshakes,
    number: u64,
    /// Ends when the handshake is to be given up.
    crowded: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Makes room for one more of `max` at once.
    fn begin(&self, max: usize) -> Place<'_> {
        let mut pending = self.pending.borrow_mut();
        while pending.len() >= max.max(1) {
            pending.pop_first();
        }
        let number = self.begun.get();
        self.begun.set(number + 1);
        let (kept, crowded) = oneshot::channel();
        pending.insert(number, kept);
        Place { handshakes: self, number, crowded }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.handshakes.pending.borrow_mut().remove(&self.number);
    }
}

/// Makes a TLS connection over a socket; `None`: none comes of it. `workers`: among how many the listener's handshakes are
/// shared out.
pub(in crate::downstream) async fn secure(
    carrier: Carrier,
    tls: &Tls,
    handshakes: Rc<Handshakes>,
    (workers, counters): (usize, &Counters),
) -> Option<(Socket, ClientTls)> {
    let place = handshakes.begin(tls.plan.handshakes_max.div_ceil(workers.max(1)));
    match run(carrier, tls, place).await {
        Ok((socket, client, kind)) => {
            counters.tls_handshakes.up();
            if client.version == Some(TLS_1_2) {
                counters.tls_1_2_handshakes.up();
            }
            if kind == Some(HandshakeKind::Resumed) {
                counters.tls_resumptions.up();
            }
            Some((socket, client))
        }
        Err(failure) => {
            counters.tls_failures.up();
            tracing::debug!("a TLS handshake has failed: {failure}");
            None
        }
    }
}

async fn run(
    carrier: Carrier,
    tls: &Tls,
    mut place: Place<'_>,
) -> Result<(Socket, ClientTls, Option<HandshakeKind>), Failure> {
    let accepting = TlsAcceptor::from(Arc::clone(&tls.config)).accept(carrier);
    let stream = tokio::select! {
        biased;
        _dropped = &mut place.crowded => return Err(Failure::Crowded),
        accepted = accepting => accepted?,
        () = tokio::time::sleep(tls.plan.handshake_timeout) => return Err(Failure::Late),
    };
    let (_, session) = stream.get_ref();
    let certificate = match session.peer_certificates().and_then(|chain| chain.first()) {
        Some(certificate) => Some(fields(certificate).ok_or(Failure::Certificate)?),
        None => None,
    };
    let client = ClientTls {
        server_name: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        hsts: tls.plan.hsts.clone(),
        version: session.protocol_version().and_then(name),
        names: Arc::clone(&tls.certificates.names),
        asks_for_certificate: tls.plan.client_auth != ClientAuth::Off,
        certificate,
    };
    let kind = session.handshake_kind();
    Ok((Socket::Tls(Box::new(stream)), client, kind))
}

/// The name of TLS 1.2, as other proxies write it.
const TLS_1_2: &str = "TLSv1.2";

/// The name of a version of TLS.
fn name(version: ProtocolVersion) -> Option<&'static str> {
    let names = [(ProtocolVersion::TLSv1_2, TLS_1_2), (ProtocolVersion::TLSv1_3, "TLSv1.3")];
    names.into_iter().find(|(known, _)| *known == version).map(|(_, name)| name)
}

/// What backends are told of a client's certificate.
fn fields(certificate: &[u8]) -> Option<Fields> {
    let read = x509::read(certificate).filter(|_| certificate.len() <= CLIENT_CERTIFICATE_BYTES_MAX)?;
    let sha256 = TLS13_AES_128_GCM_SHA256.tls13()?.common.hash_provider.hash(certificate);
    let mut fields = Fields::new();
    fields.append("X-Client-Cert-Subject", subject::text(read.subject));
    fields.append("X-Client-Cert-San", subject::names(&read.names));
    fields.append("X-Client-Cert-Fingerprint", encode::hexadecimal(sha256.as_ref()));
    // A byte sequence (RFC 9440 §2.1, RFC 9651 §3.3.5).
    fields.append("Client-Cert", format!(":{}:", encode::base64(certificate)));
    Some(fields.compact())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_handshake_makes_room_for_one_too_many() {
        let handshakes = Handshakes::default();
        let (mut first, mut second) = (handshakes.begin(2), handshakes.begin(2));
        drop(handshakes.begin(3));
        let is_given_up = |place: &mut Place<'_>| place.crowded.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(!is_given_up(&mut first) && !is_given_up(&mut second));
        let mut third = handshakes.begin(2);
        assert!(is_given_up(&mut first) && !is_given_up(&mut second) && !is_given_up(&mut third));
        drop(first);
        assert_eq!(handshakes.pending.borrow().len(), 2);
        drop((second, third));
        assert!(handshakes.pending.borrow().is_empty());
    }
}
