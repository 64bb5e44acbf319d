//! What documents would change, without taking them in.
//!
//! ```text
//!  documents ─► Library ─► Rules beside those in force ─► mesh that is not served
//!  layers in use, copied ─────────────────────────────────► Layers::advance ─► views ─► what differs, scope by scope
//! ```
//!
//! Nothing that is in force is touched: layers are immutable, and the copy of them is thrown away.

mod differs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::{Text, Texts};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Admin;
use super::reply::Failure;
use super::services::nearest;
use crate::mesh::Mesh;
use crate::proxy::{ConfigSource, Role, Scope};
use crate::rules::{
    DEFAULT_NAMESPACE, DocumentChange, Entries, Entry, Level, Library, Ruling, StoreRank, Version,
};
use crate::translate::Layers;
use crate::translate::rules::{Standing, standing};
use crate::world::RegisteredRules;
pub use differs::{ChangeKind, PlannedChange};

/// A plan of more text is refused.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// So many proxies of a group are named.
const NAMED_MAX: usize = 20;

/// Documents to be planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The texts that have them.
    pub files: Vec<PlanFile>,
    /// Documents that would be removed: kind, namespace and name of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<String>,
}

/// A text with documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// What it is called in what is said of it.
    pub place: String,
    /// The text, YAML or JSON.
    pub text: String,
}

/// What they would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanReport {
    /// No document is rejected.
    pub ok: bool,
    /// The documents, in order; then those that would be removed, and those of which something worse is to be said then.
    pub documents: Vec<PlannedDocument>,
    /// The proxies that would be told something else, by what their configuration depends on; where no proxy is connected, one that
    /// says nothing of itself.
    pub groups: Vec<PlannedGroup>,
    /// How many connected proxies would be told the same as now.
    pub unchanged: usize,
}

/// What would become of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDocument {
    /// Its kind, namespace and name; empty = that cannot be told.
    pub document: String,
    /// The text that it is in.
    pub place: String,
    /// The line at which it begins, from 1; 0 = of a document that is no part of the request.
    pub line: usize,
    /// The store whose document it would be.
    pub store: String,
    /// Whether pilot has it already.
    pub what: PlannedAs,
    /// The worst that there is to say of it.
    pub state: Standing,
    /// Why it is in that state, and what its author should know; of a rejected one, all that is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// Whether a document is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedAs {
    /// There is none of that name.
    New,
    /// There is one that says something else.
    Changed,
    /// There is one that says the same.
    Same,
    /// It would be removed.
    Deleted,
}

/// Proxies that would be told something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedGroup {
    /// What their configuration depends on.
    pub scope: String,
    /// How many there are.
    pub count: usize,
    /// Their node ids; the first of many.
    pub proxies: Vec<String>,
    /// What differs.
    pub changes: Vec<PlannedChange>,
    /// How many changes there are beside these.
    #[serde(default)]
    pub more: usize,
}

impl PlanReport {
    /// What these documents would change now.
    pub(super) fn of(admin: &Admin, request: &PlanRequest) -> Result<Self, Failure> {
        let (mesh, before) =
            admin.world.in_force().ok_or_else(|| Failure::unavailable("the services are not known yet"))?;
        let stores = admin.world.rule_stores();
        let Some(first) = stores.iter().min_by_key(|store| rank(store)) else {
            return Err(Failure::conflict(
                "this pilot follows no store of rules: pilot.toml needs a table [rules.<name>.<kind>]",
            ));
        };
        let mut report = Self { ok: true, ..Self::default() };
        let mut changes = Vec::new();
        let library = read(request);
        for entry in library.entries().iter() {
            let known = entry.id.as_ref().and_then(|id| mesh.rules.get(id));
            let store =
                known.and_then(|known| stores.iter().find(|it| it.name == known.store.name)).unwrap_or(first);
            let refused = refusal(entry, store);
            report.ok &= !entry.is_rejected() && refused.is_none();
            let version =
                entry.id.as_ref().and_then(|id| library.in_force().get(id)).filter(|_| refused.is_none());
            let version = version.map(|version| aged(version, known.map(|known| &*known.version)));
            report.documents.push(PlannedDocument::of(
                entry,
                store,
                refused,
                known.map(|it| &*it.version),
                version.as_deref(),
            ));
            if let Some(version) = version.filter(|_| !entry.is_rejected()) {
                changes.push(DocumentChange {
                    store: rank(store),
                    id: version.id.clone(),
                    now: Some(version),
                });
            }
        }
        let deleted = deleted(&mesh, request, &report)?;
        let gone = deleted.iter().map(|ruling| (ruling.store.clone(), ruling.version.id.clone()));
        changes.extend(gone.map(|(store, id)| DocumentChange { store, id, now: None }));
        let rules = mesh.rules.with(changes).0;
        let after = mesh.with_rules(rules);
        report.judge(&after, library.entries());
        report.delete(&mesh, &after, &deleted);
        report.compare(admin, &mesh, before, Arc::new(after));
        Ok(report)
    }

