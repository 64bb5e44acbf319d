//! Objects, their revisions and their history.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

/// Resource, namespace, name.
pub(super) type Place = (String, String, String);

/// An object as it is sent, whole or as metadata only.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) value: Value,
    pub(super) whole: String,
    pub(super) metadata: String,
}

impl Stored {
    fn new(mut value: Value, revision: u64) -> Self {
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        let metadata = json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"],
        });
        Self { whole: value.to_string(), metadata: metadata.to_string(), value }
    }

    fn says(&self, value: &Value) -> bool {
        let mut own = self.value.clone();
        strip(&mut own);
        let mut other = value.clone();
        strip(&mut other);
        own == other
    }
}

fn strip(value: &mut Value) {
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) place: Place,
    pub(super) before: Option<Arc<Stored>>,
    pub(super) after: Option<Arc<Stored>>,
}

/// All objects of one resource at one revision, for the pages of a list.
pub(super) type View = Arc<Vec<(Place, Arc<Stored>)>>;

#[derive(Debug)]
pub(super) struct Store {
    revision: u64,
    /// Revisions before this one are forgotten.
    oldest: u64,
    objects: BTreeMap<Place, Arc<Stored>>,
    history: Vec<Change>,
    views: BTreeMap<(u64, String), View>,
}

impl Default for Store {
    fn default() -> Self {
        let (objects, history, views) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        // No revision is 0: that means "any".
        Self { revision: 1, oldest: 1, objects, history, views }
    }
}

impl Store {
    pub(super) fn put(&mut self, resource: &str, object: Value) {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let place = (resource.to_owned(), text("namespace"), text("name"));
        assert!(!place.2.is_empty(), "an object has metadata.name: {object}");
        let before = self.objects.get(&place).cloned();
        if before.as_ref().is_some_and(|before| before.says(&object)) {
            return;
        }
        self.revision += 1;
        let after = Some(Arc::new(Stored::new(object, self.revision)));
        self.note(place, before, after);
    }

    pub(super) fn delete(&mut self, resource: &str, namespace: &str, name: &str) {
        let place = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        if let Some(before) = self.objects.get(&place).cloned() {
            self.revision += 1;
            // What is deleted is sent with the revision of its deletion.
            let before = Arc::new(Stored::new(before.value.clone(), self.revision));
            self.note(place, Some(before), None);
        }
    }

    fn note(&mut self, place: Place, before: Option<Arc<Stored>>, after: Option<Arc<Stored>>) {
        match &after {
            Some(after) => self.objects.insert(place.clone(), Arc::clone(after)),
            None => self.objects.remove(&place),
        };
        self.history.push(Change { revision: self.revision, place, before, after });
    }

    pub(super) fn compact(&mut self) {
        self.revision += 1;
        self.oldest = self.revision;
        self.history.clear();
        self.views.clear();
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the history since that revision is known.
    pub(super) fn remembers(&self, revision: u64) -> bool {
        revision >= self.oldest
    }

    /// What happened after that revision.
    pub(super) fn since(&self, revision: u64) -> &[Change] {
        let at = self.history.partition_point(|change| change.revision <= revision);
        &self.history[at..]
    }

    /// All objects of a resource as they are now.
    pub(super) fn view(&mut self, resource: &str) -> View {
        let of = |place: &Place| place.0 == resource;
        let objects = self.objects.iter().filter(|(place, _)| of(place));
        let view: View =
            Arc::new(objects.map(|(place, stored)| (place.clone(), Arc::clone(stored))).collect());
        // As many as lists are likely to be open.
        while self.views.len() > 64 {
            self.views.pop_first();
        }
        self.views.insert((self.revision, resource.to_owned()), Arc::clone(&view));
        view
    }

    /// All objects of a resource as they were at the beginning of a list.
    pub(super) fn view_at(&self, resource: &str, revision: u64) -> Option<View> {
        self.views.get(&(revision, resource.to_owned())).cloned()
    }

    pub(super) fn names(&self, resource: &str) -> Vec<(String, String)> {
        let of = self.objects.keys().filter(|place| place.0 == resource);
        of.map(|(_, namespace, name)| (namespace.clone(), name.clone())).collect()
    }
}
