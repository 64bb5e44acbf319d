//! The documents of one store: what each says now, and what of it is in force.
//!
//! ```text
//!  Texts ──► shelves (places whose text changed are read) ──► documents that stand there ──► what is in force of each
//! ```
//!
//! A document that is rejected keeps its last good version, also over a restart ([`Library::resume`]). Where a text has
//! something that cannot be told apart (no YAML, no name), it might be any document that this place had before: those
//! stay. A change costs what it touches: the places whose text changed, and the documents that stand there.

mod shelf;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use imbl::OrdMap;
use pilot_registry::{Namespace, Texts};

use super::{DocumentId, Finding, Level, Position, Spec, read};
use shelf::{ReadDocument, Shelf};

/// A version of a document that can be in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Which document it is.
    pub id: DocumentId,
    /// What it says.
    pub spec: Spec,
    /// Where it stands, in its store.
    pub place: Arc<str>,
    /// The older one wins: smaller is older, `None` is youngest.
    pub age: Option<u64>,
    /// The document itself, as JSON.
    pub source: Arc<str>,
}

/// What became of one document of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which one it is; `None` = that cannot be told.
    pub id: Option<DocumentId>,
    /// Where it stands, in its store.
    pub place: Arc<str>,
    /// Where it begins there.
    pub at: Position,
    /// The hash of what it says now; `None` = it says nothing ([`Document::hash`](super::Document::hash)).
    pub hash: Option<u64>,
    /// What there is to say of it.
    pub findings: Arc<[Finding]>,
    /// What of it is in force.
    pub in_force: InForce,
}

/// What of a document is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InForce {
    /// What it says now.
    This,
    /// What it said before: what it says now is wrong.
    LastGood,
    /// Nothing.
    Nothing,
}

/// What became of each document of a store. A copy costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Entries(OrdMap<Arc<str>, Arc<[Entry]>>);

impl Entries {
    /// In the order of the store: by place, and as they stand there.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.values().flat_map(|entries| entries.iter())
    }

    /// Those of one place.
    pub fn at(&self, place: &str) -> &[Entry] {
        self.0.get(place).map_or(&[], |entries| &**entries)
    }
}

/// Versions of documents, one of each. A copy costs nothing.
pub type Versions = OrdMap<DocumentId, Arc<Version>>;

/// What is new since the texts before.
#[derive(Debug, Default)]
pub struct Taken {
    /// The documents of which something else is in force.
    pub documents: Vec<DocumentId>,
    /// Where there may be something else to say.
    pub places: BTreeSet<Arc<str>>,
}

/// The documents of one store.
#[derive(Debug, Default)]
pub struct Library {
    /// What was taken in last.
    texts: Texts,
    shelves: BTreeMap<Arc<str>, Shelf>,
    /// Where each document stands: the place, and which one it is there. The first one counts.
    standing: HashMap<DocumentId, BTreeSet<(Arc<str>, usize)>>,
    in_force: Versions,
    /// Last good versions that an earlier pilot left, for documents that are wrong from the start.
    left: BTreeMap<DocumentId, Arc<Version>>,
    entries: Entries,
    /// Those of the documents that the store may have; none = any.
    namespaces: Vec<Namespace>,
}

impl Library {
    /// Of a store that may have documents of these namespaces only; none = of any.
    pub fn of(namespaces: Vec<Namespace>) -> Self {
        Self { namespaces, ..Self::default() }
    }

    /// What an earlier pilot left is in force; `why` says why that is, and not what the store says. Gives the documents of
    /// which something else is in force than before.
    pub fn stand_in(&mut self, why: &str) -> Vec<DocumentId> {
        let missing = self.left.iter().filter(|(id, _)| !self.in_force.contains_key(*id));
        let missing: Vec<_> = missing.map(|(id, version)| (id.clone(), Arc::clone(version))).collect();
        let mut told: BTreeMap<Arc<str>, Vec<Entry>> = BTreeMap::new();
        for (_, version) in &missing {
            told.entry(Arc::clone(&version.place)).or_default().push(Entry::left(version, why));
        }
        self.entries.0.extend(told.into_iter().map(|(place, entries)| (place, Arc::from(entries))));
        let ids = missing.iter().map(|(id, _)| id.clone()).collect();
        self.in_force.extend(missing);
        ids
    }