    /// What would become of the documents that are in order. `entries`: all of them, in the same order.
    fn judge(&mut self, mesh: &Mesh, entries: &Entries) {
        for (document, entry) in self.documents.iter_mut().zip(entries.iter()) {
            let is_planned = document.state != Standing::Rejected;
            let ruling = entry.id.as_ref().filter(|_| is_planned).and_then(|id| mesh.rules.get(id));
            for (state, why) in ruling.map(|ruling| standing(mesh, ruling)).unwrap_or_default() {
                document.state = document.state.max(state);
                document.reasons.push(why);
            }
        }
    }

    /// What becomes of documents that would be removed, and of those that need them.
    fn delete(&mut self, before: &Mesh, after: &Mesh, deleted: &[Ruling]) {
        for ruling in deleted {
            let other = after.rules.get(&ruling.version.id);
            let words =
                |other: &Ruling| format!("the store {} has it, too: that one would count", other.store.name);
            let reasons = other.map(words).into_iter().collect();
            self.documents.push(PlannedDocument::there(
                ruling,
                PlannedAs::Deleted,
                Standing::Accepted,
                reasons,
            ));
        }
        if deleted.is_empty() {
            return;
        }
        let planned: BTreeSet<String> = self.documents.iter().map(|it| it.document.clone()).collect();
        for ruling in after.rules.iter().filter(|it| !planned.contains(&it.version.id.to_string())) {
            let (was, is) = (standing(before, ruling), standing(after, ruling));
            let worse: Vec<_> = is.into_iter().filter(|said| !was.contains(said)).collect();
            let Some(state) = worse.iter().map(|(state, _)| *state).max() else { continue };
            let reasons = worse.into_iter().map(|(_, why)| why).collect();
            self.documents.push(PlannedDocument::there(ruling, PlannedAs::Same, state, reasons));
        }
    }

    fn compare(&mut self, admin: &Admin, mesh: &Mesh, mut before: Layers, after: Arc<Mesh>) {
        let mut groups: BTreeMap<String, (Scope, Scope, Vec<String>)> = BTreeMap::new();
        admin.proxies.each(|stream| {
            let next = after.scope(stream.proxy, stream.transport);
            let next = if stream.scope == mesh.scope(stream.proxy, stream.transport) {
                next
            } else {
                Scope { client: next.client.whole(), ..next }
            };
            let group = groups.entry(format!("{} -> {next}", stream.scope));
            let (.., proxies) = group.or_insert_with(|| (stream.scope.clone(), next, Vec::new()));
            if proxies.iter().all(|id| **id != *stream.proxy.id) {
                proxies.push(stream.proxy.id.to_string());
            }
        });
        if groups.is_empty() {
            let anybody = Scope::new(Role::Router, ConfigSource::Ads);
            groups.insert(String::new(), (anybody.clone(), anybody, Vec::new()));
        }
        let now = Instant::now();
        for (scope, next, _) in groups.values() {
            before.follow(scope);
            before.follow(next);
        }
        before.advance(Arc::new(mesh.clone()), now);
        let mut planned = before.clone();
        planned.advance(after, now);
        for (scope, next, proxies) in groups.into_values() {
            let views = before.view(&scope).zip(planned.view(&next));
            let Some((old, new)) = views else { continue };
            let (changes, more) = differs::between(&Arc::new(old), &Arc::new(new));
            match changes.is_empty() {
                true => self.unchanged += proxies.len(),
                false => self.groups.push(PlannedGroup {
                    scope: next.to_string(),
                    count: proxies.len(),
                    proxies: proxies.into_iter().take(NAMED_MAX).collect(),
                    changes,
                    more,
                }),
            }
        }
    }
}

