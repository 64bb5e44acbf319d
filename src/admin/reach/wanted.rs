//! What is waited for: some documents and hosts, and by which resources they are known.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::Hostname;

use super::WaitedReport;
use crate::admin::Admin;
use crate::admin::reply::Failure;
use crate::admin::services::{find, nearest};
use crate::mesh::Mesh;
use crate::resources::{Origin, PerType, ResourceType};
use crate::rules::{DocumentId, Kind, Ruling, Spec};
use crate::world::Judged;

/// So many may be asked for at a time.
const ITEMS_MAX: usize = 256;

/// What is asked for; nothing = everything.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// What proxies are to have.
    there: Vec<Item>,
    /// What they are to have let go of.
    gone: Vec<Item>,
}

#[derive(Clone, Debug)]
enum Item {
    /// A document by kind, namespace and name. With a hash: that version of it.
    Document { id: String, hash: Option<u64> },
    /// Documents of that name, and the host that is called so.
    Name(String),
}

/// By what resources are known that are meant.
#[derive(Debug, Default)]
pub(super) struct Scent {
    /// Documents.
    documents: BTreeSet<String>,
    /// Services, with all that is there for them.
    hosts: BTreeSet<Hostname>,
    /// Services of which only the clusters and endpoints are meant.
    policies: BTreeSet<Hostname>,
    /// The types that matter.
    kinds: PerType<bool>,
    /// Something is gone: nobody knows any more to whom it was told.
    concerns_all: bool,
}

/// What is asked for, as pilot has it.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// What is not there yet.
    pub(super) pending: Vec<String>,
    /// What is there and never counts as it is.
    pub(super) rejected: Vec<String>,
    pub(super) documents: Vec<WaitedReport>,
    /// The documents of which proxies refuse something.
    refused: BTreeSet<String>,
    /// `None` = everything is meant.
    pub(super) scent: Option<Scent>,
}

impl Wanted {
    /// Reads items, separated by commas: `VirtualService/default/cart`, the same with `@` and a hash, or a name.
    pub(super) fn read(there: &str, gone: &str) -> Result<Self, Failure> {
        let items = |text: &str| {
            let items = text.split(',').filter(|item| !item.is_empty());
            items.map(Item::read).collect::<Result<Vec<_>, _>>()
        };
        let (there, gone) = (items(there)?, items(gone)?);
        match there.len() + gone.len() {
            all if all > ITEMS_MAX => {
                let error = format!("{all} documents and hosts: expected at most {ITEMS_MAX}");
                Err(Failure::bad_request(error))
            }
            _ => Ok(Self { there, gone }),
        }
    }

    pub(super) fn is_everything(&self) -> bool {
        self.there.is_empty() && self.gone.is_empty()
    }

    /// Whether something is to be gone.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }
}

impl Item {
    fn read(text: &str) -> Result<Self, Failure> {
        let (id, hash) = match text.split_once('@') {
            Some((id, hash)) => (id, Some(hash)),
            None => (text, None),
        };
        if !id.contains('/') && hash.is_none() {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        let parts: Vec<&str> = id.split('/').collect();
        let is_known = |kind: &str| Kind::ALL.iter().any(|it| it.as_str() == kind);
        if parts.len() != 3 || !is_known(parts[0]) {
            let error = format!("{id:?} is no document: expected kind/namespace/name");
            let example = |kind: &Kind| format!("{}/default/cart", kind.as_str());
            return Err(Failure::bad_request(error).knowing(Kind::ALL.iter().map(example)));
        }
        let number = |hash: &str| {
            let error = || {
                Failure::bad_request(format!(
                    "{hash:?} is no hash of a document: expected 16 hexadecimal digits"
                ))
            };
            u64::from_str_radix(hash, 16).map_err(|_| error())
        };
        Ok(Self::Document { id: id.to_owned(), hash: hash.map(number).transpose()? })
    }
}

impl Resolved {
    /// What of it there is.
    pub(super) fn of(admin: &Admin, mesh: &Mesh, wanted: &Wanted) -> Self {
        if wanted.is_everything() {
            return Self::default();
        }
        let judged = admin.world.judged();
        let refused = admin.proxies.shared().refused_documents();
        let mut resolved = Self { scent: Some(Scent::default()), refused, ..Self::default() };
        for item in &wanted.there {
            match item {
                Item::Document { id, hash } => resolved.document(&judged, mesh, id, *hash),
                Item::Name(name) => resolved.name(&judged, mesh, name),
            }
        }
        if let Some(scent) = resolved.scent.as_mut().filter(|_| wanted.has_gone()) {
            (scent.kinds, scent.concerns_all) = (PerType::of(|_| true), true);
        }
        for item in &wanted.gone {
            resolved.gone(&judged, mesh, item);
        }
        resolved
    }

