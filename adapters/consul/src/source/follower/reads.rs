//! Questions about services: as many as may be open, and what their answers change.

use futures_util::FutureExt;
use pilot_registry::RegistryError;

use super::{Follower, Round};
use crate::client::{Answer, Query, Wait, encoded};
use crate::convert;
use crate::source::datacenter::Trouble;
use crate::source::reply::{Ask, Key, Reply};
use crate::source::services::hash;

/// How many services are read at one time where they are read in turn.
const READS: usize = 32;

/// Fits no instance: each has an id.
const NOTHING: &str = "Service.ID == \"\"";

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
        self.round = Round { resting: self.round.resting, ..Round::default() };
        self.urgent = self.services.keys().cloned().collect();
    }

    /// Begins a question about a service, unless one is open.
    fn ask(&mut self, key: Key, ask: Ask) {
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
        let question = async move {
            let path = format!("/v1/health/service/{}", encoded(&key.name));
            let wait = index.held().filter(|_| ask == Ask::Poll).map(|held| Wait::new(held, wait));
            let filter = (ask == Ask::Probe).then_some(NOTHING);
            let sure = index.doubted();
            let query = Query { wait, filter, consistent: sure, ..Query::new(&path, name.as_deref()) };
            let answer = client.query(&query).await;
            Reply::Service { key, generation, ask, sure, answer }
        };
        self.open.push(question.boxed());
    }

    pub(super) fn take_service(
        &mut self,
        key: &Key,
        generation: u64,
        (ask, sure): (Ask, bool),
        answer: &Answer,
    ) -> Result<(), RegistryError> {
        let Some(tracked) = self.services.get_mut(key).filter(|one| one.generation == generation) else {
            return Ok(());
        };
        tracked.open = None;
        let mut next = std::mem::take(&mut tracked.again) || !self.in_turn;
        if ask == Ask::Probe {
            next |= tracked.index.held() != Some(answer.index.max(1));
        } else if tracked.index.advance(answer.index, sure) {
            self.read(key, answer)?;
        } else {
            next = true;
        }
        if next {
            self.urgent.push_back(key.clone());
        }
        Ok(())
    }

    fn read(&mut self, key: &Key, answer: &Answer) -> Result<(), RegistryError> {
        // A long poll that ends without a change still says that this is how it is.
        self.news |= !self.in_turn;
        let hash = hash(&answer.body);
        if self.services.differs(key, hash) {
            let content = convert::content(&key.name, &answer.body, self.config)?;
            self.news |= self.services.set(key, hash, content);
        }
        Ok(())
    }

    /// Has a service read before all others.
    pub(super) fn hurry(&mut self, key: Key) {
        if self.in_turn && self.services.get_mut(&key).is_some() {
            self.urgent.push_back(key);
        }
    }
}
