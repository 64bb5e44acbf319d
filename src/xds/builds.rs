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
//! - it is known what they had before.
//!
//! Who is connected keeps what it has in any case. All of this is in memory, and bounded; it is forgotten when the
//! version is gone, or when a proxy of the build accepts it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::older::Older;
use super::rejections::{Key, Rejection};
use super::words::is_of_machine;

/// How many proxies have to refuse a version. One alone is never enough.
const ENOUGH: usize = 3;
const AT_LEAST: usize = 2;

/// How many versions are remembered of a build, and how many addresses of a version.
const RECORDS_MAX: usize = 256;
const ADDRESSES_MAX: usize = 256;

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
    /// There is something new to testify of, or something was accepted.
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
    older: Option<Arc<Older>>,
}

impl Record {
    fn new(rejection: &Rejection, number: u64) -> Self {
        let (refused, told) = Default::default();
        Self { number, rejection: rejection.clone(), refused, told, accepted: false, older: None }
    }

    fn is_refused_by(&mut self, address: IpAddr, older: Option<Older>) {
        if self.refused.len() < ADDRESSES_MAX {
            self.refused.insert(address);
        }
        self.is_told(address);
        if let Some(older) = older {
            self.older = Some(Arc::new(older));
        }
    }

    fn is_told(&mut self, address: IpAddr) {
        if self.told.len() < ENOUGH {
            self.told.insert(address);
        }
    }

    /// What new proxies get instead.
    fn instead(&self) -> Option<&Arc<Older>> {
        let all = self.told.iter().all(|address| self.refused.contains(address));
        let enough = self.refused.len() >= ENOUGH || (self.refused.len() >= AT_LEAST && all);
        self.older.as_ref().filter(|_| enough && !self.accepted)
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

    /// Notes that a client at that address refuses a version, for a reason in these words, and what it has instead.
    /// Says whether that counts.
    pub fn refused(&self, rejection: &Rejection, words: &str, by: IpAddr, older: Option<Older>) -> bool {
        if is_of_machine(words) {
            return false;
        }
        let mut records = self.records.lock();
        let key = rejection.key();
        let is_new = !records.all.contains_key(&key);
        if is_new && records.all.len() >= RECORDS_MAX {
            records.forget_oldest();
        }
        records.noted += u64::from(is_new);
        let number = records.noted;
        let record = records.all.entry(key).or_insert_with(|| Record::new(rejection, number));
        record.is_refused_by(by, older);
        drop(records);
        if is_new {
            self.changed.send_replace(());
        }
        true
    }

    /// Takes in what a client at that address has of versions that others refused.
    pub fn testify(&self, by: Option<IpAddr>, stand: impl Fn(&Rejection) -> Stand) {
        let (mut records, mut is_accepted) = (self.records.lock(), false);
        for record in records.all.values_mut().filter(|record| !record.accepted) {
            match stand(&record.rejection) {
                Stand::Elsewhere => {}
                Stand::Told => by.into_iter().for_each(|address| record.is_told(address)),
                Stand::Accepted => {
                    is_accepted = true;
                    (record.accepted, record.older) = (true, None);
                }
            }
        }
        drop(records);
        if is_accepted {
            self.changed.send_replace(());
        }
    }

    /// Takes in which versions a client at that address is told of, as far as it matters how many are.
    pub fn told(&self, by: IpAddr, is_told: impl Fn(&Rejection) -> bool) {
        let mut records = self.records.lock();
        let few = records.all.values_mut().filter(|record| !record.accepted && record.told.len() < ENOUGH);
        few.filter(|record| is_told(&record.rejection)).for_each(|record| record.is_told(by));
    }

    /// The version is gone.
    pub fn forget(&self, version: &Key) {
        if self.records.lock().all.remove(version).is_some() {
            self.changed.send_replace(());
        }
    }

    /// What new proxies are to have instead of what others refused.
    pub fn withheld(&self) -> Vec<Arc<Older>> {
        self.records.lock().all.values().filter_map(Record::instead).cloned().collect()
    }

    /// Whether that is still withheld.
    pub fn withholds(&self, older: &Older) -> bool {
        let records = self.records.lock();
        records.all.get(older.refused()).is_some_and(|record| record.instead().is_some())
    }

    /// What is known of a version that is withheld.
    pub fn about(&self, older: &Older) -> Option<Withheld> {
        Some(self.as_withheld(self.records.lock().all.get(older.refused())?))
    }

    fn list(&self) -> Vec<Withheld> {
        let records = self.records.lock();
        let withheld = records.all.values().filter(|record| record.instead().is_some());
        withheld.map(|record| self.as_withheld(record)).collect()
    }

    fn as_withheld(&self, record: &Record) -> Withheld {
        let (rejection, build) = (record.rejection.clone(), Arc::clone(&self.name));
        Withheld { rejection, build, refused_by: record.refused.len() }
    }
}

impl Records {
    fn forget_oldest(&mut self) {
        let oldest = self.all.iter().min_by_key(|(_, record)| record.number).map(|(key, _)| key.clone());
        oldest.into_iter().for_each(|key| _ = self.all.remove(&key));
    }
}
