//! Answers of the servers, which the agent passes on.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::catalog::Catalog;
use super::found::{Found, Now};
use super::mood::Mood;
use super::question::{About, Consistency, Question, Refusal};
use super::{Counted, Shared};

/// Waits as a server does: until the index has moved beyond the one that is known, or time is up. After a restore
/// who waits is answered at once with what was before it.
pub(super) async fn held(shared: &Shared, question: &Question) -> Result<Found, Refusal> {
    let _waiting = (question.index > 0).then(|| Counted::new(shared, |counts| &mut counts.waiting));
    wait_for_a_leader(shared, question).await?;
    let mut changes = shared.changes.subscribe();
    let deadline = Instant::now() + about_a_sixteenth_more(question.wait);
    let epoch = shared.catalog().epoch;
    let mut before: Option<Now> = None;
    loop {
        changes.borrow_and_update();
        let (now, restored) = {
            let mut catalog = shared.catalog();
            (about(question, &mut catalog), catalog.epoch != epoch)
        };
        if restored && let Some(before) = before {
            return Ok(Found::of_the_servers(before));
        }
        if question.index == 0 || now.index > question.index {
            return Ok(Found::of_the_servers(now));
        }
        if timeout_at(deadline, changes.changed()).await.is_err() {
            return Ok(Found::of_the_servers(now));
        }
        before = Some(now);
    }
}

fn about(question: &Question, catalog: &mut Catalog) -> Now {
    match &question.about {
        About::Names => catalog.names(),
        About::Checks(state) => catalog.checks(state),
        About::Service(name) => {
            let mut now = catalog.instances(name);
            if !catalog.may_have(name, &question.tags) {
                now.body = Bytes::from_static(b"[]");
            }
            now
        }
    }
}

/// Without a leader a server holds the question, and refuses it in the end, unless any answer will do. A long poll
/// that waits already is not cut when the leader goes.
async fn wait_for_a_leader(shared: &Shared, question: &Question) -> Result<(), Refusal> {
    let mut changes = shared.changes.subscribe();
    let wait = if question.index > 0 { question.wait + question.wait / 16 } else { Duration::ZERO };
    let deadline = Instant::now() + wait + shared.catalog().hold;
    loop {
        changes.borrow_and_update();
        if shared.catalog().mood != Mood::Leaderless || question.consistency == Consistency::Stale {
            return Ok(());
        }
        if timeout_at(deadline, changes.changed()).await.is_err() {
            return Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader"));
        }
    }
}

fn about_a_sixteenth_more(wait: Duration) -> Duration {
    wait + (wait / 16).mul_f64(fastrand::f64())
}
