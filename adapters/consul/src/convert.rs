//! Converts Consul's answers to the model, as README.md describes. No IO, no clock.
//!
//! ```text
//!  health/service/NAME ── entry ──► Instance ─┐
//!  the same of another datacenter ► Instance ─┴─ service ──► Service
//! ```

mod entry;
mod instance;
mod ports;
mod service;
mod settled;

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot_registry::{Hostname, RegistryError};
use serde_json::value::RawValue;

use crate::Config;
use crate::config::Names;
use entry::Entry;
pub(crate) use instance::{Instance, Meta};
pub(crate) use ports::Defaults;
pub(crate) use service::{Built, service};
pub(crate) use settled::Settled;

/// What one answer about one service says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Its host, if any instance counts.
    pub(crate) host: Option<Hostname>,
    /// The instances that count, each for itself.
    pub(crate) instances: Vec<Instance>,
    /// The nodes of all instances, also of those that do not count.
    pub(crate) nodes: BTreeSet<Arc<str>>,
    /// What was left out, and why.
    pub(crate) skipped: Vec<(String, String)>,
    /// What of instances that count does not count itself, and why.
    pub(crate) notes: Vec<(String, String)>,
    /// Whether consul left out instances that the token may not read.
    pub(crate) filtered: bool,
    /// Whether the token could read all of them at some time before, where it cannot now.
    pub(crate) was_whole: bool,
    /// How many of the instances are those of an answer before: the token could read them then.
    pub(crate) kept: usize,
}

/// Reads the answer of `/v1/health/service/NAME`.
///
/// # Errors
/// It is not a list.
pub(crate) fn content(name: &str, body: &[u8], config: &Config) -> Result<Content, RegistryError> {
    let mut content = Content::default();
    match serde_json::from_slice::<Vec<Entry>>(body) {
        Ok(entries) => entries.iter().for_each(|entry| content.add(name, entry, config)),
        // One that makes no sense hides only itself.
        Err(_) => one_by_one(name, body, config, &mut content)?,
    }
    Ok(content)
}

fn one_by_one(name: &str, body: &[u8], config: &Config, content: &mut Content) -> Result<(), RegistryError> {
    let entries: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
        let what = format!("/v1/health/service/{name}: expected a list of instances");
        RegistryError::malformed(what).caused_by(error)
    })?;
    for (at, entry) in entries.into_iter().enumerate() {
        match serde_json::from_str::<Entry>(entry.get()) {
            Ok(entry) => content.add(name, &entry, config),
            Err(error) => {
                content.skipped.push((format!("{name}: instance {at} of the list"), error.to_string()));
            }
        }
    }
    Ok(())
}

impl Content {
    /// Consul left out instances of this answer that the token may not read. Which those are, it does not say:
    /// where all could be read at some time before, the ones on nodes of which nothing is shown now are kept.
    /// Where some were left out ever since, as the token may read some nodes only, what is gone is gone.
    ///
    /// Nobody says that one that is kept is healthy: its health is unknown then, which takes traffic. It is kept
    /// until the token may read its node again, however long: so is all that is known where a token may read
    /// nothing any more, and time does not tell what is hidden from what is gone.
    pub(crate) fn keep(&mut self, name: &str, known: Option<&Self>) {
        self.filtered = true;
        if let Some(known) = known.filter(|known| known.is_or_was_whole()) {
            self.was_whole = true;
            let lost = |one: &&Instance| {
                !self.nodes.contains(one.node()) && !self.instances.iter().any(|other| other.is_where(one))
            };
            let kept: Vec<Instance> = known.instances.iter().filter(lost).map(Instance::unseen).collect();
            self.kept = kept.len();
            self.instances.extend(kept);
            self.host = self.host.take().or_else(|| known.host.clone());
        }
        let expected = "expected node:read";
        let why = match self.kept {
            0 => format!("consul leaves out instances that the token may not read: {expected}"),
            kept => format!(
                "consul leaves out instances that the token may not read, and {kept} that it could read before \
                 are kept: {expected}"
            ),
        };
        self.skipped.push((name.to_owned(), why));
    }

    /// Without a node it says nothing: it may be there only because there never was an answer of use.
    fn is_or_was_whole(&self) -> bool {
        self.was_whole || (!self.filtered && !self.nodes.is_empty())
    }

    fn add(&mut self, name: &str, entry: &Entry, config: &Config) {
        let node: Arc<str> = entry.node.node.as_str().into();
        self.nodes.insert(Arc::clone(&node));
        if !entry.counts(config) {
            return;
        }
        if self.host.is_none() {
            let names = Names {
                service: name,
                datacenter: &entry.node.datacenter,
                namespace: entry.service.namespace.as_deref().unwrap_or("default"),
                partition: entry.service.partition.as_deref().unwrap_or("default"),
            };
            match config.host.host(names) {
                Ok(host) => self.host = Some(host),
                Err(error) => return self.skipped.push((name.to_owned(), error.to_string())),
            }
        }
        let place = || format!("{name}/{}/{}", entry.node.node, entry.service.id);
        match Instance::read(entry, node, config) {
            Ok(instance) => {
                self.instances.push(instance);
                self.notes.extend(instance::note(entry).map(|note| (place(), note)));
            }
            Err(why) => self.skipped.push((place(), why)),
        }
    }
}

#[cfg(test)]
mod tests;
