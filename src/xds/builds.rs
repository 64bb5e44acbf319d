//! Which versions new proxies are spared, because others like them refused them.
//!
//! ```text
//!  a proxy refuses a version ──► refused ─┐         ┌─► every proxy of the build says whether it has that version
//!  a proxy has, or is told of it ► testify ┼─► Build ┤
//!                                          │         └─► withheld: what new proxies of the build get instead
//! ```
//!
//! A build is a client's name and version: `envoy 1.40.0`. A version is withheld from new proxies of a build if
//! - the words of the refusals tell of no single machine ([`is_of_machine`]),
//! - at least three proxies at different addresses refused it, or both that were told of it,
//! - no proxy of the build has accepted it,
//! - it is known what proxies of the same scope had before: what others see is not for this one to see.
//!
//! Who is connected keeps what it has in any case. All of this is in memory, and bounded; it is forgotten when the
//! version is gone from a scope, or when a proxy of the build accepts it. One machine that refuses much takes the place of
//! nothing that is withheld, and wakes the others a few times only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::older::Older;
use super::rejections::{Key, Rejection};
use super::words::is_of_machine;
use crate::proxy::Scope;

/// How many proxies have to refuse a version. One alone is never enough.
const ENOUGH: usize = 3;
const AT_LEAST: usize = 2;

/// How many versions are remembered of a build, how many of those that one address alone refused, and of how many of
/// the latter all other proxies are asked.
const RECORDS_MAX: usize = 256;
const RECORDS_OF_ONE_MAX: usize = 32;
const ASKS_OF_ONE_MAX: usize = 4;

/// How many addresses are remembered of a version, and how many scopes.
const ADDRESSES_MAX: usize = 256;
const SCOPES_MAX: usize = 64;

/// How many builds are remembered of which no proxy is connected.
const FORMER_MAX: usize = 16;

/// The builds of all clients.
#[derive(Debug, Default)]
pub struct Builds(Mutex<HashMap<Arc<str>, Arc<Build>>>);

impl Builds {
    /// The build of that name; none where a client does not say what it is.
    pub fn of(&self, name: &Arc<str>) -> Option<Arc<Build>> {
        if name.is_empty() {
            return None;
        }
        let mut builds = self.0.lock();
        if builds.len() >= FORMER_MAX && !builds.contains_key(name) {
            builds.retain(|_, build| Arc::strong_count(build) > 1);
        }
        let new = || Arc::new(Build::new(Arc::clone(name)));
        Some(Arc::clone(builds.entry(Arc::clone(name)).or_insert_with(new)))
    }

    /// All that is withheld from new proxies, by build.
    pub fn withheld(&self) -> Vec<Withheld> {
        let mut builds: Vec<Arc<Build>> = self.0.lock().values().cloned().collect();
        builds.sort_by(|a, b| a.name.cmp(&b.name));
        builds.iter().flat_map(|build| build.list()).collect()
    }
}

/// A version that is withheld from new proxies of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// The version.
    pub rejection: Rejection,
    /// The client's name and version.
    pub build: Arc<str>,
    /// At how many addresses it was refused; of many, the first 256.
    pub refused_by: usize,
}

/// What a client has of a version that others refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It is not told of it.
    Elsewhere,
    /// It is told of it, and has not accepted it.
    Told,
    /// It has accepted it.
    Accepted,
}

/// Clients of one name and version.
#[derive(Debug)]
pub struct Build {
    name: Arc<str>,
    records: Mutex<Records>,
    /// There is something new to testify of, or less is withheld.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Records {
    all: BTreeMap<Key, Record>,
    noted: u64,
}

/// What is known of one version that proxies of the build refused.
#[derive(Debug)]
struct Record {
    /// When it was noted first, among all.
    number: u64,
    rejection: Rejection,
    refused: BTreeSet<IpAddr>,
    /// Those that were told of it. No more than matter.
    told: BTreeSet<IpAddr>,
    accepted: bool,
    /// All proxies of the build were asked whether they have it. Before, nobody need look whether it does.
    asked: bool,
    /// The scopes in which it was refused, with what proxies of each had before.
    scopes: BTreeMap<Scope, Option<Arc<Older>>>,
}

impl Record {
    fn new(rejection: &Rejection, number: u64) -> Self {
        let (refused, told, scopes) = Default::default();
        Self { number, rejection: rejection.clone(), refused, told, accepted: false, asked: false, scopes }
    }

    fn is_refused_by(&mut self, address: IpAddr, scope: &Scope, older: Option<Older>) {
        if self.refused.len() < ADDRESSES_MAX {
            self.refused.insert(address);
        }
        self.is_told(address);
        if self.scopes.len() < SCOPES_MAX || self.scopes.contains_key(scope) {
            let known = self.scopes.entry(scope.clone()).or_default();
            *known = older.map(Arc::new).or(known.take());
        }
    }

    fn is_told(&mut self, address: IpAddr) {
        if self.told.len() < ENOUGH {
            self.told.insert(address);
        }
    }

    /// Whether new proxies are spared it, where it is known what to give them.
    fn is_enough(&self) -> bool {
        let all = self.told.iter().all(|address| self.refused.contains(address));
        let enough = self.refused.len() >= ENOUGH || (self.refused.len() >= AT_LEAST && all);
        enough && !self.accepted
    }

    /// What new proxies of that scope get instead.
    fn instead(&self, scope: &Scope) -> Option<&Arc<Older>> {
        self.scopes.get(scope)?.as_ref().filter(|_| self.is_enough())
    }

