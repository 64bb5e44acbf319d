//! What the log says of changes: which services came, went and are different, in one line and not too often.
//!
//! ```text
//!  a change after a quiet time ─────► a line at once
//!  changes soon after a line ───────► one line of all of them, after a while
//! ```
//!
//! Each line compares with the catalog that the last line was about. What came and went in between is in no line.

use std::fmt::Write;
use std::time::Duration;

use pilot_registry::ServicePort;
use tokio::time::Instant;

use crate::catalog::{Catalog, CatalogService};

/// How long after a line nothing is said, where services came, went or are different.
const SERVICES_EVERY: Duration = Duration::from_secs(5);

/// The same, where only endpoints are different: in a large mesh some always are.
const ENDPOINTS_EVERY: Duration = Duration::from_secs(60);

/// How many services of a kind a line names.
const NAMED: usize = 3;

/// What the log has said of the catalog.
#[derive(Default)]
pub(super) struct News {
    said: Option<(Catalog, Instant)>,
    due: Option<Instant>,
}

impl News {
    /// When something is to be said; `None` = there is nothing to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes in the catalog as it is now, and says what has changed, or puts it off.
    pub(super) fn tell(&mut self, catalog: &Catalog) {
        let now = Instant::now();
        let Some((said, at)) = &self.said else {
            let endpoints: usize = catalog.services().iter().map(|service| service.endpoints().count()).sum();
            let services = catalog.services().len();
            tracing::info!(services, endpoints, "ready: proxies are told what the registries know");
            self.said = Some((catalog.clone(), now));
            return;
        };
        let changes = Changes::between(said, catalog);
        let every = if changes.is_of_services() { SERVICES_EVERY } else { ENDPOINTS_EVERY };
        self.due = (!changes.is_empty()).then(|| *at + every);
        if self.due.is_some_and(|due| due <= now) {
            changes.tell();
            self.said = Some((catalog.clone(), now));
            self.due = None;
        }
    }
}

/// How two catalogs differ, in names of services.
#[derive(Default)]
struct Changes<'a> {
    added: Vec<&'a str>,
    removed: Vec<&'a str>,
    changed: Vec<&'a str>,
    /// With how many endpoints they had and have.
    endpoints: Vec<(&'a str, usize, usize)>,
    /// Ports of which nobody says any more what they speak: `a.local:80 http -> tcp`.
    guessed: Vec<String>,
    /// Ports whose numbers were guessed and that are no more: `a.local:26201 -> 80`.
    lost: Vec<String>,
}

impl<'a> Changes<'a> {
    fn between(before: &'a Catalog, now: &'a Catalog) -> Self {
        let mut changes = Self::default();
        let mut old = before.services().iter().peekable();
        for service in now.services() {
            while let Some(gone) = old.next_if(|old| old.id() < service.id()) {
                changes.removed.push(gone.host().as_str());
            }
            match old.next_if(|old| old.id() == service.id()) {
                None => changes.added.push(service.host().as_str()),
                Some(old) if std::sync::Arc::ptr_eq(old, service) => {}
                Some(old) => changes.compare(old, service),
            }
        }
        changes.removed.extend(old.map(|gone| gone.host().as_str()));
        changes
    }

    fn compare(&mut self, old: &'a CatalogService, new: &'a CatalogService) {
        let host = new.host().as_str();
        self.guessed.extend(guessed(old, new));
        self.lost.extend(lost(old, new));
        let is_like_before = old.ports() == new.ports()
            && old.aliases() == new.aliases()
            && old.local_names() == new.local_names()
            && old.visibility() == new.visibility()
            && old.virtual_addresses() == new.virtual_addresses()
            && old.lead().resolution == new.lead().resolution;
        if !is_like_before {
            self.changed.push(host);
        } else if !old.endpoints().map(|(_, it)| it).eq(new.endpoints().map(|(_, it)| it)) {
            self.endpoints.push((host, old.endpoints().count(), new.endpoints().count()));
        }
    }

    fn is_of_services(&self) -> bool {
        !(self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty())
    }

    fn is_empty(&self) -> bool {
        !self.is_of_services() && self.endpoints.is_empty()
    }

    fn tell(&self) {
        let words = |name: &&str| (*name).to_owned();
        let counts = |(name, before, now): &(&str, usize, usize)| format!("{name} {before} -> {now}");
        let mut text = String::new();
        part(&mut text, "added", &self.added, words);
        part(&mut text, "removed", &self.removed, words);
        part(&mut text, "changed", &self.changed, words);
        part(&mut text, "with other endpoints", &self.endpoints, counts);
        let (added, removed) = (self.added.len(), self.removed.len());
        let (changed, endpoints) = (self.changed.len(), self.endpoints.len());
        tracing::info!(added, removed, changed, endpoints, "services: {text}");
        if !self.guessed.is_empty() {
            let named = self.guessed.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            tracing::warn!(
                ports = self.guessed.len(),
                "ports speak something else now, which is a guess, as nobody says it any more: {named}"
            );
        }
        if !self.lost.is_empty() {
            let named = self.lost.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            tracing::warn!(
                ports = self.lost.len(),
                "ports whose numbers were guessed are gone: who calls the old number reaches nobody: {named}"
            );
        }
    }
}

/// Ports that speak something else than before because nobody says it any more.
fn guessed(old: &CatalogService, new: &CatalogService) -> impl Iterator<Item = String> {
    let is_said = |port: &ServicePort| !old.guess(port.number).protocol;
    new.ports().iter().filter(|port| new.guess(port.number).protocol).filter_map(move |port| {
        let before = old.ports().iter().find(|it| it.number == port.number && is_said(it))?;
        let (host, number) = (new.host(), port.number);
        (before.protocol != port.protocol)
            .then(|| format!("{host}:{number} {} -> {}", before.protocol, port.protocol))
    })
}

/// Ports of a service whose numbers were guessed, which it does not have any more, and those that it has instead.
fn lost(old: &CatalogService, new: &CatalogService) -> impl Iterator<Item = String> {
    let has = |service: &CatalogService, number| service.ports().iter().any(|port| port.number == number);
    let fresh = new.ports().iter().filter(move |port| !has(old, port.number));
    let fresh: Vec<String> = fresh.map(|port| port.number.to_string()).collect();
    let fresh = if fresh.is_empty() { "none".to_owned() } else { fresh.join(" and ") };
    let lost = old.ports().iter().filter(move |port| old.guess(port.number).number && !has(new, port.number));
    lost.map(move |port| format!("{}:{} -> {fresh}", new.host(), port.number))
}

/// `2 added (a.local, b.local)`, after what the text has.
fn part<T>(text: &mut String, what: &str, services: &[T], words: impl Fn(&T) -> String) {
    if services.is_empty() {
        return;
    }
    let mut named = services.iter().take(NAMED).map(words).collect::<Vec<_>>().join(", ");
    if services.len() > NAMED {
        named.push_str(", ...");
    }
    let comma = if text.is_empty() { "" } else { ", " };
    // Writing to a string does not fail.
    _ = write!(text, "{comma}{} {what} ({named})", services.len());
}
