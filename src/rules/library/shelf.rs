//! What stands at one place of a store.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot_registry::{Namespace, Text};

use super::Version;
use crate::rules::envelope::is_kind;
use crate::rules::{Document, DocumentId, Finding, Position, read};

/// What stands at one place.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) documents: Vec<ReadDocument>,
    /// Documents that are not found any more, and may be what cannot be read here: they stay in force.
    pub(super) kept: BTreeSet<DocumentId>,
}

/// One document as it was read.
#[derive(Debug)]
pub(super) struct ReadDocument {
    /// `None` = that cannot be told.
    pub(super) id: Option<DocumentId>,
    pub(super) at: Position,
    pub(super) hash: Option<u64>,
    pub(super) findings: Arc<[Finding]>,
    /// `None` = it is rejected.
    pub(super) version: Option<Arc<Version>>,
}

impl Shelf {
    pub(super) fn read(
        place: &Arc<str>,
        text: &Text,
        default_namespace: &str,
        namespaces: &[Namespace],
    ) -> Self {
        let namespace = text.namespace.as_ref().map_or(default_namespace, |namespace| namespace.as_str());
        let documents = read(&text.text, namespace);
        let documents = documents
            .into_iter()
            .map(|document| ReadDocument::new(document, place, text, namespaces))
            .collect();
        Self { documents, kept: BTreeSet::new() }
    }

    /// Something that may be that document: it cannot be told apart, or has its name, and is of no kind that there is.
    pub(super) fn maybe(&self, id: &DocumentId) -> Option<&ReadDocument> {
        self.documents.iter().find(|read| match &read.id {
            None => true,
            Some(own) => own.namespace == id.namespace && own.name == id.name && !is_kind(&own.kind),
        })
    }
}

/// Whether a store of these namespaces may have the document; none = any.
pub(super) fn may_have(namespaces: &[Namespace], id: &DocumentId) -> bool {
    namespaces.is_empty() || namespaces.iter().any(|namespace| namespace.as_str() == id.namespace)
}

impl ReadDocument {
    fn new(document: Document, place: &Arc<str>, text: &Text, namespaces: &[Namespace]) -> Self {
        let Document { id, at, created, mut spec, source, hash, mut findings } = document;
        if let Some(id) = id.as_ref().filter(|id| !may_have(namespaces, id)) {
            let allowed = namespaces.iter().map(Namespace::as_str).collect::<Vec<_>>().join(", ");
            let message = format!(
                "namespace {} is not one of this store's: expected {allowed} (namespaces in pilot.toml)",
                id.namespace
            );
            findings.push(Finding::error(at, "metadata.namespace", message));
            spec = None;
        }
        // A store's own count is of one kind, and a document's word of another: a store has the one or the other.
        let created = created.and_then(|time| u64::try_from(time.as_millisecond()).ok());
        let version = id.clone().zip(spec).map(|(id, spec)| {
            Arc::new(Version { id, spec, place: Arc::clone(place), age: text.age.or(created), source })
        });
        Self { id, at, hash, findings: findings.into(), version }
    }
}
