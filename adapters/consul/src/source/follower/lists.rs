//! The lists of a datacenter: its services, and the checks that do not pass.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pilot_registry::RegistryError;
use tokio::time::{Instant, sleep};

use super::Follower;
use crate::client::{Answer, Query, Wait};
use crate::source::datacenter::{Concerned, Trouble};
use crate::source::names::{self, Listed, NAMES};
use crate::source::reply::{Key, Reply, SPACING, spacing};

/// How long a list of many services is left alone after it has been read: it changes with each of them.
const PAUSE: Duration = Duration::from_millis(200);

impl<'a> Follower<'a> {
    /// Whether the servers are a service of what is followed: they are of the default namespace and partition.
    pub(super) fn has_own_service(&self) -> bool {
        let is_default = |name: &Option<String>| name.as_deref().is_none_or(|name| name == "default");
        is_default(&self.config.namespace) && is_default(&self.config.partition)
    }

    pub(super) fn ask_names(&mut self, at: usize) {
        let datacenter = &mut self.datacenters[at];
        let spacing = spacing(datacenter.asked.replace(Instant::now()), SPACING);
        let (index, name, wait) =
            (datacenter.names_index, datacenter.name.clone(), self.config.limits.wait());
        let sure = index.held().is_none();
        let has_own = self.has_own_service();
        let pause = if self.in_turn && !sure { PAUSE } else { spacing };
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

    pub(super) fn take_names(&mut self, at: usize, sure: bool, answer: &Answer) -> Result<(), RegistryError> {
        let held = self.datacenters[at].names_index.held();
        if self.datacenters[at].names_index.advance(answer.index, sure) {
            let Listed { names: now, no_hosts, nothing } = names::read(&answer.body, self.config)?;
            self.datacenters[at].no_hosts = no_hosts;
            self.news |= self.datacenters[at].nothing != nothing;
            self.datacenters[at].nothing = nothing;
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
            // A list that has not changed still says that this is how it is.
            self.news |= now != before || self.news_due();
            self.datacenters[at].names = Some(now);
            if self.datacenters.iter().all(|datacenter| datacenter.names.is_some()) {
                self.services.all_listed();
            }
            // Something about some instance has changed, or the history is another: the list does not say which.
            if self.in_turn && held != Some(answer.index) {
                self.probe_all();
            }
        }
        self.ask_names(at);
        Ok(())
    }

    pub(super) fn ask_troubled(&mut self, at: usize, trouble: Trouble) {
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

    pub(super) fn take_troubled(
        &mut self,
        at: usize,
        trouble: Trouble,
        sure: bool,
        answer: &Answer,
    ) -> Result<(), RegistryError> {
        let Some(troubled) = self.datacenters[at].troubled.get_mut(&trouble) else { return Ok(()) };
        let held = troubled.index.held();
        if troubled.index.advance(answer.index, sure) {
            let concerned = troubled.take(trouble.path(), &answer.body)?;
            // A check that came and went during the pause is in neither list, but may have been read meanwhile.
            if concerned.is_empty() && held != Some(answer.index) {
                self.probe_all();
            }
            for concerned in concerned {
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