/// The documents that would be removed.
fn deleted(mesh: &Mesh, request: &PlanRequest, report: &PlanReport) -> Result<Vec<Ruling>, Failure> {
    let ids = || mesh.rules.iter().map(|ruling| ruling.version.id.to_string());
    let find = |id: &String| {
        if report.documents.iter().any(|it| it.document == *id) {
            let error = format!("{id} is in a file, too: would it be removed, or written?");
            return Err(Failure::bad_request(error));
        }
        let found = mesh.rules.iter().find(|ruling| ruling.version.id.to_string() == *id);
        found.cloned().ok_or_else(|| {
            let known: Vec<String> = ids().collect();
            let near: Vec<String> =
                nearest(id, known.iter().map(String::as_str)).into_iter().map(str::to_owned).collect();
            Failure::not_found(format!("no document {id} is in force: expected kind/namespace/name"))
                .knowing(near)
        })
    };
    let mut all = request.delete.clone();
    all.sort();
    all.dedup();
    all.iter().map(find).collect()
}

fn rank(store: &RegisteredRules) -> StoreRank {
    StoreRank { priority: store.priority, name: Arc::clone(&store.name) }
}

fn read(request: &PlanRequest) -> Library {
    let text = |file: &PlanFile| Text { text: file.text.as_str().into(), age: None, namespace: None };
    let texts: Texts =
        request.files.iter().map(|file| (file.place.as_str().into(), Arc::new(text(file)))).collect();
    let mut library = Library::default();
    library.take(&texts, DEFAULT_NAMESPACE);
    library
}

/// Why the store would refuse it.
fn refusal(entry: &Entry, store: &RegisteredRules) -> Option<String> {
    let id = entry.id.as_ref()?;
    let is_allowed =
        store.namespaces.is_empty() || store.namespaces.iter().any(|it| it.as_str() == id.namespace);
    (!is_allowed).then(|| {
        format!(
            "namespace {} is not one of the store {} (namespaces in pilot.toml)",
            id.namespace, store.name
        )
    })
}

/// A document that is there keeps its age, as in stores that know ages.
fn aged(version: &Arc<Version>, known: Option<&Version>) -> Arc<Version> {
    let age = version.age.or(known.and_then(|known| known.age));
    Arc::new(Version { age, ..(**version).clone() })
}

impl PlannedDocument {
    /// One that is in force.
    fn there(ruling: &Ruling, what: PlannedAs, state: Standing, reasons: Vec<String>) -> Self {
        let (document, place) = (ruling.version.id.to_string(), ruling.version.place.to_string());
        Self { document, place, line: 0, store: ruling.store.name.to_string(), what, state, reasons }
    }

    fn of(
        entry: &Entry,
        store: &RegisteredRules,
        refused: Option<String>,
        known: Option<&Version>,
        version: Option<&Version>,
    ) -> Self {
        let what = match (known, version) {
            (None, _) => PlannedAs::New,
            (Some(known), Some(version)) if known.spec == version.spec => PlannedAs::Same,
            (Some(_), _) => PlannedAs::Changed,
        };
        let is_rejected = entry.is_rejected() || refused.is_some();
        let level = if entry.is_rejected() { Level::Error } else { Level::Warning };
        let found = entry.findings.iter().filter(|finding| finding.level == level);
        let found = found.map(|finding| format!("{}:{finding}", entry.place));
        Self {
            document: entry.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            place: entry.place.to_string(),
            line: entry.at.line,
            store: store.name.to_string(),
            what,
            state: if is_rejected { Standing::Rejected } else { Standing::Accepted },
            reasons: refused.into_iter().chain(found).collect(),
        }
    }
}
