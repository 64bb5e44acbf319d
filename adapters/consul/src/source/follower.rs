//! One attempt: the loop that asks, takes answers, and publishes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use pilot_registry::{RegistryError, SnapshotSink};
use tokio::time::{Instant, sleep};

use super::datacenter::{Concerned, Datacenter, Trouble};
use super::names::{self, NAMES};
use super::reply::{Ask, Key, Reply, pulse};
use super::services::{Services, hash};
use crate::Config;
use crate::client::{Answer, Client, Query, Wait, encoded};
use crate::convert;

/// How many services are read at one time where they are read in turn.
const READS: usize = 32;

/// How long a list of many services is left alone after it has been read: it changes with each of them.
const PAUSE: Duration = Duration::from_millis(200);

/// Fits no instance: each has an id.
const NOTHING: &str = "Service.ID == \"\"";

pub(super) struct Follower<'a> {
    config: &'a Config,
    client: &'a Client,
    sink: &'a SnapshotSink,
    datacenters: Vec<Datacenter>,
    services: Services,
    /// To be read next.
    urgent: VecDeque<Key>,
    round: Round,
    /// Whether there are so many services that they are read in turn.
    in_turn: bool,
    /// How many reads and probes are open.
    reading: usize,
    /// Whether there is something to publish, be it that nothing has changed.
    news: bool,
    open: FuturesUnordered<BoxFuture<'a, Reply>>,
}

/// A round of probes of all services.
#[derive(Debug, Default)]
struct Round {
    /// Those still to be probed.
    left: VecDeque<Key>,
    began: Option<Instant>,
    resting: bool,
    /// Whether another one is due.
    again: bool,
}

impl<'a> Follower<'a> {
    pub(super) fn new(config: &'a Config, client: &'a Client, sink: &'a SnapshotSink) -> Self {
        let named = |name: &String| Datacenter { name: Some(name.clone()), ..Datacenter::default() };
        let mut datacenters: Vec<_> = config.datacenters.iter().map(named).collect();
        if datacenters.is_empty() {
            datacenters.push(Datacenter::default());
        }
        Self {
            config,
            client,
            sink,
            datacenters,
            services: Services::default(),
            urgent: VecDeque::new(),
            round: Round::default(),
            in_turn: false,
            reading: 0,
            news: false,
            open: FuturesUnordered::new(),
        }
    }

    pub(super) async fn follow(mut self) -> Result<Infallible, RegistryError> {
        self.open.push(pulse(self.client, true).boxed());
        self.recheck_later();
        (0..self.datacenters.len()).for_each(|datacenter| self.ask_names(datacenter));
        loop {
            self.ask_more();
            let reply = self.open.next().await.expect("the pulse is always open");
            self.take(reply)?;
            while let Some(Some(reply)) = self.open.next().now_or_never() {
                self.take(reply)?;
            }
            self.publish();
        }
    }

    fn publish(&mut self) {
        let known = self.datacenters.iter().all(|datacenter| datacenter.names.is_some());
        if self.news && known && self.services.complete() {
            self.news = false;
            self.services.publish(self.sink);
        }
    }

    fn take(&mut self, reply: Reply) -> Result<(), RegistryError> {
        match reply {
            Reply::Names { datacenter, sure, answer } => self.take_names(datacenter, sure, &answer?)?,
            Reply::Troubled { datacenter, trouble, sure, answer } => {
                self.take_troubled(datacenter, trouble, sure, &answer?)?;
            }
            Reply::Service { key, generation, ask, sure, answer } => {
                self.reading -= usize::from(ask != Ask::Poll);
                self.take_service(&key, generation, (ask, sure), &answer?)?;
            }
            Reply::Pulse(answer) => {
                answer?;
                self.open.push(pulse(self.client, false).boxed());
            }
            Reply::Recheck => {
                self.recheck_later();
                self.probe_all();
            }
            Reply::Rested => {
                self.round.resting = false;
                if std::mem::take(&mut self.round.again) {
                    self.probe_all();
                }
            }
        }
        Ok(())
    }
}

/// The lists.
impl<'a> Follower<'a> {
    fn ask_names(&mut self, at: usize) {
        let datacenter = &self.datacenters[at];
        let (index, name, wait) =
            (datacenter.names_index, datacenter.name.clone(), self.config.limits.wait());
        let sure = index.held().is_none();
        // Only there the servers are a service.
        let is_default = |name: &Option<String>| name.as_deref().is_none_or(|name| name == "default");
        let has_own = is_default(&self.config.namespace) && is_default(&self.config.partition);
        let pause = if self.in_turn && !sure { PAUSE } else { Duration::ZERO };
        let client = self.client;
        let ask = async move {
            sleep(pause).await;
            let query = Query {
                wait: index.held().map(|held| Wait::new(held, wait)),
                consistent: sure,
                ..Query::new(NAMES, name.as_deref())
            };
            let answer = names::ask(client, query, has_own).await;
            Reply::Names { datacenter: at, sure, answer }
        };
        self.open.push(ask.boxed());
    }

