//! What the servers behind a fake agent know, with Consul's indexes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::entries::{tags, troubled_checks};
use super::found::Now;
use super::mood::{Mood, Streams};
use super::views::Views;

/// As Consul's `rpc_hold_timeout` has it.
const HOLD: Duration = Duration::from_secs(7);

#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) mood: Mood,
    pub(super) hold: Duration,
    pub(super) revoked: bool,
    pub(super) token: Option<String>,
    /// How many questions about services a limit refuses.
    pub(super) limited: usize,
    /// Nodes that the token may not read.
    pub(super) hidden: Vec<String>,
    /// Counts how often the history began anew.
    pub(super) epoch: u64,
    pub(super) views: Views,
    /// The last index that was given out.
    index: u64,
    /// Of the list of names: any change of an instance moves it.
    names_index: u64,
    checks_index: u64,
    /// Of the last service that went, if one ever has.
    extinct_index: Option<u64>,
    services: BTreeMap<String, Service>,
    /// The list of names, once it is asked for.
    names: Option<Bytes>,
    troubled: BTreeMap<&'static str, Bytes>,
}

#[derive(Debug)]
struct Service {
    index: u64,
    body: Bytes,
    tags: Value,
    instances: Vec<Value>,
    /// Checks that do not pass.
    troubled: Vec<Value>,
}

impl Catalog {
    pub(super) fn new(token: Option<&str>) -> Self {
        Self {
            mood: Mood::default(),
            hold: HOLD,
            revoked: false,
            token: token.map(str::to_owned),
            limited: 0,
            hidden: Vec::new(),
            epoch: 0,
            views: Views::default(),
            index: 100,
            names_index: 100,
            checks_index: 100,
            extinct_index: None,
            services: BTreeMap::new(),
            names: None,
            troubled: BTreeMap::new(),
        }
    }

    pub(super) fn allows(&self, token: Option<&str>) -> bool {
        self.token.is_none() || (!self.revoked && self.token.as_deref() == token)
    }

    pub(super) fn put(&mut self, name: &str, instances: &[Value]) {
        if instances.is_empty() {
            return self.remove(name);
        }
        self.index += 1;
        let troubled = instances.iter().flat_map(troubled_checks).collect();
        let service = Service {
            index: self.index,
            body: Value::from(instances).to_string().into(),
            tags: tags(instances),
            instances: instances.iter().map(|entry| entry["Service"].clone()).collect(),
            troubled,
        };
        let before = self.services.insert(name.to_owned(), service);
        let after = &self.services[name];
        // A check that changes does not wake who waits for the list of names.
        let checks_only = before.as_ref().is_some_and(|before| before.instances == after.instances);
        let same_checks = before.as_ref().is_some_and(|before| before.troubled == after.troubled);
        if !checks_only {
            self.names_index = self.index;
            self.names = None;
        }
        if !same_checks {
            self.checks_index = self.index;
            self.troubled.clear();
        }
        self.tell_views(name);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if self.services.remove(name).is_some() {
            self.index += 1;
            (self.names_index, self.checks_index) = (self.index, self.index);
            self.extinct_index = Some(self.index);
            self.names = None;
            self.troubled.clear();
            self.tell_views(name);
        }
    }

    /// Gives all that there is this index, as a restored snapshot does.
    pub(super) fn begin_anew(&mut self, index: u64) {
        self.epoch += 1;
        (self.names_index, self.checks_index, self.extinct_index) = (index, index, None);
        self.services.values_mut().for_each(|service| service.index = index);
        self.refill_views();
    }

    /// What changes next has the index after this one.
    pub(super) fn count_from(&mut self, index: u64) {
        self.index = index;
    }

    pub(super) fn hide(&mut self, nodes: &[&str]) {
        self.hidden = nodes.iter().map(|&node| node.to_owned()).collect();
        // The servers end the stream; the agent fills the view anew and wakes nobody.
        let mut views = std::mem::take(&mut self.views);
        views.replace_content(|name| self.instances(name).body);
        self.views = views;
    }

    pub(super) fn stream(&mut self, streams: Streams) {
        self.views.streams = streams;
        match streams {
            Streams::Fair => self.refill_views(),
            Streams::Reset => self.views.empty(),
            Streams::Cold => self.views.forget(),
            Streams::Stuck | Streams::Broken => {}
        }
    }

    fn tell_views(&mut self, name: &str) {
        let (index, body) = (self.index, self.instances(name).body);
        self.views.event(name, index, &body);
    }

    fn refill_views(&mut self) {
        let mut views = std::mem::take(&mut self.views);
        views.refill(|name| self.instances(name));
        self.views = views;
    }

    /// The names of all services, Consul's own among them.
    pub(super) fn names(&mut self) -> Now {
        let services = &self.services;
        let body = self.names.get_or_insert_with(|| {
            let own = std::iter::once(("consul".to_owned(), json!([])));
            let others = services.iter().map(|(name, service)| (name.clone(), service.tags.clone()));
            Value::Object(own.chain(others).collect()).to_string().into()
        });
        Now { index: self.names_index, body: body.clone() }
    }

    /// The instances of a service. One that is not there has the index of the last one that went, and before
    /// any has gone that of the last change of any.
    pub(super) fn instances(&self, name: &str) -> Now {
        match self.services.get(name) {
            Some(service) => Now { index: service.index, body: service.body.clone() },
            None => {
                let index = self.extinct_index.unwrap_or(self.names_index.max(self.checks_index));
                Now { index, body: Bytes::from_static(b"[]") }
            }
        }
    }

    /// Whether some instance of the service may have these tags, which are in lower case.
    pub(super) fn may_have(&self, name: &str, tags: &[String]) -> bool {
        let own = |service: &Service| service.tags.to_string().to_ascii_lowercase();
        let own = self.services.get(name).map(own).unwrap_or_default();
        tags.iter().all(|tag| own.contains(tag.as_str()))
    }

    /// The checks in that state.
    pub(super) fn checks(&mut self, state: &'static str) -> Now {
        let services = &self.services;
        let body = self.troubled.entry(state).or_insert_with(|| {
            let all = services.values().flat_map(|service| &service.troubled);
            let some: Vec<&Value> = all.filter(|check| check["Status"] == state).collect();
            json!(some).to_string().into()
        });
        Now { index: self.checks_index, body: body.clone() }
    }
}
