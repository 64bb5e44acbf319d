//! Tells the log what became of documents in the mesh: each thing once, when it comes and when it is over. `pilot rules`
//! shows all. What is wrong with a document itself is told where it is read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::conflicts::{ONE_BY_ONE, more};
use super::judged::Judged;
use crate::translate::rules::Standing;

/// What changes together is told together.
const PAUSE: Duration = Duration::from_secs(1);

/// To judge all documents takes at most this part of the time of one thread.
const SHARE: u32 = 20;

/// What the log has said, and when the documents are judged next.
#[derive(Default)]
pub(super) struct VerdictLog {
    said: BTreeSet<Said>,
    due: Option<Instant>,
    /// Nothing is judged before.
    rest: Option<Instant>,
}

/// Store, document, how it stands and why.
type Said = (Arc<str>, String, Standing, String);

impl VerdictLog {
    /// When the documents are to be judged; `None` = nothing has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The mesh or the documents have changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let due = now + PAUSE;
        self.due.get_or_insert(self.rest.map_or(due, |rest| due.max(rest)));
    }

    /// The documents are being judged.
    pub(super) fn begin(&mut self) {
        self.due = None;
    }

    /// Takes in what became of all documents, which took so long to find out.
    pub(super) fn tell(&mut self, judged: &[Judged], took: Duration) {
        self.rest = Some(Instant::now() + took * SHARE);
        let now: BTreeSet<Said> = judged.iter().flat_map(said).collect();
        let before = std::mem::replace(&mut self.said, now);
        let new: Vec<_> = self.said.difference(&before).collect();
        for (store, document, standing, why) in new.iter().take(ONE_BY_ONE) {
            let state = standing.as_str();
            tracing::warn!(store = &**store, document, state, why, "document does not do all that it says");
        }
        if let Some(more) = more(new.len()) {
            tracing::warn!(more, "more documents do not do all that they say: `pilot rules` shows all");
        }
        let over: Vec<_> = before.difference(&self.said).collect();
        for (store, document, standing, why) in over.iter().take(ONE_BY_ONE) {
            let state = standing.as_str();
            tracing::info!(store = &**store, document, state, why, "this is over");
        }
        if let Some(more) = more(over.len()) {
            tracing::info!(more, "more such is over");
        }
    }
}

/// What there is to say of a document that is not rejected, which was said when it was read.
fn said(judged: &Judged) -> impl Iterator<Item = Said> {
    let document = judged.entry.id.as_ref().map(ToString::to_string).unwrap_or_default();
    let said = judged.said.iter().filter(|(standing, _)| *standing != Standing::Rejected);
    said.map(move |(standing, why)| (Arc::clone(&judged.store), document.clone(), *standing, why.clone()))
}
