//! What became of each document of the stores of rules, in the mesh as it is.

use std::sync::Arc;

use parking_lot::Mutex;

use super::rulebook::{RegisteredRules, Rulebook};
use crate::mesh::Mesh;
use crate::rules::{Entries, Entry, InForce, Level};
use crate::translate::rules::{Standing, standing};

/// What became of one document.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The store that has it, by its name in pilot.toml.
    pub store: Arc<str>,
    /// The document.
    pub entry: Entry,
    /// What there is to say of it, the worst first; nothing = it counts.
    pub said: Vec<(Standing, String)>,
}

impl Judged {
    fn of(store: &RegisteredRules, entry: Entry, mesh: Option<&Mesh>) -> Self {
        let errors = || entry.findings.iter().filter(|finding| finding.level == Level::Error);
        let mut said: Vec<_> = match entry.is_rejected() {
            true => errors().map(|why| (Standing::Rejected, why.to_string())).collect(),
            false => Vec::new(),
        };
        said.extend(in_the_mesh(store, &entry, mesh));
        said.sort_by_key(|(standing, _)| std::cmp::Reverse(*standing));
        Self { store: Arc::clone(&store.name), entry, said }
    }

    /// The worst that there is to say of it, where proxies refuse what is there for these documents.
    pub fn standing_with(&self, mesh: Option<&Mesh>, refused: impl Fn(&str) -> bool) -> Standing {
        let is_refused = self.carriers(mesh).iter().any(|carrier| refused(carrier));
        self.standing().max(if is_refused { Standing::Refused } else { Standing::Accepted })
    }

    /// The documents by whose resources proxies are told what it says: itself, then those that delegate to it. None where
    /// nothing of it counts.
    pub fn carriers(&self, mesh: Option<&Mesh>) -> Vec<String> {
        let Some((mesh, id)) = mesh.zip(self.entry.id.as_ref()) else { return Vec::new() };
        let Some(own) = mesh.rules.get(id).filter(|ruling| ruling.store.name == self.store) else {
            return Vec::new();
        };
        let is_delegate = own.virtual_service().is_some_and(|rule| rule.hosts.is_empty());
        let roots =
            mesh.rules.delegating_to(id).filter(|_| is_delegate).map(|root| root.version.id.to_string());
        [id.to_string()].into_iter().chain(roots).collect()
    }

    /// The worst that there is to say of it, proxies apart.
    pub fn standing(&self) -> Standing {
        self.said.first().map_or(Standing::Accepted, |(standing, _)| *standing)
    }
}

fn in_the_mesh(store: &RegisteredRules, entry: &Entry, mesh: Option<&Mesh>) -> Vec<(Standing, String)> {
    let Some((mesh, id)) = mesh.zip(entry.id.as_ref()) else { return Vec::new() };
    if entry.in_force == InForce::Nothing {
        return Vec::new();
    }
    if let Some(winner) = mesh.rules.winner(id, &store.rank()) {
        let why = format!("the store {} has it, too, and is preferred", winner.name);
        return vec![(Standing::Conflicted, why)];
    }
    mesh.rules.get(id).map(|ruling| standing(mesh, ruling)).unwrap_or_default()
}

/// The last judgement: it stays as long as neither the documents nor the mesh are others.
#[derive(Default)]
pub(super) struct Judgement(Mutex<Option<Last>>);

struct Last {
    generation: u64,
    mesh: Option<Arc<Mesh>>,
    judged: Arc<[Judged]>,
}

impl Judgement {
    /// All documents, store by store, in the order of each.
    pub(super) fn of(&self, book: &Rulebook, mesh: Option<Arc<Mesh>>) -> Arc<[Judged]> {
        let (generation, entries) = book.entries();
        let mut last = self.0.lock();
        let is_same = |last: &&Last| {
            last.generation == generation
                && last.mesh.as_ref().map(Arc::as_ptr) == mesh.as_ref().map(Arc::as_ptr)
        };
        if let Some(last) = last.as_ref().filter(is_same) {
            return Arc::clone(&last.judged);
        }
        let of_store = |(store, entries): (&RegisteredRules, Entries)| {
            let judge = |entry: &Entry| Judged::of(store, entry.clone(), mesh.as_deref());
            entries.iter().map(judge).collect::<Vec<_>>()
        };
        let judged: Arc<[Judged]> = book.stores().iter().zip(entries).flat_map(of_store).collect();
        *last = Some(Last { generation, mesh, judged: Arc::clone(&judged) });
        judged
    }
}
