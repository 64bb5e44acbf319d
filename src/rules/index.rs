//! The documents in force, found by the hosts that they name.
//!
//! A copy costs nothing, and a change costs what it touches: maps are persistent. What a host means to whom is not known
//! here: whoever looks something up knows services and proxies, and takes the first document that fits.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};

use super::places::Places;
use super::ruling::{Label, Ruling, StoreRank};
use super::{DocumentId, Kind, Version};

/// All documents in force, of all stores.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Of each document, those that stores have, the preferred one first: it counts.
    documents: OrdMap<DocumentId, Arc<[Ruling]>>,
    exact: OrdMap<HostKey, Arc<[Ruling]>>,
    /// By how long what follows the star is, the longest first; then by what it is.
    wildcards: OrdMap<(Kind, Reverse<usize>), BySuffix>,
    /// The documents that send requests to a host, as they write it.
    leading: OrdSet<(Arc<str>, DocumentId)>,
    /// The documents that delegate to one: that one, and who does.
    delegating: OrdSet<(DocumentId, DocumentId)>,
    /// The documents that count at a Gateway, as `NAMESPACE/NAME`.
    bound: OrdSet<(Arc<str>, DocumentId)>,
    /// The Gateways.
    gateways: OrdSet<DocumentId>,
    /// The namespaces whose proxies may see something else than everybody, and because of how many documents.
    viewers: Counted<Arc<str>>,
    /// The labels of proxies that documents ask for, and how many do.
    asked: Counted<Label>,
    places: Places,
}

type HostKey = (Kind, Arc<str>);

type BySuffix = OrdMap<Arc<str>, Arc<[Ruling]>>;

type Counted<T> = OrdMap<T, usize>;

/// A change of one store: something else is in force of a document, or nothing any more.
#[derive(Clone, Debug)]
pub struct DocumentChange {
    /// The store.
    pub store: StoreRank,
    /// The document.
    pub id: DocumentId,
    /// What is in force of it now.
    pub now: Option<Arc<Version>>,
}

/// Which hosts documents name that have changed: whoever translated something of them does so again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchedNames {
    /// As the documents write them, in lower case; `*.suffix`, too.
    pub hosts: BTreeSet<(Kind, Arc<str>)>,
    /// Documents that others may delegate to.
    pub delegates: BTreeSet<DocumentId>,
}

impl Rules {
    /// With these changes, and what they touch.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = DocumentChange>) -> (Self, TouchedNames) {
        let (mut next, mut touched) = (self.clone(), TouchedNames::default());
        for change in changes {
            next.change(change, &mut touched);
        }
        (next, touched)
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The document that counts.
    pub fn get(&self, id: &DocumentId) -> Option<&Ruling> {
        self.documents.get(id).and_then(|rulings| rulings.first())
    }

    /// The store whose document counts in place of another store's.
    pub fn winner(&self, id: &DocumentId, store: &StoreRank) -> Option<&StoreRank> {
        self.get(id).map(|ruling| &ruling.store).filter(|winner| *winner != store)
    }

