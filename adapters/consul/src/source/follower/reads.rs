//! Questions about services: as many as may be open, and what their answers change.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::{Follower, Round};
use crate::client::{Answer, Backend, Query, SERVICE, Wait, encoded};
use crate::config::Consistency;
use crate::convert;
use crate::source::datacenter::Trouble;
use crate::source::index::Index;
use crate::source::question;
use crate::source::reply::{Ask, Asked, Key, Reply, SPACING, Told, spacing};
use crate::source::services::hash;
use crate::source::streams::MOMENT;
use crate::source::view::{Seen, Verdict};

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
        // Where services are read in turn, nobody keeps up what views are judged by.
        self.services.forget_views();
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
        let past_views = ask == Ask::Poll && self.streams.are_avoided(Instant::now());
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
        let (mut pause, mut waits) = (Duration::ZERO, None);
        if ask == Ask::Poll {
            pause = spacing(tracked.asked.replace(Instant::now()), apart);
            if std::mem::take(&mut tracked.view.failed) {
                pause = pause.max(MOMENT);
            }
            waits = tracked.view.wait(wait);
        }
        // The first answer may be of a server that has not read its own log yet.
        let stale = self.config.consistency == Consistency::Stale;
        let servers_are_due = ask == Ask::Poll && waits.is_none();
        let sure = index.doubted() || servers_are_due || (stale && index.held().is_none());
        let question = async move {
            sleep(pause).await;
            let path = format!("{SERVICE}{}", encoded(&key.name));
            let wait = index.held().zip(waits).map(|(held, time)| Wait::new(held, time));
            let tag = (ask == Ask::Probe).then_some(NOBODYS);
            let past_views = past_views && wait.is_some();
            let query =
                Query { wait, tag, consistent: sure, past_views, ..Query::new(&path, name.as_deref()) };
            let (asked, told) = question::ask(client, &query, (ask, &key.name), has_own).await;
            Reply::Service { key, generation, asked, told }
        };
        self.open.push(question.boxed());
    }

    pub(super) fn take_service(&mut self, key: &Key, generation: u64, asked: Asked, told: Told) {
        if asked.stream_failed {
            self.streams.fail(Instant::now());
        }
        let Some(tracked) = self.services.get_mut(key).filter(|one| one.generation == generation) else {
            return;
        };
        tracked.open = None;
        tracked.view.failed = asked.stream_failed;
        let mut next = std::mem::take(&mut tracked.again) || !self.in_turn;
        if let Told::Known(answer) = &told {
            tracked.view.heard(answer.backend, asked.polled, self.config.limits.wait());
        }
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
            Told::Known(answer) if asked.ask == Ask::Probe => {
                next |= tracked.index.held() != Some(answer.index.max(1));
            }
            Told::Known(answer) if answer.backend == Backend::View => next |= self.look(key, &answer),
            Told::Known(answer) if tracked.index.advance(answer.index, asked.sure) => self.read(key, &answer),
            Told::Known(_) => next = true,
        }
        if next {
            self.urgent.push_back(key.clone());
        }
    }

    /// Takes an answer of the agent's view, as far as it is believed. Whether the servers have to be asked.
    fn look(&mut self, key: &Key, answer: &Answer) -> bool {
        let Some(tracked) = self.services.get_mut(key) else { return false };
        let (index, mut view) = (tracked.index, std::mem::take(&mut tracked.view));
        let known = self.services.known(key);
        let is_same = || convert::content(&key.name, &answer.body, self.config).ok().as_ref() == known;
        let same = index.held().is_some_and(|held| answer.index < held) && is_same();
        let verdict = view.judge(index, &Seen { answer, hash: hash(&answer.body), known, same });
        let Some(tracked) = self.services.get_mut(key) else { return false };
        tracked.view = view;
        match verdict {
            Verdict::Believed => {
                tracked.index.settle(answer.index);
                self.read(key, answer);
            }
            Verdict::Nothing(index) => tracked.index.settle(index),
            Verdict::Doubted => tracked.index.doubt(),
        }
        verdict == Verdict::Doubted
    }

    fn read(&mut self, key: &Key, answer: &Answer) {
        let hash = hash(&answer.body) ^ u64::from(answer.filtered);
        let differs = self.services.differs(key, hash);
        if let Some(tracked) = self.services.get_mut(key).filter(|_| !self.in_turn)
            && (differs || tracked.view.knows_no_members())
        {
            tracked.view.believe(answer);
        }
        if !differs {
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
