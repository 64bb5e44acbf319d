//! What became of a document that is in force: whether it counts, for which proxies another one counts in its place, and
//! what of it leads nowhere.
//!
//! Proxies are told apart as far as documents do: by the namespaces that any document names, and by the labels that this one
//! and those of the same host ask for.

mod connections;
mod entries;
mod gateways;
mod policies;
mod ports;
mod routes;

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::Labels;
use serde::{Deserialize, Serialize};

use super::lens::{ANYBODY, Viewer, naming};
use crate::mesh::Mesh;
use crate::rules::kinds::VirtualService;
use crate::rules::{Kind, Ruling, Spec};

/// What became of a document. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It counts. What is said of it is a warning.
    Accepted,
    /// Nobody asks it.
    Unused,
    /// Something that it names is not there.
    Dangling,
    /// Another document counts in its place.
    Conflicted,
    /// Proxies refuse what it says.
    Refused,
    /// It is wrong.
    Rejected,
}

impl Standing {
    /// All of them, the best first.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Unused, Self::Dangling, Self::Conflicted, Self::Refused, Self::Rejected];

    /// Its word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unused => "unused",
            Self::Dangling => "dangling",
            Self::Conflicted => "conflicted",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
        }
    }
}

/// What there is to say of a document that is in force, the worst first; nothing = it counts.
pub fn standing(mesh: &Mesh, ruling: &Ruling) -> Vec<(Standing, String)> {
    let (labels, counting) = (Vec::new(), BTreeSet::new());
    let mut examiner = Examiner { mesh, ruling, labels, found: Vec::new(), counting };
    examiner.labels = examiner.asked_labels();
    if let Some(rule) = ruling.virtual_service() {
        examiner.virtual_service(rule);
    }
    if let Some(rule) = ruling.destination_rule() {
        examiner.destination_rule(rule);
    }
    if let Some(entry) = ruling.service_entry() {
        examiner.service_entry(entry);
    }
    if ruling.workload_entry().is_some() {
        examiner.workload_entry();
    }
    if let Some(gateway) = ruling.gateway() {
        examiner.gateway(gateway);
    }
    let mut found = examiner.found;
    found.sort_by_key(|(standing, _)| std::cmp::Reverse(*standing));
    found
}

struct Examiner<'a> {
    mesh: &'a Mesh,
    ruling: &'a Ruling,
    /// The labels of proxies that this document and those of the same host ask for.
    labels: Vec<&'a Labels>,
    found: Vec<(Standing, String)>,
    /// The proxies for which it has the requests to some host.
    counting: BTreeSet<(&'a str, &'a Labels)>,
}

/// How many sets of labels that a document asks for are looked at, and how many groups of proxies are named.
const LABELS_MAX: usize = 8;
const NAMED_MAX: usize = 5;