    /// Takes in last good versions that an earlier pilot left. They are in force where the store has such a document,
    /// and what it says is wrong. Documents that the store may not have any more are not in force.
    pub fn resume(&mut self, left: impl IntoIterator<Item = Arc<Version>>) {
        let allowed = left.into_iter().filter(|version| shelf::may_have(&self.namespaces, &version.id));
        self.left = allowed.map(|version| (version.id.clone(), version)).collect();
    }

    /// Takes in what the store has now.
    pub fn take(&mut self, texts: &Texts, default_namespace: &str) -> Taken {
        let mut places: BTreeSet<_> = texts.differing(&self.texts).cloned().collect();
        self.texts = texts.clone();
        // What an earlier pilot left counts from now on, or never.
        let left = std::mem::take(&mut self.left);
        let mut ids: BTreeSet<_> = left.keys().cloned().collect();
        for place in &places {
            ids.extend(self.remove(place));
            if let Some(text) = texts.get(place) {
                ids.extend(self.put(place, Shelf::read(place, text, default_namespace, &self.namespaces)));
            }
        }
        // That it stands in for the store is over.
        places.extend(left.values().map(|version| Arc::clone(&version.place)));
        let mut documents = Vec::new();
        for id in ids {
            // Of two at different places, another one may be the first.
            places.extend(self.standing.get(&id).into_iter().flatten().map(|(place, _)| Arc::clone(place)));
            let old = self.in_force.get(&id).cloned();
            let new = self.chosen(&id, old.as_ref().or_else(|| left.get(&id)), &mut places);
            let is_same = match (&old, &new) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
                (old, new) => old.is_none() && new.is_none(),
            };
            match new {
                Some(new) => self.in_force.insert(id.clone(), new),
                None => self.in_force.remove(&id),
            };
            documents.extend((!is_same).then_some(id));
        }
        for place in &places {
            match self.shelves.get(place).map(|shelf| self.told(place, shelf)) {
                Some(entries) => self.entries.0.insert(Arc::clone(place), entries),
                None => self.entries.0.remove(place),
            };
        }
        Taken { documents, places }
    }

    /// Whether something is in force, or was when an earlier pilot ended.
    pub fn has_known(&self) -> bool {
        !self.in_force.is_empty() || !self.left.is_empty()
    }

    /// What is in force.
    pub fn in_force(&self) -> &Versions {
        &self.in_force
    }

    /// What became of each document.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Forgets what stands at a place. Gives the documents that stood there, or may have.
    fn remove(&mut self, place: &Arc<str>) -> Vec<DocumentId> {
        let Some(shelf) = self.shelves.remove(place) else { return Vec::new() };
        let mut ids: Vec<_> = shelf.kept.into_iter().collect();
        for (number, id) in shelf.documents.into_iter().enumerate() {
            let Some(id) = id.id else { continue };
            if let Some(all) = self.standing.get_mut(&id) {
                all.remove(&(Arc::clone(place), number));
                if all.is_empty() {
                    self.standing.remove(&id);
                }
            }
            ids.push(id);
        }
        ids
    }

    /// Gives the documents that stand there.
    fn put(&mut self, place: &Arc<str>, shelf: Shelf) -> Vec<DocumentId> {
        let named = shelf.documents.iter().enumerate();
        let named: Vec<_> = named.filter_map(|(number, read)| Some((number, read.id.clone()?))).collect();
        for (number, id) in &named {
            self.standing.entry(id.clone()).or_default().insert((Arc::clone(place), *number));
        }
        self.shelves.insert(Arc::clone(place), shelf);
        named.into_iter().map(|(_, id)| id).collect()
    }

    /// What is in force of a document: what it says, else `last`, if it is there, or may be. `places`: where there may
    /// be something else to say.
    fn chosen(
        &mut self,
        id: &DocumentId,
        last: Option<&Arc<Version>>,
        places: &mut BTreeSet<Arc<str>>,
    ) -> Option<Arc<Version>> {
        if let Some(last) = last
            && let Some(shelf) = self.shelves.get_mut(&last.place)
            && shelf.kept.remove(id)
        {
            places.insert(Arc::clone(&last.place));
        }
        if let Some(((place, _), read)) = self.first(id) {
            let moved = |last: &Arc<Version>| match last.place == *place {
                true => Arc::clone(last),
                false => Arc::new(Version { place: Arc::clone(place), ..(**last).clone() }),
            };
            return read.version.clone().or_else(|| last.map(moved));
        }
        let last = last?;
        let shelf = self.shelves.get_mut(&last.place).filter(|shelf| shelf.maybe(id).is_some())?;
        shelf.kept.insert(id.clone());
        places.insert(Arc::clone(&last.place));
        Some(Arc::clone(last))
    }

    /// Where a document stands first, and what was read there.
    fn first(&self, id: &DocumentId) -> Option<(&(Arc<str>, usize), &ReadDocument)> {
        let at = self.standing.get(id)?.first()?;
        Some((at, self.shelves.get(&at.0)?.documents.get(at.1)?))
    }

    /// What there is to say of a place.
    fn told(&self, place: &Arc<str>, shelf: &Shelf) -> Arc<[Entry]> {
        let documents = shelf.documents.iter().enumerate();
        let own = documents.map(|(number, read)| self.entry(place, number, read));
        let kept = shelf.kept.iter().filter_map(|id| Some((id, shelf.maybe(id)?.at)));
        own.chain(kept.map(|(id, maybe)| Entry::kept(id, place, maybe))).collect()
    }

    fn entry(&self, place: &Arc<str>, number: usize, read: &ReadDocument) -> Entry {
        let mut entry = Entry {
            id: read.id.clone(),
            place: Arc::clone(place),
            at: read.at,
            hash: read.hash,
            findings: Arc::clone(&read.findings),
            in_force: InForce::Nothing,
        };
        let Some((id, (at, first))) = read.id.as_ref().and_then(|id| Some((id, self.first(id)?))) else {
            return entry;
        };
        if *at != (Arc::clone(place), number) {
            let message = format!("{id} is there twice: the one at {}:{} counts", at.0, first.at.line);
            let double = Finding::error(read.at, "", message);
            entry.findings = read.findings.iter().cloned().chain([double]).collect();
        } else if read.version.is_some() {
            entry.in_force = InForce::This;
        } else if self.in_force.contains_key(id) {
            entry.in_force = InForce::LastGood;
        }
        entry
    }
}

impl Entry {
    /// A version that stands in for what the store says. Where it stood in its place was not kept.
    fn left(version: &Version, why: &str) -> Self {
        let at = Position::UNKNOWN;
        let message = format!("{why}: the version that was in force when pilot was stopped is in force");
        Self {
            id: Some(version.id.clone()),
            place: Arc::clone(&version.place),
            at,
            hash: read(&version.source, &version.id.namespace).first().and_then(|document| document.hash),
            findings: [Finding::warning(at, "", message)].into(),
            in_force: InForce::LastGood,
        }
    }

    /// A document that is not found any more, and may be what cannot be read at its place.
    fn kept(id: &DocumentId, place: &Arc<str>, unread: Position) -> Self {
        let why = "it is not found any more, and what stands here cannot be read: it may be this document";
        let findings = [Finding::error(unread, "", why)].into();
        let (id, place) = (Some(id.clone()), Arc::clone(place));
        Self { id, place, at: unread, hash: None, findings, in_force: InForce::LastGood }
    }

    /// Whether it is rejected as it is.
    pub fn is_rejected(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }
}