    fn take_names(&mut self, at: usize, sure: bool, answer: &Answer) -> Result<(), RegistryError> {
        let held = self.datacenters[at].names_index.held();
        if self.datacenters[at].names_index.advance(answer.index, sure) {
            let now = names::read(&answer.body, self.config)?;
            let before = self.datacenters[at].names.take().unwrap_or_default();
            for name in before.keys().filter(|name| !now.contains_key(*name)) {
                self.services.remove(&Key { datacenter: at, name: Arc::clone(name) });
            }
            for (name, tags) in &now {
                let key = Key { datacenter: at, name: Arc::clone(name) };
                match before.get(name) {
                    None => {
                        self.services.add(key.clone());
                        self.urgent.push_back(key);
                    }
                    Some(old) if old != tags => self.hurry(key),
                    Some(_) => {}
                }
            }
            self.datacenters[at].names = Some(now);
            self.news = true;
            // Something about some instance has changed: the list does not say which.
            if self.in_turn && held.is_some_and(|held| held != answer.index) {
                self.probe_all();
            }
        }
        self.ask_names(at);
        Ok(())
    }

    fn ask_troubled(&mut self, at: usize, trouble: Trouble) {
        let datacenter = &mut self.datacenters[at];
        let index = datacenter.troubled.entry(trouble).or_default().index;
        let (name, wait, client) = (datacenter.name.clone(), self.config.limits.wait(), self.client);
        let ask = async move {
            if index.held().is_some() {
                sleep(PAUSE).await;
            }
            let query = Query {
                wait: index.held().map(|held| Wait::new(held, wait)),
                consistent: index.doubted(),
                ..Query::new(trouble.path(), name.as_deref())
            };
            let answer = client.query(&query).await;
            Reply::Troubled { datacenter: at, trouble, sure: index.doubted(), answer }
        };
        self.open.push(ask.boxed());
    }

    fn take_troubled(
        &mut self,
        at: usize,
        trouble: Trouble,
        sure: bool,
        answer: &Answer,
    ) -> Result<(), RegistryError> {
        let Some(troubled) = self.datacenters[at].troubled.get_mut(&trouble) else { return Ok(()) };
        if troubled.index.advance(answer.index, sure) {
            for concerned in troubled.take(trouble.path(), &answer.body)? {
                match concerned {
                    Concerned::Everything => self.probe_all(),
                    Concerned::Service(name) => self.hurry(Key { datacenter: at, name: name.into() }),
                    Concerned::Node(node) => {
                        let there: Vec<Key> = self.services.on_node(at, &node).cloned().collect();
                        there.into_iter().for_each(|key| self.hurry(key));
                    }
                }
            }
        }
        if self.in_turn {
            self.ask_troubled(at, trouble);
        } else {
            self.datacenters[at].troubled.remove(&trouble);
        }
        Ok(())
    }
}

/// The services.
impl<'a> Follower<'a> {
    /// Asks about as many services as may be asked about now.
    fn ask_more(&mut self) {
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
    fn change_way(&mut self) {
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
            // A long poll will tell by itself.
            tracked.again |= tracked.open != Some(Ask::Poll) && ask != Ask::Probe;
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

    fn take_service(
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
    fn hurry(&mut self, key: Key) {
        if self.in_turn && self.services.get_mut(&key).is_some() {
            self.urgent.push_back(key);
        }
    }
}

/// Rounds of probes.
impl Follower<'_> {
    fn recheck_later(&mut self) {
        let time = self.config.limits.wait();
        let later = async move {
            sleep(time).await;
            Reply::Recheck
        };
        self.open.push(later.boxed());
    }

    fn probe_all(&mut self) {
        if !self.in_turn {
            return;
        }
        if self.round.began.is_some() || self.round.resting {
            self.round.again = true;
            return;
        }
        self.round.began = Some(Instant::now());
        self.round.left = self.services.latest_first().into();
    }

    /// Once every service has been asked, what they say is confirmed; then comes the rest.
    fn end_round(&mut self) {
        let over = self.round.left.is_empty() && self.urgent.is_empty() && self.reading == 0;
        let Some(began) = self.round.began.filter(|_| over) else { return };
        self.round.began = None;
        self.round.resting = true;
        self.news = true;
        let took = began.elapsed();
        let rest = async move {
            sleep(took).await;
            Reply::Rested
        };
        self.open.push(rest.boxed());
    }
}
