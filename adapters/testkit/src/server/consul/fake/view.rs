//! Answers out of a view of the agent.

use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::found::Found;
use super::mood::Streams;
use super::question::{Question, Refusal};
use super::views::View;
use super::{Counted, Shared};

const REVOKED: &str = "rpc error: code = Unknown desc = ACL not found";

/// Waits until the view's index is beyond the one that is known, or time is up. Then the index is the one that
/// was seen last, and the content the one of now: a view that was never filled is empty.
pub(super) async fn held(shared: &Shared, question: &Question, name: &str) -> Result<Found, Refusal> {
    let mut changes = shared.changes.subscribe();
    let deadline = Instant::now() + question.wait;
    let _waiting = Counted::new(shared, |counts| &mut counts.waiting);
    let breaks = shared.catalog().views.breaks;
    let mut seen = look(shared, question, name)?;
    loop {
        changes.borrow_and_update();
        let view = look(shared, question, name)?;
        if view.version != seen.version {
            seen.clone_from(&view);
        }
        if seen.index > question.index {
            return Ok(Found::in_a_view(seen.index, view.body));
        }
        fail_if_broken(shared, breaks)?;
        if timeout_at(deadline, changes.changed()).await.is_err() {
            let view = look(shared, question, name)?;
            return Ok(Found::in_a_view(seen.index, view.body));
        }
    }
}

fn look(shared: &Shared, question: &Question, name: &str) -> Result<View, Refusal> {
    let mut catalog = shared.catalog();
    if !catalog.allows(question.token.as_deref()) {
        return Err(Refusal(StatusCode::FORBIDDEN, REVOKED));
    }
    let now = catalog.instances(name);
    Ok(catalog.views.get(&question.view(name), name, &now))
}

/// Only who waits is told: an index that the view has passed is answered with what it has.
fn fail_if_broken(shared: &Shared, breaks: u64) -> Result<(), Refusal> {
    let catalog = shared.catalog();
    if catalog.views.streams == Streams::Broken || catalog.views.breaks != breaks {
        let (status, words) = catalog.views.failure;
        return Err(Refusal(status, words));
    }
    Ok(())
}
