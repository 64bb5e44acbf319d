//! Questions about services: as many as may be open, and what their answers change.

use std::time::Duration;

use futures_util::FutureExt;
use pilot_registry::{ErrorKind, RegistryError};
use tokio::time::{Instant, sleep};

use super::lists::{SPACING, spacing};
use super::{Follower, Round};
use crate::client::{Answer, Client, Query, Wait, encoded};
use crate::config::Consistency;
use crate::convert;
use crate::source::datacenter::Trouble;
use crate::source::index::Index;
use crate::source::names;
use crate::source::reply::{Ask, Key, Reply, Told};
use crate::source::services::hash;

/// How many services are read at one time where they are read in turn.
const READS: usize = 32;

/// A tag of nobody's. Consul looks at tags before all else, so it costs it half of what a filter does; an
/// instance that has it makes the answer longer, and no worse.
const NOBODYS: &str = "pilot-asks-for-the-index";

impl<'a> Follower<'a> {
    /// Asks about as many services as may be asked about now.
    pub(super) fn ask_more(&mut self) {
        let in_turn = self.services.len() > self.config.limits.max_polls;
        if in_turn != self.in_turn {
            self.in_turn = in_turn;
            self.change_way();
        }
        if !in_turn {
            while let Some(key) = self.urgent.pop_front() {
                self.ask(key, Ask::Poll);
            }
            return;
        }
        let most = READS.min(self.config.limits.max_polls);
        while self.reading < most {
            if let Some(key) = self.urgent.pop_front() {
                self.ask(key, Ask::Read);
            } else if let Some(key) = self.round.left.pop_front() {
                self.ask(key, Ask::Probe);
            } else {
                break;
            }
        }
        self.end_round();
    }

    /// From few services to many, or back.
    pub(super) fn change_way(&mut self) {
        if self.in_turn {
            for at in 0..self.datacenters.len() {
                for trouble in Trouble::ALL {
                    if !self.datacenters[at].troubled.contains_key(&trouble) {
                        self.ask_troubled(at, trouble);
                    }
                }
            }
            return;
        }
        self.round = Round::after(&self.round);
        self.urgent = self.services.keys().cloned().collect();
    }

    /// Begins a question about a service, unless one is open.
    fn ask(&mut self, key: Key, ask: Ask) {
        let has_own = self.has_own_service();
        let Some(tracked) = self.services.get_mut(&key) else { return };
        if tracked.open.is_some() {
            // A long poll will tell by itself. A read may have been answered before what this is about.
            tracked.again |= tracked.open != Some(Ask::Poll);
            return;
        }
        let ask = if tracked.index.held().is_none() && ask == Ask::Probe { Ask::Read } else { ask };
        tracked.open = Some(ask);
        let (index, generation, wait) = (tracked.index, tracked.generation, self.config.limits.wait());
        let (name, client) = (self.datacenters[key.datacenter].name.clone(), self.client);
        self.reading += usize::from(ask != Ask::Poll);
        // Where there is no index to wait beyond, only time can tell that it is better now.
        let apart = if tracked.refused.is_some() && index.held().is_none() { wait } else { SPACING };
        let pause = if ask == Ask::Poll {
            spacing(tracked.asked.replace(Instant::now()), apart)
        } else {
            Duration::ZERO
        };
        // The first answer may be of a server that has not read its own log yet.
        let stale = self.config.consistency == Consistency::Stale;
        let sure = index.doubted() || (stale && index.held().is_none());
        let question = async move {
            sleep(pause).await;
            let path = format!("/v1/health/service/{}", encoded(&key.name));
            let wait = index.held().filter(|_| ask == Ask::Poll).map(|held| Wait::new(held, wait));
            let tag = (ask == Ask::Probe).then_some(NOBODYS);
            let query = Query { wait, tag, consistent: sure, ..Query::new(&path, name.as_deref()) };
            let told = match client.query(&query).await {
                Ok(answer) if ask != Ask::Probe && is_empty(&answer) => {
                    really_empty(client, &query, has_own, &key.name).await
                }
                answer => answer.map(Told::Known),
            };
            Reply::Service { key, generation, ask, sure, told: told.or_else(only_this) }
        };
        self.open.push(question.boxed());
    }

    pub(super) fn take_service(&mut self, key: &Key, generation: u64, (ask, sure): (Ask, bool), told: Told) {
        let Some(tracked) = self.services.get_mut(key).filter(|one| one.generation == generation) else {
            return;
        };
        tracked.open = None;
        let mut next = std::mem::take(&mut tracked.again) || !self.in_turn;
        match told {
            Told::Refused { index, error } => {
                tracked.index = Index::default();
                // Rights that come back move no index: where services are read in turn, without one it is
                // read in each round.
                if let Some(index) = index.filter(|_| !self.in_turn) {
                    tracked.index.advance(index, true);
                }
                self.news |= self.services.refuse(key, error);
            }
            Told::Known(answer) if ask == Ask::Probe => {
                next |= tracked.index.held() != Some(answer.index.max(1));
            }
            Told::Known(answer) if tracked.index.advance(answer.index, sure) => self.read(key, &answer),
            Told::Known(_) => next = true,
        }
        if next {
            self.urgent.push_back(key.clone());
        }
    }

    fn read(&mut self, key: &Key, answer: &Answer) {
        let hash = hash(&answer.body) ^ u64::from(answer.filtered);
        if !self.services.differs(key, hash) {
            return;
        }
        self.news |= match convert::content(&key.name, &answer.body, self.config) {
            Ok(mut content) => {
                if answer.filtered {
                    content.keep(&key.name, self.services.known(key));
                }
                self.services.set(key, hash, content)
            }
            Err(error) => self.services.refuse(key, error),
        };
    }

    /// Has a service read before all others.
    pub(super) fn hurry(&mut self, key: Key) {
        if self.in_turn && self.services.get_mut(&key).is_some() {
            self.urgent.push_back(key);
        }
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
    let answer = client.query(&Query { wait: None, consistent: true, ..query.clone() }).await?;
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
