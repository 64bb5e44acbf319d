//! The open requests, and their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use pilot_registry::RegistryError;
use tokio::time::{Instant, sleep, timeout};

use super::datacenter::Trouble;
use crate::client::{Answer, Call, Client};

/// A service of a datacenter, by the datacenter's place in the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) datacenter: usize,
    pub(super) name: Arc<str>,
}

/// How a service is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Wait until it changes, and give all.
    Poll,
    /// Give all.
    Read,
    /// Give the index.
    Probe,
}

/// How an answer about a service came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) ask: Ask,
    /// Whether a leader made sure that it leads before it answered.
    pub(super) sure: bool,
    /// Whether it is the answer to a long poll, and not to a question that followed it.
    pub(super) polled: bool,
    /// Whether the agent's stream failed, so that the servers were asked.
    pub(super) stream_failed: bool,
}

/// What is said of one service.
pub(super) enum Told {
    Known(Answer),
    /// Nothing that could be used. It says nothing of other services.
    Refused {
        index: Option<u64>,
        error: RegistryError,
    },
}

/// What came back.
pub(super) enum Reply {
    Names {
        datacenter: usize,
        sure: bool,
        answer: Result<Answer, RegistryError>,
    },
    Troubled {
        datacenter: usize,
        trouble: Trouble,
        sure: bool,
        answer: Result<Answer, RegistryError>,
    },
    Service {
        key: Key,
        generation: u64,
        asked: Asked,
        told: Result<Told, RegistryError>,
    },
    /// The agent has been asked whether there is a leader.
    Pulse(Result<(), RegistryError>),
    /// It is time to check everything.
    Recheck,
    /// The rest after a round of probes is over.
    Rested,
}

/// How often the agent is asked whether it is there, and how long it may take.
const PULSE: Duration = Duration::from_secs(2);
const PULSE_TIMEOUT: Duration = Duration::from_secs(3);
/// A timer that is later than this says that it was us who had no time, not the agent.
const LATE: Duration = Duration::from_millis(500);

/// Two questions about the same begin no sooner after each other: who stands before the agent may answer at
/// once what should wait.
pub(super) const SPACING: Duration = Duration::from_millis(100);

/// How long to wait until that long after the last one.
pub(super) fn spacing(last: Option<Instant>, apart: Duration) -> Duration {
    last.map_or(Duration::ZERO, |last| (last + apart).saturating_duration_since(Instant::now()))
}

/// Asks for the leader, at once or after the usual time. A connection on which nobody answers any more
/// looks like one on which nothing happens.
pub(super) async fn pulse(client: &Client, at_once: bool) -> Reply {
    if !at_once {
        sleep(PULSE).await;
    }
    let call = Call { method: Method::GET, path: "/v1/status/leader".to_owned(), body: Bytes::new() };
    let began = Instant::now();
    let asked = timeout(PULSE_TIMEOUT, client.call(&call)).await;
    let answer = match asked {
        Err(_) if began.elapsed() > PULSE_TIMEOUT + LATE => Ok(()),
        Err(_) => {
            let (agent, seconds, doubt) = (client.authority(), PULSE_TIMEOUT.as_secs(), client.doubt());
            Err(RegistryError::unavailable(format!(
                "consul at {agent} does not answer: nothing within {seconds} s{doubt}"
            )))
        }
        Ok(Err(error)) => Err(error),
        Ok(Ok((status, body))) => leads(&client.succeeded(&call, status, &body), status, &body),
    };
    Reply::Pulse(answer)
}

/// Asks for the leader, again and again, until the agent does not answer or has none.
pub(super) async fn until_lost(client: &Client) -> RegistryError {
    let mut at_once = true;
    loop {
        if let Reply::Pulse(Err(error)) = pulse(client, at_once).await {
            return error;
        }
        at_once = false;
    }
}

fn leads(
    succeeded: &Result<(), RegistryError>,
    status: StatusCode,
    body: &[u8],
) -> Result<(), RegistryError> {
    match (succeeded, body.trim_ascii()) {
        (Ok(()), b"\"\"") => Err(RegistryError::unavailable("consul has no leader")),
        (Err(error), _) if status.is_server_error() => Err(error.clone()),
        // Whoever stands before the agent may not let this question through; the others count.
        _ => Ok(()),
    }
}