    /// What is to be gone, and is still there.
    fn gone(&mut self, judged: &[Judged], mesh: &Mesh, item: &Item) {
        let is_it = |id: &DocumentId| match item {
            Item::Document { id: wanted, .. } => id.to_string() == *wanted,
            Item::Name(name) => id.name.eq_ignore_ascii_case(name),
        };
        let read = judged.iter().filter(|it| it.entry.id.as_ref().is_some_and(is_it));
        let read = read.map(|it| {
            let id = id_of(it).unwrap_or_default();
            (
                id,
                format!(
                    "pilot still has {} in {} of the store {}",
                    id_of(it).unwrap_or_default(),
                    it.entry.place,
                    it.store
                ),
            )
        });
        let mut there: BTreeMap<String, String> = read.collect();
        // What no store has any more may still be served.
        for ruling in mesh.rules.iter().filter(|ruling| is_it(&ruling.version.id)) {
            let id = ruling.version.id.to_string();
            there.entry(id.clone()).or_insert_with(|| format!("{id} is being taken out"));
        }
        self.pending.extend(there.into_values());
        let Item::Name(name) = item else { return };
        for service in mesh.catalog.called(name.trim_end_matches('.')) {
            let of: Vec<&str> = service.parts().iter().map(|part| &*part.registry).collect();
            self.pending.push(format!("pilot still has the host {}, of {}", service.host(), of.join(", ")));
        }
    }

    fn name(&mut self, judged: &[Judged], mesh: &Mesh, name: &str) {
        let is_called =
            |it: &&Judged| it.entry.id.as_ref().is_some_and(|id| id.name.eq_ignore_ascii_case(name));
        let ids: BTreeSet<String> = judged.iter().filter(is_called).filter_map(id_of).collect();
        ids.iter().for_each(|id| self.document(judged, mesh, id, None));
        let named = mesh.rules.naming(Kind::VirtualService, name);
        let is_document = !ids.is_empty() || !named.is_empty();
        for ruling in named {
            let id = ruling.version.id.to_string();
            if !ids.contains(&id) {
                self.document(judged, mesh, &id, None);
            }
        }
        let Some(scent) = &mut self.scent else { return };
        match find(mesh, name.trim_end_matches('.')) {
            Ok(service) => {
                scent.hosts.insert(service.host().clone());
                scent.kinds = PerType::of(|_| true);
            }
            Err(_) if is_document => {}
            Err(failure) => {
                let near =
                    failure.known.first().map(|near| format!(" (nearest: {near})")).unwrap_or_default();
                self.pending.push(format!("pilot has no document and no host that is called {name}{near}"));
            }
        }
    }

