//! Watches: what happens from a revision on, line by line, perhaps after all that there is.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde_json::json;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, timeout_at};

use super::body::{Answer, TOO_OLD, status, status_text, streamed};
use super::query::Query;
use super::store::Change;
use super::{Shared, World};

/// An open watch.
struct Watch {
    query: Query,
    shared: Arc<Shared>,
    changed: Receiver<u64>,
    /// All objects in one or two parts, which are sent before anything else.
    initial: VecDeque<Bytes>,
    begun: bool,
    /// The revision up to which everything was sent.
    revision: u64,
    bookmarks: u64,
    ended: u64,
    deadline: Instant,
    over: bool,
    _counted: Arc<()>,
}

pub(super) fn open(shared: &Arc<Shared>, world: &mut World, query: Query) -> Answer {
    let streaming = query.is_set("sendInitialEvents");
    if streaming && !world.streaming {
        let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is \
                       forbidden for watch unless the WatchList feature gate is enabled";
        return status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
    }
    if streaming && !world.progress {
        let message = "a watch stream was requested by the client but the required storage feature \
                       RequestWatchProgress is disabled";
        return failing(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message);
    }
    let from = query.get("resourceVersion").parse().ok().filter(|revision| *revision > 0 && !streaming);
    if from.is_some_and(|from| !world.store.remembers(from)) {
        return failing(StatusCode::GONE, "Expired", TOO_OLD);
    }
    let initial = if streaming { initial(world, &query) } else { VecDeque::new() };
    let watch = Watch {
        changed: shared.changed.subscribe(),
        initial,
        begun: false,
        revision: from.unwrap_or_else(|| world.store.revision()),
        bookmarks: world.bookmarks,
        ended: world.ended,
        deadline: Instant::now() + query.timeout(),
        over: false,
        _counted: Arc::clone(&shared.watches),
        shared: Arc::clone(shared),
        query,
    };
    streamed(stream::unfold(watch, |mut watch| async move {
        let bytes = watch.next().await?;
        Some((bytes, watch))
    }))
}

/// A watch that says in its only event what is wrong: its status was sent before that was known.
fn failing(code: StatusCode, reason: &str, message: &str) -> Answer {
    let event = Bytes::from(line("ERROR", &status_text(code, reason, message)));
    streamed(stream::iter([event]))
}

/// All objects as events, and the bookmark that ends them; in two parts where there are several objects.
fn initial(world: &mut World, query: &Query) -> VecDeque<Bytes> {
    let view = world.store.view(&query.resource);
    let selected = view.iter().filter(|(place, stored)| query.selects(place, stored));
    let added = selected.map(|(_, stored)| line("ADDED", query.text(stored)));
    let lines: Vec<String> = added.chain([bookmark(query, world.store.revision(), true)]).collect();
    let (first, second) = lines.split_at(if lines.len() > 2 { lines.len() / 2 } else { 0 });
    [first, second].into_iter().filter(|part| !part.is_empty()).map(|part| part.concat().into()).collect()
}

impl Watch {
    /// The next lines, or `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(part) = self.initial.pop_front() {
            if std::mem::replace(&mut self.begun, true) {
                self.shared.stall.pass().await;
            }
            return Some(part);
        }
        while !self.over {
            let lines = self.news();
            if !lines.is_empty() {
                return Some(lines.concat().into());
            }
            if !self.over && timeout_at(self.deadline, self.changed.changed()).await.is_err() {
                // Without a last bookmark: real servers send none if they have not seen an event since they began.
                self.over = true;
            }
        }
        None
    }

    fn news(&mut self) -> Vec<String> {
        self.changed.mark_unchanged();
        let world = self.shared.lock();
        if world.ended > self.ended {
            // What has happened meanwhile is for the next one.
            self.over = true;
            let error = |code| line("ERROR", &status_text(code, "", "the server is in trouble"));
            return world.ended_with.map(error).into_iter().collect();
        }
        if !world.store.remembers(self.revision) {
            self.over = true;
            let gone = status_text(StatusCode::GONE, "Expired", TOO_OLD);
            return vec![line("ERROR", &gone)];
        }
        let mut lines: Vec<_> =
            world.store.since(self.revision).iter().filter_map(|change| event(&self.query, change)).collect();
        self.revision = world.store.revision();
        if world.bookmarks > self.bookmarks {
            self.bookmarks = world.bookmarks;
            lines.push(bookmark(&self.query, self.revision, false));
        }
        lines
    }
}

/// What a change looks like to whoever sees only what is selected.
fn event(query: &Query, change: &Change) -> Option<String> {
    let seen = |stored: &Arc<super::store::Stored>| query.selects(&change.place, stored);
    let before = change.before.as_ref().filter(|before| seen(before));
    let after = change.after.as_ref().filter(|after| seen(after));
    match (before, after) {
        (None, None) => None,
        (None, Some(after)) => Some(line("ADDED", query.text(after))),
        (Some(_), Some(after)) => Some(line("MODIFIED", query.text(after))),
        (Some(before), None) => Some(line("DELETED", query.text(before))),
    }
}

fn line(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

/// An object of the resource, without anything but its version.
fn bookmark(query: &Query, revision: u64, initial_end: bool) -> String {
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if initial_end {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    let (api_version, kind) = query.kind();
    line("BOOKMARK", &json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata }).to_string())
}
