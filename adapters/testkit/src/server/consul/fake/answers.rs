//! Requests to a fake agent, and how it dresses what it answers.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::response::Builder;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};

use super::entries::select;
use super::found::{Found, From};
use super::mood::{Mood, Stall};
use super::question::{About, Question, Refusal};
use super::{Shared, plain, view};

const LIMITED: &str = "rate limit exceeded, try again later or against a different server";

type Body = BoxBody<Bytes, Infallible>;

pub(super) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    shared.counts().requests += 1;
    shared.asked().push(request.uri().to_string());
    let token = request.headers().get("x-consul-token").and_then(|value| value.to_str().ok());
    let (mood, allowed, open) = {
        let catalog = shared.catalog();
        (catalog.mood, catalog.allows(token), catalog.token.is_none())
    };
    let leaderless = mood.is_leaderless();
    Ok(match request.uri().path() {
        "/v1/status/leader" => {
            let leader = if leaderless { "\"\"" } else { "\"127.0.0.1:8300\"" };
            text(shared, StatusCode::OK, leader)
        }
        "/v1/acl/token/self" if open => text(shared, StatusCode::UNAUTHORIZED, "ACL support disabled"),
        _ if !allowed => text(shared, StatusCode::FORBIDDEN, "ACL not found"),
        _ => match Question::read(request.uri(), token, shared.profile) {
            Ok(question) => asked(shared, &question).await,
            Err(Refusal(status, why)) => text(shared, status, why),
        },
    })
}

async fn asked(shared: &Arc<Shared>, question: &Question) -> Response<Body> {
    let found = match &question.about {
        About::Service(_) if is_limited(shared) => Err(Refusal(StatusCode::TOO_MANY_REQUESTS, LIMITED)),
        _ if question.elsewhere => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "No path to datacenter")),
        About::Service(name) if question.is_of_a_view(shared.profile) => {
            view::held(shared, question, name).await
        }
        _ if question.cached => {
            Err(Refusal(StatusCode::NOT_IMPLEMENTED, "the fake agent has no cache beside its views"))
        }
        _ => plain::held(shared, question).await,
    };
    match found {
        Ok(found) => dressed(shared, question, found),
        Err(refusal) => refused(shared, question, &refusal),
    }
}

fn is_limited(shared: &Shared) -> bool {
    let limited = &mut shared.catalog().limited;
    let refused = *limited > 0;
    *limited = limited.saturating_sub(1);
    refused
}

fn dressed(shared: &Arc<Shared>, question: &Question, found: Found) -> Response<Body> {
    let (mood, hidden) = {
        let catalog = shared.catalog();
        (catalog.mood, catalog.hidden.clone())
    };
    let of_a_service = matches!(question.about, About::Service(_));
    let (mut body, filtered) =
        if of_a_service { select(&found.body, question, &hidden) } else { (found.body, false) };
    match mood {
        Mood::Garbled => body = Bytes::from_static(b"<html>"),
        Mood::EmptyLeaderless if found.from != From::View => {
            body = Bytes::from_static(if question.about == About::Names { b"{}" } else { b"[]" });
        }
        _ => {}
    }
    let mut response = head(shared, StatusCode::OK)
        .header("Content-Type", "application/json")
        .header("X-Consul-Index", found.index.max(1))
        .header("X-Consul-Effective-Consistency", question.consistency.as_str());
    let is_view = found.from == From::View;
    // The agent knows of no leader where it answers itself; a server says what it knows when it answers.
    let leader = !is_view && !mood.is_leaderless();
    let late = if mood.is_leaderless() && !is_view { "1500" } else { "0" };
    response =
        response.header("X-Consul-KnownLeader", leader.to_string()).header("X-Consul-LastContact", late);
    if shared.profile.is_of_today() {
        let backend = if is_view { "streaming" } else { "blocking-query" };
        response = response.header("X-Consul-Query-Backend", backend);
        if filtered && !is_view && question.token.is_some() {
            response = response.header("X-Consul-Results-Filtered-By-ACLs", "true");
        }
    }
    let stalls = of_a_service && begin_stall(shared);
    let body = if stalls { stalled(shared, &body) } else { Full::new(body).boxed() };
    response.body(body).expect("the headers are headers")
}

/// Lists of the catalog and of checks have the headers of an empty answer even where they fail; of old agents
/// those of a service have them, too.
fn refused(shared: &Shared, question: &Question, Refusal(status, why): &Refusal) -> Response<Body> {
    let mut response = text(shared, *status, why);
    if !matches!(question.about, About::Service(_)) || !shared.profile.is_of_today() {
        let headers = response.headers_mut();
        headers.insert("x-consul-index", 1.into());
        headers.insert("x-consul-knownleader", http::HeaderValue::from_static("false"));
    }
    response
}

fn head(shared: &Shared, status: StatusCode) -> Builder {
    let policy = if shared.catalog().token.is_some() { "deny" } else { "allow" };
    let head = Response::builder().status(status).header("Vary", "Accept-Encoding");
    head.header("X-Consul-Default-ACL-Policy", policy)
}

fn text(shared: &Shared, status: StatusCode, text: &'static str) -> Response<Body> {
    let head = head(shared, status).header("Content-Type", "text/plain; charset=utf-8");
    head.body(Full::from(text).boxed()).expect("the headers are headers")
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
