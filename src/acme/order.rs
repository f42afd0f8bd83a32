//! One order: from the account to a certificate, with the challenges on the way.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeStatus, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use policy::certificate::challenge::{self, Challenge};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;

use super::challenges::{Publication, Published};
use super::session::{AccountError, said};
use crate::tls::{TlsError, issue};

/// How long the authority may take over one step of an order.
const STEP_MAX: Duration = Duration::from_secs(120);

/// Why an order has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// There is no account.
    #[error("{0}")]
    Account(#[from] AccountError),
    /// The authority refuses, or can't be asked.
    #[error("{}", said(.0))]
    Acme(#[from] instant_acme::Error),
    /// No challenge can be met.
    #[error("the authority offers no challenge that a listener can answer; it offers {0}")]
    NoChallenge(String),
    /// The name could not be verified.
    #[error("the authority could not verify the name: {0}")]
    Unverified(String),
    /// What it has issued can't be used, or a key can't be made.
    #[error("{0}")]
    Unusable(#[from] TlsError),
    /// It has not ended.
    #[error("the authority took longer than {STEP_MAX:?}")]
    Late,
}

/// A certificate, and the text to keep of it.
pub(super) struct Issued {
    pub(super) key: CertifiedKey,
    pub(super) pem: String,
}

/// What an order is for, and how challenges are answered.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) published: &'a Arc<Published>,
    pub(super) can_meet: &'a [Challenge],
    /// How many orders have failed before.
    pub(super) failures: u32,
    pub(super) provider: &'a CryptoProvider,
}

impl Wanted<'_> {
    /// Orders a certificate, and waits for it.
    pub(super) async fn order(&self, account: &Account) -> Result<Issued, OrderError> {
        let identifiers = [Identifier::Dns(self.name.to_owned())];
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let publications = self.answer(&mut order).await?;
        let policy = RetryPolicy::new().timeout(STEP_MAX);
        match order.poll_ready(&policy).await.map_err(late) {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(OrderError::Unverified(refusal(&mut order).await)),
            Err(OrderError::Acme(instant_acme::Error::Api(problem))) => {
                let why = refusal(&mut order).await;
                let plain = OrderError::Acme(instant_acme::Error::Api(problem));
                return Err(if why.is_empty() { plain } else { OrderError::Unverified(why) });
            }
            Err(error) => return Err(error),
        }
        drop(publications);
        let (key, request) = issue::request(self.name)?;
        order.finalize_csr(&request).await?;
        let chain = order.poll_certificate(&policy).await.map_err(late)?;
        let pem = issue::key_pem(&key) + &chain;
        Ok(Issued { key: issue::issued(pem.as_bytes(), self.name, self.provider)?, pem })
    }

    /// Publishes the answers, and says so to the authority.
    async fn answer(&self, order: &mut Order) -> Result<Vec<Publication>, OrderError> {
        let mut publications = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            publications.push(self.answer_one(&mut authorization).await?);
        }
        Ok(publications)
    }

    async fn answer_one<'a>(&self, authorization: &'a mut AuthorizationHandle<'a>) -> Result<Publication, OrderError> {
        let kinds: Vec<&ChallengeType> = authorization.challenges.iter().map(|one| &one.r#type).collect();
        let offered: Vec<Challenge> =
            [Challenge::Http01, Challenge::TlsAlpn01].into_iter().filter(|one| kinds.contains(&&kind(*one))).collect();
        let names = || kinds.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(", ");
        let Some(chosen) = challenge::choose(self.can_meet, &offered, self.failures) else {
            return Err(OrderError::NoChallenge(names()));
        };
        let none = OrderError::NoChallenge(names());
        let mut handle = authorization.challenge(kind(chosen)).ok_or(none)?;
        let text = handle.key_authorization();
        let publication = match chosen {
            Challenge::Http01 => self.published.publish_text(&handle.token, text.as_str()),
            Challenge::TlsAlpn01 => {
                let certificate = issue::challenge(self.name, text.digest().as_ref(), self.provider)?;
                self.published.publish_certificate(self.name, certificate)
            }
        };
        tracing::debug!("acme: {}: the authority verifies the name by {}", self.name, chosen.as_str());
        handle.set_ready().await?;
        Ok(publication)
    }
}

/// What the authority calls a challenge.
fn kind(challenge: Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

fn late(error: instant_acme::Error) -> OrderError {
    if matches!(error, instant_acme::Error::Timeout(_)) { OrderError::Late } else { OrderError::Acme(error) }
}

/// Why an order has become invalid, as its authorizations say it.
async fn refusal(order: &mut Order) -> String {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let failed = state.challenges.iter().filter(|challenge| challenge.status == ChallengeStatus::Invalid);
        for (challenge, error) in failed.filter_map(|challenge| Some((challenge, challenge.error.as_ref()?))) {
            let detail = error.detail.as_deref().or(error.r#type.as_deref()).unwrap_or("no reason");
            reasons.push(format!("{detail} ({:?})", challenge.r#type));
        }
    }
    reasons.join("; ")
}