impl<'a> Examiner<'a> {
    fn namespace(&self) -> &'a str {
        &self.ruling.version.id.namespace
    }

    fn say(&mut self, standing: Standing, message: String) {
        let said = (standing, message);
        if !self.found.contains(&said) {
            self.found.push(said);
        }
    }

    /// Everybody, proxies of the document's namespace and of those that any document names; and the same with labels that
    /// documents of the same host ask for.
    fn viewers(&self) -> Vec<Viewer<'a>> {
        let named: BTreeSet<&str> = self.mesh.rules.viewers().chain([self.namespace(), ""]).collect();
        let all = [ANYBODY.labels].into_iter().chain(self.labels.iter().copied());
        all.flat_map(|labels| named.iter().map(move |&namespace| Viewer { namespace, labels })).collect()
    }

    /// The labels of proxies that documents ask for: this one first.
    fn asked_labels(&self) -> Vec<&'a Labels> {
        let mut labels: Vec<&'a Labels> = Vec::new();
        for one in [self.ruling].into_iter().chain(self.rivals()).flat_map(labels_of) {
            if !one.is_empty() && !labels.contains(&one) {
                labels.push(one);
            }
        }
        labels.truncate(LABELS_MAX);
        labels
    }

    /// The documents that say something of the same hosts.
    fn rivals(&self) -> Vec<&'a Ruling> {
        let (rules, own) = (&self.mesh.rules, &self.ruling.version.spec);
        let (kind, hosts) = match own {
            Spec::VirtualService(rule) => (Kind::VirtualService, rule.hosts.iter().collect::<Vec<_>>()),
            Spec::DestinationRule(rule) => (Kind::DestinationRule, vec![&rule.host]),
            Spec::ServiceEntry(_) | Spec::WorkloadEntry(_) | Spec::Gateway(_) => return Vec::new(),
        };
        let mut rivals: Vec<&'a Ruling> = Vec::new();
        for host in hosts {
            match self.mesh.named(host, self.namespace()) {
                Some(service) => {
                    let named = naming(self.mesh, kind, service);
                    rivals.extend(named.iter().filter_map(|ruling| rules.get(&ruling.version.id)));
                    rivals.extend(rules.covering(kind, service.host().as_str()).map(|(_, ruling)| ruling));
                }
                None => rivals.extend(rules.naming(kind, host)),
            }
        }
        rivals
    }

    fn unknown(&mut self, path: &str, host: &str) {
        let namespace = self.namespace();
        let message = match self.mesh.options.domain.as_deref().filter(|_| !host.contains('.')) {
            Some(domain) => format!(
                "{path}: no service is called {host} in namespace {namespace}, or {host}.{namespace}.svc.{domain}"
            ),
            None => format!("{path}: no service is called {host} in namespace {namespace}"),
        };
        self.say(Standing::Dangling, message);
    }

    /// Why that document counts before this one.
    fn why(&self, winner: &Ruling) -> &'static str {
        let (own, other) = (self.ruling, winner);
        if own.by_age(other).is_lt() {
            return "it is exported to them by name";
        }
        match () {
            () if own.store.priority != other.store.priority => "its store is preferred",
            () if own.store != other.store => "the name of its store comes first",
            () if own.version.age != other.version.age => "it is older",
            () => "its name comes first",
        }
    }
}

/// The labels of proxies that a document asks for.
fn labels_of(ruling: &Ruling) -> impl Iterator<Item = &Labels> {
    let rule = ruling.virtual_service().into_iter();
    let sources = rule.flat_map(VirtualService::sources).map(|source| source.labels);
    let selector = ruling.destination_rule().and_then(|rule| rule.workload_selector.as_ref());
    sources.chain(selector.map(|selector| &selector.match_labels))
}

/// Other documents that count in the place of one, and for which proxies.
#[derive(Default)]
struct Elsewhere<'a> {
    winners: BTreeMap<&'a crate::rules::DocumentId, (&'a Ruling, Vec<Viewer<'a>>)>,
}

impl<'a> Elsewhere<'a> {
    fn add(&mut self, winner: &'a Ruling, viewer: Viewer<'a>) {
        self.winners.entry(&winner.version.id).or_insert((winner, Vec::new())).1.push(viewer);
    }

    /// The winners, each with the proxies in words. `is_for_all`: the document counts for nobody.
    fn told(&self, is_for_all: bool) -> impl Iterator<Item = (&'a Ruling, String)> {
        let is_one = self.winners.len() == 1 && is_for_all;
        self.winners.values().map(move |(winner, viewers)| match is_one {
            true => (*winner, "all proxies".to_owned()),
            false => (*winner, groups(viewers)),
        })
    }
}

/// Proxies in words.
fn groups(viewers: &[Viewer<'_>]) -> String {
    let of = |viewer: &Viewer<'_>| {
        let labels: Vec<_> = viewer.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let namespace = match viewer.namespace {
            "" => "all other namespaces".to_owned(),
            namespace => format!("namespace {namespace}"),
        };
        if labels.is_empty() { namespace } else { format!("{namespace} with {}", labels.join(",")) }
    };
    let named: Vec<_> = viewers.iter().take(NAMED_MAX).map(of).collect();
    let more = viewers.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("proxies of {}{more}", named.join(", "))
}
