//! The spine: the way of a request, from a parsed head to an answer.
//!
//! [`handle`] owns the order of things; every room on the way is entered once.

pub mod cached;
pub mod finish;
pub mod flush;
pub mod gate;
pub mod onward;
pub mod purge;
pub mod sanitize;
pub mod side;
pub mod site;
pub mod through;
pub mod write;

use http::HeaderMap;
use policy::cache::forget;

use self::finish::Open;
use self::site::Site;
use crate::config::plan::{Action, Edits};
use crate::exchange::fault::Fault;
use crate::exchange::{Answer, Exchange};

/// Answers a request, whatever becomes of it.
pub async fn serve(site: &Site, open: &mut Open) -> Answer {
    let handled = handle(site, open.exchange()).await;
    open.answer(handled)
}

/// The way of a request.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub async fn handle(site: &Site, ex: &mut Exchange) -> Result<Answer, Fault> {
    let admitted = sanitize::admit(site, ex)?;
    if admitted.ends_here {
        return Ok(gate::options());
    }
    if *"PURGE" == *ex.head.method.as_str()
        && let Some(purged) = purge::answer(site, ex, &admitted)
    {
        return Ok(purged);
    }
    let (index, route) = gate::route(site, ex, &admitted)?;
    let mut answer = match &route.action {
        Action::Redirect(redirect) => gate::redirect(redirect, ex, &admitted)?,
        Action::Respond(respond) => gate::respond(respond, &ex.head.method),
        Action::Forward(_) | Action::Split(_) => {
            let chosen = side::choose(site, index, ex, &admitted)?;
            let onward = chosen.onward;
            let mut answer = match site.caching(index, chosen.side) {
                Some(caching) => cached::answer(site, (route, onward, caching), ex, &admitted).await?,
                None if site.caches() && !forget::is_safe(&ex.head.method) => {
                    Box::pin(cached::change(site, (route, onward), ex, &admitted)).await?
                }
                None => {
                    sanitize::stamp(site, ex, &admitted);
                    let draft = gate::draft(site, route, &onward.group, (ex, &admitted))?;
                    onward.forward(ex, draft).await?
                }
            };
            chosen.mark(answer.headers_mut());
            answer
        }
    };
    edit(answer.headers_mut(), &route.response_headers);
    Ok(answer)
}

/// Carries out a route's changes to a header section.
fn edit(headers: &mut HeaderMap, edits: &Edits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name.clone(), value.clone());
    }
}