    /// Whether new proxies of some scope are spared it.
    fn is_in_force(&self) -> bool {
        self.is_enough() && self.scopes.values().any(Option::is_some)
    }
}

impl Build {
    fn new(name: Arc<str>) -> Self {
        Self { name, records: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// Told when there is something new to testify of, and when less is withheld.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Notes that a client at that address, of that scope, refuses a version, for a reason in these words, and what it
    /// has instead. Says whether that counts.
    pub fn refused(
        &self,
        rejection: &Rejection,
        words: &str,
        (by, scope): (IpAddr, &Scope),
        older: Option<Older>,
    ) -> bool {
        if is_of_machine(words) {
            return false;
        }
        let mut records = self.records.lock();
        let alone = records.of_one(by).count();
        let Some(record) = records.of(rejection, by) else { return false };
        record.is_refused_by(by, scope, older);
        let matters = alone < ASKS_OF_ONE_MAX || record.refused.len() >= AT_LEAST;
        let asks = matters && !record.asked && !record.accepted;
        record.asked |= asks;
        drop(records);
        if asks {
            self.changed.send_replace(());
        }
        true
    }

    /// Takes in what a client at that address has of versions that others refused.
    pub fn testify(&self, by: Option<IpAddr>, stand: impl Fn(&Rejection) -> Stand) {
        let (mut records, mut is_less) = (self.records.lock(), false);
        for record in records.all.values_mut().filter(|record| record.asked && !record.accepted) {
            match stand(&record.rejection) {
                Stand::Elsewhere => {}
                Stand::Told => by.into_iter().for_each(|address| record.is_told(address)),
                Stand::Accepted => {
                    is_less |= record.is_in_force();
                    record.accepted = true;
                    record.scopes.values_mut().for_each(|older| *older = None);
                }
            }
        }
        drop(records);
        if is_less {
            self.changed.send_replace(());
        }
    }

    /// Takes in which versions a client at that address is told of, as far as it matters how many are.
    pub fn told(&self, by: IpAddr, is_told: impl Fn(&Rejection) -> bool) {
        let mut records = self.records.lock();
        let few = records.all.values_mut().filter(|record| record.asked && !record.accepted);
        let few = few.filter(|record| record.told.len() < ENOUGH);
        few.filter(|record| is_told(&record.rejection)).for_each(|record| record.is_told(by));
    }

    /// The version is gone from what clients of that scope are told.
    pub fn forget(&self, version: &Key, scope: &Scope) {
        let mut records = self.records.lock();
        let Some(record) = records.all.get_mut(version) else { return };
        let is_less = record.instead(scope).is_some();
        record.scopes.remove(scope);
        if record.scopes.is_empty() {
            records.all.remove(version);
        }
        drop(records);
        if is_less {
            self.changed.send_replace(());
        }
    }

    /// What new proxies of that scope are to have instead of what others refused.
    pub fn withheld(&self, scope: &Scope) -> Vec<Arc<Older>> {
        self.records.lock().all.values().filter_map(|record| record.instead(scope)).cloned().collect()
    }

    /// Whether that is still withheld from proxies of that scope.
    pub fn withholds(&self, older: &Older, scope: &Scope) -> bool {
        let records = self.records.lock();
        records.all.get(older.refused()).is_some_and(|record| record.instead(scope).is_some())
    }

    /// What is known of a version that is withheld.
    pub fn about(&self, older: &Older) -> Option<Withheld> {
        Some(self.as_withheld(self.records.lock().all.get(older.refused())?))
    }

    fn list(&self) -> Vec<Withheld> {
        let records = self.records.lock();
        let withheld = records.all.values().filter(|record| record.is_in_force());
        withheld.map(|record| self.as_withheld(record)).collect()
    }

    fn as_withheld(&self, record: &Record) -> Withheld {
        let (rejection, build) = (record.rejection.clone(), Arc::clone(&self.name));
        Withheld { rejection, build, refused_by: record.refused.len() }
    }
}

impl Records {
    /// The record of a version that somebody at that address refuses; `None` = there is no place for another.
    fn of(&mut self, rejection: &Rejection, by: IpAddr) -> Option<&mut Record> {
        let key = rejection.key();
        if !self.all.contains_key(&key) {
            self.make_room(by);
            if self.all.len() >= RECORDS_MAX {
                return None;
            }
            self.noted += 1;
            self.all.insert(key.clone(), Record::new(rejection, self.noted));
        }
        self.all.get_mut(&key)
    }

    /// What nobody else refused than somebody at that address.
    fn of_one(&self, address: IpAddr) -> impl Iterator<Item = (&Key, &Record)> {
        let is_alone = move |record: &Record| record.refused.len() == 1 && record.refused.contains(&address);
        self.all.iter().filter(move |(_, record)| is_alone(record))
    }

    /// Forgets one where there are too many: what that address refused alone, else what the fewest refused, but nothing
    /// that is in force.
    fn make_room(&mut self, by: IpAddr) {
        let others = self.all.iter().filter(|(_, record)| !record.is_in_force());
        let goes = match self.of_one(by).count() >= RECORDS_OF_ONE_MAX {
            true => self.of_one(by).min_by_key(|(_, record)| record.number),
            false if self.all.len() < RECORDS_MAX => None,
            false => others.min_by_key(|(_, record)| (record.refused.len(), record.number)),
        };
        let goes = goes.map(|(key, _)| key.clone());
        goes.into_iter().for_each(|key| _ = self.all.remove(&key));
    }
}
