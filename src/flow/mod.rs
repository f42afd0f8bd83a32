//! The spine: the way of a request, from a parsed head to an answer.
//!
//! [`begin`] and [`go_on`] own the order of things; every room on the way is entered once.

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

use message::Fields;
use policy::cache::forget;

use self::sanitize::Admitted;
use self::side::Chosen;
use self::site::Site;
use crate::config::plan::{Action, Edits, Route};
use crate::exchange::fault::Fault;
use crate::exchange::{Answer, Exchange};
use crate::store::purge::Banned;
use crate::upstream::send::Draft;

/// How far a request gets without waiting for anybody.
pub enum Step {
    /// To its answer: a stored or fixed one, a redirect.
    Answered(Answer),
    /// To where somebody has to be asked.
    Waits(Way),
    /// To where a `PURGE` waits until all is swept: [`purge::swept`].
    Sweeps(Banned),
}

/// The rest of a request's way, to be gone with [`go_on`].
pub struct Way {
    /// The route's index.
    route: usize,
    chosen: Chosen,
    errand: Errand,
}

/// What is to be done at the end of a way.
enum Errand {
    /// Pass it on.
    Pass(Draft),
    /// Answer it from the cache, or by what a backend says.
    Cached(Admitted),
    /// Pass it on, and forget what it makes void.
    Change(Admitted),
}

/// The way of a request, as far as it goes without waiting. Most answers of a cache go no further: they never become a
/// future, which would have to be kept and moved.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub fn begin(site: &Site, ex: &mut Exchange) -> Result<Step, Fault> {
    let admitted = sanitize::admit(site, ex)?;
    if admitted.ends_here {
        return Ok(Step::Answered(gate::options()));
    }
    if let Some(port) = gate::redirect_https(site, ex, &admitted) {
        return gate::by_https(port, ex, &admitted).map(Step::Answered);
    }
    if *"PURGE" == *ex.head.method.as_str()
        && let Some(purged) = purge::answer(site, ex, &admitted)
    {
        return Ok(purged);
    }
    let (index, route) = gate::route(site, ex, &admitted)?;
    let chosen = match &route.action {
        Action::Redirect(redirect) => return gate::redirect(redirect, ex, &admitted).map(|answer| done(route, answer)),
        Action::Respond(respond) => return Ok(done(route, gate::respond(respond, &ex.head.method))),
        Action::Forward(_) | Action::Split(_) => side::choose(site, index, ex, &admitted)?,
    };
    let errand = match site.caching(index, chosen.side) {
        Some(caching) => {
            if let Some(mut answer) = cached::at_once(site, (route, caching), ex, &admitted) {
                chosen.mark(&mut answer.fields);
                return Ok(done(route, answer));
            }
            Errand::Cached(admitted)
        }
        None if site.caches() && !forget::is_safe(&ex.head.method) => Errand::Change(admitted),
        None => {
            sanitize::stamp(site, ex, &admitted, &admitted.host.authority);
            Errand::Pass(gate::draft(site, route, &chosen.onward.group, (ex, &admitted))?)
        }
    };
    Ok(Step::Waits(Way { route: index, chosen, errand }))
}

fn done(route: &Route, mut answer: Answer) -> Step {
    edit(&mut answer.fields, &route.response_headers);
    Step::Answered(answer)
}

/// Goes the rest of a request's way.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub async fn go_on(site: &Site, ex: &mut Exchange, way: &mut Way) -> Result<Answer, Fault> {
    let onward = &way.chosen.onward;
    let route = site.plan().routes.get(way.route).ok_or(Fault::NoRoute)?;
    let mut answer = match &way.errand {
        Errand::Pass(draft) => onward.forward(ex, draft).await?,
        Errand::Cached(admitted) => {
            let caching = site.caching(way.route, way.chosen.side).ok_or(Fault::NoRoute)?;
            Box::pin(cached::answer(site, (route, onward, caching), ex, admitted)).await?
        }
        Errand::Change(admitted) => Box::pin(cached::change(site, (route, onward), ex, admitted)).await?,
    };
    way.chosen.mark(&mut answer.fields);
    edit(&mut answer.fields, &route.response_headers);
    Ok(answer)
}

/// Carries out a route's changes to a header section.
fn edit(fields: &mut Fields, edits: &Edits) {
    for name in &edits.remove {
        fields.drop_named(name);
    }
    for (name, value) in &edits.set {
        fields.set(name, value);
    }
}
