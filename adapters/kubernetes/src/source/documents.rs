//! Documents of rules, as the API server has them: what of each is kept, and what is published.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use pilot_registry::{Fault, Lent, Text, TextSink, Texts};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Receiver;

use super::decode::{Change, Decode, Versioned, read, unread, version};
use super::follow::Update;
use crate::objects::{Document, Key, Meta};

/// How many updates are applied at most before the result is published.
const BATCH: usize = 1024;

/// Decodes documents of one kind and version.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) kind: &'static str,
    /// `networking.istio.io/v1`
    pub(super) api_version: &'static str,
}

impl Documents {
    /// The document as somebody would write it, without what the server notes of it and changes by itself.
    fn text(&self, Document { metadata, spec }: &Document<'_>) -> Arc<Text> {
        let Meta { name, namespace, creation_timestamp, .. } = metadata;
        let mut kept = json!({ "name": name, "namespace": namespace });
        if let Some(created) = creation_timestamp {
            kept["creationTimestamp"] = json!(created);
        }
        let document = json!({ "apiVersion": self.api_version, "kind": self.kind, "metadata": kept });
        let mut text = document.to_string();
        if let Some(spec) = spec {
            text.truncate(text.len() - 1);
            text.push_str(",\"spec\":");
            text.push_str(spec.get());
            text.push('}');
        }
        Arc::new(Text { text: text.into(), age: None, namespace: None })
    }
}

fn key(meta: &Meta) -> Key {
    Key { namespace: meta.namespace.as_str().into(), name: meta.name.as_str().into() }
}

impl Decode for Documents {
    type Entry = Arc<Text>;

    fn decode(&mut self, object: &RawValue) -> Versioned<Arc<Text>> {
        match read::<Document<'_>>(object.get()) {
            Ok(document) => {
                let meta = &document.metadata;
                Versioned { listed: (key(meta), Ok(self.text(&document))), version: version(meta) }
            }
            Err(error) => {
                let (meta, why) = unread(object, &error);
                Versioned { version: version(&meta), listed: (key(&meta), Err(why)) }
            }
        }
    }
}

/// What is known of one scope.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    texts: BTreeMap<Key, Arc<Text>>,
    /// Documents that cannot be read, and why. Their last text stays.
    unread: BTreeMap<Key, String>,
}

/// Applies the updates of followers, and publishes once everything is listed.
pub(super) struct DocumentPublisher<'a> {
    sink: &'a TextSink,
    /// The kinds of scopes.
    kinds: Vec<&'static str>,
    /// By scope; given back to the next attempt.
    shelves: Lent<BTreeMap<usize, Shelf>>,
    /// Scopes of which nothing is known yet.
    unknown: BTreeSet<usize>,
    /// Scopes of which nothing was heard since the last time that something was published.
    unheard: BTreeSet<usize>,
    faults: BTreeMap<usize, Fault<Texts>>,
}

impl<'a> DocumentPublisher<'a> {
    pub(super) fn new(
        sink: &'a TextSink,
        kinds: Vec<&'static str>,
        shelves: Lent<BTreeMap<usize, Shelf>>,
    ) -> Self {
        let all: BTreeSet<usize> = (0..kinds.len()).collect();
        Self { sink, kinds, shelves, unknown: all.clone(), unheard: all, faults: BTreeMap::new() }
    }

    pub(super) async fn run(mut self, mut updates: Receiver<Update<Arc<Text>>>) -> Infallible {
        let mut batch = Vec::new();
        loop {
            if updates.recv_many(&mut batch, BATCH).await == 0 {
                // No follower is left: the attempt ends because of that.
                std::future::pending::<()>().await;
            }
            let (mut news, mut cured) = (false, Vec::new());
            for update in batch.drain(..) {
                news |= self.apply(update, &mut cured);
            }
            if self.unknown.is_empty() && (news || self.unheard.is_empty()) {
                self.publish();
            }
            // Faults that are over end after the value that cures them is published.
            drop(cured);
        }
    }

    /// Says whether there is something to publish.
    fn apply(&mut self, update: Update<Arc<Text>>, cured: &mut Vec<Fault<Texts>>) -> bool {
        match update {
            Update::Listed(at, listed) => {
                let shelf = self.shelves.entry(at).or_default();
                let before = std::mem::take(shelf);
                for (key, text) in listed {
                    let last = before.texts.get(&key).cloned();
                    shelf.put(key, text, last);
                }
                self.unknown.remove(&at);
                self.unheard.remove(&at);
                cured.extend(self.faults.remove(&at));
                true
            }
            Update::Changed(at, change) => {
                self.unheard.remove(&at);
                let shelf = self.shelves.entry(at).or_default();
                match change {
                    Change::Put(key, text) => {
                        let last = shelf.texts.get(&key).cloned();
                        shelf.put(key, text, last);
                    }
                    Change::Gone(key) => {
                        shelf.texts.remove(&key);
                        shelf.unread.remove(&key);
                    }
                }
                true
            }
            Update::Checked(at) => {
                self.unheard.remove(&at);
                false
            }
            Update::Trouble { at, error, .. } => {
                tracing::warn!(error = error.chain(), "the rules of the cluster cannot be read");
                self.faults.insert(at, self.sink.fault(error));
                false
            }
        }
    }

    fn publish(&mut self) {
        let place = |at: &usize, key: &Key| format!("{}/{key}", self.kinds[*at]);
        let mut texts = Vec::new();
        for (at, shelf) in &*self.shelves {
            for (key, why) in &shelf.unread {
                self.sink.skipped(place(at, key), format!("{why}: its last text stays in force"));
            }
            texts.extend(shelf.texts.iter().map(|(key, text)| (place(at, key).into(), Arc::clone(text))));
        }
        self.sink.publish(texts.into_iter().collect());
        self.unheard = (0..self.kinds.len()).filter(|at| !self.faults.contains_key(at)).collect();
    }
}

impl Shelf {
    fn put(&mut self, key: Key, text: Result<Arc<Text>, String>, last: Option<Arc<Text>>) {
        self.unread.remove(&key);
        match text {
            Ok(text) => _ = self.texts.insert(key, text),
            Err(why) => {
                self.texts.extend(last.map(|last| (key.clone(), last)));
                self.unread.insert(key, why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_notes_of_a_document_is_not_a_part_of_it() {
        let mut documents = Documents { kind: "VirtualService", api_version: "networking.istio.io/v1" };
        let mut text = |version: &str, generation: u32| {
            let object = json!({
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {
                    "name": "a", "namespace": "apps", "resourceVersion": version, "generation": generation,
                    "creationTimestamp": "2026-01-02T03:04:05Z", "managedFields": [{ "manager": "kubectl" }],
                },
                "spec": { "hosts": ["a.local"] }, "status": { "observedGeneration": generation },
            });
            let raw = RawValue::from_string(object.to_string()).unwrap();
            let Versioned { listed, version } = documents.decode(&raw);
            (listed.0.to_string(), listed.1.unwrap().text.to_string(), version)
        };
        let first = text("7", 1);
        let expected = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": { "name": "a", "namespace": "apps", "creationTimestamp": "2026-01-02T03:04:05Z" },
            "spec": { "hosts": ["a.local"] },
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&first.1).unwrap(), expected);
        assert_eq!((first.0.as_str(), first.2.as_deref()), ("apps/a", Some("7")));
        assert_eq!(text("8", 2).1, first.1);
    }
}
