//! What a fake agent knows, with Consul's indexes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

/// How an agent behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    #[default]
    Sane,
    /// There is no leader: lists are empty, and only a header says that they are not to be believed.
    Leaderless,
    /// Bodies are no JSON.
    Garbled,
}

/// Whether an answer stops in its middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stall {
    #[default]
    No,
    Next,
    Now,
}

#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) mood: Mood,
    pub(super) revoked: bool,
    pub(super) token: Option<String>,
    /// Counts how often the history was lost.
    pub(super) epoch: u64,
    index: u64,
    /// Of the list of names: any change of an instance moves it.
    names_index: u64,
    checks_index: u64,
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

/// An answer as it would be now.
pub(super) struct Now {
    pub(super) index: u64,
    pub(super) body: Bytes,
}

impl Catalog {
    pub(super) fn new(token: Option<&str>) -> Self {
        Self {
            mood: Mood::default(),
            revoked: false,
            token: token.map(str::to_owned),
            epoch: 0,
            index: 100,
            names_index: 100,
            checks_index: 100,
            services: BTreeMap::new(),
            names: None,
            troubled: BTreeMap::new(),
        }
    }

    pub(super) fn allows(&self, token: Option<&str>) -> bool {
        self.token.is_none() || (!self.revoked && self.token.as_deref() == token)
    }

    pub(super) fn put(&mut self, name: &str, instances: &[Value]) {
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
    }

    pub(super) fn remove(&mut self, name: &str) {
        if self.services.remove(name).is_some() {
            self.index += 1;
            (self.names_index, self.checks_index) = (self.index, self.index);
            self.names = None;
            self.troubled.clear();
        }
    }

    pub(super) fn lose_history(&mut self) {
        self.epoch += 1;
        // Each time the same small numbers, as after a restore.
        (self.index, self.names_index, self.checks_index) = (7, 7, 7);
        self.services.values_mut().for_each(|service| service.index = 7);
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

    /// The instances of a service. One that is not there has the index of the last change of any.
    pub(super) fn instances(&self, name: &str) -> Now {
        match self.services.get(name) {
            Some(service) => Now { index: service.index, body: service.body.clone() },
            None => Now { index: self.names_index, body: Bytes::from_static(b"[]") },
        }
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

fn troubled_checks(entry: &Value) -> Vec<Value> {
    let checks = entry["Checks"].as_array().into_iter().flatten();
    checks.filter(|check| check["Status"] != "passing").cloned().collect()
}

fn tags(instances: &[Value]) -> Value {
    let all = instances.iter().flat_map(|entry| entry["Service"]["Tags"].as_array().into_iter().flatten());
    let mut tags: Vec<String> = all.filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
    tags.sort();
    tags.dedup();
    json!(tags)
}
