//! Requests at full speed, of which not one may fail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::http::{Answer, Connection};
use super::wait::{holds, until};

/// Clients that send one request after the other, each on a connection that it keeps.
pub(crate) struct Load {
    clients: JoinSet<Outcome>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Answers by status and body.
    pub(crate) answers: BTreeMap<(u16, String), u64>,
    failures: Vec<String>,
}

impl Load {
    /// Starts `clients` clients that ask each of `hosts` in turn.
    ///
    /// Statuses in `allowed` are no failures besides 200: a service that is taken away is answered by 404.
    pub(crate) fn start(target: SocketAddr, hosts: &[&str], clients: usize, allowed: &[u16]) -> Self {
        let mut load = Self { clients: JoinSet::new(), stop: Arc::default(), sent: Arc::default() };
        for _ in 0..clients {
            let client = Client {
                target,
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
                allowed: allowed.to_vec(),
                stop: Arc::clone(&load.stop),
                sent: Arc::clone(&load.sent),
                start: Instant::now(),
            };
            load.clients.spawn(client.run());
        }
        load
    }

    /// Waits until `requests` more requests have been answered.
    pub(crate) async fn more(&self, requests: u64) {
        let goal = self.sent.load(Ordering::Relaxed) + requests;
        until("requests are answered under load", async || {
            let sent = self.sent.load(Ordering::Relaxed);
            holds(sent >= goal, format!("{sent} of {goal}"))
        })
        .await;
    }

    /// Stops the clients after the requests that they are at.
    pub(crate) async fn finish(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        while let Some(one) = self.clients.join_next().await {
            let one = one.unwrap();
            all.failures.extend(one.failures);
            for (answer, count) in one.answers {
                *all.answers.entry(answer).or_default() += count;
            }
        }
        all
    }
}

impl Outcome {
    /// How many requests got an answer that counts as none of the failures.
    pub(crate) fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Panics with the first failures if there are any, or if there was no load at all.
    pub(crate) fn assert_no_failure(&self) {
        let first: Vec<&String> = self.failures.iter().take(5).collect();
        let (failed, answered) = (self.failures.len(), self.answered());
        assert!(failed == 0, "{failed} requests failed, {answered} did not: {first:#?}");
        assert!(answered > 0, "no request was sent");
    }
}

struct Client {
    target: SocketAddr,
    hosts: Vec<String>,
    allowed: Vec<u16>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    start: Instant,
}

impl Client {
    async fn run(self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut connection = None;
        let mut hosts = self.hosts.iter().cycle();
        // What can be wrong with the target is wrong a thousand times: the first ones tell enough.
        while !self.stop.load(Ordering::Relaxed) && outcome.failures.len() < 1000 {
            let host = hosts.next().expect("there is a host");
            match self.ask(&mut connection, host).await {
                Ok(answer) => {
                    let key = (answer.status.as_u16(), answer.body);
                    *outcome.answers.entry(key).or_default() += 1;
                }
                Err(what) => {
                    outcome.failures.push(format!("{host} after {:?}: {what}", self.start.elapsed()));
                    // Does not spin while nothing listens.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Asks on the connection that is open, and leaves there what the next request can use.
    async fn ask(&self, kept: &mut Option<Connection>, host: &str) -> Result<Answer, String> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(self.target).await?,
        };
        let answer = connection.get(host, "/").await?;
        if !answer.is_last() {
            *kept = Some(connection);
        }
        let status = answer.status.as_u16();
        if status == 200 || self.allowed.contains(&status) {
            Ok(answer)
        } else {
            Err(format!("{status} {:?} {}", answer.body, answer.header("x-envoy-overloaded")))
        }
    }
}
