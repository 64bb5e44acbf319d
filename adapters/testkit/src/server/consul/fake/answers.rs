//! Requests to a fake agent and what it answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time::{Instant, timeout_at};

use super::catalog::{Catalog, Mood, Now, Stall};
use super::{Counted, Shared};

type Body = BoxBody<Bytes, Infallible>;

/// What is asked.
struct Question {
    about: About,
    index: u64,
    wait: Duration,
    /// Whether the tag that is asked for leaves nothing: no instance has one that is asked for.
    nothing: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum About {
    Names,
    Service(String),
    Checks(&'static str),
}

pub(super) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    shared.counts().requests += 1;
    let token = request.headers().get("x-consul-token").and_then(|value| value.to_str().ok());
    let (mood, allowed, open) = {
        let catalog = shared.catalog();
        (catalog.mood, catalog.allows(token), catalog.token.is_none())
    };
    Ok(match request.uri().path() {
        "/v1/status/leader" => {
            let leader = if mood == Mood::Leaderless { "\"\"" } else { "\"127.0.0.1:8300\"" };
            plain(StatusCode::OK, leader)
        }
        "/v1/acl/token/self" if open => plain(StatusCode::UNAUTHORIZED, "ACL support disabled"),
        _ if !allowed => plain(StatusCode::FORBIDDEN, "ACL not found"),
        _ => match question(&request) {
            Some(question) => asked(shared, &question).await,
            None => plain(StatusCode::NOT_FOUND, "there is no such path"),
        },
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(text).boxed());
    *response.status_mut() = status;
    response
}

fn question(request: &Request<Incoming>) -> Option<Question> {
    let path = request.uri().path();
    let about = match path.strip_prefix("/v1/health/service/") {
        Some(name) => About::Service(name.to_owned()),
        None => match path {
            "/v1/catalog/services" => About::Names,
            "/v1/health/state/critical" => About::Checks("critical"),
            "/v1/health/state/warning" => About::Checks("warning"),
            _ => return None,
        },
    };
    let query = request.uri().query().unwrap_or_default();
    let parameters: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let millis = |text: &&str| text.strip_suffix("ms").and_then(|number| number.parse().ok());
    Some(Question {
        about,
        index: parameters.get("index").and_then(|text| text.parse().ok()).unwrap_or(0),
        wait: Duration::from_millis(parameters.get("wait").and_then(millis).unwrap_or(300_000)),
        nothing: parameters.contains_key("tag"),
    })
}

async fn asked(shared: &Arc<Shared>, question: &Question) -> Response<Body> {
    let mut now = held(shared, question).await;
    let mood = shared.catalog().mood;
    match mood {
        Mood::Sane => {}
        Mood::Leaderless => {
            now.body = Bytes::from_static(if question.about == About::Names { b"{}" } else { b"[]" })
        }
        Mood::Garbled => now.body = Bytes::from_static(b"<html>"),
    }
    if question.nothing {
        now.body = Bytes::from_static(b"[]");
    }
    let leader = if mood == Mood::Leaderless { "false" } else { "true" };
    let response = Response::builder()
        .header("Content-Type", "application/json")
        .header("X-Consul-Index", now.index)
        .header("X-Consul-KnownLeader", leader)
        .header("X-Consul-LastContact", "0");
    let stalls = matches!(question.about, About::Service(_)) && begin_stall(shared);
    let body = if stalls { stalled(shared, &now.body) } else { Full::new(now.body).boxed() };
    response.body(body).expect("the headers are headers")
}

/// Waits as Consul does: until the index has moved beyond the one that is known, or time is up, or the
/// history is another one.
async fn held(shared: &Shared, question: &Question) -> Now {
    let mut changes = shared.changes.subscribe();
    let deadline = Instant::now() + question.wait;
    let epoch = shared.catalog().epoch;
    let _waiting = (question.index > 0).then(|| Counted::new(shared, |counts| &mut counts.waiting));
    loop {
        changes.borrow_and_update();
        let (now, lost) = {
            let mut catalog = shared.catalog();
            (question.about.now(&mut catalog), catalog.epoch != epoch)
        };
        if question.index == 0 || now.index > question.index || lost {
            return now;
        }
        if timeout_at(deadline, changes.changed()).await.is_err() {
            return now;
        }
    }
}

impl About {
    fn now(&self, catalog: &mut Catalog) -> Now {
        match self {
            Self::Names => catalog.names(),
            Self::Service(name) => catalog.instances(name),
            Self::Checks(state) => catalog.checks(state),
        }
    }
}

fn begin_stall(shared: &Shared) -> bool {
    shared.stall.send_if_modified(|stall| {
        let begins = *stall == Stall::Next;
        if begins {
            *stall = Stall::Now;
        }
        begins
    })
}

/// One half at once, the other when it is over.
fn stalled(shared: &Shared, body: &Bytes) -> Body {
    let (mut stall, half) = (shared.stall.subscribe(), body.len() / 2);
    let (first, rest) = (body.slice(..half), body.slice(half..));
    let later = stream::once(async move {
        // Without a test there is nobody to hold it up.
        _ = stall.wait_for(|stall| *stall == Stall::No).await;
        rest
    });
    let chunks = stream::iter([first]).chain(later).map(|chunk| Ok(Frame::data(chunk)));
    BodyExt::boxed(StreamBody::new(Box::pin(chunks)))
}