    /// The documents that count, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Ruling> {
        self.documents.values().filter_map(|rulings| rulings.first())
    }

    /// The documents of a kind that count, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Ruling> {
        let first = DocumentId { kind: kind.as_str().to_owned(), ..DocumentId::FIRST };
        let from = self.documents.range(first..);
        from.take_while(move |(id, _)| id.kind == kind.as_str()).filter_map(|(_, rulings)| rulings.first())
    }

    /// The documents that name that host, the older ones first. Wildcards do not count.
    pub fn naming(&self, kind: Kind, host: &str) -> &[Ruling] {
        let host: Arc<str> = host.to_ascii_lowercase().into();
        self.exact.get(&(kind, host)).map_or(&[], |rulings| &**rulings)
    }

    /// The documents that name a wildcard that the host is within: the most specific first, and of the same wildcard the
    /// older ones first.
    pub fn covering<'a>(
        &'a self,
        kind: Kind,
        host: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Ruling)> + use<'a> {
        let host = host.to_ascii_lowercase();
        // What a star stands for is not empty.
        let longest = Reverse(host.len().saturating_sub(1));
        let of_kind =
            self.wildcards.range((kind, longest)..).take_while(move |((other, _), _)| *other == kind);
        let found = of_kind.filter_map(move |((_, Reverse(length)), of_length)| {
            of_length.get_key_value(host.get(host.len().checked_sub(*length)?..)?)
        });
        found.flat_map(|(suffix, rulings)| rulings.iter().map(move |ruling| (&**suffix, ruling)))
    }

    /// The documents that name that wildcard, by what follows its star; the older ones first.
    pub fn of_wildcard(&self, kind: Kind, suffix: &str) -> &[Ruling] {
        let of_length = self.wildcards.get(&(kind, Reverse(suffix.len())));
        let rulings = of_length.and_then(|all| all.get(&*suffix.to_ascii_lowercase()));
        rulings.map_or(&[], |rulings| &**rulings)
    }

    /// The documents that send requests to a host that they write so.
    pub fn leading_to(&self, host: &str) -> impl Iterator<Item = &Ruling> {
        let host: Arc<str> = host.to_ascii_lowercase().into();
        let from = self.leading.range((Arc::clone(&host), DocumentId::FIRST)..);
        from.take_while(move |(other, _)| *other == host).filter_map(|(_, id)| self.get(id))
    }

    /// The documents that delegate to that one.
    pub fn delegating_to(&self, id: &DocumentId) -> impl Iterator<Item = &Ruling> {
        let id = id.clone();
        let from = self.delegating.range((id.clone(), DocumentId::FIRST)..);
        from.take_while(move |(other, _)| *other == id).filter_map(|(_, root)| self.get(root))
    }

    /// The documents that count at a Gateway, which is written as `NAMESPACE/NAME`.
    pub fn bound_to(&self, gateway: &str) -> impl Iterator<Item = &Ruling> {
        let gateway: Arc<str> = gateway.into();
        let from = self.bound.range((Arc::clone(&gateway), DocumentId::FIRST)..);
        from.take_while(move |(other, _)| *other == gateway).filter_map(|(_, id)| self.get(id))
    }

    /// All Gateways.
    pub fn gateways(&self) -> impl Iterator<Item = &Ruling> {
        self.gateways.iter().filter_map(|id| self.get(id))
    }

    /// The hosts that VirtualServices name, with wildcards, in lower case.
    pub fn called_hosts(&self) -> impl Iterator<Item = Arc<str>> {
        let exact = self.exact.keys().filter(|(kind, _)| *kind == Kind::VirtualService);
        let wildcards = self.wildcards.iter().filter(|((kind, _), _)| *kind == Kind::VirtualService);
        let wildcards = wildcards.flat_map(|(_, of_length)| of_length.keys());
        exact.map(|(_, host)| Arc::clone(host)).chain(wildcards.map(|suffix| format!("*{suffix}").into()))
    }

    /// The namespaces whose proxies may see something else than everybody.
    pub fn viewers(&self) -> impl Iterator<Item = &str> {
        self.viewers.keys().map(|namespace| &**namespace)
    }

    /// Whether proxies of some namespace may see something else than everybody.
    pub fn has_viewers(&self) -> bool {
        !self.viewers.is_empty()
    }

    /// Whether proxies of that namespace may see something else than everybody.
    pub fn differ_in(&self, namespace: &str) -> bool {
        self.viewers.contains_key(namespace)
    }

    /// The labels of proxies that documents ask for.
    pub fn asked_labels(&self) -> impl Iterator<Item = &Label> {
        self.asked.keys()
    }

    /// Whether some document asks for that label of proxies.
    pub fn asks_for(&self, key: &str, value: &str) -> bool {
        self.asked.contains_key(&(key.into(), value.into()))
    }

    /// Whether some document asks for labels of proxies.
    pub fn asks_for_labels(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What documents ask about where proxies are.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Whether both tell proxies apart in the same way.
    pub fn tell_apart_like(&self, other: &Self) -> bool {
        self.viewers().eq(other.viewers())
            && self.asked_labels().eq(other.asked_labels())
            && self.places.same(&other.places)
    }

    /// Whether both are the same allocation: nothing changed.
    pub fn same(&self, other: &Self) -> bool {
        self.documents.ptr_eq(&other.documents)
    }

    /// What counts of each document that differs: here, and in the other.
    pub fn differing<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Ruling>, Option<&'a Ruling>)> {
        fn first(rulings: &Arc<[Ruling]>) -> Option<&Ruling> {
            rulings.first()
        }
        self.documents.diff(&other.documents).map(|item| match item {
            DiffItem::Add(_, new) => (None, first(new)),
            DiffItem::Remove(_, old) => (first(old), None),
            DiffItem::Update { old: (_, old), new: (_, new) } => (first(old), first(new)),
        })
    }

    fn change(&mut self, DocumentChange { store, id, now }: DocumentChange, touched: &mut TouchedNames) {
        let mut rulings: Vec<Ruling> = self.documents.get(&id).map(|all| all.to_vec()).unwrap_or_default();
        let before = rulings.first().cloned();
        rulings.retain(|ruling| ruling.store != store);
        rulings.extend(now.map(|version| Ruling { version, store }));
        rulings.sort_by(|a, b| a.store.cmp(&b.store));
        let after = rulings.first().cloned();
        if rulings.is_empty() {
            self.documents.remove(&id);
        } else {
            self.documents.insert(id, rulings.into());
        }
        let is_same = before.as_ref().zip(after.as_ref()).is_some_and(|(before, after)| {
            before.store == after.store && Arc::ptr_eq(&before.version, &after.version)
        });
        if is_same {
            return;
        }
        if let Some(before) = before {
            let id = &before.version.id;
            before.destinations().into_iter().for_each(|host| _ = self.leading.remove(&(host, id.clone())));
            before.delegates().into_iter().for_each(|to| _ = self.delegating.remove(&(to, id.clone())));
            before.gateways().for_each(|to| _ = self.bound.remove(&(to.into(), id.clone())));
            self.gateways.remove(id);
            before.viewers().iter().for_each(|namespace| discount(&mut self.viewers, namespace));
            before.asked_labels().iter().for_each(|label| discount(&mut self.asked, label));
            self.places.remove(&before);
            self.each_host(&before, touched, |rulings| rulings.retain(|other| other.version.id != *id));
        }
        if let Some(after) = after {
            let id = &after.version.id;
            self.leading.extend(after.destinations().into_iter().map(|host| (host, id.clone())));
            self.delegating.extend(after.delegates().into_iter().map(|to| (to, id.clone())));
            self.bound.extend(after.gateways().map(|to| (to.into(), id.clone())));
            self.gateways.extend(after.gateway().map(|_| id.clone()));
            after
                .viewers()
                .into_iter()
                .for_each(|namespace| *self.viewers.entry(namespace).or_default() += 1);
            after.asked_labels().into_iter().for_each(|label| *self.asked.entry(label).or_default() += 1);
            self.places.add(&after);
            self.each_host(&after, touched, |rulings| {
                let at = rulings.partition_point(|other| other.rank() <= after.rank());
                rulings.insert(at, after.clone());
            });
        }
    }

    /// Changes the lists of all hosts that a document names.
    fn each_host(&mut self, ruling: &Ruling, touched: &mut TouchedNames, change: impl Fn(&mut Vec<Ruling>)) {
        let kind = ruling.version.spec.kind();
        let hosts: BTreeSet<Arc<str>> = ruling.hosts().map(|host| host.to_ascii_lowercase().into()).collect();
        if hosts.is_empty() && kind == Kind::VirtualService {
            touched.delegates.insert(ruling.version.id.clone());
        }
        for host in hosts {
            touched.hosts.insert((kind, Arc::clone(&host)));
            match host.strip_prefix('*') {
                Some(suffix) => {
                    let key = (kind, Reverse(suffix.len()));
                    let mut of_length = self.wildcards.get(&key).cloned().unwrap_or_default();
                    put(&mut of_length, suffix.into(), &change);
                    match of_length.is_empty() {
                        true => _ = self.wildcards.remove(&key),
                        false => _ = self.wildcards.insert(key, of_length),
                    }
                }
                None => put(&mut self.exact, (kind, host), &change),
            }
        }
    }
}

fn put<K: Ord + Clone>(map: &mut OrdMap<K, Arc<[Ruling]>>, key: K, change: impl Fn(&mut Vec<Ruling>)) {
    let mut rulings = map.get(&key).map(|all| all.to_vec()).unwrap_or_default();
    change(&mut rulings);
    if rulings.is_empty() {
        map.remove(&key);
    } else {
        map.insert(key, rulings.into());
    }
}

/// One document less.
fn discount<T: Ord + Clone>(counted: &mut Counted<T>, key: &T) {
    match counted.get(key) {
        Some(count) if *count > 1 => _ = counted.insert(key.clone(), count - 1),
        _ => _ = counted.remove(key),
    }
}
