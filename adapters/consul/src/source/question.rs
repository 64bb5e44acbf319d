//! The question about one service, up to an answer that says something of that service.

use std::time::Duration;

use pilot_registry::{ErrorKind, RegistryError};
use tokio::time::sleep;

use super::names;
use super::reply::{Ask, Asked, Told};
use crate::client::{Answer, Client, Polled, Query};

/// After these rests a question is asked again that a limit has refused: half a minute in all. Meanwhile its place
/// among the questions that are open is taken, so the fewer are asked the more are refused.
const RESTS: [Duration; 6] = {
    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
    [millis(500), millis(1000), millis(2000), millis(4000), millis(8000), millis(16_000)]
};

/// Asks about a service. Where the agent's stream of it fails, the servers are asked instead: only if that fails
/// too does it say anything of others.
pub(super) async fn ask(
    client: &Client,
    query: &Query<'_>,
    (ask, name): (Ask, &str),
    has_own_service: bool,
) -> (Asked, Result<Told, RegistryError>) {
    let polled = query.wait.is_some();
    let mut asked = Asked { ask, sure: query.consistent, polled, stream_failed: false };
    let answer = match patiently(client, query).await {
        Ok(Polled::Answered(answer)) => Ok(answer),
        Ok(Polled::StreamFailed(_)) => {
            asked = Asked { sure: true, polled: false, stream_failed: true, ..asked };
            of_a_sure_leader(client, query).await
        }
        Ok(Polled::Limited(error)) => Err(error),
        Err(error) => Err(error),
    };
    let told = match answer {
        Ok(answer) if ask != Ask::Probe && is_empty(&answer) => {
            asked = Asked { sure: true, polled: false, ..asked };
            really_empty(client, query, has_own_service, name).await
        }
        answer => answer.map(Told::Known),
    };
    (asked, told.or_else(only_this))
}

/// Asks again what a limit has refused, each time after a longer rest.
pub(super) async fn patiently(client: &Client, query: &Query<'_>) -> Result<Polled, RegistryError> {
    for rest in RESTS {
        match client.poll(query).await? {
            Polled::Limited(_) => {}
            polled => return Ok(polled),
        }
        // Up to a half less, so that not all come back at one time.
        sleep(rest - (rest / 2).mul_f64(fastrand::f64())).await;
    }
    client.poll(query).await
}

/// Asks the same at once, of a leader that makes sure that it leads.
async fn of_a_sure_leader(client: &Client, query: &Query<'_>) -> Result<Answer, RegistryError> {
    let query = Query { wait: None, consistent: true, past_views: false, ..query.clone() };
    match patiently(client, &query).await? {
        Polled::Answered(answer) => Ok(answer),
        Polled::StreamFailed(error) | Polled::Limited(error) => Err(error),
    }
}

fn is_empty(answer: &Answer) -> bool {
    answer.body.trim_ascii() == b"[]"
}

/// Reads a service again that has no instances, and makes sure that it is gone. Consul answers who may not
/// read the nodes with an empty list; but it lists a service only as long as it has instances. Before the
/// service it is asked whether the token may still read: in between, the right may have come back.
async fn really_empty(
    client: &Client,
    query: &Query<'_>,
    has_own_service: bool,
    name: &str,
) -> Result<Told, RegistryError> {
    let listed = || names::lists(client, query.datacenter, has_own_service, name);
    let before = listed().await?;
    let answer = of_a_sure_leader(client, query).await?;
    if !is_empty(&answer) || !(answer.filtered || (before && listed().await?)) {
        return Ok(Told::Known(answer));
    }
    let why = format!(
        "consul lists service {name:?} and shows none of its instances: may the token read its nodes? \
         expected node:read"
    );
    Ok(Told::Refused { index: Some(answer.index), error: RegistryError::denied(why) })
}

/// What makes no sense says so of one service; what is refused, or does not come, ends the attempt.
fn only_this(error: RegistryError) -> Result<Told, RegistryError> {
    match error.kind() {
        ErrorKind::Malformed => Ok(Told::Refused { index: None, error }),
        ErrorKind::Denied | ErrorKind::Unavailable => Err(error),
    }
}