    fn document(&mut self, judged: &[Judged], mesh: &Mesh, id: &str, hash: Option<u64>) {
        let own: Vec<&Judged> = judged.iter().filter(|it| id_of(it).as_deref() == Some(id)).collect();
        let fits = |it: &&&Judged| hash.is_none() || it.entry.hash == hash;
        let ruling = |it: &Judged| it.entry.id.as_ref().and_then(|id| mesh.rules.get(id)).cloned();
        // Of several stores' documents, the one that counts.
        let counts = |it: &&&Judged| ruling(it).is_some_and(|ruling| ruling.store.name == it.store);
        let fitting: Vec<&Judged> = own.iter().filter(fits).copied().collect();
        let Some(chosen) = fitting.iter().find(counts).or(fitting.first()).copied() else {
            return self.pending.push(missing(judged, id, !own.is_empty()));
        };
        let reasons = || chosen.said.iter().map(|(_, why)| why.clone());
        self.documents.push(WaitedReport {
            document: id.to_owned(),
            state: chosen.standing_with(Some(mesh), |carrier| self.refused.contains(carrier)),
            reasons: reasons().collect(),
        });
        if chosen.entry.is_rejected() {
            let why: Vec<String> = reasons().map(|why| format!("{}:{why}", chosen.entry.place)).collect();
            return self.rejected.push(format!("{id} is rejected: {}", why.join("; ")));
        }
        match ruling(chosen) {
            // It was read, and is not served yet.
            None => self.pending.push(format!("{id} is being taken in")),
            Some(ruling) if ruling.store.name != chosen.store => {
                let (own, other) = (&chosen.store, &ruling.store.name);
                let words = format!(
                    "{id} of the store {own} does not count: the store {other} has it, too, and is preferred"
                );
                self.rejected.push(words);
            }
            Some(ruling) => self.scent.get_or_insert_default().follow(mesh, &ruling),
        }
    }
}

fn id_of(judged: &Judged) -> Option<String> {
    judged.entry.id.as_ref().map(ToString::to_string)
}

fn missing(judged: &[Judged], id: &str, has_another: bool) -> String {
    if has_another {
        return format!("pilot has read another version of {id}, not this one");
    }
    let ids: Vec<String> = judged.iter().filter_map(id_of).collect();
    let near = nearest(id, ids.iter().map(String::as_str));
    let near = near.first().map(|near| format!(" (nearest: {near})")).unwrap_or_default();
    format!("pilot has no {id}{near}")
}

impl Scent {
    fn follow(&mut self, mesh: &Mesh, ruling: &Ruling) {
        let id = &ruling.version.id;
        self.documents.insert(id.to_string());
        match &ruling.version.spec {
            Spec::VirtualService(_) => {
                // What it says is in the routes of documents that delegate to it.
                self.documents.extend(mesh.rules.delegating_to(id).map(|root| root.version.id.to_string()));
                // gRPC clients have routes in their listeners.
                for kind in [ResourceType::Listener, ResourceType::Route, ResourceType::VirtualHost] {
                    self.kinds[kind] = true;
                }
            }
            Spec::ServiceEntry(entry) => {
                self.hosts.extend(entry.hosts.iter().filter_map(|host| Hostname::or_wildcard(host).ok()));
                self.kinds = PerType::of(|_| true);
            }
            // It is in the services of other documents.
            Spec::WorkloadEntry(_) => (self.kinds, self.concerns_all) = (PerType::of(|_| true), true),
            Spec::Gateway(_) => {
                for kind in [ResourceType::Listener, ResourceType::Route] {
                    self.kinds[kind] = true;
                }
            }
            Spec::DestinationRule(rule) => {
                let services = match rule.host.starts_with('*') {
                    true => mesh.meant(&rule.host, &id.namespace),
                    false => mesh.named(&rule.host, &id.namespace).into_iter().collect(),
                };
                self.policies.extend(services.into_iter().map(|it| it.host().clone()));
                (self.kinds[ResourceType::Cluster], self.kinds[ResourceType::Endpoint]) = (true, true);
            }
        }
    }

    /// Whether all proxies are asked, whatever they are told.
    pub(super) fn concerns_all(&self) -> bool {
        self.concerns_all
    }

    /// Whether resources of that type matter.
    pub(super) fn minds(&self, kind: ResourceType) -> bool {
        self.kinds[kind]
    }

    /// Whether a resource with that origin is meant.
    pub(super) fn is_of(&self, kind: ResourceType, origin: &Origin) -> bool {
        let is_upstream = matches!(kind, ResourceType::Cluster | ResourceType::Endpoint);
        origin.document().is_some_and(|document| self.documents.contains(&**document))
            || origin.service().is_some_and(|host| {
                self.hosts.contains(host) || (is_upstream && self.policies.contains(host))
            })
    }
}
