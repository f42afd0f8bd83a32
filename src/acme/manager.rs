//! Orders what is due, a few names at once, for as long as the process runs.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use tokio::task::JoinSet;

use super::files::KeptFailures;
use super::information;
use super::managed::{Busy, Managed};
use super::order::{Issued, OrderError, Wanted};
use super::session::{AccountError, Session};
use super::shared::{Acme, Work};
use crate::telemetry::{clock, random};

/// How many names are ordered at once.
const AT_ONCE: usize = 4;
/// How long one order may take.
const ORDER_MAX: Duration = Duration::from_secs(300);
/// How often it is looked whether something is due: the clock of the system may be set.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How soon it is looked again at least.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// Keeps certificates up until it is dropped. To be run on the control thread.
pub(crate) async fn run(acme: Arc<Acme>) {
    let mut running = JoinSet::new();
    let mut session: Option<Arc<Session>> = None;
    loop {
        let work = acme.work();
        let is_same = match (&session, &work.session) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !is_same {
            // What another authority is asked is of no use any more.
            running.shutdown().await;
            session.clone_from(&work.session);
        }
        begin(&acme, &work, &mut running);
        let pause = pause(&work, running.len());
        tokio::select! {
            () = acme.changed.notified() => {}
            Some(_) = running.join_next() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Begins what is due.
fn begin(acme: &Arc<Acme>, work: &Arc<Work>, running: &mut JoinSet<()>) {
    let Some(session) = &work.session else { return };
    let now = clock::now().wall;
    for certificate in work.certificates.values() {
        if running.len() >= AT_ONCE {
            return;
        }
        let standing = certificate.standing();
        let is_due = standing.due() <= now;
        if !is_due && (!standing.is_issued || standing.ask_at > now) {
            continue;
        }
        let Some(busy) = certificate.begin() else { continue };
        let (acme, work, session) = (Arc::clone(acme), Arc::clone(work), Arc::clone(session));
        running.spawn_local(async move {
            match is_due {
                true => order(&acme, &work, &session, &busy).await,
                false => inform(&session, &busy).await,
            }
        });
    }
}

/// How long nothing will be due, or nothing more can begin.
fn pause(work: &Work, running: usize) -> Duration {
    if work.session.is_none() || running >= AT_ONCE {
        return LOOK_EVERY;
    }
    let idle = work.certificates.values().filter(|certificate| !certificate.is_busy());
    let next = idle.map(|certificate| {
        let standing = certificate.standing();
        if standing.is_issued { standing.due().min(standing.ask_at) } else { standing.due() }
    });
    let wait = next.min().map_or(LOOK_EVERY, |next| next.saturating_sub(clock::now().wall));
    wait.clamp(LOOK_AFTER, LOOK_EVERY)
}

/// Asks the authority when it suggests to renew a certificate.
async fn inform(session: &Session, busy: &Busy) {
    let suggested = information::ask(&session.client, &session.plan.directory, &busy.0.key()).await;
    busy.0.informed(suggested.window, clock::now().wall.saturating_add(suggested.age_max));
}

/// Orders a certificate. That it has begun is written down first: a process that dies on the way, again and again, does not
/// ask the authority each time.
async fn order(acme: &Acme, work: &Work, session: &Session, Busy(certificate): &Busy) {
    let name = &*certificate.name;
    let before = certificate.standing().failures;
    let begun = failure(session, before.saturating_add(1), None);
    certificate.failed(&begun);
    if let Err(error) = session.files.keep_failures(name, &begun) {
        let reason = format!("server.state_dir can't be written: {error}");
        return give_up(acme, session, certificate, KeptFailures { reason: Some(reason), ..begun });
    }
    acme.orders.up();
    tracing::info!("acme: a certificate for {name} is ordered from {}", session.plan.directory);
    let provider = aws_lc_rs::default_provider();
    let wanted =
        Wanted { name, published: &acme.published, can_meet: &work.challenges, failures: before, provider: &provider };
    let ordered = async { wanted.order(&session.account().await?).await };
    let ordered = tokio::time::timeout(ORDER_MAX, ordered).await.unwrap_or(Err(OrderError::Late));
    match ordered {
        Ok(Issued { key, pem }) => {
            if let Err(error) = session.files.keep_certificate(name, &pem) {
                tracing::error!("acme: the certificate for {name} is used, but can't be written: {error}");
            }
            session.files.forget_failures(name);
            certificate.issued(key, random::fraction());
            let days = certificate.standing().valid.ends.saturating_sub(clock::now().wall).as_secs() / 86_400;
            tracing::info!("acme: {name} has a new certificate, which is valid for {days} days");
        }
        Err(error) => {
            if let OrderError::Acme(error) | OrderError::Account(AccountError::Acme(error)) = &error {
                session.look_at(error).await;
            }
            give_up(acme, session, certificate, failure(session, begun.count, Some(error.to_string())));
        }
    }
}

fn failure(session: &Session, count: u32, reason: Option<String>) -> KeptFailures {
    let wait = session.plan.retry().wait(count, session.client.take_asked_to_wait(), random::fraction());
    let next_try = clock::now().wall.saturating_add(wait);
    KeptFailures { count, next_try_unix_ms: u64::try_from(next_try.as_millis()).unwrap_or(u64::MAX), reason }
}

/// An order has failed.
fn give_up(acme: &Acme, session: &Session, certificate: &Managed, failures: KeptFailures) {
    acme.failures.up();
    let name = &certificate.name;
    if let Err(error) = session.files.keep_failures(name, &failures) {
        tracing::error!("acme: server.state_dir can't be written: {error}");
    }
    certificate.failed(&failures);
    let next_try = Duration::from_millis(failures.next_try_unix_ms);
    let wait = next_try.saturating_sub(clock::now().wall);
    let ends = certificate.standing().valid.ends.saturating_sub(clock::now().wall).as_secs() / 86_400;
    let reason = failures.reason.unwrap_or_default();
    let shown = if certificate.standing().is_self_signed {
        "clients get a self-signed one".to_owned()
    } else {
        format!("clients get the present one, which is valid for {ends} days")
    };
    tracing::warn!("acme: no certificate for {name}: {reason}; {shown}; the next try is in {wait:.0?}");
}
