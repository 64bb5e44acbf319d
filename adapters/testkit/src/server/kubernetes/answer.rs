//! From a request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use super::body::{Answer, TOO_OLD, json_answer, status, streamed};
use super::query::Query;
use super::store::{Place, Stored};
use super::{Shared, World, watch};

pub(super) fn answer(shared: &Arc<Shared>, request: &Request<Incoming>) -> Answer {
    let mut world = shared.lock();
    if let Some(refusal) = refusal(&world, request) {
        return refusal;
    }
    if request.uri().path() == "/version" {
        if world.forbidden.contains("version") {
            let message = "forbidden: User \"pilot\" cannot get path \"/version\"";
            return status(StatusCode::FORBIDDEN, "Forbidden", message);
        }
        return json_answer(
            StatusCode::OK,
            json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.2" }).to_string(),
        );
    }
    if let Some(answer) = custom(&world, request.uri().path()) {
        return answer;
    }
    let Some(query) = Query::read(request) else { return not_found() };
    let verb = if query.is_watch() { "watch" } else { "list" };
    *world.requests.entry(format!("{verb} {}", query.resource)).or_default() += 1;
    if world.forbidden.contains(&query.resource) {
        return status(StatusCode::FORBIDDEN, "Forbidden", &query.forbidden(verb));
    }
    if let Some(code) = world.failing.get(&query.resource) {
        return status(*code, "", "the server is in trouble");
    }
    match query.is_watch() {
        true => watch::open(shared, &mut world, query),
        false => list(shared, &mut world, &query),
    }
}

fn not_found() -> Answer {
    status(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
}

/// What is said of custom resources: which there are in a group, or that there is none of that name. `None` = the path is
/// of one that there is, or of another resource.
fn custom(world: &World, path: &str) -> Option<Answer> {
    let mut parts = path.strip_prefix("/apis/")?.split('/');
    let group = parts.next().filter(|group| *group != "discovery.k8s.io")?;
    let version = format!("{group}/{}", parts.next()?);
    let Some(resources) = world.custom.get(&version) else { return Some(not_found()) };
    match parts.next_back() {
        Some(resource) => (!resources.contains(resource)).then(not_found),
        None => {
            let named =
                |name: &String| json!({ "name": name, "namespaced": true, "verbs": ["list", "watch"] });
            let resources: Vec<_> = resources.iter().map(named).collect();
            let list = json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources,
            });
            Some(json_answer(StatusCode::OK, list.to_string()))
        }
    }
}

fn refusal(world: &World, request: &Request<Incoming>) -> Option<Answer> {
    let bearer = format!("Bearer {}", world.token);
    let known = request.headers().get(header::AUTHORIZATION).is_some_and(|value| *value == bearer.as_str());
    if world.locked || !known {
        return Some(status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized"));
    }
    world.garbled.then(|| json_answer(StatusCode::OK, "<html>Welcome to the hotel's Wi-Fi".to_owned()))
}

/// A page of a list: 410 where the list has expired.
fn list(shared: &Arc<Shared>, world: &mut World, query: &Query) -> Answer {
    let (view, revision, after) = match query.get("continue").split_once(':') {
        None => (world.store.view(&query.resource), world.store.revision(), String::new()),
        Some((revision, after)) => {
            let revision = revision.parse().unwrap_or_default();
            let Some(view) = world.store.view_at(&query.resource, revision) else { return expired() };
            (view, revision, after.to_owned())
        }
    };
    let limit = query.get("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let name = |place: &Place| format!("{}/{}", place.1, place.2);
    let selected = view.iter().filter(|(place, stored)| query.selects(place, stored));
    let mut rest = selected.filter(|(place, _)| name(place) > after).peekable();
    let mut page: Vec<&(Place, Arc<Stored>)> = Vec::new();
    while page.len() < limit
        && let Some(next) = rest.next()
    {
        page.push(next);
    }
    let more = match (rest.peek(), page.last()) {
        (Some(_), Some((last, _))) => format!("{revision}:{}", name(last)),
        _ => String::new(),
    };
    let items: Vec<&str> = page.iter().map(|(_, stored)| query.text(stored)).collect();
    let metadata = json!({ "resourceVersion": revision.to_string(), "continue": more });
    let text =
        format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":[{}]}}"#, items.join(","));
    if page.len() > 1 { in_halves(shared, text) } else { json_answer(StatusCode::OK, text) }
}

/// A body in two parts, the second of which waits while lists are stalled.
fn in_halves(shared: &Arc<Shared>, text: String) -> Answer {
    let mut first = Bytes::from(text);
    let second = first.split_off(first.len() / 2);
    let shared = Arc::clone(shared);
    let second = stream::once(async move {
        shared.stall.pass().await;
        second
    });
    streamed(stream::iter([first]).chain(second))
}

fn expired() -> Answer {
    status(StatusCode::GONE, "Expired", TOO_OLD)
}
